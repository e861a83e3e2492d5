"""The site: a small book is built once with the real configuration and looked at in a headless Chromium."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import check_site as site
import nbformat
import pytest
from browser import barriers, draw_all, launched, page_report, visit

from secondlook.claims.indications import Indication
from secondlook.claims.judge import Judgement
from secondlook.figures import board, fallback
from secondlook.publish.math import FormulaError, mathml
from secondlook.publish.render import figure_html

ROOT = Path(__file__).parent.parent
BUILT = Path(os.environ.get("SECONDLOOK_SITE", ROOT / "_build" / "html"))
# The figures every page must have, by id: {"notebooks/linear.html": ("grid", …)}; a page listed here and absent fails.
# the ids of every chapter's figures, one a line
PAGES = sorted((Path(__file__).parent / "pages").glob("*.txt"))
EXPECTED = {f"notebooks/{path.stem}.html": tuple(path.read_text().split()) for path in PAGES}
EXPECTED["book/scoreboard.html"] = ("claims-by-verdict",)
EXPECTED["book/going_further.html"] = ("aims",)

LINES = """
import base64, io, os
from secondlook import figures
import numpy as np
import plotly.graph_objects as go
from PIL import Image
x = np.arange(20, dtype=np.float32)
steps = [{"label": str(k), "method": "restyle", "args": [{"y": [(x * k).tolist()]}, [0]]} for k in (1, 2, 3)]
figure = go.Figure([go.Scatter(x=x, y=x, name="training"), go.Scatter(x=x, y=x**1.5, name="validation")])
figure.update_layout(title={"text": "A finding that is long enough to wrap on a telephone, and then some",
                            "subtitle": {"text": "made-up lines"}},
    xaxis_title="epoch", yaxis_title="loss", sliders=[{"steps": steps}],
    meta={"secondlook": {"id": "lines", "alt": "Two lines that rise, the second one faster."}})
figure
"""
CELLS = """
tiles = Image.new("RGB", (32, 8))
for k, colour in enumerate([(200, 30, 30), (30, 160, 30), (30, 30, 200), (220, 180, 20)]):
    tiles.paste(colour, (8 * k, 0, 8 * k + 8, 8))
tiles.save(os.environ["SECONDLOOK_ASSETS"] + "/sprites/tiles.png")
buffer = io.BytesIO(); tiles.save(buffer, "png")
uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
sprite = {"columns": 4, "tile": 8}
buttons = [{"label": label, "method": "restyle", "args": [{"z": [z]}, [0]]}
           for label, z in (("counts", [[90, 10], [30, 70]]), ("rows", [[0.9, 0.1], [0.3, 0.7]]))]
confusion = go.Figure(go.Heatmap(z=[[90, 10], [30, 70]], x=["cat", "dog"], y=["cat", "dog"], colorscale="Blues"))
confusion.update_layout(updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.15}], height=380,
    meta={"secondlook": {"id": "confusion", "alt": "Two classes; cats are more often right.",
    "click_sprite": {**sprite, "src": "sprites/tiles.png", "cells": {"0,1": [0, 1], "1,0": [2, 3, 3]}}}})
confusion.show()
points = go.Figure(go.Scatter(x=[1, 2, 3, 4], y=[2, 1, 2, 1], mode="markers", marker_size=16, customdata=[0, 1, 2, 3]))
points.update_layout(title="Points with their pictures", height=320, meta={"secondlook": {
    "id": "points", "alt": "Four points.",
    "hover_sprite": {**sprite, "src": uri, "index_from": "customdata"}}})
points.show()
grid = go.Figure(go.Scatter(x=[1, 3], y=[1, 1], mode="markers"))
grid.add_layout_image(source=uri, x=0, y=0, sizex=4, sizey=2, xref="x", yref="y", sizing="stretch", yanchor="top")
grid.update_xaxes(range=[0, 4], visible=False, constrain="domain")
grid.update_yaxes(range=[2, 0], visible=False, constrain="domain", scaleanchor="x", constraintoward="top")
grid.update_layout(height=500, meta={"secondlook": {"id": "grid", "alt": "Four tiles."}})
grid.show()
from IPython.display import HTML, display
display(HTML("<table><tr><td>cell</td></tr></table>"))
print("training is allowed:", os.environ.get("SECONDLOOK_TRAIN"))
"""
FORMULAS = r"""# Figures

The loss of one image $x_i$ with label $y_i \in \{1, \dots, C\}$, and
$\mathbb{1}[a > b]$, with $W \in \mathbb{R}^{C \times d}$:

$$
L_i = \max_{j \ne y_i} \max(0, \mathbf{w}_j^\top x_i - \mathbf{w}_{y_i}^\top x_i + 1), \qquad
\mathcal{L} = \frac{1}{N} \sum_{i=1}^{N} L_i + \lambda \lVert W \rVert_2^2
$$

$$
\frac{\partial L_i}{\partial \mathbf{w}_j} = \begin{cases} x_i & \text{if } s_j - s_{y_i} + 1 > 0 \\
-\sum_{k \ne y_i} \mathbb{1}[s_k - s_{y_i} + 1 > 0]\, x_i & \text{if } j = y_i \\ 0 & \text{otherwise} \end{cases}
$$ (gradient)

\begin{align}
\hat{y} &= \operatorname*{arg\,max}_j\, s_j \\
\bar{x} &= \frac{1}{k} \sum_i x_i \pm t_{0.975,\,k-1} \frac{s}{\sqrt{k}}
\end{align}

The gradient is {eq}`gradient`.
"""


def judged(report: str, id: str, verdict: str, indication=None) -> Judgement:
    seeds = list(range(3 * int(id[1:])))
    return Judgement(id, report, f"claim {id}", verdict, None, None, None, seeds, "full", "", [], "Why. More.", "",
                     indication)  # fmt: skip


HOLDS = Indication("holds", "32 pixels: holds", "Why.", [0], "32 pixels", None, ["a" * 16])
BOARD = {
    "A linear classifier": [judged("linear", "L2", "reproduced"), judged("linear", "L10", "inconclusive")],
    "VGG": [judged("vgg", "V1", "inconclusive"), judged("vgg", "V2", "not run", HOLDS)],
}
VERDICTS = [
    "reproduced",
    "direction-reproduced",
    "not-reproduced",
    "inconclusive",
    "contradicted",
    "not-testable-as-stated",
    "underspecified",
    "not-run",
]


def write_book(folder: Path) -> None:
    """A book of two pages under the project's own configuration, style sheet and script."""
    shutil.copytree(ROOT / "book" / "_static", folder / "book" / "_static")
    shutil.copy(ROOT / "_config.yml", folder)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/figures\n")
    badges = " ".join(f"[{name.replace('-', ' ')}]{{.verdict .verdict-{name}}}" for name in VERDICTS)
    wide = "|" + " a wide column |" * 12
    table = "\n".join([wide, "|" + " --- |" * 12, wide])
    (folder / "book" / "intro.md").write_text(f"# Small\n\n{badges}\n\n{table}\n\nTo {{doc}}`../notebooks/figures`.\n")
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    code = [nbformat.v4.new_code_cell(text.strip()) for text in (LINES, CELLS)]
    claims = re.sub(r'href="[^"]*"', 'href="figures.html"', board(BOARD).markup)  # there are no chapters here
    raw = f"```{{raw}} html\n{claims}\n```"
    notebook.cells = [nbformat.v4.new_markdown_cell(FORMULAS), *code, nbformat.v4.new_markdown_cell(raw)]
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "figures.ipynb")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The folder of the small site."""
    folder = tmp_path_factory.mktemp("book")
    write_book(folder)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(folder), "-W", "-n", "--keep-going"]
    elsewhere = {**os.environ, "PLOTLY_RENDERER": "notebook_connected"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=elsewhere)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    with launched() as chromium:
        yield chromium


@pytest.fixture
def page(built):
    return built / "notebooks" / "figures.html"


@pytest.fixture
def copy(built, tmp_path) -> Path:
    """The small site, to be damaged."""
    return shutil.copytree(built, tmp_path / "html")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# ---- in a browser


@pytest.mark.browser
def test_every_figure_draws_and_every_control_moves_it_without_a_request_or_an_error(browser, page):
    report = page_report(browser, page, expected=("lines", "confusion", "points", "grid"))
    assert report == {
        "drawn": ["lines", "confusion", "points", "grid"],
        "failed": [],
        "sliders": 1,
        "menus": 1,
        "idle": [],
        "requests": [],
        "errors": [],
        "tables": {"lines": 60, "confusion": 4},
    }


@pytest.mark.browser
def test_a_page_without_figures_is_quiet(browser, built):
    report = page_report(browser, built / "book" / "intro.html")
    assert [report[key] for key in ("drawn", "failed", "requests", "errors")] == [[], [], [], []]


@pytest.mark.browser
def test_a_missing_an_empty_and_a_broken_figure_are_each_reported(browser, copy):
    path = copy / "notebooks" / "figures.html"
    edit(path, '"name":"training"', '"name":"training","visible":false')
    edit(path, '"name":"validation"', '"name":"validation","visible":false')
    text = path.read_text(encoding="utf-8")
    at = text.index('{"data":[{"colorscale"')
    path.write_text(text[:at] + "x" + text[at:], encoding="utf-8")
    report = page_report(browser, path, expected=("absent",))
    assert report["failed"] == ["absent", "confusion", "lines"]
    assert any("confusion was not drawn" in error for error in report["errors"])


@pytest.mark.browser
def test_a_request_that_leaves_the_site_is_seen_and_blocked(browser, copy):
    path = copy / "book" / "intro.html"
    edit(path, "</body>", '<img src="https://example.org/a.png" alt=""></body>')
    with visit(browser, path) as seen:
        assert seen.requests == ["https://example.org/a.png"]


@pytest.mark.browser
def test_words_for_what_cannot_draw_a_figure_stay_off_the_page(page):
    text = page.read_text(encoding="utf-8")
    assert text.count('class="sl-figure"') == 4
    assert fallback.NOTE not in text


def test_the_figures_follow_light_and_dark(browser, page):
    colour = """() => [...document.querySelectorAll('#lines text')]
        .map(t => getComputedStyle(t).fill).filter(f => f.startsWith('rgb'))[0]"""
    with visit(browser, page, theme="light") as seen:
        draw_all(seen.page)
        light = seen.page.evaluate(colour)
        seen.page.evaluate("() => { document.documentElement.dataset.theme = 'dark' }")
        seen.page.wait_for_function("light => (" + colour + ")() !== light", arg=light, timeout=5000)
    with visit(browser, page, theme="dark") as seen:
        draw_all(seen.page)
        assert seen.page.evaluate(colour) != light


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_labels_inside_a_plot_have_the_colour_of_the_text(browser, page, theme):
    with visit(browser, page, theme=theme) as seen:
        seen.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        draw_all(seen.page)
        seen.page.evaluate("() => Plotly.relayout('lines', {'yaxis.ticklabelposition': 'inside'})")
        inks = seen.page.evaluate(
            "() => [...document.querySelectorAll('#lines .ytick text, #lines .xtick text')]"
            ".map(text => getComputedStyle(text).fill)"
        )
        assert len(inks) > 5
        assert set(inks) == {{"light": "rgb(31, 35, 40)", "dark": "rgb(230, 233, 237)"}[theme]}


@pytest.mark.browser
@pytest.mark.parametrize("name", ["book/intro.html", "notebooks/figures.html"])
def test_nothing_is_wider_than_a_telephone(browser, built, name):
    with visit(browser, built / name, width=390, height=844) as seen:
        draw_all(seen.page)
        width = seen.page.evaluate("() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        assert width <= 390


@pytest.mark.browser
def test_far_figures_wait_until_they_are_near_or_the_page_is_printed(browser, page):
    with visit(browser, page, height=300) as seen:
        last = seen.page.locator("figure[data-figure=points]")
        assert last.get_attribute("data-state") is None
        seen.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        last.and_(seen.page.locator("[data-state=drawn]")).wait_for(state="attached", timeout=10_000)


@pytest.mark.browser
def test_a_drawn_figure_takes_the_room_that_was_kept_for_it(browser, page):
    heights = "() => [...document.querySelectorAll('.sl-plot')].map(p => Math.round(p.getBoundingClientRect().height))"
    with visit(browser, page, height=200) as seen:
        before = seen.page.evaluate(heights)
        draw_all(seen.page)
        assert seen.page.evaluate(heights) == before


@pytest.mark.browser
def test_a_picture_that_shrinks_on_a_telephone_leaves_no_empty_room_below_it(browser, page):
    room = """() => {
      const {height, _size, yaxis} = document.getElementById("grid")._fullLayout;
      return [height, yaxis.domain[0] * _size.h];
    }"""
    with visit(browser, page) as seen:
        draw_all(seen.page)
        assert seen.page.evaluate(room)[0] == 500
    with visit(browser, page, width=390, height=844) as seen:
        draw_all(seen.page)
        height, empty = seen.page.evaluate(room)
        assert height < 400
        assert empty < 5


@pytest.mark.browser
def test_the_arrow_keys_move_the_slider_of_a_focused_figure(browser, page):
    with visit(browser, page) as seen:
        draw_all(seen.page)
        seen.page.focus("#lines")
        seen.page.keyboard.press("ArrowRight")
        seen.page.wait_for_function("() => document.getElementById('lines').layout.sliders[0].active === 1")
        assert seen.page.evaluate("() => document.getElementById('lines').data[0].y[19]") == 38


NUMBERS = """id => [...document.querySelectorAll(`[data-figure="${id}"] .sl-numbers table`)].map(table =>
  [...table.rows].map(row => [...row.cells].map(cell => cell.textContent)))"""


@pytest.mark.browser
def test_the_numbers_of_a_figure_open_from_the_keyboard_as_tables(browser, page):
    with visit(browser, page) as seen:
        seen.page.focus("[data-figure=lines] .sl-numbers summary")
        seen.page.keyboard.press("Enter")
        tables = seen.page.locator("[data-figure=lines] .sl-numbers table")
        assert [tables.nth(k).is_visible() for k in range(tables.count())] == [True] * 3  # one a step of its slider
        found = seen.page.evaluate(NUMBERS, "lines")
        for k, rows in enumerate(found, start=1):
            assert rows[0] == ["epoch", "training", "validation"]
            assert [row[:2] for row in rows[1:]] == [[str(i), str(k * i)] for i in range(20)]
            assert [float(row[2]) for row in rows[1:]] == pytest.approx([i**1.5 for i in range(20)], rel=1e-3)
        scopes = "[...document.querySelectorAll('[data-figure=lines] th')].map(head => head.scope)"
        assert seen.page.evaluate(scopes) == 3 * (["col"] * 3 + ["row"] * 20)
        assert seen.page.locator("[data-figure=grid] .sl-numbers").count() == 0  # a picture has no numbers
        seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("() => document.activeElement.className") == "sl-scroll"
        assert seen.errors == []


MENUS = "document.getElementById('lines').layout.updatemenus"
TWO_MENUS = """() => {
  const menu = (key, x) => ({x, buttons: ["one", "two", "three"].map((label, k) => (
    {label, method: "relayout", args: [{[key]: k}]}))});
  return Plotly.relayout("lines", {updatemenus: [menu("meta.first", 0.2), menu("meta.second", 0.8)]});
}"""


@pytest.mark.browser
def test_a_number_turns_the_arrow_keys_to_another_menu(browser, page):
    with visit(browser, page) as seen:
        draw_all(seen.page)
        seen.page.evaluate(TWO_MENUS)
        seen.page.focus("#lines")
        for key, active in [("ArrowDown", [1, 0]), ("2", [1, 0]), ("ArrowDown", [1, 1]), ("ArrowDown", [1, 2]),
                            ("3", [1, 2]), ("ArrowUp", [1, 1]), ("1", [1, 1]), ("ArrowUp", [0, 1])]:  # fmt: skip
            seen.page.keyboard.press(key)
            seen.page.wait_for_function(f"() => {MENUS}.map(m => m.active ?? 0).join() === '{active[0]},{active[1]}'")
        assert seen.page.evaluate("() => document.getElementById('lines').layout.meta.second") == 1
        seen.page.keyboard.press("2")
        assert "control 2: two" in seen.page.locator("figure [aria-live]").first.text_content()
        seen.page.keyboard.press("ArrowRight")
        seen.page.wait_for_function("() => document.getElementById('lines').layout.sliders[0].active === 1")


@pytest.mark.browser
def test_a_control_that_sets_a_title_changes_the_finding_and_leaves_the_name_of_the_data(browser, page):
    caption = "document.querySelector('[data-figure=lines] figcaption')"
    with visit(browser, page) as seen:
        draw_all(seen.page)
        for text, told in (("Another<br>finding", "Another finding"), ("A third", "A third")):
            seen.page.evaluate("text => Plotly.relayout('lines', {'title.text': text})", text)
            seen.page.wait_for_function(f"() => {caption}.textContent.startsWith('{told}')")
            assert seen.page.evaluate(f"() => {caption}.textContent") == f"{told}made-up lines"
            assert seen.page.evaluate("() => document.getElementById('lines').layout.title.text") == ""


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "light"), [("light", True), ("dark", False)])
def test_the_chosen_entry_of_an_open_menu_has_the_paper_of_its_mode(browser, page, theme, light):
    with visit(browser, page, theme=theme) as seen:
        draw_all(seen.page)
        seen.page.locator("[data-figure=confusion] .updatemenu-header").first.click()
        fills = seen.page.evaluate("""() => [...document.querySelectorAll(
            "[data-figure=confusion] .updatemenu-item-rect")].map(r => getComputedStyle(r).fill)""")
        assert len(fills) == 3
        assert all((sum(map(float, re.findall(r"[\d.]+", f)[:3])) > 600) == light for f in fills), fills


@pytest.mark.browser
def test_hovering_a_point_shows_its_picture(browser, page):
    with visit(browser, page) as seen:
        draw_all(seen.page)
        seen.page.locator("#points").scroll_into_view_if_needed()
        seen.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        seen.page.locator("#points .points path").nth(2).hover(force=True)
        image = seen.page.locator(".sl-hover img")
        image.wait_for(state="visible", timeout=5000)
        box, tile = image.bounding_box(), seen.page.locator(".sl-hover .sl-tile").bounding_box()
        assert round(tile["x"] - box["x"]) == 2 * round(tile["width"])
        assert not seen.errors


@pytest.mark.browser
def test_a_click_on_a_cell_opens_its_pictures_and_escape_closes_them(browser, page):
    with visit(browser, page) as seen:
        draw_all(seen.page)
        plot = seen.page.locator("#confusion .nsewdrag.drag")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        seen.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
        seen.page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
        panel = seen.page.locator(".sl-panel")
        panel.wait_for(state="visible", timeout=5000)
        assert panel.locator("img").count() == 3
        assert "dog taken for cat" in panel.inner_text()
        seen.page.focus("#confusion")
        seen.page.keyboard.press("Escape")
        panel.wait_for(state="hidden", timeout=5000)


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pictures_of_a_cell_open_from_the_keyboard(browser, page, theme):
    with visit(browser, page, theme=theme) as seen:
        draw_all(seen.page)
        seen.page.focus(".sl-cells select")
        seen.page.locator(".sl-cells select").select_option("0,1")
        panel = seen.page.locator(".sl-panel")
        panel.wait_for(state="visible", timeout=5000)
        assert panel.locator("img").evaluate_all("images => images.every(i => i.complete && i.naturalWidth === 32)")
        assert (
            panel.locator("img").first.bounding_box()["height"]
            == panel.locator(".sl-tile").first.bounding_box()["height"]
        )
        seen.page.keyboard.press("Escape")
        assert panel.is_hidden()


@pytest.mark.browser
def test_tables_of_a_notebook_stand_on_the_page_itself_in_the_dark(browser, page):
    with visit(browser, page, theme="dark") as seen:
        paper = seen.page.locator(".text_html:has(table)").evaluate("box => getComputedStyle(box).backgroundColor")
        assert paper == "rgba(0, 0, 0, 0)"


ROWS = """() => [...document.querySelectorAll('.sl-board tbody tr:not(.sl-group)')].filter(row => row.offsetHeight)
  .map(row => row.cells[0].textContent)"""


@pytest.mark.browser
def test_the_menus_of_the_claims_hide_what_is_not_asked_for(browser, page):
    with visit(browser, page) as seen:
        menus = seen.page.locator(".sl-board select")
        assert seen.page.evaluate(ROWS) == ["L2", "L10", "V1", "V2"]
        menus.nth(1).select_option(label="inconclusive (2)")
        assert seen.page.evaluate(ROWS) == ["L10", "V1"]
        menus.nth(0).select_option("r-vgg")
        assert seen.page.evaluate(ROWS) == ["V1"]
        menus.nth(1).select_option("")
        menus.nth(2).select_option("i-holds")
        assert seen.page.evaluate(ROWS) == ["V2"]
        assert seen.page.locator(".sl-group").nth(0).is_hidden()


@pytest.mark.browser
def test_the_headings_of_the_claims_sort_each_report_from_the_keyboard(browser, page):
    with visit(browser, page) as seen:
        heads = seen.page.locator(".sl-board thead th")
        heads.nth(0).locator("button").focus()
        for way, ids in (("ascending", ["L2", "L10", "V1", "V2"]), ("descending", ["L10", "L2", "V2", "V1"])):
            seen.page.keyboard.press("Enter")
            assert heads.nth(0).get_attribute("aria-sort") == way
            assert seen.page.evaluate(ROWS) == ids
        heads.nth(1).locator("button").click()
        assert seen.page.evaluate(ROWS) == ["L2", "L10", "V1", "V2"]  # by the order of verdicts
        assert heads.nth(0).get_attribute("aria-sort") is None


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["book/intro.html", "notebooks/figures.html", "search.html", "genindex.html"])
def test_nothing_on_a_page_shuts_a_reader_out(browser, built, name, theme):
    with visit(browser, built / name, theme=theme) as seen:
        draw_all(seen.page)
        seen.page.evaluate("() => document.querySelectorAll('details').forEach(box => { box.open = true; })")
        assert barriers(seen.page) == []


CONTRAST = """() => [...document.querySelectorAll('.verdict')].map(badge => {
  const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = colour => { const [r, g, b] = colour.match(/\\d+/g).map(v => channel(+v));
                                return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const style = getComputedStyle(badge);
  const [low, high] = [luminance(style.color), luminance(style.backgroundColor)].sort((a, b) => a - b);
  const sign = getComputedStyle(badge, '::before').content;
  return {name: badge.className, ratio: (high + 0.05) / (low + 0.05), sign}; })"""


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_verdicts_are_readable_and_never_told_by_colour_alone(browser, built, theme):
    with visit(browser, built / "book" / "intro.html", theme=theme) as seen:
        badges = seen.page.evaluate(CONTRAST)
    assert len(badges) == len(VERDICTS)
    assert [badge for badge in badges if badge["ratio"] < 4.5] == []
    assert len({badge["sign"] for badge in badges}) == len(VERDICTS)


# ---- as text


def test_the_small_site_has_no_problems(built):
    assert site.check(built) == []


def test_a_kernel_of_the_book_is_told_never_to_train(page):
    assert "training is allowed: never" in page.read_text(encoding="utf-8")


def test_a_screen_reader_leaves_the_arrow_keys_to_figures_that_have_controls(page):
    roles = dict(re.findall(r'id="(\w+)" role="(\w+)"', page.read_text(encoding="utf-8")))
    assert roles == {"lines": "application", "confusion": "application", "points": "group", "grid": "group"}


def test_every_figure_has_its_alternative_text_and_its_title_in_the_caption(page):
    alts = re.findall(r'role="(?:group|application)" aria-label="([^"]+)"', page.read_text(encoding="utf-8"))
    assert alts == [
        "Two lines that rise, the second one faster.",
        "Two classes; cats are more often right.",
        "Four points.",
        "Four tiles.",
    ]
    assert "A finding that is long enough to wrap" in page.read_text(encoding="utf-8").split("<figcaption", 1)[1][:200]


def test_formulas_are_mathml_and_no_tex_is_left_to_a_script(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("<math") == text.count("</math>") >= 7
    assert not re.search(r"<script[^>]*mathjax", text, re.IGNORECASE)
    assert "𝟙" in text
    assert re.search(r'href="#equation-gradient"', text)


@pytest.mark.browser
def test_subscripts_stand_below_their_letter_and_exponents_above(browser, page):
    places = """async () => { await document.fonts.ready;
      const box = (tag, k) => [...document.querySelectorAll(tag)].map(part => part.children[k].getBoundingClientRect());
      const [low, letter] = [box("msub", 1), box("msub", 0)], [both, under] = [box("msubsup", 2), box("msubsup", 1)];
      return {below: low.map((part, k) => part.bottom - letter[k].bottom),
              above: both.map((part, k) => under[k].top - part.bottom)}; }"""
    with visit(browser, page) as seen:
        found = seen.page.evaluate(places)
        assert min(found["below"]) > 1
        assert min(found["above"]) >= 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'defer="defer" src="../_static/plotly.min.js',
            'src="https://cdn.example.org/plotly.min.js',
            "outside the site",
        ),
        ("_static/secondlook.js", "_static/other.js", "missing"),
        ("_static/secondlook.js", "_static/doctools.js", "does not load secondlook.js"),
        ('aria-label="Four points."', 'aria-label=""', "'points' has no alternative text"),
        ('href="../book/intro.html"', 'href="../book/gone.html"', "gone.html, which is missing"),
        ('href="#equation-gradient"', 'href="#equation-lost"', "a place that is not on that page"),
        ("sprites/tiles.png", "sprites/gone.png", "its sprite sprites/gone.png is missing"),
        ('id="points"', 'id="lines"', "stands 2 times"),
        ('{"data":[{"colorscale"', '{data:[{"colorscale"', "'confusion' has no readable JSON"),
        ("</body>", "x" * site.PAGE_LIMIT + "</body>", "bytes, more than"),
    ],
)
def test_the_checker_names_what_is_wrong_with_a_page(copy, old, new, expected):
    edit(copy / "notebooks" / "figures.html", old, new)
    problems = site.check(copy)
    assert any(expected in problem for problem in problems), problems


def test_the_checker_sees_a_removed_script_and_a_font_from_elsewhere(copy):
    (copy / "_static" / "secondlook.js").unlink()
    with (copy / "_static" / "secondlook.css").open("a") as sheet:
        sheet.write("@import url(https://fonts.example.org/a.css);")
    problems = "\n".join(site.check(copy))
    assert "secondlook.js" in problems
    assert "fonts.example.org" in problems


def test_the_command_says_where_the_site_is_or_fails(built, tmp_path, capsys):
    assert site.main([str(built)]) == 0
    assert capsys.readouterr().out.strip().endswith("index.html")
    assert site.main([str(tmp_path)]) == 1
    assert "make book" in capsys.readouterr().err


@pytest.mark.parametrize(
    "tex", [r"\frac{1", r"\nosuch x", r"\begin{nosuch}x\end{nosuch}", "a & b", r"\operatorname*{most}_i"]
)
def test_a_formula_that_cannot_be_drawn_is_named(tex):
    with pytest.raises(FormulaError) as error:
        mathml(tex)
    assert repr(tex) in str(error.value)


def test_letters_of_other_alphabets_are_letters():
    assert "<mi>𝐱</mi>" in mathml(r"\mathbf{x}")
    assert "<mi>𝜽</mi>" in mathml(r"\boldsymbol{\theta}")
    assert "<mtext>d</mtext>" in mathml(r"\mathrm{d}")


@pytest.mark.parametrize("tex", [r"\arg\max_{j} s_j", r"\operatorname*{arg\,max}_{j} s_j"])
def test_what_the_maximum_is_over_stands_below_it(tex):
    assert re.search(r"<munder><mo[^>]*>arg.max</mo>", mathml(tex, display=True))


def test_text_from_a_figure_cannot_end_its_script_or_add_a_tag():
    figure = {
        "data": [{"type": "bar", "name": "</script><b>"}],
        "layout": {
            "title": {"text": "<b>1</b> < 2<br><script>"},
            "meta": {"secondlook": {"id": "a", "alt": '"x" < y'}},
        },
    }
    text = figure_html(figure, "spare")
    assert text.count("</script>") == 1
    assert json.loads(re.search(r'json">(.*)</script>', text)[1])["data"] == figure["data"]
    assert "<b>1</b> &lt; 2 &lt;script&gt;" in text
    assert 'aria-label="&quot;x&quot; &lt; y"' in text


def test_a_figure_without_alternative_text_warns_and_so_fails_the_build():
    from secondlook.publish.render import MIME, PlotlyRenderer

    said = []

    class Renderer:
        logger = type("Logger", (), {"warning": staticmethod(lambda message, **_: said.append(message))})

        @staticmethod
        def add_js_file(key, uri, kwargs): ...

    data = type(
        "Data",
        (),
        {"mime_type": MIME, "cell_index": 4, "output_index": 0, "line": 9, "content": {"data": [{}], "layout": {}}},
    )
    (node,) = PlotlyRenderer.handle_mime(Renderer, data, False)
    assert 'id="figure-4-0"' in node.astext()
    assert len(said) == 2
    assert "secondlook.alt" in said[1]


# ---- the real site, where it has been built

# The lines of code that leave the page.
CUT = """() => [...document.querySelectorAll(".bd-article div.highlight pre")].filter(
  pre => pre.offsetParent && pre.scrollWidth > pre.clientWidth + 1).map(pre => pre.textContent.slice(0, 80))"""


@pytest.mark.browser
@pytest.mark.skipif(not BUILT.is_dir(), reason="the book is not built (make book)")
def test_the_built_book_is_whole(browser):
    assert site.check(BUILT) == []
    pages = [p for p in sorted(BUILT.rglob("*.html")) if "_static" not in p.parts and p != BUILT / "index.html"]
    assert set(EXPECTED) <= {p.relative_to(BUILT).as_posix() for p in pages}
    for path in pages:
        name = path.relative_to(BUILT).as_posix()
        report = page_report(browser, path, expected=EXPECTED.get(name, ()))
        wrong = {key: report[key] for key in ("failed", "idle", "requests", "errors") if report[key]}
        wrong |= {f"{id} has an empty table": rows for id, rows in report["tables"].items() if not rows}
        assert not wrong, f"{name}: {wrong}"


@pytest.mark.browser
@pytest.mark.skipif(not BUILT.is_dir(), reason="the book is not built (make book)")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_in_the_built_book_shuts_a_reader_out(browser, theme):
    # figures are drawn where they are near: of all their kinds the small site has one each
    for path in (BUILT / name for name in ["book/intro.html", "book/method.html", *EXPECTED]):
        with visit(browser, path, theme=theme) as seen:
            assert barriers(seen.page) == [], path.name
            assert seen.page.evaluate(CUT) == [], path.name
