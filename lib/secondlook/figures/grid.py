"""A grid of settings: what every combination reaches, with each seed."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.statistics import LEAST_SEEDS
from secondlook.figures.marks import label_rows, line_at, means
from secondlook.figures.template import MEASURED, PUBLISHED, QUIET, faded, finish, views
from secondlook.figures.values import (
    NothingToDraw,
    agree,
    caption,
    class_names,
    counted,
    ends,
    few,
    flat,
    joined,
    leads,
    mean_interval,
    number_of,
    numbers,
    percent,
    printed,
    share_interval,
    short,
    spread,
    words,
)
from secondlook.record import Record
from secondlook.reports import Published

METRICS = ("validation_accuracy", "train_accuracy", "test_accuracy")


def combinations(
    records_by_run: dict[str, list[Record]],
    winner: str = "",
    published: dict[str, Published] | None = None,
    metrics: tuple[str, ...] = METRICS,
    id: str = "combinations",
) -> go.Figure:
    """The accuracy of every combination: each seed a dot, the mean with its 95 % interval, diverged seeds crossed.

    `records_by_run` in the order to show; `winner` is the run published as the best, `published` its printed numbers by
    metric. A menu chooses the metric. A winner without records is not marked.
    """
    everything, published = flat(records_by_run, "the grid"), published or {}
    runs = list(records_by_run)
    winner = winner if winner in runs else ""
    metrics = tuple(m for m in metrics if all(m in r.metrics for r in everything))
    if not metrics:
        raise NothingToDraw(f"the records hold none of {joined(METRICS)}")
    figure, owners = go.Figure(), []
    for view, metric in enumerate(metrics):
        before = len(figure.data)
        _seeds(figure, records_by_run, metric)
        _means(figure, records_by_run, metric)
        if winner and metric in published:
            _winner(figure, runs.index(winner), published[metric])
        figure.update_traces(visible=view == 0, selector=lambda t, b=before: t in figure.data[b:])
        owners += [view] * (len(figure.data) - before)
    chance = 1 / len(class_names(everything[0]))
    line_at(figure, chance, (-0.5, len(runs) - 0.5), f"chance, {percent(chance, 0)}", QUIET)
    owners.append(-1)
    names = [words(m) for m in metrics]
    menus = [views(owners, names, [{"xaxis.title.text": name} for name in names])]
    figure.update_layout(updatemenus=menus, xaxis_title=names[0])
    figure.update_xaxes(tickformat=".2~%", rangemode="tozero")
    ticks = [f"{run}<br><sub>{settings(records[0], brief=True)}</sub>" for run, records in records_by_run.items()]
    label_rows(figure, ticks)
    title = _finding(records_by_run, metrics[0], winner)
    intervals = ", with 95 % intervals" * any(len(own) >= LEAST_SEEDS for own in records_by_run.values())
    alt = f"Dot plot of {words(metrics[0])} for {joined(runs)}, a dot a seed{intervals}. {title}."
    return finish(figure, id, title, alt, caption(everything, "rate, λ, penalty, batch"), 150 + 50 * len(runs))


def settings(record: Record, brief: bool = False) -> str:
    """Rate, λ, penalty and batch size of a linear run, as a line; without their names where it has to be brief."""
    s = record.recipe.settings
    rule = s.penalty.upper() if s.penalty != "none" else "no penalty"
    names = ("", "", "") if brief else ("rate ", "λ ", "batch ")
    values = (short(s.learning_rate), short(s.strength), s.batch_size)
    rate, strength, batch = (f"{name}{value}" for name, value in zip(names, values))
    return ", ".join([rate, strength, rule, batch])


def _seeds(figure: go.Figure, records_by_run: dict, metric: str) -> None:
    for status, symbol, colour, name in (
        ("finished", "circle", faded(MEASURED, 0.45), "a seed"),
        ("diverged", "x", QUIET, "a diverged seed"),
    ):
        rows = [(k, r) for k, records in enumerate(records_by_run.values()) for r in records if r.status == status]
        if not rows:
            continue
        offsets = [0.18 + 0.025 * (i % 4) for i in range(len(rows))]  # below the mean, spread so that dots stay apart
        texts = [f"{r.recipe.run}, seed {r.recipe.seed}<br>{settings(r)}" for _, r in rows]
        figure.add_scatter(x=numbers([r for _, r in rows], metric), y=np.array([k for k, _ in rows]) + offsets,
                           text=texts, mode="markers", marker={"symbol": symbol, "size": 7, "color": colour}, name=name,
                           hovertemplate="%{text}<br>%{x:.1%}<extra></extra>")  # fmt: skip


def _means(figure: go.Figure, records_by_run: dict, metric: str) -> None:
    found = [share_interval(numbers(records, metric)) for records in records_by_run.values()]
    texts = [
        f"{run}: {settings(records[0])}<br>{percent(m)}{spread(h)}, {counted(len(records), 'seed')}"
        for (run, records), (m, h) in zip(records_by_run.items(), found)
    ]
    means(figure, np.arange(len(found)), found, "%{text}", text=texts)


def _winner(figure: go.Figure, row: int, published: Published) -> None:
    figure.add_scatter(x=[number_of(published)], y=[row], mode="markers", name="published, as the best",
                       marker={"symbol": "diamond", "size": 12, "color": PUBLISHED},
                       hovertemplate=f"published: {printed(published)}<extra></extra>")  # fmt: skip


def _finding(records_by_run: dict, metric: str, winner: str) -> str:
    reached = {run: mean_interval(numbers(records, metric))[0] for run, records in records_by_run.items()}
    finite = {run: m for run, m in reached.items() if np.isfinite(m)}
    if not finite:
        return "No combination ends with a finite accuracy"
    first = ends(finite).first
    second = ends({run: m for run, m in finite.items() if run not in first})
    title = leads(finite, "reaches", words(metric))
    if second.first:
        which = "the published winner " * (second.first == [winner])
        title += f"; {which}{few(second.first)} {agree(second.first, 'follows')} with {second.best}"
    if winner in finite and winner not in first + second.first:
        title += f"; the published winner {winner} has {percent(finite[winner])}"
    lost = [run for run, records in records_by_run.items() if any(r.status == "diverged" for r in records)]
    return title + (f"; {joined(lost)} diverge{'s' if len(lost) == 1 else ''}" if lost else "")
