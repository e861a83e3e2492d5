"""Checks of a built site without a browser: everything local, everything there, every figure described.

python tools/check_site.py _build/html    # says where the site is, or what is wrong with it (exit 1)
"""

import argparse
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from check_titles import check as check_titles

from secondlook.publish.render import SCRIPTS, extras

PAGE_LIMIT = 2_000_000  # bytes of one page, its figures included
LOADS = {"stylesheet", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "icon", "manifest"}
SOURCES = ("script", "img", "iframe", "video", "audio", "source", "embed")  # tags that load their `src`
CSS_ADDRESS = re.compile(r"(?:@import\s+(?:url\()?|url\()\s*['\"]?([^'\")\s;]+)")


class Page(HTMLParser):
    """What a page loads, where it links, which names it has, and its figures."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.figures: list[dict] = []
        self._inside = ""  # what the text now read belongs to
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        self._inside = ""
        if values.get("id"):
            self.ids.append(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag == "link" and LOADS & set((values.get("rel") or "").split()):
            self.loads.append(values.get("href") or "")
        if tag in SOURCES and values.get("src"):
            self.loads.append(values["src"])
        self.loads += CSS_ADDRESS.findall(values.get("style") or "")
        if tag == "style":
            self._inside = "style"
        if tag == "figure" and "sl-figure" in (values.get("class") or "").split():
            self.figures.append({"id": values.get("data-figure"), "alt": "", "json": ""})
        if self.figures and "sl-plot" in (values.get("class") or "").split():
            self.figures[-1]["alt"] = values.get("aria-label") or ""
        if self.figures and tag == "script" and values.get("type") == "application/json":
            self._inside = "figure"

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.loads += CSS_ADDRESS.findall(data)
        if self._inside == "figure":
            self.figures[-1]["json"] += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def check(html_dir: str | Path) -> list[str]:
    """The problems of a built site, each naming its page; an empty list is a good site.

    Raises FileNotFoundError when there is no site at `html_dir`.
    """
    root = Path(html_dir).resolve()
    if not (root / "index.html").is_file():
        raise FileNotFoundError(f"there is no site in {html_dir}: no index.html; make book builds one")
    paths = [path for path in sorted(root.rglob("*.html")) if "_static" not in path.relative_to(root).parts]
    pages = {path: Page(path) for path in paths}
    problems = []
    for page in pages.values():
        found = [
            *_missing(page.path, page.loads),
            *_links(page, pages),
            *_figures(page, root),
            *check_titles(page.text),
        ]
        size = page.path.stat().st_size
        if size > PAGE_LIMIT:
            found.append(f"the page has {size:,} bytes, more than {PAGE_LIMIT:,}; give its figures smaller arrays")
        problems += [f"{page.path.relative_to(root)}: {problem}" for problem in found]
    for sheet in sorted(root.rglob("*.css")):
        addresses = CSS_ADDRESS.findall(sheet.read_text(encoding="utf-8"))
        problems += [f"{sheet.relative_to(root)}: {problem}" for problem in _missing(sheet, addresses)]
    return problems


def _is_outside(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme not in ("", "data") or bool(parts.netloc)


def _missing(path: Path, addresses: list[str]) -> list[str]:
    """Of what the file at `path` loads, what is not in the site."""
    problems = []
    for address in addresses:
        if _is_outside(address):
            problems.append(f"loads {address} from outside the site")
        elif not address.startswith(("data:", "#")) and not _target(path, address).is_file():
            problems.append(f"loads {address}, which is missing")
    return problems


def _links(page: Page, pages: dict[Path, Page]) -> list[str]:
    problems = []
    for address in page.links:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = _target(page.path, address)
        if not target.is_file():
            problems.append(f"links to {address}, which is missing")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
            problems.append(f"links to {address}, a place that is not on that page")
    return problems


def _target(page: Path, address: str) -> Path:
    path = unquote(urlsplit(address).path)
    return (page.parent / path).resolve() if path else page


def _figures(page: Page, root: Path) -> list[str]:
    problems = []
    loaded = {Path(urlsplit(address).path).name for address in page.loads}
    if page.figures:
        problems += [f"has figures but does not load {script}" for script in SCRIPTS if script not in loaded]
    for figure in page.figures:
        name = f"the figure {figure['id']!r}"
        if page.ids.count(figure["id"]) != 1:
            problems.append(f"{name} stands {page.ids.count(figure['id'])} times on the page; an id has to stand once")
        if not figure["alt"].strip():
            problems.append(f"{name} has no alternative text; set layout.meta.secondlook.alt")
        try:
            content = json.loads(figure["json"])
        except ValueError:
            problems.append(f"{name} has no readable JSON")
            continue
        if not content.get("data"):
            problems.append(f"{name} has no traces")
        problems += [
            f"{name}: its sprite {src} is missing"
            for src in _sprites(content)
            if not (root / "_static" / src).is_file()
        ]
    return problems


def _sprites(figure: dict) -> list[str]:
    declared = extras(figure)
    sources = [(declared.get(key) or {}).get("src") for key in ("hover_sprite", "click_sprite")]
    return [src for src in sources if src and not src.startswith("data:")]


def main(arguments: list[str] | None = None) -> int:
    """Checks a site; prints where it is, or its problems. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="_build/html")
    folder = parser.parse_args(arguments).folder
    try:
        problems = check(folder)
    except FileNotFoundError as error:
        problems = [str(error)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"{len(problems)} problem{'s' * (len(problems) > 1)} in {folder}", file=sys.stderr)
        return 1
    print(f"The site: {(Path(folder).resolve() / 'index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
