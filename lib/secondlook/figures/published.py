"""Published numbers beside measured ones."""

import textwrap
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go

from secondlook.checks import nearest
from secondlook.data import hash_draws
from secondlook.evaluation.statistics import LEAST_SEEDS, prediction_half_width
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import diamonds, label_rows, line_at, means, within
from secondlook.figures.tables import Table
from secondlook.figures.template import COLOURS, MEASURED, PUBLISHED, SHARE, SYMBOLS, faded, finish
from secondlook.figures.values import first_with, flat, needed, numbers
from secondlook.record import Record
from secondlook.reports import Published, Report


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
    values: np.ndarray
    half: float

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def tells(self) -> bool:
        """Whether there is an interval that excludes anything: not one that leaves what a share can be."""
        return self.mean - self.half >= 0 and self.mean + self.half <= 1

    @property
    def wide(self) -> bool:
        """Whether there is an interval that excludes nothing."""
        return bool(np.isfinite(self.half)) and not self.tells

    @property
    def consistent(self) -> bool:
        return abs(self.mean - self.published.value) <= self.half + 1e-12


def fair(rows: list[Row]) -> list[Row]:
    """The rows that have records; reduced runs are called so where others are full."""
    kept = {(k, label): own for k, row in enumerate(rows) for label, own in row.groups.items() if own}
    reduced = [at for at, own in kept.items() if own[0].recipe.profile == "reduced"]
    found: list[dict] = [{} for _ in rows]
    for (k, label), own in kept.items():
        mixed = (k, label) in reduced and len(reduced) < len(kept)
        found[k][words.VARIANTS.get(label, label) + ", reduced" * mixed] = own
    return [replace(row, groups=own) for row, own in zip(rows, found) if own]


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
            found.append(Comparison(published, label, values, half))
    return found


@drawn
def published_against_measured(report: Report, rows: list[Row], id: str = "published-against-measured") -> go.Figure:
    """Each published number and, for each group, the mean with the interval in which one more run would fall (95 %).

    Groups are variants, losses or whatever else may explain the numbers; see `Row`. Raises ValueError as `compare`.
    """
    if not (rows := fair(rows)):
        needed([], "published against measured")
    everything = [r for row in rows for r in flat(row.groups, row.published)]
    found = compare(report, rows)
    labels = list(dict.fromkeys(c.label for c in found))
    printed = [report.published[i] for i in dict.fromkeys(row.published for row in rows)]
    figure = go.Figure()
    for k, label in enumerate(labels):
        own = [c for c in found if c.label == label]
        at = [printed.index(c.published) + (k + 1) * 0.62 / len(labels) - 0.24 for c in own]
        _group(figure, label, own, at, k)
    _printed(figure, printed, [p.value for p in printed] + [c.mean for c in found if np.isfinite(c.mean)])
    figure.update_xaxes(title="accuracy", tickformat=SHARE)
    intervals = [(c.mean, c.half) for c in found if c.tells]
    within(figure, [[p.value for p in printed], *(c.values for c in found)], intervals)
    label_rows(figure, ["<br>".join(textwrap.wrap(p.says or p.id, 20)) for p in printed], above=False, showgrid=False)
    shows = f"Dot plot of {words.joined(p.text for p in printed)} as published, and intervals of {words.joined(labels)}"
    few = all(len(c.values) < LEAST_SEEDS for c in found)
    note = "too few seeds for an interval" if few else "95 % prediction intervals of one more run, where seeds suffice"
    height = 170 + (46 + 22 * len(labels)) * len(printed)
    return finish(figure, id, _fitting(found, labels), shows, words.caption(everything, note), height)


def _group(figure: go.Figure, label: str, own: list[Comparison], at: list[float], k: int) -> None:
    """The seeds and the means of one group."""
    look = {"color": COLOURS[k % 6], "symbol": SYMBOLS[k % 10], "size": 10}
    found = [(np.nan if c.wide else c.mean, c.half * c.tells) for c in own]
    figure.add_scatter(x=np.concatenate([c.values for c in own]), y=np.repeat(at, [len(c.values) for c in own]),
                       mode="markers", marker={"size": 6, "color": faded(look["color"], 0.5)}, showlegend=False,
                       hovertemplate=f"{label}, a seed: %{{x:.2%}}<extra></extra>")  # fmt: skip
    means(figure, at, found, "%{text}", name=label, text=[_told(c) for c in own], marker=look)


def _told(c: Comparison) -> str:
    place = "inside" if c.consistent else "outside"
    near = f"<br>95 % prediction interval ± {100 * c.half:.1f} points<br>published {c.published.text}: {place}"
    near = near if c.tells else "<br>without an interval: too few seeds, or too unlike"
    return f"{c.label}, {words.counted(len(c.values), 'seed')}<br>{words.told_mean(c.values)}{near}"


def _printed(figure: go.Figure, printed: list[Published], places: list[float]) -> None:
    """The published numbers, each with a line through its row."""
    left = min(places) + np.ptp(places) / 3  # a number this far left would reach into the labels of the rows
    sides = ["middle right" if p.value < left else "middle left" for p in printed]
    diamonds(figure, [p.value for p in printed], [k - 0.26 for k in range(len(printed))], [p.text for p in printed],
             size=12, mode="markers+text", textposition=sides, cliponaxis=False)  # fmt: skip
    for k, p in enumerate(printed):
        figure.add_shape(type="line", x0=p.value, x1=p.value, y0=k - 0.26, y1=k + 0.44,
                         line={"color": PUBLISHED, "width": 1, "dash": "dot"})  # fmt: skip


def _fitting(found: list[Comparison], labels: list[str]) -> str:
    """How many published numbers fit each group, the best and narrowest first; of one how far one more run may fall."""
    told = []
    for label in labels:
        own = [c for c in found if c.label == label and c.tells]
        if own:
            fit, low, high = sum(c.consistent for c in own), *(100 * end(c.half for c in own) for end in (min, max))
            span = f"{low:.1f} to {high:.1f}" if f"{low:.1f}" != f"{high:.1f}" else f"{high:.1f}"
            told.append((-fit, high, f"{label} {fit} of {len(own)}", f" (± {span} points)"))
    wide = sum(c.wide for c in found)
    spreads = f"{'spreads' if wide == 1 else 'spread'} too widely to tell"
    if told:
        text = f"Published numbers that fit: {'; '.join(text for _, _, text, _ in sorted(told))}"
        text += told[0][3] * (len(told) == 1)
        return f"{text}; {wide} {spreads}" if wide else text
    if wide:
        return f"The {words.counted(wide, 'measured number')} {spreads}"
    seeds = words.joined(sorted({words.counted(len(c.values), "seed") for c in found}))
    short = all(len(c.values) < LEAST_SEEDS for c in found)
    return f"{seeds} of each: {'too few' if short else 'too often diverged'} to tell which published numbers fit"


@drawn
def published_table(report: Report, rows: list[Row] | None = None) -> Table:
    """Every published number of a report with where it stands; with `rows` those numbers beside what was measured.

    The measured column is the mean ± half its 95 % interval; in brackets, where one more run would fall.
    """
    if rows is None:
        told = [(p.says or p.id, p.text, p.where) for p in report.published.values()]
        source = f". Source: {report.source}" if report.source else ""
        return Table(("number", "published", "where"), tuple(told), f"Numbers published: {report.title}{source}")
    rows = fair(rows)
    everything = [r for row in rows for r in flat(row.groups, row.published)]
    found = compare(report, rows)
    labels = list(dict.fromkeys(c.label for c in found))
    cells = {(c.published.id, c.label): _measured(c) for c in found}
    printed = [report.published[i] for i in dict.fromkeys(row.published for row in rows)]
    told = [(p.says or p.id, p.text, *(cells.get((p.id, label), "") for label in labels)) for p in printed]
    note = "mean ± half its 95 % interval, in brackets the 95 % prediction interval of one more run"
    caption = f"Published and measured: {words.caption(everything, note)}"
    return Table(("number", "published", *labels), tuple(told), caption)


def _measured(c: Comparison) -> str:
    if not c.tells:
        return f"{words.told_mean(c.values)}, {words.counted(len(c.values), 'seed')}"
    low, high = (words.percent(c.mean + side * c.half) for side in (-1, 1))
    return f"{words.told_mean(c.values)}, {'fits' if c.consistent else 'does not fit'} ({low} to {high})"


@drawn
def small_test_draws(records: Record | list[Record], published: Published | None = None, count: int = 1000,
                     id: str = "small-test-draws") -> go.Figure:  # fmt: skip
    """The accuracy on `count` draws of 1,000 test images, by hash, with that on all images and a published one.

    Of the first record that keeps predictions, ValueError where none does; of half of the images where there are fewer.
    """
    records = needed(records, "draws of the test set")
    record = first_with(records, ("predictions",), "predictions", "predictions")
    right = np.asarray(record.arrays["predictions"]) == np.asarray(record.arrays["labels"])
    size = 1000 if len(right) > 1000 else len(right) // 2
    small = right[hash_draws(count, size, len(right))].mean(1)
    step = max(1, round(np.ptp(small) * size / 30)) / size
    heights, edges = np.histogram(small, np.arange(small.min() - step / 2, small.max() + step, step))
    figure = go.Figure(go.Bar(x=(edges[:-1] + edges[1:]) / 2, y=heights, width=step * 0.94, marker_color=MEASURED,
                              name=f"draws of {size:,} images",
                              hovertemplate="%{x:.1%}: %{y} draws<extra></extra>"))  # fmt: skip
    span, whole = (0, heights.max() * 1.05), float(right.mean())
    line_at(figure, whole, span, f"all {len(right):,} images, {words.percent(whole)}", COLOURS[1], "solid")
    figure.update_xaxes(title=f"accuracy on {size:,} test images", tickformat=SHARE)
    figure.update_yaxes(title="draws")
    low, high = map(words.percent, np.quantile(small, [0.025, 0.975]))
    title = f"{size:,} images say {low} to {high} where all {len(right):,} say {words.percent(whole)}"
    if published is not None:
        line_at(figure, published.value, span, f"published, {words.printed(published)}", PUBLISHED)
        reached = float((small >= published.value).mean())
        share = words.percent(reached, 0) if 0 < reached < 1 else "every one" if reached else "none"
        verb = "reach" if 0 < reached < 1 else "reaches"
        title += f"; {share} of {count:,} draws {verb} the published {words.printed(published)}"
    shows = f"Histogram of the accuracy on {count:,} draws of {size:,} test images"
    return finish(figure, id, title, shows, words.caption([record]), 400)
