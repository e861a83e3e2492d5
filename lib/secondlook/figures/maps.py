"""Feature maps: what the channels of a layer answer to an image, the one that matters most for its class first."""

import io

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.figures.images import webp
from secondlook.figures.template import finish, menu, slider
from secondlook.figures.values import NothingToDraw, caption, class_names, counted, joined, needed, percent, sentence
from secondlook.record import Record

ACROSS = 5  # maps in a row
COUNT = 10  # maps of an image and layer, as records keep them
SHOWN = 4  # images of each record
SIDE = 32  # pixels of a map on the page
WARM = 0.5  # of a map's range, above which a place counts as lit


def feature_maps(groups: dict[str, Record], id: str = "feature-maps") -> go.Figure:
    """Ten maps of an image: a menu of the labelled records, one of images, and a slider over the layers.

    Read from the arrays maps_LAYER (WebP, a row an image, a column a channel), maps_channels, cam_labels and
    cam_predictions and the metric maps_layers. Raises ValueError for a record without them, or for other layers.
    """
    records = needed(groups.values(), "feature maps")
    layers = _layers(records)
    rows = [_shown(record) for record in records]
    pages = [_page(record, layers, own) for record, own in zip(records, rows)]
    figure, tall = go.Figure(), -(-COUNT // ACROSS)
    for view, (record, own) in enumerate(zip(records, rows)):
        _markers(figure, record, own, len(layers), view == 0)
        figure.add_layout_image(source=pages[view], x=0, y=0, sizex=ACROSS * len(layers), sizey=tall * SHOWN,
                                xref="x", yref="y", sizing="stretch", yanchor="top", layer="below",
                                visible=view == 0)  # fmt: skip
    still = {"visible": False, "fixedrange": True, "constrain": "domain"}
    figure.update_xaxes(range=[0, ACROSS], **still)
    figure.update_yaxes(range=[tall, 0], scaleanchor="x", constraintoward="top", **still)
    shown = [{"xaxis.range": [k * ACROSS, (k + 1) * ACROSS]} for k in range(len(layers))]
    bar = {**slider(layers, shown, "layer "), "active": 0, "x": 0.04, "len": 0.92}  # its ends have long names
    figure.update_layout(showlegend=False, updatemenus=_menus(groups, rows, tall), sliders=[bar])
    title = _finding(list(groups), records, layers)
    alt = (
        f"Pictures of the ten channels that speak most for the predicted class, of {counted(SHOWN, 'image')} of each "
        f"of {joined(groups)}. {title}."
    )
    note = "each map on its own scale, the first matters most"
    whole = finish(figure, id, title, alt, caption(records, note), 300)
    if len(figure.layout.updatemenus) > 1:  # which stand in two rows
        whole.update_layout(margin_t=whole.layout.margin.t + 40, height=whole.layout.height + 40)
    return whole


def _layers(records: list[Record]) -> list[str]:
    for record in records:
        if "maps_channels" not in record.arrays:
            raise NothingToDraw(f"the record of {record.recipe} keeps no feature maps; its run needs keep = 'evidence'")
        if record.metrics["maps_layers"] != records[0].metrics["maps_layers"]:
            raise NothingToDraw(f"the record of {record.recipe} keeps maps of other layers than {records[0].recipe}")
    return list(records[0].metrics["maps_layers"])


def _shown(record: Record) -> list[int]:
    """Rows of the images shown: by turns the next of each class, wrong answers first."""
    count = record.arrays["maps_channels"].shape[1]
    pairs = np.stack([np.asarray(record.arrays[k][:count], int) for k in ("cam_labels", "cam_predictions")], 1)
    turn = [int((pairs[:k] == pairs[k]).all(1).sum()) for k in range(count)]  # how many such came before
    labels, said = pairs.T
    order = sorted(range(count), key=lambda k: (turn[k], labels[k] == said[k], labels[k]))
    return sorted(order[:SHOWN], key=lambda k: (labels[k] != said[k], labels[k], k))


def _maps(record: Record, layer: str) -> np.ndarray:
    """uint8 (images, COUNT, SIDE, SIDE), small maps enlarged by whole pixels."""
    sheet = Image.open(io.BytesIO(record.arrays[f"maps_{layer}"].tobytes())).convert("L")
    images = record.arrays["maps_channels"].shape[1]
    flat = np.asarray(sheet)
    h = flat.shape[0] // images
    tiles = flat.reshape(images, h, flat.shape[1] // h, h).swapaxes(1, 2)
    repeats = max(1, SIDE // h)
    large = tiles.repeat(repeats, 2).repeat(repeats, 3)[:, :COUNT, :SIDE, :SIDE]
    page = np.zeros((images, COUNT, SIDE, SIDE), np.uint8)
    page[:, : large.shape[1], : large.shape[2], : large.shape[3]] = large
    return page


def _page(record: Record, layers: list[str], rows: list[int]) -> str:
    """One picture: layers side by side, images one below the other, two rows of five maps each, a gap around a map."""
    framed = []
    for layer in layers:
        maps = np.pad(_maps(record, layer)[rows], [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=128)
        n, _, h, w = maps.shape
        tall = COUNT // ACROSS
        grid = maps.reshape(n, tall, ACROSS, h, w).swapaxes(2, 3).reshape(n * tall * h, ACROSS * w)
        empty = (SHOWN - n) * tall * h
        framed.append(np.pad(grid, [(0, empty), (0, 0)], constant_values=128))
    return webp(np.repeat(np.concatenate(framed, 1)[..., None], 3, -1), 70)


def _markers(figure: go.Figure, record: Record, rows: list[int], layers: int, visible: bool) -> None:
    k, i, m = (a.ravel() for a in np.meshgrid(range(layers), range(len(rows)), range(COUNT), indexing="ij"))
    channels = np.asarray(record.arrays["maps_channels"])[:, rows][..., :COUNT]
    figure.add_scatter(x=k * ACROSS + m % ACROSS + 0.5, y=i * (COUNT // ACROSS) + m // ACROSS + 0.5, mode="markers",
                       marker={"opacity": 0, "size": 24}, visible=visible,
                       customdata=np.stack([channels[k, i, m], m + 1], -1),
                       hovertemplate="channel %{customdata[0]}, place %{customdata[1]}<extra></extra>")  # fmt: skip


def _menus(groups: dict[str, Record], rows: list[list[int]], tall: int) -> list[dict]:
    """Of records (which trace and picture is visible) and of images (which part of the y axis): neither undoes the
    other, so the images are named by what all records share, their place."""
    names = list(groups)
    nets = [
        (name, {"visible": [k == view for k in range(len(names))]},
         {f"images[{k}].visible": k == view for k in range(len(names))})
        for view, name in enumerate(names)
    ]  # fmt: skip
    told = [_answers(record, own) for record, own in zip(groups.values(), rows)]
    images = [
        (" / ".join(dict.fromkeys(t[i] for t in told if i < len(t))), {}, {"yaxis.range": [(i + 1) * tall, i * tall]})
        for i in range(min(SHOWN, max(map(len, rows))))
    ]
    return [{**menu(nets), "pad": {"b": 52}}, menu(images)] if len(names) > 1 else [menu(images)]


def _answers(record: Record, rows: list[int]) -> list[str]:
    names = class_names(record)
    pairs = [(int(record.arrays["cam_labels"][k]), int(record.arrays["cam_predictions"][k])) for k in rows]
    return [f"{i}: {names[a]}" if a == b else f"{i}: {names[a]} called {names[b]}" for i, (a, b) in enumerate(pairs, 1)]


def _finding(labels: list[str], records: list[Record], layers: list[str]) -> str:
    """How much of a map is lit in the first and in the last layer, over the images shown."""
    said = []
    for label, record in zip(labels, records):
        lit = [float((_maps(record, layer) >= 255 * WARM).mean()) for layer in (layers[0], layers[-1])]
        said.append(f"{percent(lit[0], 0)} and {percent(lit[1], 0)} in {label}")
    told = f"lit places above half of a map's range, {layers[0]} and {layers[-1]}: {joined(said)}"
    return sentence(told)
