"""A headless Chromium that opens pages from disk, notes every request and every error, and works their figures."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOCAL = ("file:", "data:", "blob:", "about:")
STATE = """() => [...document.querySelectorAll("figure.sl-figure")].map(figure => ({
  id: figure.dataset.figure,
  state: figure.dataset.state ?? "waiting",
  marks: figure.querySelectorAll(".overplot :is(path, rect, circle, image, text), .pielayer path, canvas").length,
}))"""
CONTROLS = """id => {
  const layout = document.getElementById(id).layout;
  return {sliders: (layout.sliders ?? []).map(s => s.steps.length),
          updatemenus: (layout.updatemenus ?? []).map(m => m.type === "buttons" ? 0 : m.buttons.length)};
}"""
# Of every figure that has numbers, how many rows its tables have.
TABLES = """() => Object.fromEntries([...document.querySelectorAll("figure.sl-figure:has(.sl-numbers)")].map(
  figure => [figure.dataset.figure, figure.querySelectorAll(".sl-numbers tbody tr").length]))"""
# What a control may change: values, what is visible, the layout; not the position of the control itself.
FINGERPRINT = """id => {
  const {data, layout} = document.getElementById(id);
  const own = {...layout};
  for (const key of ["sliders", "updatemenus", "template", "uirevision"]) delete own[key];
  const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
  return JSON.stringify([data, own], plain);
}"""


@dataclass
class Visit:
    """An open page, the addresses it asked for outside the disk, and the errors it reported."""

    page: object
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def chromium() -> str:
    """The path of a Chromium; skips the test, saying why, where there is none."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is on PATH")


@contextmanager
def launched() -> Iterator:
    """A Playwright browser, closed at the end."""
    path = chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser, path: Path, width: int = 1280, height: int = 900, theme: str = "light") -> Iterator[Visit]:
    """The page at `path`, opened from disk in a fresh profile; what it wants from elsewhere is noted and blocked."""
    view = {"width": width, "height": height}
    context = browser.new_context(viewport=view, color_scheme=theme, reduced_motion="reduce")
    seen = Visit(context.new_page())

    def route(request) -> None:
        if request.request.url.startswith(LOCAL):
            request.continue_()
        else:
            seen.requests.append(request.request.url)
            request.abort()

    context.route("**/*", route)
    seen.page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.goto(Path(path).resolve().as_uri())
    try:
        yield seen
    finally:
        context.close()


def draw_all(page) -> dict[str, str]:
    """Forces every figure and returns what became of each: {id: "drawn" | "empty" | "failed" | "waiting"}."""
    page.evaluate("() => window.secondlook?.drawAll()")
    return {f["id"]: "empty" if f["state"] == "drawn" and not f["marks"] else f["state"] for f in page.evaluate(STATE)}


def barriers(page) -> list[str]:
    """What axe-core finds serious or critical on an open page, each with its rule and its element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = [rule for rule in axe.Axe().run(page).response["violations"] if rule["impact"] in ("serious", "critical")]
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]


def page_report(browser, path: Path, expected: tuple[str, ...] = (), **view) -> dict:
    """What a page of the site does in a browser; every slider and menu is moved.

    `drawn` and `failed` are ids (an expected figure that is not on the page has failed), `requests` addresses outside
    the disk, `errors` what the console reported, `sliders` and `menus` the number of controls moved, `idle` the
    controls that changed nothing, as "id sliders[0]", `tables` the rows of numbers of each figure that has any.
    """
    with visit(browser, path, **view) as seen:
        states = draw_all(seen.page)
        drawn = [name for name, state in states.items() if state == "drawn"]
        report = {"drawn": drawn, "sliders": 0, "menus": 0, "idle": []}
        report["failed"] = sorted({*states, *expected} - set(drawn))
        for name in drawn:
            for kind, counts in seen.page.evaluate(CONTROLS, name).items():
                for index, steps in enumerate(counts):
                    if steps < 2:
                        continue
                    report["sliders" if kind == "sliders" else "menus"] += 1
                    if not moved(seen.page, name, kind, index, steps):
                        report["idle"].append(f"{name} {kind}[{index}]")
        report["tables"] = seen.page.evaluate(TABLES)
        return {**report, "requests": seen.requests, "errors": seen.errors}


def moved(page, name: str, kind: str, index: int, steps: int) -> bool:
    """Whether going through a control (its last step, a middle one, its first) changes the figure."""
    shown = set()
    for step in (steps - 1, steps // 2, 0):
        page.evaluate("args => window.secondlook.choose(...args)", [name, kind, index, step])
        shown.add(page.evaluate(FINGERPRINT, name))
    return len(shown) > 1
