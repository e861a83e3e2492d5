"""A number against one setting that was varied."""

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.template import CLASS_COLOURS, DASHES, SYMBOLS, faded, finish
from secondlook.figures.values import caption, mean_interval, needed, numbers, percent, reach, words
from secondlook.record import Record


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
    said = (lambda v: percent(v)) if share else (lambda v: f"{v:.3g}")
    groups: dict[str, dict[float, list[Record]]] = {}
    for r in records:
        groups.setdefault(str(reach(r, by)).replace("_", "–"), {}).setdefault(float(reach(r, x)), []).append(r)
    figure, points = go.Figure(), []
    for k, (label, own) in enumerate(groups.items()):
        at = sorted(own)
        values = [numbers(own[v], metric) for v in at]
        found = [mean_interval(v) for v in values]
        points += [(m, v, label) for v, (m, _) in zip(at, found) if np.isfinite(m)]
        _line(figure, label, np.array(at), values, found, k, ":.1%" if share else ":.4g")
    if not points:
        raise ValueError(f"no record has a finite {metric}")
    name = words(x)
    positive = all(v > 0 for own in groups.values() for v in own)
    figure.update_xaxes(
        title=name + (" (logarithmic)" if positive else ""),
        type="log" if positive else "linear",
        exponentformat="power",
    )
    figure.update_yaxes(title=words(metric), tickformat=".0%" if share else None)
    best, at, label = (min if lowest else max)(points)
    title = f"The {'lowest' if lowest else 'highest'} {words(metric)}, {said(best)}, is at {name} {at:g}"
    title += f" with {label}" if len(groups) > 1 else ""
    worst = (max if lowest else min)(points)
    alt = f"Line chart of {words(metric)} against {name}. {title}; the {'highest' if lowest else 'lowest'} is {said(worst[0])} at {worst[1]:g}."
    return finish(figure, id, title, alt, caption(records), 420)


def _line(figure: go.Figure, label: str, at: np.ndarray, values: list, found: list, k: int, digits: str) -> None:
    colour = CLASS_COLOURS[k % 10]
    figure.add_scatter(
        x=np.repeat(at, [len(v) for v in values]),
        y=np.concatenate(values),
        mode="markers",
        showlegend=False,
        legendgroup=label,
        marker={"size": 6, "color": faded(colour, 0.4)},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=at,
        y=np.array([m for m, _ in found]),
        mode="lines+markers",
        name=label,
        legendgroup=label,
        error_y={"array": np.array([h for _, h in found]), "thickness": 1.5},
        line={"color": colour, "dash": DASHES[k % 3]},
        marker={"size": 9, "symbol": SYMBOLS[k % 10]},
        hovertemplate=f"{label}, %{{x:g}}: %{{y{digits}}}<extra></extra>",
    )
