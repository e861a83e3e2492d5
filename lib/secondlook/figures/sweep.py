"""A number against one setting that was varied."""

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.marks import means
from secondlook.figures.template import CLASS_COLOURS, DASHES, SYMBOLS, faded, finish, looks
from secondlook.figures.values import (
    OPTIMIZER_WORDS,
    NothingToDraw,
    caption,
    digits,
    ends,
    few,
    joined,
    mean_interval,
    needed,
    numbers,
    percent,
    reach,
    sentence,
    short,
    words,
)
from secondlook.record import Record

FEW = 6  # values of a setting, up to which each has a tick of its own


def sweep(
    records: list[Record],
    x: str = "settings.strength",
    metric: str = "validation_accuracy",
    by: str = "settings.loss",
    lowest: bool = False,
    id: str = "sweep",
) -> go.Figure:
    """`metric` against the setting `x`, one line for each value of `by`: the mean, its 95 % interval, and the seeds.

    The x axis is logarithmic where all its values are positive; `lowest` where less is better. Raises ValueError for
    a path that a record does not have, or where no value is finite.
    """
    records = needed(records, "a sweep")
    share = metric.endswith("accuracy")
    said = percent if share else digits
    groups: dict[str, dict[float, list[Record]]] = {}
    for r in records:
        label = "yours" if r.recipe.variant == "custom" else _label(reach(r, by))
        groups.setdefault(label, {}).setdefault(float(reach(r, x)), []).append(r)
    figure, points = go.Figure(), []
    for (label, own), k in zip(groups.items(), looks(groups).values()):
        at = sorted(own)
        values = [numbers(own[v], metric) for v in at]
        found = [mean_interval(v) for v in values]
        points += [(m, v, label) for v, (m, _) in zip(at, found) if np.isfinite(m)]
        _line(figure, label, np.array(at), values, found, k, ":.1%" if share else ":.4g")
    if not points:
        raise NothingToDraw(f"no record has a finite {metric}")
    name = words(x)
    positive = all(v > 0 for own in groups.values() for v in own)
    title, scale = (f"{name} (logarithmic)", "log") if positive else (name, "linear")
    figure.update_xaxes(title=title, type=scale, exponentformat="power")
    places = sorted({v for own in groups.values() for v in own})
    if len(places) <= FEW:
        figure.update_xaxes(tickvals=places, ticktext=[_tick(v) for v in places], minor={"showgrid": False})
    elif positive and places[-1] >= 100 * places[0]:
        figure.update_xaxes(dtick=1)  # powers of ten alone: the 2 and 5 between them would read as parts of exponents
    figure.update_yaxes(title=words(metric), tickformat=".2~%" if share else None)
    figure.update_layout(showlegend=len(groups) > 1)
    title = _finding(points, groups, words(metric), name, said, lowest)
    alt = f"Line chart of {words(metric)} against {name}. {title}."
    return finish(figure, id, title, alt, caption(records), 420)


def _finding(points: list[tuple], groups: dict, metric: str, name: str, said, lowest: bool) -> str:
    """Where the best number is, and whether its line ends there; of one point, or of equal ones, what there is."""
    order = ends({(label, at): mean for mean, at, label in points}, said, lowest)
    if order.tied:
        places = joined(short(at) for at in sorted({at for _, at in order.first}))
        return sentence(f"the {metric} is {order.best} at {name} {places}")
    places = [f"{short(at)}{f' with {label}' * (len(groups) > 1)}" for label, at in order.first]
    title = f"The {'lowest' if lowest else 'highest'} {metric}, {order.best}, is at {name} {few(places, 'places')}"
    label, at = order.first[0]
    tried = sorted(groups[label])
    ends_there = len(order.first) == 1 and len(tried) > 2 and at in (tried[0], tried[-1])
    return title + ", where its range ends" * ends_there


def _tick(value: float) -> str:
    """A count as a count, 1,000; anything else as short as can be."""
    return f"{value:,.0f}" if value >= 1 and value == int(value) else short(value)


def _label(value) -> str:
    """A setting's word as legends say it: L2, Crammer–Singer, AdamW."""
    text = str(value)
    if text in OPTIMIZER_WORDS:
        return OPTIMIZER_WORDS[text]
    if len(text) == 2:
        return text.upper()
    return "–".join(part.capitalize() for part in text.split("_")) if "_" in text else text


def _line(figure: go.Figure, label: str, at: np.ndarray, values: list, found: list, k: int, form: str) -> None:
    colour = CLASS_COLOURS[k % 10]
    figure.add_scatter(x=np.repeat(at, [len(v) for v in values]), y=np.concatenate(values), mode="markers",
                       showlegend=False, legendgroup=label, marker={"size": 6, "color": faded(colour, 0.4)},
                       hoverinfo="skip")  # fmt: skip
    means(figure, at, found, f"{label}, %{{x:g}}: %{{y{form}}}", across=True, name=label, mode="lines+markers",
          legendgroup=label, line={"color": colour, "dash": DASHES[k % 3]},
          marker={"color": colour, "size": 9, "symbol": SYMBOLS[k % 10]})  # fmt: skip
