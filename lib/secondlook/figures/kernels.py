"""The kernels of a first convolution as small pictures, and how much of them is colour."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.figures.marks import picture
from secondlook.figures.template import finish, menu
from secondlook.figures.values import NothingToDraw, caption, joined, needed, percent
from secondlook.record import Record

ACROSS = 8  # kernels in a row
TILE = 48  # pixels of a kernel with the gap around it
MOST = 64  # kernels drawn of one net


def kernels(groups: dict[str, Record], id: str = "kernels") -> go.Figure:
    """The first-layer kernels of each labelled record, each on its own scale, mid-grey for zero; a menu over labels.

    Read from the array `kernels`, float16 (out, in, side, side): three channels as colour, others as their mean.
    Raises ValueError where a record keeps none.
    """
    needed(groups.values(), "first-layer kernels")
    found = {label: _kernels(record) for label, record in groups.items()}
    rows = max(-(-len(k) // ACROSS) for k in found.values())
    pages = {label: _lossless(_page(k, rows)) for label, k in found.items()}
    figure = go.Figure()
    for view, (label, k) in enumerate(found.items()):
        at, shares = np.arange(len(k)), colour_shares(k) if k.shape[1] == 3 else spatial_shares(k)
        what = "colour" if k.shape[1] == 3 else "change across the kernel"
        hover = f"{label}, kernel %{{customdata[0]:.0f}}: {what} holds %{{customdata[1]:.0f}} %<extra></extra>"
        figure.add_scatter(x=at % ACROSS + 0.5, y=at // ACROSS + 0.5, mode="markers", marker={"opacity": 0, "size": 24},
                           customdata=np.stack([at.astype(float), 100 * shares], -1), name=label, visible=view == 0,
                           hovertemplate=hover)  # fmt: skip
    picture(figure, next(iter(pages.values())), ACROSS, rows)
    figure.update_yaxes(visible=False)
    changes = [
        (label, {"visible": [k == view for k in range(len(pages))]}, {"images[0].source": page})
        for view, (label, page) in enumerate(pages.items())
    ]
    figure.update_layout(updatemenus=[menu(changes)] if len(pages) > 1 else None, showlegend=False)
    title = _finding(found)
    alt = f"First-layer kernels of {joined(groups)}, as pictures in rows of {ACROSS}. {title}."
    return finish(figure, id, title, alt, caption(groups.values()), 60 + 44 * rows)


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


def _kernels(record: Record) -> np.ndarray:
    kept = record.arrays.get("kernels")
    if kept is None or not np.size(kept) or not np.isfinite(kept).all():
        raise NothingToDraw(f"the record of {record.recipe} keeps no kernels; its run needs keep = 'evidence'")
    return np.asarray(kept[:MOST], np.float32)


def _page(kernels: np.ndarray, rows: int) -> np.ndarray:
    """Kernels as RGBA pixels, `ACROSS` in a row, a gap around each."""
    channels = kernels if kernels.shape[1] == 3 else np.repeat(kernels.mean(1, keepdims=True), 3, 1)
    largest = np.abs(channels).max((1, 2, 3), keepdims=True)
    tiles = np.rint(127.5 + 127.5 * channels / np.where(largest > 0, largest, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
    scale = (TILE - 4) // tiles.shape[1]
    tiles = tiles.repeat(scale, 1).repeat(scale, 2)  # by the page's own pixels, or a browser would blur them
    side = tiles.shape[1]
    page, edge = np.zeros((rows * TILE, ACROSS * TILE, 4), np.uint8), (TILE - side) // 2
    for k, tile in enumerate(tiles):
        top, left = k // ACROSS * TILE + edge, k % ACROSS * TILE + edge
        page[top : top + side, left : left + side, :3] = tile
        page[top : top + side, left : left + side, 3] = 255
    return page


def _lossless(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _finding(found: dict[str, np.ndarray]) -> str:
    """How much of the kernels is colour (or, of nets with other channels, change), against random weights."""
    coloured = {label: k for label, k in found.items() if k.shape[1] == 3}
    if coloured:
        said = joined(f"{percent(colour_shares(k).mean(), 0)} in {label}" for label, k in coloured.items())
        return f"Of the first layer's squared weights colour holds {said}; of random ones it would hold 67 %"
    said = joined(f"{percent(spatial_shares(k).mean(), 0)} in {label}" for label, k in found.items())
    return f"Of the first layer's squared weights change across the kernel holds {said}"
