"""Class activation maps: an explorer of single images, and how focused the maps of right and wrong answers are."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation import metrics
from secondlook.figures.marks import means, picture
from secondlook.figures.template import CLASS_COLOURS, finish, menu, slider, views
from secondlook.figures.values import (
    NothingToDraw,
    caption,
    class_names,
    counted,
    mean_interval,
    needed,
    percent,
    sentence,
)
from secondlook.record import Record

METHODS = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM", "layercam": "LayerCAM"}
MEASURES = {  # name in records: words, unit
    "entropy": ("evenness (entropy)", "entropy, 1 is even"),
    "area": ("area above half of the maximum", "share of the image"),
    "centre": ("share in the middle third", "share of the map; 0.33 is even"),
}
EDGE = 1  # cells a map is continued by on each side, so that smoothing does not mix neighbours
HEAT = [[0, "rgba(255,90,0,0)"], [0.35, "rgba(255,90,0,0.25)"], [0.7, "rgba(255,60,0,0.6)"], [1, "rgba(200,0,60,0.9)"]]
INSET = 1 / 64  # half a pixel of 32, so that the images above and below do not shine through
OPACITIES = {"map over the image": 1.0, "map, half as strong": 0.5, "image alone": 0.0}


def cam_explorer(record: Record, sprite: str | None = None, method: str = "", id: str = "cam") -> go.Figure:
    """The maps of the images a record keeps: a menu of images, one of methods, one of strengths, a slider of layers.

    Read from the arrays cam_maps uint8 (images, layers, methods, 14, 14), cam_labels and cam_predictions and the
    metrics cam_layers and cam_methods. `sprite` is a data-URI of the images, one below the other
    (`Chapter.image_column`); without it the maps stand alone. `method` is the one shown first (gradcam, hirescam or
    layercam). Raises ValueError for a record without maps, or without that method.
    """
    (record,) = needed(record, "activation maps")
    maps = _maps(record)
    images, layers = maps.shape[:2]
    names = [METHODS.get(m, m) for m in record.metrics["cam_methods"]]
    shown = list(record.metrics["cam_methods"]).index(method) if method else 0
    figure = go.Figure()
    for m, name in enumerate(names):
        figure.add_heatmap(z=_mosaic(maps[:, :, m]), **_cells(maps.shape[-1]), zmin=0, zmax=255, zsmooth="best",
                           colorscale=HEAT, autocolorscale=False, showscale=False, visible=m == shown, xaxis="x2",
                           yaxis="y2", hovertemplate=f"{name}: %{{z}} of 255<extra></extra>")  # fmt: skip
    figure.add_scatter(x=[0.5] * images, y=np.arange(images) + 0.5, mode="markers", hoverinfo="skip",
                       marker={"opacity": 0, "size": 2}, showlegend=False)  # fmt: skip
    if sprite:
        picture(figure, sprite, 1, images)
    _lay_out(figure, record, names, layers, shown)
    title = _told(maps, record)
    alt = (
        f"Heat maps of {counted(images, 'test image')} in {counted(layers, 'layer')}: which places speak for the class "
        f"that was predicted. {title}."
    )
    note = "blank where nothing speaks for the class" + ("" if sprite else "; the images are not at hand")
    whole = finish(figure, id, title, alt, caption([record], note), 480)
    whole.update_layout(margin_t=whole.layout.margin.t + 40, height=whole.layout.height + 40)  # two rows of menus
    return whole


def cam_focus(records: Record | list[Record], id: str = "cam-focus") -> go.Figure:
    """How focused the maps of right and of wrong answers are, layer by layer; a menu of measures and methods.

    Read from cam_focus (images, layers, methods, measures) and cam_focus_right. Means with 95 % intervals: over images
    where there is one record, over seeds where there are more. Raises ValueError for records without them.
    """
    records = [r for r in needed(records, "the focus of activation maps") if "cam_focus" in r.arrays]
    if not records:
        raise NothingToDraw("no record keeps the focus of activation maps; its run needs keep = 'evidence'")
    first = records[0].metrics
    names, methods = list(first["cam_measures"]), [METHODS.get(m, m) for m in first["cam_methods"]]
    figure, owners, labels, layouts = go.Figure(), [], [], []
    for m, method in enumerate(methods):
        for measure, (words, unit) in MEASURES.items():
            for right in (True, False):
                found = _by_layer(records, right, m, names.index(measure))
                at = np.arange(len(found)) + (-0.08 if right else 0.08)
                word = "right answers" if right else "wrong answers"
                look = {"color": CLASS_COLOURS[0 if right else 1], "symbol": "circle" if right else "square", "size": 9}
                means(figure, at, found, f"{word}: %{{y:.3f}}", across=True, name=word, mode="lines+markers",
                      marker=look, line={"color": look["color"], "dash": "solid" if right else "dash"},
                      visible=not labels)  # fmt: skip
                owners.append(len(labels))
            labels.append(f"{words}, {method}")
            layouts.append({"yaxis.title.text": unit})
    figure.update_layout(updatemenus=[views(owners, labels, layouts)], yaxis_title=layouts[0]["yaxis.title.text"])
    figure.update_xaxes(tickvals=list(range(len(first["cam_layers"]))), ticktext=list(first["cam_layers"]))
    title = _difference(records, names.index("entropy"))
    alt = f"Line chart of how focused heat maps are, right against wrong answers, by layer. {title}."
    return finish(figure, id, title, alt, caption(records, _counts(records)), 420)


def read_at(record: Record) -> int:
    """The layer that titles speak of: the deepest whose maps are fine enough to say where, else the last."""
    layers = list(record.metrics["cam_layers"])
    return layers.index(record.metrics.get("cam_layer", layers[-1]))


def effect(record: Record, measure: int, layer: int, method: int = 0, among=None) -> metrics.Interval | None:
    """How often a wrong answer's map measures higher than a right one's (1/2 where they do not differ), DeLong 95 %.

    `among` (images,) restricts the images. None where one of the two kinds is missing.
    """
    values = np.asarray(record.arrays["cam_focus"][:, layer, method, measure], float)
    wrong = ~np.asarray(record.arrays["cam_focus_right"], bool)
    kept = np.isfinite(values) & (True if among is None else among)
    wrong, values = wrong[kept], values[kept]
    return metrics.auc_interval(wrong, values) if 2 <= wrong.sum() <= len(wrong) - 2 else None


def _maps(record: Record) -> np.ndarray:
    if "cam_maps" not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no activation maps; its run needs keep = 'evidence'")
    return np.asarray(record.arrays["cam_maps"])


def _mosaic(maps: np.ndarray) -> np.ndarray:
    """Maps (images, layers, h, w) as one array, images down, layers across, each continued by its own edge."""
    padded = np.pad(maps, [(0, 0), (0, 0), (EDGE, EDGE), (EDGE, EDGE)], mode="edge")
    n, layers, h, w = padded.shape
    return padded.swapaxes(1, 2).reshape(n * h, layers * w)


def _cells(side: int) -> dict:
    """Where the cells of a mosaic lie when the map of image i and layer k begins at (k, i) · pitch and is 1 wide."""
    first = 0.5 / side - EDGE / side
    return {"x0": first, "dx": 1 / side, "y0": first, "dy": 1 / side}


def _range(k: int, side: int) -> list[float]:
    start = k * (side + 2 * EDGE) / side
    return [start, start + 1]


def _lay_out(figure: go.Figure, record: Record, names: list[str], layers: int, method: int) -> None:
    """Every control changes what no other one does: image y ranges, method visible, strength opacity, layer x2."""
    side, (labels, prefix) = record.arrays["cam_maps"].shape[-1], _short(list(record.metrics["cam_layers"]))
    first = read_at(record)
    chosen = [
        (text, {}, {"yaxis.range": [i + 1 - INSET, i + INSET], "yaxis2.range": _range(i, side)[::-1]})
        for i, text in enumerate(_answers(record))
    ]
    methods = [(t, {"visible": [m == k for k in range(len(names))] + [True]}, {}) for m, t in enumerate(names)]
    strengths = [(t, {"opacity": [o] * len(names) + [1]}, {}) for t, o in OPACITIES.items()]
    lower = {"pad": {"b": 52}}
    menus = [
        menu(chosen),
        {**menu(methods), **lower, "active": method},
        {**menu(strengths), **lower, "x": 1, "xanchor": "right"},
    ]
    shown = [{"xaxis2.range": _range(k, side)} for k in range(layers)]
    still = {"fixedrange": True, "visible": False, "constrain": "domain"}
    figure.update_layout(
        updatemenus=menus, sliders=[{**slider(labels, shown, prefix), "active": first}], showlegend=False,
        xaxis={"range": [INSET, 1 - INSET], **still}, yaxis={"range": [1 - INSET, INSET], "scaleanchor": "x", **still},
        xaxis2={"range": _range(first, side), "overlaying": "x", **still},
        yaxis2={"range": _range(0, side)[::-1], "overlaying": "y", "scaleanchor": "x2", **still},
    )  # fmt: skip


def _short(layers: list[str]) -> tuple[list[str], str]:
    """Numbers and `block ` of block1 … block5, since a slider cuts long labels; other names as they are."""
    stem = layers[0].rstrip("0123456789")
    if stem and all(name.startswith(stem) and name[len(stem) :].isdigit() for name in layers):
        return [name[len(stem) :] for name in layers], f"{stem} "
    return layers, "layer "


def _answers(record: Record) -> list[str]:
    names = class_names(record)
    pairs = zip(record.arrays["cam_labels"].tolist(), record.arrays["cam_predictions"].tolist())
    return [
        f"{k + 1}: {names[a]}, recognised" if a == b else f"{k + 1}: {names[a]} called {names[b]}"
        for k, (a, b) in enumerate(pairs)
    ]


def _told(maps: np.ndarray, record: Record) -> str:
    right = record.arrays["cam_labels"] == record.arrays["cam_predictions"]
    own = maps[:, read_at(record), 0]
    hot = (own >= own.max((1, 2), keepdims=True) / 2).mean((1, 2))
    hot = np.where(own.any((1, 2)), hot, np.nan)
    layer = record.metrics["cam_layers"][read_at(record)]
    said = [f"{percent(np.nanmean(hot[own]), 0)} of {word}" for own, word in ((right, "the recognised images"),
            (~right, "the mistaken ones")) if np.isfinite(hot[own]).any()]  # fmt: skip
    return f"In {layer} the heat above half of its maximum covers {' and '.join(said)}" if said else "No map is warm"


def _by_layer(records: list[Record], right: bool, method: int, measure: int) -> list[tuple[float, float]]:
    """Mean and half-width for each layer."""
    each = []
    for r in records:
        own = np.asarray(r.arrays["cam_focus_right"], bool) == right
        each.append(np.asarray(r.arrays["cam_focus"][own][:, :, method, measure], float))
    if len(each) == 1:
        return [mean_interval(column) for column in each[0].T]
    layers = each[0].shape[1]
    seeds = [[v[:, k][np.isfinite(v[:, k])] for v in each] for k in range(layers)]
    return [mean_interval([v.mean() for v in own if len(v)]) for own in seeds]


def _difference(records: list[Record], entropy: int) -> str:
    found = [e for r in records if (e := effect(r, entropy, read_at(r)))]
    layer = records[0].metrics["cam_layers"][read_at(records[0])]
    if not found:
        return f"In {layer} there are too few right or wrong answers to compare"
    mean = float(np.mean([e.value for e in found]))
    text = f"in {layer} a wrong answer's heat is more even than a right one's in {percent(mean, 0)} of pairs"
    if len(found) == 1:
        text += f" [{percent(found[0].low, 0)}, {percent(found[0].high, 0)}]"
    return sentence(text + "; 50 % is no difference")


def _counts(records: list[Record]) -> str:
    right = sum(int(np.sum(r.arrays["cam_focus_right"])) for r in records)
    return f"{counted(right, 'right answer')}, {sum(len(r.arrays['cam_focus_right']) for r in records) - right:,} wrong"
