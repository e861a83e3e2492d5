"""Runs side by side: one number each, with its interval."""

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.marks import label_rows, line_at, means, seeds, within
from secondlook.figures.template import PUBLISHED, finish
from secondlook.figures.values import (
    NothingToDraw,
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
    spread,
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
    lost = [label for label, (m, _) in zip(labels, found) if not np.isfinite(m)]
    if lost:
        raise NothingToDraw(f"{joined(lost)}: no finite {metric}")
    figure = go.Figure()
    seeds(figure, values)
    texts = [
        f"{label}: {percent(m, 2)}{spread(h, 2)}, {counted(len(v), 'seed')}"
        for label, v, (m, h) in zip(labels, values, found)
    ]
    means(figure, np.arange(len(labels)), found, "%{text}", text=texts)
    if published is not None:
        line_at(figure, number_of(published), (-0.5, len(labels) - 0.5), f"published, {printed(published)}", PUBLISHED)
    figure.update_xaxes(title=words(metric), tickformat=".2~%")
    within(figure, [*values, [] if published is None else [number_of(published)]], found)
    label_rows(figure, labels)
    best, (top, _) = max(enumerate(found), key=lambda pair: pair[1][0])
    title = f"{sentence(labels[best])} reaches the highest {words(metric)}, {percent(top)}"
    if published is not None and groups[labels[best]][0].recipe.profile != "quick":  # a small run is no rival
        gap = 100 * (top - number_of(published))
        title += f", {abs(gap):.1f} points {'above' if gap >= 0 else 'below'} the published {printed(published)}"
    intervals = " with 95 % intervals" * any(h > 0 for _, h in found)
    alt = f"Dot plot of {words(metric)}{intervals} for {joined(labels)}. {title}."
    return finish(figure, id, title, alt, caption(everything), 150 + 46 * len(labels))
