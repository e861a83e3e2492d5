"""The weights of a linear classifier seen as images: templates through training, and their colours measured."""

import io

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.figures.images import webp
from secondlook.figures.marks import means, picture
from secondlook.figures.template import CLASS_COLOURS, finish, slider, views
from secondlook.figures.values import (
    NothingToDraw,
    answering,
    caption,
    class_names,
    ends,
    few,
    mean_interval,
    needed,
    sentence,
)
from secondlook.record import Record

TILE = 32
ACROSS = 5  # templates in a row: on a telephone ten would be too small
LIKE = 0.95  # the correlation from which a template counts as nearly final
COLOURS = {"red": CLASS_COLOURS[6], "green": CLASS_COLOURS[2], "blue": CLASS_COLOURS[0]}
MARKS = ("circle", "square", "diamond")


def templates(record: Record, id: str = "templates") -> go.Figure:
    """The template of each class, with a slider through the moments of training that the record keeps.

    Read from the arrays `templates` (WebP bytes of a sheet, rows are moments, columns classes) and `template_steps`.
    Raises ValueError for a record without them.
    """
    (record,) = answering(needed(record, "templates"))
    sheet, steps = _sheet(record)
    names, count = class_names(record), sheet.shape[1] // TILE
    down = -(-count // ACROSS)
    pages = [webp(_page(row, count, down)) for row in sheet.reshape(len(steps), TILE, -1, 3)]
    at = [(k % ACROSS + 0.5, k // ACROSS * 1.18 + 1.01) for k in range(count)]
    figure = go.Figure(go.Scatter(x=[x for x, _ in at], y=[y for _, y in at], mode="text", text=list(names),
                                  textposition="bottom center", textfont_size=11, hoverinfo="skip"))  # fmt: skip
    picture(figure, pages[-1], ACROSS, 1.18 * down)
    figure.update_yaxes(visible=False)
    changes = [{"images[0].source": page} for page in pages]
    figure.update_layout(sliders=[slider([f"{s:,}" for s in steps], changes, "iteration ")], showlegend=False)
    title = _shaping(sheet, steps)
    alt = f"The weights of {count} classes as images of {TILE} by {TILE} pixels, at {len(steps)} moments. {title}."
    return finish(figure, id, title, alt, caption([record]), 410)


def template_measures(records: list[Record], id: str = "template-measures") -> go.Figure:
    """Colour of the centre and of the border, and left–right symmetry of each class's template, mean and 95 % interval.

    From the metrics template_centre, template_border (seeds, classes, RGB; in standard deviations of the template) and
    template_symmetry (correlation with the mirror image). Diverged seeds have none; ValueError where no record has.
    """
    records = needed(records, "the measures of the templates")
    measured = [r for r in records if "template_centre" in r.metrics]
    if not measured:
        raise NothingToDraw(
            f"{records[0].recipe} has no measured templates: it diverged or its features are not pixels"
        )
    records = measured
    names = class_names(records[0])
    area = {k: np.array([r.metrics[f"template_{k}"] for r in records], float) for k in ("centre", "border", "symmetry")}
    figure, owners = go.Figure(), []
    for view, where in enumerate(("centre", "border")):
        for channel, (name, colour) in enumerate(COLOURS.items()):
            _dots(figure, names, area[where][:, :, channel], name, colour, MARKS[channel], view, (channel - 1) * 0.18)
            owners.append(view)
    _dots(figure, names, area["symmetry"], "symmetry", CLASS_COLOURS[1], "star", 2, 0.0)
    owners.append(2)
    labels = ["colour of the centre", "colour of the border", "left–right symmetry"]
    units = ["mean weight (standard deviations)"] * 2 + ["correlation with the mirror image"]
    layouts = [{"yaxis.title.text": u} for u in units]
    figure.update_layout(updatemenus=[views(owners, labels, layouts)], yaxis_title=units[0])
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=list(names), tickangle=-45, showgrid=False)
    title = _finding(area, names)
    alt = f"Dot plot of the colours and the symmetry of {len(names)} templates, red, green and blue. {title}."
    return finish(figure, id, title, alt, caption(records), 440)


def _sheet(record: Record) -> tuple[np.ndarray, list[int]]:
    """RGB pixels (moments · 32, classes · 32, 3) and the iteration of each moment."""
    if "templates" not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no templates; its run needs keep = 'evidence'")
    steps = [int(s) for s in record.arrays["template_steps"]]
    with Image.open(io.BytesIO(np.asarray(record.arrays["templates"], np.uint8).tobytes())) as image:
        sheet = np.asarray(image.convert("RGB"))
    if sheet.shape[0] != TILE * len(steps) or sheet.shape[1] % TILE:
        raise ValueError(f"a sheet of templates is {sheet.shape}; expected {len(steps)} rows of tiles of {TILE} pixels")
    return sheet, steps


def _page(row: np.ndarray, count: int, down: int) -> np.ndarray:
    """One moment's tiles, (32, count · 32, 3), in `down` rows with room for names, RGBA."""
    page = np.zeros((round(TILE * 1.18 * down), TILE * ACROSS, 4), np.uint8)
    for k in range(count):
        top, left = round(k // ACROSS * 1.18 * TILE), k % ACROSS * TILE
        page[top : top + TILE, left + 1 : left + TILE - 1, :3] = row[:, k * TILE + 1 : (k + 1) * TILE - 1]
        page[top : top + TILE, left + 1 : left + TILE - 1, 3] = 255
    return page


def _shaping(sheet: np.ndarray, steps: list[int]) -> str:
    """When the templates begin to look as they end, by the correlation of a moment's pixels with the last one's."""
    likeness = _likeness(sheet, len(steps))
    early = int(np.argmax(likeness >= LIKE))
    if early < len(steps) - 1:
        said = f"After {steps[early]:,} of {steps[-1]:,} iterations the templates look nearly as they end"
    else:
        early = max(early - 1, 0)
        said = f"The templates change to the end: at {steps[early]:,} of {steps[-1]:,} iterations they still differ"
    return f"{said}, correlation {likeness[early]:.2f}"


def _likeness(sheet: np.ndarray, moments: int) -> np.ndarray:
    rows = sheet.reshape(moments, -1).astype(float)
    rows -= rows.mean(1, keepdims=True)
    norms = np.maximum(np.linalg.norm(rows, axis=1), 1e-9)
    likeness = rows @ rows[-1] / norms / norms[-1]
    likeness[-1] = 1.0
    return likeness


def _dots(figure, names, values, name: str, colour: str, symbol: str, view: int, offset: float) -> None:
    found = [mean_interval(column) for column in values.T]
    means(figure, np.arange(len(names)) + offset, found, f"%{{text}}, {name}: %{{y:.2f}}", across=True, name=name,
          text=list(names), visible=view == 0, marker={"color": colour, "symbol": symbol, "size": 9})  # fmt: skip


def _finding(area: dict[str, np.ndarray], names: tuple[str, ...]) -> str:
    centre, border = area["centre"].mean(0), area["border"].mean(0)
    lead = lambda colour, k: colour[:, k] - np.delete(colour, k, 1).mean(1)  # noqa: E731
    leads = [ends(dict(zip(names, lead(c, k))), "{:.2f}".format) for c, k in ((centre, 0), (centre, 1), (border, 2))]
    most = ends(dict(zip(names, area["symmetry"].mean(0))), "{:.2f}".format)
    said = zip(leads, ("reddest centre", "greenest centre", "bluest border"))
    text = "; ".join(f"{what}: {few(own.first, 'classes')}" for own, what in said)
    return sentence(f"{text}; most symmetric: {few(most.first, 'classes')} ({most.best})")
