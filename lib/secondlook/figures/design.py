"""How an experiment is set up: sample images, the split, how images are prepared, the net layer by layer."""

from math import sqrt

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.evaluation.costs import KINDS, Layer, total
from secondlook.figures import words
from secondlook.figures.marks import picture, placeholder, spots, sprite
from secondlook.figures.template import COLOURS, Views, finish

STEPS = ("as stored", "resized", "normalised")
SHOWN = 2.5  # standard deviations that a normalised image is drawn with, black to white
SIDE = 160  # pixels of an image as it is drawn
GAP = 0.8  # columns between two blocks
VIEWS = ("the layers drawn", "parameters", "multiply-adds of one image")
UNITS = ("pixels a side", "parameters", "multiply-adds")


def sample_grid(images: np.ndarray | None, labels: np.ndarray | None, class_names: tuple[str, ...], data_name: str,
                data_set: str = "cifar10", across: int = 10, id: str = "samples") -> go.Figure:  # fmt: skip
    """The first `across` images of each class, a row a class; without images a note that names the command for them.

    images uint8 (n, h, w[, 3]), labels (n,) in 0 … k − 1. At most twenty classes are shown.
    """
    if images is None or labels is None:
        return placeholder(data_name, data_set, id)
    labels, names = np.asarray(labels), class_names[:20]
    found = [np.flatnonzero(labels == k)[:across] for k in range(len(names))]
    short = [name for name, own in zip(names, found) if not len(own)]
    if short:
        raise ValueError(f"no image of {words.joined(short)} among {len(labels)}; give images of every class")
    tiles = np.zeros((len(names), across, *images.shape[1:]), np.uint8)
    for row, own in zip(tiles, found):
        row[: len(own)] = images[own]
    figure = go.Figure()
    columns, rows = np.meshgrid(np.arange(across), np.arange(len(names)))
    spots(figure, columns, rows, 20, "%{text}", text=np.repeat(names, across).tolist())
    sheet = sprite(tiles.reshape(-1, *images.shape[1:]), across)
    ticks = {"tickvals": [k + 0.5 for k in range(len(names))], "ticktext": list(names)}
    picture(figure, sheet, across, len(names), toward="left", visible=None, **ticks)
    sizes = np.bincount(labels, minlength=len(class_names))
    even = f"{sizes[0]:,} each" if len(set(sizes.tolist())) == 1 else f"{sizes.min():,} to {sizes.max():,} each"
    side = " × ".join(str(n) for n in images.shape[1:3])
    title = f"{len(labels):,} images of {side} pixels in {len(class_names)} classes, {even}"
    shows = f"Sample images in {len(names)} rows: {words.joined(names)}"
    return finish(figure, id, title, shows, data_name, 130 + 40 * len(names))


def preparation(images: np.ndarray | None, size: int, mean, std, data_name: str, data_set: str = "cifar10",
                id: str = "preparation") -> go.Figure:  # fmt: skip
    """Images uint8 (n, h, w, 3) as stored, bilinearly resized to `size` pixels, and normalised by channel.

    mean, std (3,) of pixels in [0, 1]. Without images a placeholder names the command that fetches them.
    """
    if images is None:
        return placeholder(data_name, data_set, id)
    rows = [np.stack([_stored(i), _resized(i, size), _normalised(i, size, mean, std)]) for i in images]
    figure = go.Figure(go.Scatter(x=[0.5, 1.5, 2.5], y=[len(rows) + 0.02] * 3, mode="text", text=list(STEPS),
                                  textposition="bottom center", hoverinfo="skip"))  # fmt: skip
    sheet = sprite(np.concatenate(rows), len(STEPS))
    picture(figure, sheet, len(STEPS), len(rows), range=[len(rows) + 0.2, 0])
    h, w = images.shape[1:3]
    spread = ", standard deviations ".join(" / ".join(f"{v:.3f}" for v in values) for values in (mean, std))
    title = f"{h} × {w} pixels become {size} × {size} without a new detail, {(size / h) ** 2:.0f} times the values"
    shows = f"{len(rows)} images, each as stored, resized and normalised by red, green and blue, means {spread}"
    note = f"{data_name} · red, green, blue: means {spread}"
    return finish(figure, id, title, shows, note, 60 + 130 * len(rows))


def channel_statistics(pixels: np.ndarray | None) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of red, green and blue, of pixels uint8 (…, 3) as shares of 255; empty without."""
    if pixels is None:
        return [], []
    levels = np.arange(256) / 255
    shares = [np.bincount(channel, minlength=256) / channel.size for channel in pixels.reshape(-1, 3).T]
    means = [float(levels @ share) for share in shares]
    return means, [float(np.sqrt((levels - m) ** 2 @ share)) for m, share in zip(means, shares)]


def _stored(image: np.ndarray) -> np.ndarray:
    scale = SIDE // image.shape[0]
    large = image.repeat(scale, 0).repeat(scale, 1)
    return np.asarray(Image.fromarray(large).resize((SIDE, SIDE), Image.Resampling.NEAREST))


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _normalised(image: np.ndarray, size: int, mean, std) -> np.ndarray:
    values = (_resized(image, size) / 255 - np.asarray(mean)) / np.asarray(std)
    return np.rint(255 * np.clip((values + SHOWN) / (2 * SHOWN), 0, 1)).astype(np.uint8)


def architecture(nets: dict[str, list[Layer]], caption: str, id: str = "architecture") -> go.Figure:
    """Nets below one another, block under block, so that a layer one of them lacks is a gap; a menu of what is drawn.

    `nets` gives each label its `vgg_layers`. A convolution is as tall as its map is wide; a dense layer as a square of
    its units would be.
    """
    columns, ticks = _columns(nets)
    figure = go.Figure()
    views = Views(figure)
    axes = {label: str(row + 1) if row else "" for row, label in enumerate(nets)}
    for label, layers in nets.items():
        at = [columns[layer.block, k] for layer, k in _numbered(layers)]
        drawn = [layer.side if layer.kind == KINDS[0] else sqrt(layer.outputs) for layer in layers]
        counts = ([layer.parameters for layer in layers], [layer.macs for layer in layers])
        for view, heights in enumerate((drawn, *counts)):
            figure.add_bar(x=at, y=heights, base=[-h / 2 for h in heights] if view == 0 else None, width=0.82,
                           marker_color=[COLOURS[layer.block % len(COLOURS)] for layer in layers], name=label,
                           yaxis=f"y{axes[label]}", showlegend=False, text=[_told(layer) for layer in layers],
                           textposition="none", hovertemplate=f"{label}, %{{text}}<extra></extra>")  # fmt: skip
            views.own(view)
    layouts = []
    for unit in UNITS:
        layouts.append({f"yaxis{n}.title.text": f"{label}<br>{unit}" for label, n in axes.items()})
        layouts[-1] |= {f"yaxis{n}.showticklabels": unit != UNITS[0] for n in axes.values()}  # centred on 0
    views.menu(VIEWS, layouts)
    figure.update_layout(barmode="overlay")
    step = 1 / len(nets)
    for row, (label, n) in enumerate(axes.items()):
        domain = [1 - (row + 1) * step + 0.04 * (row < len(nets) - 1), 1 - row * step - 0.04 * (row > 0)]
        axis = {"domain": domain, "title": f"{label}<br>{UNITS[0]}", "anchor": "x", "showticklabels": False}
        figure.update_layout({f"yaxis{n}": {**axis, "exponentformat": "SI", "nticks": 5}})
    figure.update_xaxes(tickvals=list(ticks.values()), ticktext=list(ticks), showgrid=False, anchor="free", position=0,
                        title="block")  # fmt: skip
    shows = f"Bars for every layer of {words.joined(nets)}, in five blocks and a dense part"
    return finish(figure, id, _sizes(nets), shows, caption, 140 + 190 * len(nets))


def _columns(nets: dict[str, list[Layer]]) -> tuple[dict, dict]:
    """The column of the k-th layer of a block, by (block, k), and the middle of each block by its name."""
    blocks = sorted({layer.block for layers in nets.values() for layer in layers})
    columns, ticks, x = {}, {}, 0.0
    for block in blocks:
        count = max(sum(layer.block == block for layer in layers) for layers in nets.values())
        columns |= {(block, k): x + k for k in range(count)}
        ticks[str(block) if block < blocks[-1] else "dense"] = x + (count - 1) / 2
        x += count + GAP
    return columns, ticks


def _numbered(layers: list[Layer]):
    """Each layer with its number in its block."""
    seen: dict[int, int] = {}
    for layer in layers:
        seen[layer.block] = seen.get(layer.block, -1) + 1
        yield layer, seen[layer.block]


def _told(layer: Layer) -> str:
    maps = f"{layer.outputs} maps of {layer.side} × {layer.side}"
    size = maps if layer.kind == KINDS[0] else f"{layer.outputs} units"
    return f"{layer.name}: {size}<br>{layer.parameters:,} parameters<br>{layer.macs:,} multiply-adds"


def _sizes(nets: dict[str, list[Layer]]) -> str:
    first, last = next(iter(nets)), next(reversed(nets))
    share = words.percent(total(nets[last], "parameters", KINDS[1]) / total(nets[last], "parameters"), 0)
    if first == last:
        return f"{share} of {last}'s parameters stand in its dense layers"
    work, size = (total(nets[last], what) / total(nets[first], what) for what in ("macs", "parameters"))
    return (
        f"{last} takes {work:.1f} times the arithmetic of {first} with {words.percent(size - 1, 0)} more parameters; "
        f"{share} of its {total(nets[last], 'parameters') / 1e6:.1f} million stand in the dense layers"
    )
