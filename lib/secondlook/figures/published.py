"""Published numbers beside measured ones."""

import textwrap
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from secondlook.data import hash_draws
from secondlook.evaluation.statistics import LEAST_SEEDS, prediction_half_width
from secondlook.figures.marks import label_rows, line_at, means, within
from secondlook.figures.template import CLASS_COLOURS, MEASURED, PUBLISHED, SYMBOLS, finish
from secondlook.figures.values import (
    VARIANT_WORDS,
    NothingToDraw,
    caption,
    counted,
    flat,
    joined,
    needed,
    number_of,
    numbers,
    percent,
    printed,
)
from secondlook.recipe import nearest
from secondlook.record import Record
from secondlook.reports import Published, Report

ANY = 0.5  # half-width of an interval of a share that excludes next to nothing


@dataclass(frozen=True)
class Row:
    """A published number (its id in the report), the metric it is held against, and the records by label.

    `sampling` names a metric whose mean is the standard error of the published number that comes from its images; for
    numbers whose images are not those of the metric.
    """

    published: str
    metric: str
    groups: dict[str, list[Record]]
    sampling: str = ""


@dataclass(frozen=True)
class Comparison:
    """One published number held against one group: `half` is the half-width inside which it is consistent.

    NaN where a seed diverged or there are fewer than three: then there is no interval, and nothing is consistent.
    """

    published: Published
    label: str
    mean: float
    half: float
    seeds: int

    @property
    def consistent(self) -> bool:
        return abs(self.mean - self.published.value) <= self.half + 1e-12


def compare(report: Report, rows: list[Row]) -> list[Comparison]:
    """Every row of every group. Raises ValueError for a number that the report did not publish."""
    found = []
    for row in rows:
        if row.published not in report.published:
            raise ValueError(f"{report.name} published no {row.published!r}{nearest(row.published, report.published)}")
        published = report.published[row.published]
        for label, records in row.groups.items():
            values = numbers(needed(records, f"{row.published}, {label}"), row.metric)
            half = np.nan
            if len(values) >= LEAST_SEEDS and np.isfinite(values).all():
                error = float(numbers(records, row.sampling).mean()) if row.sampling else 0.0
                half = prediction_half_width(values, published.half_unit, error)
            found.append(
                Comparison(published, VARIANT_WORDS.get(label, label), float(values.mean()), half, len(values))
            )
    return found


def published_against_measured(report: Report, rows: list[Row], id: str = "published-against-measured") -> go.Figure:
    """Each published number and, for each group, the mean with the interval in which one more run would fall (95 %).

    Groups are variants, losses or whatever else may explain the numbers; see `Row`. Raises ValueError as `compare`.
    """
    if not rows:
        needed([], "published against measured")
    everything = [r for row in rows for r in flat(row.groups, row.published)]
    found = compare(report, rows)
    labels = list(dict.fromkeys(c.label for c in found))
    ids = list(dict.fromkeys(row.published for row in rows))
    figure = go.Figure()
    for k, label in enumerate(labels):
        own = [c for c in found if c.label == label]
        at = [ids.index(c.published.id) + (k + 1) * 0.62 / len(labels) - 0.24 for c in own]
        look = {"color": CLASS_COLOURS[k % 6], "symbol": SYMBOLS[k % 10], "size": 10}
        found_ = [(c.mean, c.half) for c in own]
        means(figure, at, found_, "%{text}", name=label, text=[_told(c) for c in own], marker=look)
    texts = [report.published[i] for i in ids]
    ends = [p.value for p in texts] + [c.mean for c in found]
    left = min(ends) + np.ptp(ends) / 3  # a number this far left would reach into the labels of the rows
    sides = ["middle right" if p.value < left else "middle left" for p in texts]
    figure.add_scatter(x=[p.value for p in texts], y=[k - 0.26 for k in range(len(ids))], mode="markers+text",
                       name="published", text=[p.text for p in texts], textposition=sides, cliponaxis=False,
                       marker={"color": PUBLISHED, "symbol": "diamond", "size": 12},
                       hovertemplate="published %{text}<extra></extra>")  # fmt: skip
    for k, p in enumerate(texts):
        figure.add_shape(type="line", x0=p.value, x1=p.value, y0=k - 0.26, y1=k + 0.44,
                         line={"color": PUBLISHED, "width": 1, "dash": "dot"})  # fmt: skip
    figure.update_xaxes(title="accuracy", tickformat=".2~%")
    intervals = [(c.mean, np.nan_to_num(c.half)) for c in found]
    within(figure, [[p.value for p in texts], [m for m, _ in intervals]], intervals)
    lines = ["<br>".join(textwrap.wrap(p.says or p.id, 20)) for p in texts]
    label_rows(figure, lines, above=False, showgrid=False)
    title = _finding(found, labels)
    alt = f"Dot plot of {joined(p.text for p in texts)} as published, and intervals of {joined(labels)}. {title}."
    told = any(np.isfinite(c.half) for c in found)
    note = caption(everything, "95 % prediction intervals" if told else "too few seeds for an interval")
    return finish(figure, id, title, alt, note, 170 + (46 + 22 * len(labels)) * len(ids))


def small_test_draws(records: Record | list[Record], published: Published | float | None = None, size: int = 0,
                     count: int = 1000, id: str = "small-test-draws") -> go.Figure:  # fmt: skip
    """The accuracy on `count` draws of `size` test images, by hash, with that on all images and a published one.

    Of the first record that keeps predictions, ValueError where none does. `size` is 1,000 if not given, and half of
    what there is where that is not more than `size`.
    """
    records = needed(records, "draws of the test set")
    record = next((r for r in records if "predictions" in r.arrays and "labels" in r.arrays), None)
    if record is None:
        raise NothingToDraw(
            f"no record of {records[0].recipe.run} keeps predictions; its run needs keep = 'predictions'"
        )
    right = np.asarray(record.arrays["predictions"]) == np.asarray(record.arrays["labels"])
    size = size or 1000
    size = size if size < len(right) else len(right) // 2
    small = right[hash_draws(count, size, len(right))].mean(1)
    step = max(1, round(np.ptp(small) * size / 30)) / size
    heights, edges = np.histogram(small, np.arange(small.min() - step / 2, small.max() + step, step))
    figure = go.Figure(go.Bar(x=(edges[:-1] + edges[1:]) / 2, y=heights, width=step * 0.94, marker_color=MEASURED,
                              name=f"draws of {size:,} images",
                              hovertemplate="%{x:.1%}: %{y} draws<extra></extra>"))  # fmt: skip
    span, whole = (0, heights.max() * 1.05), float(right.mean())
    line_at(figure, whole, span, f"all {len(right):,} images, {percent(whole)}", CLASS_COLOURS[1], "solid")
    figure.update_xaxes(title=f"accuracy on {size:,} test images", tickformat=".2~%")
    figure.update_yaxes(title="draws")
    low, high = np.quantile(small, [0.025, 0.975])
    title = f"{size:,} images say {percent(low)} to {percent(high)} where all {len(right):,} say {percent(whole)}"
    if published is not None:
        line_at(figure, number_of(published), span, f"published, {printed(published)}", PUBLISHED)
        reached = float((small >= number_of(published)).mean())
        share = percent(reached, 0) if 0 < reached < 1 else "every one" if reached else "none"
        verb = "reach" if 0 < reached < 1 else "reaches"
        title += f"; {share} of {count:,} draws {verb} the published {printed(published)}"
    alt = f"Histogram of the accuracy on {count:,} draws of {size:,} test images. {title}."
    return finish(figure, id, title, alt, caption([record]), 400)


def _finding(found: list[Comparison], labels: list[str]) -> str:
    """How many published numbers fit each group and how wide its widest interval is, the best and narrowest first."""
    told = []
    for label in labels:
        own = [c for c in found if c.label == label and np.isfinite(c.half)]
        if not own:
            continue
        fit, width = sum(c.consistent for c in own), max(c.half for c in own)
        low, high = (f"{100 * edge:.1f}" for edge in (min(c.half for c in own), width))
        said = f"± {low} to {high} points" if low != high else f"± {high} points"
        said = said if width < ANY else "one interval so wide that any number fits"
        told.append((-fit, width, f"{label} {fit} of {len(own)} ({said})"))
    if not told:
        seeds = joined(sorted({counted(c.seeds, "seed") for c in found}))
        few = all(c.seeds < LEAST_SEEDS for c in found)
        return f"{seeds} of each: too {'few' if few else 'often diverged'} to tell which published numbers fit"
    return f"Published numbers that fit: {', '.join(text for *_, text in sorted(told))}"


def _told(c: Comparison) -> str:
    place = "inside" if c.consistent else "outside" if np.isfinite(c.half) else "without an interval"
    half = f" ± {percent(c.half)}" if np.isfinite(c.half) else ""
    measured = f"{c.label}, {counted(c.seeds, 'seed')}<br>{percent(c.mean)}{half}"
    return f"{measured}<br>published {c.published.text}: {place}"
