"""Runs side by side: one number each, with its interval."""

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.template import MEASURED, PUBLISHED, faded, finish
from secondlook.figures.values import (
    caption,
    counted,
    flat,
    joined,
    mean_interval,
    number_of,
    numbers,
    percent,
    printed,
    sentence,
    words,
)
from secondlook.record import Record
from secondlook.reports import Published


def comparison(
    groups: dict[str, list[Record]],
    metric: str = "test_accuracy",
    published: Published | float | None = None,
    id: str = "comparison",
) -> go.Figure:
    """A dot with its 95 % interval and the seeds for each labelled group, and a line at a published value.

    The metric is a share in [0, 1]. Raises ValueError for an empty group or one without a finite value.
    """
    everything, labels = flat(groups, "a comparison"), list(groups)
    values = [numbers(records, metric) for records in groups.values()]
    found = [mean_interval(v) for v in values]
    if not all(np.isfinite(m) for m, _ in found):
        raise ValueError(
            f"{joined(label for label, (m, _) in zip(labels, found) if not np.isfinite(m))}: no finite {metric}"
        )
    figure = go.Figure()
    figure.add_scatter(
        x=np.concatenate(values),
        y=np.concatenate([np.full(len(v), k + 0.22) for k, v in enumerate(values)]),
        mode="markers",
        marker={"size": 6, "color": faded(MEASURED, 0.5)},
        name="a seed",
        hovertemplate="%{x:.2%}<extra></extra>",
    )
    texts = [
        f"{label}: {percent(m, 2)} ± {percent(h, 2)}, {counted(len(v), 'seed')}"
        for label, v, (m, h) in zip(labels, values, found)
    ]
    means = np.array([m for m, _ in found])
    figure.add_scatter(x=means, y=np.arange(len(labels)), mode="markers", name="mean, 95 % interval", text=texts,
                       marker={"size": 11, "color": MEASURED}, hovertemplate="%{text}<extra></extra>",
                       error_x={"array": np.array([h for _, h in found]), "thickness": 2})  # fmt: skip
    if published is not None:
        figure.add_scatter(
            x=[number_of(published)] * 2,
            y=[-0.5, len(labels) - 0.5],
            mode="lines",
            name=f"published, {printed(published)}",
            line={"color": PUBLISHED, "dash": "dash", "width": 2},
            hovertemplate="%{x:.1%}<extra></extra>",
        )
    figure.update_xaxes(title=words(metric), tickformat=".0%")
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=labels, range=[len(labels) - 0.5, -0.5], zeroline=False
    )
    best = int(means.argmax())
    title = f"{sentence(labels[best])} reaches the highest {words(metric)}, {percent(means[best])}"
    if published is not None:
        gap = 100 * (means[best] - number_of(published))
        title += f", {abs(gap):.1f} points {'above' if gap >= 0 else 'below'} the published {printed(published)}"
    alt = f"Dot plot of {words(metric)} with 95 % intervals for {joined(labels)}. {title}."
    return finish(figure, id, title, alt, caption(everything), 150 + 46 * len(labels))
