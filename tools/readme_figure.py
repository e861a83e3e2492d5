"""Draws the figure of README.md anew, from the front page of the built book.

    python tools/readme_figure.py _build/html

Needs Chromium. The figure is the one of all published and measured numbers, in the light look.
"""

import argparse
import shutil
from pathlib import Path

FIGURE = "published-and-measured"
NAMES = ("chromium", "chromium-browser", "google-chrome")
PLAIN = ".sl-numbers, .modebar { display: none } .sl-figure { border: 0 !important }"


def draw(site: Path, target: Path) -> None:
    """Writes the figure as a PNG. Raises FileNotFoundError where the front page or Chromium is missing."""
    from playwright.sync_api import sync_playwright

    page = site / "book" / "intro.html"
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if not page.is_file() or not browser:
        missing = f"{page}: make book builds it" if browser else f"Chromium, one of {', '.join(NAMES)}"
        raise FileNotFoundError(f"there is no {missing}")
    with sync_playwright() as driver, driver.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as window:
        view = window.new_page(viewport={"width": 1100, "height": 900}, device_scale_factor=1.5, color_scheme="light")
        view.goto(page.resolve().as_uri())
        view.add_style_tag(content=PLAIN)
        view.evaluate("() => window.secondlook.drawAll()")
        view.locator(f"[data-figure={FIGURE}]").screenshot(path=target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", nargs="?", type=Path, default=Path("_build/html"))
    draw(parser.parse_args().site, Path(__file__).parents[1] / "book" / "_static" / f"{FIGURE}.png")


if __name__ == "__main__":
    main()
