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
    is_small,
    joined,
    leads,
    number_of,
    numbers,
    percent,
    printed,
    sentence,
    share_interval,
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

    The metric is a share in [0, 1]. A group without a finite value has a row without a dot. Raises NothingToDraw where
    all have none.
    """
    everything, labels = flat(groups, "a comparison"), list(groups)
    values = [numbers(records, metric) for records in groups.values()]
    found = [share_interval(v) for v in values]
    if not any(np.isfinite(m) for m, _ in found) or all(r.status == "diverged" for r in everything):
        raise NothingToDraw(f"{joined(labels)}: no finite {metric}")
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
    lost = [all(r.status == "diverged" for r in records) for records in groups.values()]
    label_rows(figure, [label + "<br>diverged" * gone for label, gone in zip(labels, lost)])
    reached = {label: np.nan if gone else m for label, gone, (m, _) in zip(labels, lost, found)}
    title = sentence(leads(reached, "reaches", words(metric)))
    if published is not None and not any(map(is_small, everything)):  # a small run is no rival
        title += f", {_gap(np.nanmax([*reached.values()]) - number_of(published))} the published {printed(published)}"
    intervals = " with 95 % intervals" * any(h > 0 for _, h in found)
    alt = f"Dot plot of {words(metric)}{intervals} for {joined(labels)}. {title}."
    return finish(figure, id, title, alt, caption(everything), 150 + 46 * len(labels))


def _gap(difference: float) -> str:
    points = f"{abs(100 * difference):.1f}"
    return "at" if float(points) == 0 else f"{points} points {'above' if difference > 0 else 'below'}"
