"""What a net sees in single images: an explorer of class activation maps, and feature maps of every layer."""

import numpy as np
import plotly.graph_objects as go

from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import decoded, picture, spots, webp
from secondlook.figures.template import MENU, finish, menu, slider
from secondlook.figures.values import NothingToDraw, kept, needed
from secondlook.record import Record

METHODS = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM", "layercam": "LayerCAM"}
EDGE = 1  # cells a map is continued by on each side, so that smoothing does not mix neighbours
HEAT = [[0, "rgba(255,90,0,0)"], [0.35, "rgba(255,90,0,0.25)"], [0.7, "rgba(255,60,0,0.6)"], [1, "rgba(200,0,60,0.9)"]]
INSET = 1 / 64  # half a pixel of 32, so that the images above and below do not shine through
OPACITIES = {"map over the image": 1.0, "map, half as strong": 0.5, "image alone": 0.0}
SECOND_ROW = {"pad": {"b": MENU + 12}}  # of menus, above the first
ACROSS = 5  # feature maps in a row
COUNT = 10  # feature maps of an image and layer, as records keep them
TALL = COUNT // ACROSS
IMAGES = 4  # of each record
SIDE = 32  # pixels of a feature map on the page
WARM = 0.5  # of a map's range, above which a place counts as lit


@drawn
def cam_explorer(record: Record, sprite: str | None = None, method: str = "", id: str = "cam") -> go.Figure:
    """The maps of the images a record keeps: a menu of images, one of methods, one of strengths, a slider of layers.

    Read from the arrays cam_maps uint8 (images, layers, methods, 14, 14), cam_labels and cam_predictions and the
    metrics cam_layers and cam_methods. `sprite` is a data-URI of the images, one below the other
    (`Chapter.image_column`); without it the maps stand alone. `method` is the one shown first (gradcam, hirescam or
    layercam). Raises ValueError for a record without maps, or without that method.
    """
    (record,) = needed(record, "activation maps")
    maps = kept(record, "cam_maps", "activation maps")
    images, layers, _, side, _ = maps.shape
    names = [METHODS.get(m, m) for m in record.metrics["cam_methods"]]
    shown = list(record.metrics["cam_methods"]).index(method) if method else 0
    figure = go.Figure()
    first = 0.5 / side - EDGE / side  # the map of image i and layer k begins at (k, i) · pitch and is 1 wide
    for m, name in enumerate(names):
        figure.add_heatmap(z=_mosaic(maps[:, :, m]), x0=first, y0=first, dx=1 / side, dy=1 / side, zmin=0, zmax=255,
                           zsmooth="best", colorscale=HEAT, autocolorscale=False, showscale=False, xaxis="x2",
                           yaxis="y2", visible=m == shown,
                           hovertemplate=f"{name}: %{{z}} of 255<extra></extra>")  # fmt: skip
    figure.add_scatter(x=[0.5] * images, y=np.arange(images) + 0.5, mode="markers", hoverinfo="skip",
                       marker={"opacity": 0, "size": 2}, showlegend=False)  # fmt: skip
    if sprite:
        picture(figure, sprite, 1, images)
    _controls(figure, record, names, shown)
    shows = f"Heat maps of {words.counted(images, 'test image')} in {words.counted(layers, 'layer')}: "
    shows += "which places speak for the class that was predicted"
    note = "strong heat: at least half of a map's maximum" + ("" if sprite else "; the images are not at hand")
    return finish(figure, id, _warmth(maps, record), shows, words.caption([record], note), 480)


def read_at(record: Record) -> int:
    """The layer that titles speak of: the deepest whose maps are fine enough to say where, else the last."""
    layers = list(record.metrics["cam_layers"])
    return layers.index(record.metrics.get("cam_layer", layers[-1]))


def _mosaic(maps: np.ndarray) -> np.ndarray:
    """Maps (images, layers, h, w) as one array, images down, layers across, each continued by its own edge."""
    padded = np.pad(maps, [(0, 0), (0, 0), (EDGE, EDGE), (EDGE, EDGE)], mode="edge")
    n, layers, h, w = padded.shape
    return padded.swapaxes(1, 2).reshape(n * h, layers * w)


def _controls(figure: go.Figure, record: Record, names: list[str], method: int) -> None:
    """Every control changes what no other one does: image y ranges, method visible, strength opacity, layer x2."""
    side, (labels, prefix) = record.arrays["cam_maps"].shape[-1], _short(list(record.metrics["cam_layers"]))
    count, first, rows = len(names), read_at(record), range(len(record.arrays["cam_labels"]))
    starts = [k * (side + 2 * EDGE) / side for k in range(max(len(labels), len(rows)))]
    across = [[start, start + 1] for start in starts[: len(labels)]]
    images = [(text, {}, {"yaxis.range": [i + 1 - INSET, i + INSET], "yaxis2.range": [starts[i] + 1, starts[i]]})
              for i, text in enumerate(_answers(record, rows, ", recognised"))]  # fmt: skip
    methods = [(t, {"visible": [m == k for k in range(count)] + [True]}, {}) for m, t in enumerate(names)]
    strengths = [(t, {"opacity": [o] * count + [1]}, {}) for t, o in OPACITIES.items()]
    menus = [menu(images), menu(methods, active=method, **SECOND_ROW),
             menu(strengths, x=1, xanchor="right", **SECOND_ROW)]  # fmt: skip
    layers = slider(labels, [{"xaxis2.range": own} for own in across], prefix, active=first)
    still = {"fixedrange": True, "visible": False, "constrain": "domain"}
    figure.update_layout(
        updatemenus=menus, sliders=[layers], showlegend=False,
        xaxis={"range": [INSET, 1 - INSET], **still}, yaxis={"range": [1 - INSET, INSET], "scaleanchor": "x", **still},
        xaxis2={"range": across[first], "overlaying": "x", **still},
        yaxis2={"range": [1.0, 0.0], "overlaying": "y", "scaleanchor": "x2", **still},
    )  # fmt: skip


def _short(layers: list[str]) -> tuple[list[str], str]:
    """Numbers and `block ` of block1 … block5, since a slider cuts long labels; other names as they are."""
    stem = layers[0].rstrip("0123456789")
    if stem and all(name.startswith(stem) and name[len(stem) :].isdigit() for name in layers):
        return [name[len(stem) :] for name in layers], f"{stem} "
    return layers, "layer "


def _answers(record: Record, rows, right: str = "") -> list[str]:
    """The images of these rows by their place, with their class, and what they are called instead."""
    names = words.class_names(record)
    pairs = [(int(record.arrays["cam_labels"][k]), int(record.arrays["cam_predictions"][k])) for k in rows]
    return [f"{i}: {names[a]}{right if a == b else f' called {names[b]}'}" for i, (a, b) in enumerate(pairs, 1)]


def _warmth(maps: np.ndarray, record: Record) -> str:
    right = record.arrays["cam_labels"] == record.arrays["cam_predictions"]
    own = maps[:, read_at(record), 0]
    hot = (own >= own.max((1, 2), keepdims=True) / 2).mean((1, 2))
    hot = np.where(own.any((1, 2)), hot, np.nan)
    layer = record.metrics["cam_layers"][read_at(record)]
    groups = {"the recognised images": hot[right], "the mistaken ones": hot[~right]}
    said = [f"{words.percent(np.nanmean(v), 0)} of {word}" for word, v in groups.items() if np.isfinite(v).any()]
    return f"In {layer} strong heat covers {' and '.join(said)}" if said else "No map is warm"


@drawn
def feature_maps(groups: dict[str, Record], id: str = "feature-maps") -> go.Figure:
    """Ten maps of an image, the channel that matters most for its class first; menus of records and of images, and a
    slider over the layers.

    Read from the arrays maps_LAYER (WebP, a row an image, a column a channel), maps_channels, cam_labels and
    cam_predictions and the metric maps_layers. Raises ValueError for a record without them, or for other layers.
    """
    records = needed(groups.values(), "feature maps")
    layers = _layers(records)
    rows = [_shown(record) for record in records]
    figure = go.Figure()
    for view, (record, own) in enumerate(zip(records, rows)):
        k, i, m = np.meshgrid(range(len(layers)), range(len(own)), range(COUNT), indexing="ij")
        channels = np.asarray(record.arrays["maps_channels"])[:, own][..., :COUNT]
        spots(figure, k * ACROSS + m % ACROSS, i * TALL + m // ACROSS, 24,
              "channel %{customdata[0]}, place %{customdata[1]}", visible=view == 0,
              customdata=np.stack([channels[k, i, m].ravel(), m.ravel() + 1], -1))  # fmt: skip
        figure.add_layout_image(source=_page(record, layers, own), x=0, y=0, sizex=ACROSS * len(layers),
                                sizey=TALL * IMAGES, xref="x", yref="y", sizing="stretch", yanchor="top",
                                layer="below", visible=view == 0)  # fmt: skip
    still = {"visible": False, "fixedrange": True, "constrain": "domain"}
    figure.update_xaxes(range=[0, ACROSS], **still)
    figure.update_yaxes(range=[TALL, 0], scaleanchor="x", constraintoward="top", **still)
    shown = [{"xaxis.range": [k * ACROSS, (k + 1) * ACROSS]} for k in range(len(layers))]
    bar = slider(layers, shown, "layer ", active=0, x=0.04, len=0.92)  # its ends have long names
    figure.update_layout(showlegend=False, updatemenus=_menus(groups, rows), sliders=[bar])
    bright = [f"{_bright(records, layer)} in {layer}" for layer in (layers[0], layers[-1])]
    title = f"Places above half of a map's range: {', '.join(bright)}"
    shows = "Pictures of the ten channels that speak most for the predicted class, of "
    shows += f"{words.counted(IMAGES, 'image')} of each of {words.joined(groups)}"
    note = words.caption(records, "each map on its own scale, the first matters most")
    return finish(figure, id, title, shows, note, 300)


def _layers(records: list[Record]) -> list[str]:
    for record in records:
        kept(record, "maps_channels", "feature maps")
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
    return sorted(order[:IMAGES], key=lambda k: (labels[k] != said[k], labels[k], k))


def _maps(record: Record, layer: str) -> np.ndarray:
    """uint8 (images, COUNT, SIDE, SIDE), small maps enlarged by whole pixels."""
    sheet = np.asarray(decoded(record.arrays[f"maps_{layer}"], "L"))
    images = record.arrays["maps_channels"].shape[1]
    h = sheet.shape[0] // images
    tiles = sheet.reshape(images, h, sheet.shape[1] // h, h).swapaxes(1, 2)
    repeats = max(1, SIDE // h)
    large = tiles.repeat(repeats, 2).repeat(repeats, 3)[:, :COUNT, :SIDE, :SIDE]
    return np.pad(large, [(0, 0), *((0, full - n) for full, n in zip((COUNT, SIDE, SIDE), large.shape[1:]))])


def _page(record: Record, layers: list[str], rows: list[int]) -> str:
    """One picture: layers side by side, images one below the other, two rows of five maps each, a gap around a map."""
    framed = []
    for layer in layers:
        maps = np.pad(_maps(record, layer)[rows], [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=128)
        n, _, h, w = maps.shape
        grid = maps.reshape(n, TALL, ACROSS, h, w).swapaxes(2, 3).reshape(n * TALL * h, ACROSS * w)
        framed.append(np.pad(grid, [(0, (IMAGES - n) * TALL * h), (0, 0)], constant_values=128))
    return webp(np.repeat(np.concatenate(framed, 1)[..., None], 3, -1), quality=70)


def _menus(groups: dict[str, Record], rows: list[list[int]]) -> list[dict]:
    """Of records (which trace and picture is visible) and of images (which part of the y axis): neither undoes the
    other, so the images are named by what all records share, their place."""
    count = len(groups)
    nets = [
        (name, {"visible": [k == view for k in range(count)]},
         {f"images[{k}].visible": k == view for k in range(count)})
        for view, name in enumerate(groups)
    ]  # fmt: skip
    told = [_answers(record, own) for record, own in zip(groups.values(), rows)]
    images = [
        (" / ".join(dict.fromkeys(t[i] for t in told if i < len(t))), {}, {"yaxis.range": [(i + 1) * TALL, i * TALL]})
        for i in range(min(IMAGES, max(map(len, rows))))
    ]
    return [menu(nets, **SECOND_ROW), menu(images)] if count > 1 else [menu(images)]


def _bright(records: list[Record], layer: str) -> str:
    """The share of a layer's places above half of their map's range over all images kept, from record to record."""
    found = sorted(float((_maps(record, layer) >= 255 * WARM).mean()) for record in records)
    low, high = (words.percent(found[k], 0) for k in (0, -1))
    return low if low == high else f"{low} to {high}"
