"""The front page: finding cards with their numbers, and every published share beside what was measured."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.tables import Html
from secondlook.figures.template import COLOURS, MEASURED, PUBLISHED, QUIET, finish
from secondlook.record import Record, Records
from secondlook.reports import read

BAR, WIDE = 20, 260  # pixels of a bar in a card and of its row
NO_SHARE = re.compile(r"loss|distance|seconds|error", re.IGNORECASE)  # what is no share of images
VAGUE = 0.5  # width of an interval from which on it says nothing of a share
VALUED = ("reproduced", "direction reproduced", "not reproduced", "inconclusive")


@dataclass(frozen=True)
class Card:
    """A finding: its number, a sentence, bars (label, share, published or not) and the chapter."""

    number: str
    sentence: str
    bars: Sequence[tuple[str, float, bool]]
    chapter: str
    title: str


def best_records(records: Records, report: str, run: str, variant: str) -> list[Record]:
    """The finished records of a run in full, or else of its reduced profile."""
    for profile in ("full", "reduced"):
        found = records.find(read(report).recipes(run, variant, profile))
        if found := [r for r in found if r.status == "finished"]:
            return found
    return []


def mean(records: Sequence[Record], metric: str = "test_accuracy") -> float:
    """The mean of a metric over records; NaN where there are none."""
    values = [r.metrics[metric] for r in records if r.metrics.get(metric) is not None]
    return float(np.mean(values)) if values else float("nan")


def cards(findings: Sequence[Card]) -> Html:
    """The findings as a grid of links; one without a number is left out."""
    shown = [c for c in findings if all(np.isfinite(value) for _, value, _ in c.bars)]
    body = "".join(
        f'<a class="sl-card" href="{html.escape(c.chapter)}"><span class="sl-card-of">{html.escape(c.title)}</span>'
        f'<span class="sl-card-number">{html.escape(c.number)}</span>'
        f"<span>{html.escape(c.sentence)}</span>{_bars(c.bars)}</a>"
        for c in shown
    )
    text = "\n".join(f"{c.title}: {c.number}. {c.sentence}" for c in shown)
    return Html(f'<div class="sl-cards">{body}</div>', text)


def _bars(bars: Sequence[tuple[str, float, bool]]) -> str:
    rows = "".join(
        f'<rect x="0" y="{2 * BAR * i + BAR}" width="{WIDE * value:.1f}" height="9" rx="2" '
        f'fill="{PUBLISHED if printed else MEASURED}"/>'
        f'<text x="0" y="{2 * BAR * i + BAR - 5}">{html.escape(label)}</text>'
        f'<text x="{WIDE}" y="{2 * BAR * i + BAR - 5}" text-anchor="end">{100 * value:.1f} %</text>'
        for i, (label, value, printed) in enumerate(bars)
    )
    told = "; ".join(f"{label} {value:.1%}" for label, value, _ in bars)
    return f'<svg viewBox="0 0 {WIDE} {2 * BAR * len(bars)}" role="img" aria-label="{html.escape(told)}">{rows}</svg>'


def published_and_measured(judgements: Sequence, id: str = "published-and-measured") -> go.Figure:
    """Every published share that was measured: published across, measured up, with the interval for one more run.

    Raises ValueError where there is none.
    """
    valued = [j for j in judgements if j.verdict in VALUED and not NO_SHARE.search(j.says)]
    points = [(j, *values) for j in valued for values in _pairs(j)]
    if not points:
        raise ValueError("there is no claim with a published and a measured share")
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="equal", hoverinfo="skip",
                       line={"color": QUIET, "dash": "dot", "width": 1})  # fmt: skip
    kinds = {"the report's own settings": False, "settings fitted to the report": True}
    for k, (name, fitted) in enumerate(kinds.items()):
        some = [p for p in points if p[0].id.endswith("f") == fitted]
        if some:
            _points(figure, name, some, COLOURS[k], ("circle", "square")[k])
    told = [(p, low, high) for _, p, _, (low, high) in points if high - low < VAGUE]
    inside = sum(low <= p <= high for p, low, high in told)
    axis = {"range": [0, 1.02], "tickformat": ".0%"}
    figure.update_layout(xaxis={**axis, "title": "published"}, yaxis={**axis, "title": "measured, mean over seeds"})
    title = f"{inside} of {len(told)} published shares lie inside the 95 % prediction interval of our runs"
    shows = "Scatter plot of measured against published accuracies and other shares, with a line of equality"
    return finish(figure, id, title, shows, _below(len(points) - len(told)), 460)


def _below(vague: int) -> str:
    left_out = f" · not counted: {vague} whose seeds differ by more than {100 * VAGUE:.0f} points" if vague else ""
    return f"bars: 95 % prediction interval · full records on real data{left_out}"


def _points(figure: go.Figure, name: str, points: Sequence[tuple], colour: str, symbol: str) -> None:
    x, y = [p for _, p, _, _ in points], [m for _, _, m, _ in points]
    low, high = np.clip(np.array([i for *_, i in points]), 0, 1).T
    figure.add_scatter(
        x=x, y=y, mode="markers", name=name, marker={"size": 9, "color": colour, "symbol": symbol},
        error_y={"array": high - y, "arrayminus": y - low, "thickness": 1.2, "width": 3, "color": colour},
        customdata=[[j.id, j.says, j.verdict] for j, *_ in points],
        hovertemplate="%{customdata[0]}, %{customdata[2]}: published %{x:.1%}, measured %{y:.1%}"
        "<br>%{customdata[1]}<extra></extra>",
    )  # fmt: skip


def _pairs(judged):
    """(published, measured, (low, high)) of each number of a claim that has all three between 0 and 1."""
    values = (judged.published, judged.measured, judged.interval)
    if isinstance(judged.published, int | float):
        values = tuple([v] for v in values)
    if not all(isinstance(v, list | tuple) for v in values) or len({len(v) for v in values}) > 1:
        return
    for published, measured, interval in zip(*values):
        shares = all(isinstance(v, int | float) and 0 < v <= 1 for v in (published, measured))
        if shares and isinstance(interval, list | tuple) and len(interval) == 2:
            yield published, measured, tuple(interval)
