"""A VGG drawn layer by layer, with what each layer costs."""

from math import sqrt

import plotly.graph_objects as go

from secondlook.evaluation.costs import KINDS, Layer, total
from secondlook.figures.template import CLASS_COLOURS, finish, views
from secondlook.figures.values import joined, percent

GAP = 0.8  # columns between two blocks
VIEWS = ("the layers drawn", "parameters", "multiply-adds of one image")
UNITS = ("pixels a side", "parameters", "multiply-adds")


def architecture(nets: dict[str, list[Layer]], caption: str, id: str = "architecture") -> go.Figure:
    """Nets below one another, block under block, so that a layer one of them lacks is a gap; a menu of what is drawn.

    `nets` gives each label its `vgg_layers`. A convolution is as tall as its map is wide; a dense layer as a square of
    its units would be. Raises ValueError without nets.
    """
    if not nets:
        raise ValueError("an architecture needs at least one net's layers")
    columns, ticks = _columns(nets)
    figure, owners = go.Figure(), []
    for row, (label, layers) in enumerate(nets.items()):
        at = [columns[layer.block, k] for layer, k in _numbered(layers)]
        colour = [CLASS_COLOURS[layer.block % len(CLASS_COLOURS)] for layer in layers]
        for view, heights in enumerate(_heights(layers)):
            centred = [-h / 2 for h in heights] if view == 0 else None
            figure.add_bar(x=at, y=heights, base=centred, width=0.82, name=label, marker_color=colour,
                           visible=view == 0, yaxis=f"y{row + 1 if row else ''}", showlegend=False,
                           text=[_told(layer) for layer in layers], textposition="none",
                           hovertemplate=f"{label}, %{{text}}<extra></extra>")  # fmt: skip
            owners.append(view)
    layouts = []
    for unit in UNITS:
        axes = [f"yaxis{row + 1 if row else ''}" for row in range(len(nets))]
        layouts.append({f"{a}.title.text": f"{name}<br>{unit}" for a, name in zip(axes, nets)})
        layouts[-1] |= {f"{a}.showticklabels": unit != UNITS[0] for a in axes}  # a drawing is centred on 0
    figure.update_layout(updatemenus=[views(owners, VIEWS, layouts)], barmode="overlay")
    for row, name in enumerate(nets):
        step = 1 / len(nets)
        domain = [1 - (row + 1) * step + 0.04 * (row < len(nets) - 1), 1 - row * step - 0.04 * (row > 0)]
        axis = {"domain": domain, "title": f"{name}<br>{UNITS[0]}", "anchor": "x", "showticklabels": False}
        figure.update_layout({f"yaxis{row + 1 if row else ''}": {**axis, "exponentformat": "SI", "nticks": 5}})
    figure.update_xaxes(tickvals=list(ticks.values()), ticktext=list(ticks), showgrid=False, anchor="free", position=0,
                        title="block")  # fmt: skip
    title = _finding(nets)
    alt = f"Bars for every layer of {joined(nets)}, in five blocks and a dense part. {title}."
    return finish(figure, id, title, alt, caption, 140 + 190 * len(nets))


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


def _heights(layers: list[Layer]) -> list[list[float]]:
    drawn = [layer.side if layer.kind == KINDS[0] else sqrt(layer.outputs) for layer in layers]
    return [drawn, [layer.parameters for layer in layers], [layer.macs for layer in layers]]


def _told(layer: Layer) -> str:
    size = (
        f"{layer.outputs} maps of {layer.side} × {layer.side}" if layer.kind == KINDS[0] else f"{layer.outputs} units"
    )
    return f"{layer.name}: {size}<br>{layer.parameters:,} parameters<br>{layer.macs:,} multiply-adds"


def _finding(nets: dict[str, list[Layer]]) -> str:
    first, *_ = nets
    *_, last = nets
    share = percent(total(nets[last], "parameters", KINDS[1]) / total(nets[last], "parameters"), 0)
    if first == last:
        return f"{share} of {last}'s parameters stand in its dense layers"
    work, size = (total(nets[last], what) / total(nets[first], what) for what in ("macs", "parameters"))
    return (
        f"{last} takes {work:.1f} times the arithmetic of {first} with {percent(size - 1, 0)} more parameters; {share} "
        f"of its {total(nets[last], 'parameters') / 1e6:.1f} million stand in the dense layers"
    )
