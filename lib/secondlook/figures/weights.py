"""Weights seen as images: the kernels of a first convolution, and a linear classifier's templates through training."""

import numpy as np
import plotly.graph_objects as go

from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import choose_picture, decoded, means, picture, spots, webp
from secondlook.figures.template import COLOURS, Views, finish, slider
from secondlook.figures.values import NothingToDraw, answering, kept, mean_interval, needed
from secondlook.record import Record

IN_ROW = 8  # kernels in a row
PITCH = 48  # pixels of a kernel with the gap around it
MOST = 64  # kernels drawn of one net
TILE = 32
ACROSS = 5  # templates in a row: on a telephone ten would be too small
DOWN = 1.18  # from one row of templates to the next, in tiles: their names stand between
LIKE = 0.95  # the correlation from which a template counts as nearly final
COLOUR = {"red": (COLOURS[6], "circle"), "green": (COLOURS[2], "square"), "blue": (COLOURS[0], "diamond")}


@drawn
def kernels(groups: dict[str, Record], id: str = "kernels") -> go.Figure:
    """The first-layer kernels of each labelled record, each on its own scale, mid-grey for zero; a menu over labels.

    Read from the array `kernels`, float16 (out, in, side, side): three channels as colour, others as their mean.
    Raises ValueError where a record keeps none.
    """
    needed(groups.values(), "first-layer kernels")
    found = {label: _kernels(record) for label, record in groups.items()}
    rows = max(-(-len(k) // IN_ROW) for k in found.values())
    pages = {label: webp(_page(k, rows), lossless=True) for label, k in found.items()}
    figure = go.Figure()
    for view, (label, k) in enumerate(found.items()):
        at, (what, shares) = np.arange(len(k)), _shares(k)
        told = np.stack([at.astype(float), 100 * shares], -1)
        hover = f"{label}, kernel %{{customdata[0]:.0f}}: {what} holds %{{customdata[1]:.0f}} %"
        spots(figure, at % IN_ROW, at // IN_ROW, 24, hover, customdata=told, name=label, visible=view == 0)
    picture(figure, next(iter(pages.values())), IN_ROW, rows)
    choose_picture(figure, pages, traces=True)
    figure.update_layout(showlegend=False)
    shows = f"First-layer kernels of {words.joined(groups)}, as pictures in rows of {IN_ROW}"
    return finish(figure, id, _held(found), shows, words.caption(groups.values()), 60 + 44 * rows)


def colour_shares(kernels: np.ndarray) -> np.ndarray:
    """The share of each kernel's squared weights that its channels do not have in common, (out,), in [0, 1].

    0 for a kernel that sees brightness alone; of random weights 1 − 1/channels on average. Kernels of zeros have 0.
    """
    return _share(kernels - kernels.mean(1, keepdims=True), kernels)


def spatial_shares(kernels: np.ndarray) -> np.ndarray:
    """The share of each kernel's squared weights that changes from place to place, (out,), in [0, 1].

    0 for a kernel that averages; of random weights 1 − 1/side² on average. Kernels of zeros have 0.
    """
    return _share(kernels - kernels.mean((2, 3), keepdims=True), kernels)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    total = (whole**2).sum((1, 2, 3))
    return np.divide((part**2).sum((1, 2, 3)), total, out=np.zeros_like(total), where=total > 0)


def _shares(kernels: np.ndarray) -> tuple[str, np.ndarray]:
    """What is told of kernels, by their channels, and how much of each it holds."""
    if kernels.shape[1] == 3:
        return "colour", colour_shares(kernels)
    return "change across the kernel", spatial_shares(kernels)


def _kernels(record: Record) -> np.ndarray:
    found = kept(record, "kernels")
    if not found.size or not np.isfinite(found).all():
        raise NothingToDraw(f"the record of {record.recipe} keeps no finite kernels; its run diverged")
    return found[:MOST].astype(np.float32)


def _page(kernels: np.ndarray, rows: int) -> np.ndarray:
    """Kernels as RGBA pixels, `IN_ROW` in a row, a gap around each."""
    channels = kernels if kernels.shape[1] == 3 else np.repeat(kernels.mean(1, keepdims=True), 3, 1)
    largest = np.abs(channels).max((1, 2, 3), keepdims=True)
    tiles = np.rint(127.5 + 127.5 * channels / np.where(largest > 0, largest, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
    scale = (PITCH - 4) // tiles.shape[1]
    tiles = tiles.repeat(scale, 1).repeat(scale, 2)  # by the page's own pixels, or a browser would blur them
    side = tiles.shape[1]
    page, edge = np.zeros((rows * PITCH, IN_ROW * PITCH, 4), np.uint8), (PITCH - side) // 2
    for k, tile in enumerate(tiles):
        top, left = k // IN_ROW * PITCH + edge, k % IN_ROW * PITCH + edge
        page[top : top + side, left : left + side] = np.pad(tile, [(0, 0), (0, 0), (0, 1)], constant_values=255)
    return page


def _held(found: dict[str, np.ndarray]) -> str:
    """How much of the kernels is colour (or, of nets with other channels, change), against random weights."""
    coloured = {label: k for label, k in found.items() if k.shape[1] == 3}
    told = {label: _shares(k)[1].mean() for label, k in (coloured or found).items()}
    said = words.ranged(told, lambda share: words.percent(share, 0), "nets")
    what = "are colour; of random ones 67 %" if coloured else "vary across the kernel"
    return f"Squared first-layer weights: {said} {what}"


@drawn
def templates(record: Record, id: str = "templates") -> go.Figure:
    """The template of each class, with a slider through the moments of training that the record keeps.

    Read from the arrays `templates` (WebP bytes of a sheet, rows are moments, columns classes) and `template_steps`.
    Raises ValueError for a record without them.
    """
    (record,) = answering(needed(record, "templates"))
    sheet, steps = np.asarray(decoded(kept(record, "templates"))), record.arrays["template_steps"].tolist()
    names, count = words.class_names(record), sheet.shape[1] // TILE
    down = -(-count // ACROSS)
    pages = [webp(_moment(row, count, down)) for row in sheet.reshape(len(steps), TILE, -1, 3)]
    at = [(k % ACROSS + 0.5, k // ACROSS * DOWN + 1.01) for k in range(count)]
    figure = go.Figure(go.Scatter(x=[x for x, _ in at], y=[y for _, y in at], mode="text", text=list(names),
                                  textposition="bottom center", textfont_size=11, hoverinfo="skip"))  # fmt: skip
    picture(figure, pages[-1], ACROSS, DOWN * down)
    changes = [{"images[0].source": page} for page in pages]
    figure.update_layout(sliders=[slider([f"{s:,}" for s in steps], changes, "iteration ")], showlegend=False)
    shows = f"The weights of {count} classes as images of {TILE} by {TILE} pixels, at {len(steps)} moments"
    return finish(figure, id, _shaping(sheet, steps), shows, words.caption([record]), 410)


def _moment(row: np.ndarray, count: int, down: int) -> np.ndarray:
    """One moment's tiles, (32, count · 32, 3), in `down` rows with room for names, RGBA."""
    page = np.zeros((round(TILE * DOWN * down), TILE * ACROSS, 4), np.uint8)
    for k in range(count):
        top, left = round(k // ACROSS * DOWN * TILE), k % ACROSS * TILE
        page[top : top + TILE, left + 1 : left + TILE - 1, :3] = row[:, k * TILE + 1 : (k + 1) * TILE - 1]
        page[top : top + TILE, left + 1 : left + TILE - 1, 3] = 255
    return page


def _shaping(sheet: np.ndarray, steps: list[int]) -> str:
    """When the templates begin to look as they end, by the correlation of a moment's pixels with the last one's."""
    rows = sheet.reshape(len(steps), -1).astype(float)
    rows -= rows.mean(1, keepdims=True)
    norms = np.maximum(np.linalg.norm(rows, axis=1), 1e-9)
    likeness = rows @ rows[-1] / norms / norms[-1]
    early = next((k for k, alike in enumerate(likeness[:-1]) if alike >= LIKE), None)
    if early is not None:
        said = f"After {steps[early]:,} of {steps[-1]:,} iterations the templates look nearly as they end"
    else:
        early = max(len(steps) - 2, 0)
        said = f"The templates change to the end, from iteration {steps[early]:,} to {steps[-1]:,} still"
    return f"{said}: correlation {likeness[early]:.2f}"


@drawn
def template_measures(records: list[Record], id: str = "template-measures") -> go.Figure:
    """Colour of the centre and of the border, and left–right symmetry of each class's template, mean and 95 % interval.

    From the metrics template_centre, template_border (seeds, classes, RGB; in standard deviations of the template) and
    template_symmetry (correlation with the mirror image). Diverged seeds have none; ValueError where no record has.
    """
    whole = needed(records, "the measures of the templates")
    records = [r for r in whole if "template_centre" in r.metrics]
    if not records:
        raise NothingToDraw(f"{whole[0].recipe} has no measured templates: it diverged or its features are not pixels")
    names = words.class_names(records[0])
    area = {k: np.array([r.metrics[f"template_{k}"] for r in records], float) for k in ("centre", "border", "symmetry")}
    figure = go.Figure()
    views = Views(figure)
    for view, where in enumerate(("centre", "border")):
        for channel, (name, look) in enumerate(COLOUR.items()):
            _dots(figure, names, area[where][:, :, channel], name, *look, (channel - 1) * 0.18)
        views.own(view)
    _dots(figure, names, area["symmetry"], "symmetry", COLOURS[1], "star", 0.0)
    views.own(2)
    units = ["mean weight (standard deviations)"] * 2 + ["correlation with the mirror image"]
    labels = ["colour of the centre", "colour of the border", "left–right symmetry"]
    views.menu(labels, [{"yaxis.title.text": u} for u in units])
    figure.update_yaxes(title=units[0])
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=list(names), tickangle=-45, showgrid=False)
    shows = f"Dot plot of the colours and the symmetry of {len(names)} templates, red, green and blue"
    return finish(figure, id, _most_coloured(area, names), shows, words.caption(records), 440)


def _dots(figure, names, values, name: str, colour: str, symbol: str, offset: float) -> None:
    found = [mean_interval(column) for column in values.T]
    means(figure, np.arange(len(names)) + offset, found, f"%{{text}}, {name}: %{{y:.2f}}", across=True, name=name,
          text=list(names), marker={"color": colour, "symbol": symbol, "size": 9})  # fmt: skip


def _most_coloured(area: dict[str, np.ndarray], names: tuple[str, ...]) -> str:
    said = []
    for what, where, k in (("reddest", "centre", 0), ("greenest", "centre", 1), ("bluest", "border", 2)):
        colour = area[where].mean(0)
        ahead = colour[:, k] - np.delete(colour, k, 1).mean(1)
        order = words.ends(dict(zip(names, ahead)), "{:.2f}".format)
        said += [f"{what} {where}: {words.few(order.first, 'classes')}"] * (not order.tied)
    most = words.ends(dict(zip(names, area["symmetry"].mean(0))), "{:.2f}".format)
    symmetric = f"most symmetric: {words.few(most.first, 'classes')}"
    said.append(f"every template has a symmetry of {most.best}" if most.tied else f"{symmetric} ({most.best})")
    return words.sentence("; ".join(said))
