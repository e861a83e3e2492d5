"""Runs side by side: one number each with its interval, a grid of settings, a number against one setting."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.costs import UPDATES
from secondlook.evaluation.statistics import LEAST_SEEDS
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import diamonds, label_rows, line_at, means, seeds, within
from secondlook.figures.tables import Table, table
from secondlook.figures.template import (
    COLOURS,
    MEASURED,
    PUBLISHED,
    QUIET,
    SHARE,
    Views,
    faded,
    finish,
    line,
    looks,
    mark,
)
from secondlook.figures.values import (
    NothingToDraw,
    at_best,
    flat,
    is_small,
    mean_interval,
    needed,
    numbers,
    reach,
    share_interval,
)
from secondlook.record import Record
from secondlook.reports import Published

METRICS = ("validation_accuracy", "train_accuracy", "test_accuracy")
FEW = 6  # values of a setting, up to which each has a tick of its own


@drawn
def comparison(groups: dict[str, list[Record]], metric: str = "test_accuracy", published: Published | None = None,
               id: str = "comparison") -> go.Figure:  # fmt: skip
    """A dot with its 95 % interval and the seeds for each labelled group, and a line at a published value.

    The metric is a share in [0, 1]. A group without a finite value has a row without a dot. Raises NothingToDraw where
    all have none.
    """
    everything, labels = flat(groups, "a comparison"), list(groups)
    values = [numbers(records, metric) for records in groups.values()]
    found = [share_interval(v) for v in values]
    lost = [all(r.status == "diverged" for r in records) for records in groups.values()]
    if not any(np.isfinite(m) for m, _ in found) or all(lost):
        raise NothingToDraw(f"{words.joined(labels)}: no finite {metric}")
    figure = go.Figure()
    seeds(figure, values)
    texts = [f"{label}: {words.percent(m, 2)}{words.spread(h, 2)}, {words.counted(len(v), 'seed')}"
             for label, v, (m, h) in zip(labels, values, found)]  # fmt: skip
    means(figure, np.arange(len(labels)), found, "%{text}", text=texts)
    if published is not None:
        line_at(figure, published.value, (-0.5, len(labels) - 0.5), f"published, {words.printed(published)}", PUBLISHED)
    figure.update_xaxes(title=words.name(metric), tickformat=SHARE)
    within(figure, [*values, [] if published is None else [published.value]], found)
    label_rows(figure, [label + "<br>diverged" * gone for label, gone in zip(labels, lost)])
    reached = {label: np.nan if gone else m for label, gone, (m, _) in zip(labels, lost, found)}
    title = words.sentence(words.leads(reached, "reaches", words.name(metric)))
    if published is not None and not any(map(is_small, everything)):  # a small run is no rival
        title += f"; published: {words.printed(published)}"
    intervals = " with 95 % intervals" * any(h > 0 for _, h in found)
    shows = f"Dot plot of {words.name(metric)}{intervals} for {words.joined(labels)}"
    return finish(figure, id, title, shows, words.caption(everything), 150 + 46 * len(labels))


@drawn
def combinations(groups: dict[str, list[Record]], winner: str = "", published: dict[str, Published] | None = None,
                 id: str = "combinations") -> go.Figure:  # fmt: skip
    """The accuracy of every combination: each seed a dot, the mean with its 95 % interval, diverged seeds crossed.

    `groups` by run in the order to show; `winner` is the run published as the best, `published` its printed numbers by
    metric. A menu chooses the metric. A winner without records is not marked.
    """
    everything, runs = flat(groups, "the grid"), list(groups)
    winner = winner if winner in runs else ""
    metrics = [m for m in METRICS if all(m in r.metrics for r in everything)]
    if not metrics:
        raise NothingToDraw(f"the records hold none of {words.joined(METRICS)}")
    figure = go.Figure()
    views = Views(figure)
    for view, metric in enumerate(metrics):
        _combined(figure, groups, metric)
        if winner and metric in (published or {}):
            best = published[metric]
            diamonds(figure, [best.value], [runs.index(winner)], None, "published, as the best", 12,
                     hovertemplate=f"published: {best.text}<extra></extra>")  # fmt: skip
        views.own(view)
    chance = 1 / len(words.class_names(everything[0]))
    line_at(figure, chance, (-0.5, len(runs) - 0.5), f"chance, {words.percent(chance, 0)}", QUIET)
    views.own(-1)
    names = [words.name(m) for m in metrics]
    views.menu(names, [{"xaxis.title.text": name} for name in names])
    figure.update_xaxes(title=names[0], tickformat=SHARE, rangemode="tozero")
    label_rows(figure, [f"{run}<br><sub>{_settings(own[0], brief=True)}</sub>" for run, own in groups.items()])
    intervals = ", with 95 % intervals" * any(len(own) >= LEAST_SEEDS for own in groups.values())
    shows = f"Dot plot of {words.name(metrics[0])} for {words.joined(runs)}, a dot a seed{intervals}"
    note = words.caption(everything, "rate, λ, penalty, batch")
    return finish(figure, id, _best_combination(groups, metrics[0], winner), shows, note, 150 + 50 * len(runs))


def _settings(record: Record, brief: bool = False) -> str:
    """Rate, λ, penalty and batch size of a linear run, as a line; without their names where it has to be brief."""
    s = record.recipe.settings
    rule = s.penalty.upper() if s.penalty != "none" else "no penalty"
    rate, strength, batch = ("", "", "") if brief else ("rate ", "λ ", "batch ")
    return f"{rate}{words.short(s.learning_rate)}, {strength}{words.short(s.strength)}, {rule}, {batch}{s.batch_size}"


def _combined(figure: go.Figure, groups: dict[str, list[Record]], metric: str) -> None:
    """Seeds and means of every row."""
    for status, symbol, colour, name in (("finished", "circle", faded(MEASURED, 0.45), "a seed"),
                                         ("diverged", "x", QUIET, "a diverged seed")):  # fmt: skip
        rows = [(k, r) for k, own in enumerate(groups.values()) for r in own if r.status == status]
        if not rows:
            continue
        offsets = 0.18 + 0.025 * (np.arange(len(rows)) % 4)  # below the mean, spread so that dots stay apart
        texts = [f"{r.recipe.run}, seed {r.recipe.seed}<br>{_settings(r)}" for _, r in rows]
        figure.add_scatter(x=numbers([r for _, r in rows], metric), y=np.array([k for k, _ in rows]) + offsets,
                           text=texts, mode="markers", marker={"symbol": symbol, "size": 7, "color": colour}, name=name,
                           hovertemplate="%{text}<br>%{x:.1%}<extra></extra>")  # fmt: skip
    found = [share_interval(numbers(own, metric)) for own in groups.values()]
    texts = [f"{run}: {_settings(own[0])}<br>{words.percent(m)}{words.spread(h)}, {words.counted(len(own), 'seed')}"
             for (run, own), (m, h) in zip(groups.items(), found)]  # fmt: skip
    means(figure, np.arange(len(found)), found, "%{text}", text=texts)


def _best_combination(groups: dict[str, list[Record]], metric: str, winner: str) -> str:
    reached = {run: mean_interval(numbers(records, metric))[0] for run, records in groups.items()}
    finite = {run: m for run, m in reached.items() if np.isfinite(m)}
    if not finite:
        return "No combination ends with a finite accuracy"
    first = words.ends(finite).first
    second = words.ends({run: m for run, m in finite.items() if run not in first})
    title = words.leads(finite, "reaches", words.name(metric))
    if second.first:
        which = "the published winner " * (second.first == [winner])
        title += f"; {which}{words.few(second.first)} {words.agree(second.first, 'follows')} with {second.best}"
    if winner in finite and winner not in first + second.first:
        title += f"; the published winner {winner} has {words.percent(finite[winner])}"
    lost = [run for run, records in groups.items() if any(r.status == "diverged" for r in records)]
    return title + (f"; {words.joined(lost)} diverge{'s' if len(lost) == 1 else ''}" if lost else "")


@drawn
def sweep(records: list[Record], x: str = "settings.strength", metric: str = "validation_accuracy",
          by: str = "settings.loss", lowest: bool = False, id: str = "sweep") -> go.Figure:  # fmt: skip
    """`metric` against the setting `x`, one line for each value of `by`: the mean, its 95 % interval, and the seeds.

    The x axis is logarithmic where all its values are positive; `lowest` where less is better. Raises ValueError for
    a path that a record does not have, or where no value is finite.
    """
    records = needed(records, "a sweep")
    share = metric.endswith("accuracy")
    groups: dict[str, dict[float, list[Record]]] = {}
    for r in records:
        label = "yours" if r.recipe.variant == "custom" else _setting(reach(r, by))
        groups.setdefault(label, {}).setdefault(float(reach(r, x)), []).append(r)
    figure, points = go.Figure(), []
    for (label, by_setting), k in zip(groups.items(), looks(groups).values()):
        values = {at: numbers(by_setting[at], metric) for at in sorted(by_setting)}
        found = [mean_interval(v) for v in values.values()]
        points += [(m, at, label) for at, (m, _) in zip(values, found) if np.isfinite(m)]
        _swept(figure, label, values, found, k, ":.1%" if share else ":.4g")
    if not points:
        raise NothingToDraw(f"no record has a finite {metric}")
    _setting_axis(figure, words.name(x), sorted({at for by_setting in groups.values() for at in by_setting}))
    figure.update_yaxes(title=words.name(metric), tickformat=SHARE if share else None)
    figure.update_layout(showlegend=len(groups) > 1)
    title = _best_setting(
        points, groups, words.name(metric), words.name(x), words.percent if share else words.digits, lowest
    )
    return finish(
        figure, id, title, f"Line chart of {words.name(metric)} against {words.name(x)}", words.caption(records), 420
    )


def _swept(figure: go.Figure, label: str, values: dict[float, np.ndarray], found: list, k: int, form: str) -> None:
    at = np.array(list(values))
    figure.add_scatter(x=np.repeat(at, [len(v) for v in values.values()]), y=np.concatenate(list(values.values())),
                       mode="markers", showlegend=False, legendgroup=label, hoverinfo="skip",
                       marker={"size": 6, "color": faded(COLOURS[k % 10], 0.4)})  # fmt: skip
    means(figure, at, found, f"{label}, %{{x:g}}: %{{y{form}}}", across=True, name=label, mode="lines+markers",
          legendgroup=label, line=line(k), marker=mark(k, 9))  # fmt: skip


def _setting_axis(figure: go.Figure, name: str, places: list[float]) -> None:
    positive = all(at > 0 for at in places)
    title, scale = (f"{name} (logarithmic)", "log") if positive else (name, "linear")
    figure.update_xaxes(title=title, type=scale, exponentformat="power")
    if len(places) <= FEW:  # a count as a count, 1,000; anything else as short as can be
        texts = [f"{at:,.0f}" if at >= 1 and at == int(at) else words.short(at) for at in places]
        figure.update_xaxes(tickvals=places, ticktext=texts, minor={"showgrid": False})
    elif positive and places[-1] >= 100 * places[0]:
        figure.update_xaxes(dtick=1)  # powers of ten alone: the 2 and 5 between them would read as parts of exponents


def _best_setting(points: list[tuple], groups: dict, metric: str, name: str, said, lowest: bool) -> str:
    """Where the best number is, and whether its line ends there; of one point, or of equal ones, what there is."""
    order = words.ends({(label, at): mean for mean, at, label in points}, said, lowest)
    if order.tied:
        places = words.joined(words.short(at) for at in sorted({at for _, at in order.first}))
        return words.sentence(f"the {metric} is {order.best} at {name} {places}")
    places = [f"{words.short(at)}{f' with {label}' * (len(groups) > 1)}" for label, at in order.first]
    title = (
        f"The {'lowest' if lowest else 'highest'} {metric}, {order.best}, is at {name} {words.few(places, 'places')}"
    )
    label, at = order.first[0]
    tried = sorted(groups[label])
    ends_there = len(order.first) == 1 and len(tried) > 2 and at in (tried[0], tried[-1])
    return title + "; its range ends there" * ends_there


def _setting(value) -> str:
    """A setting's word as legends say it: L2, Crammer–Singer, AdamW."""
    text = str(value)
    if text in words.OPTIMIZERS or len(text) == 2:
        return words.OPTIMIZERS.get(text, text.upper())
    return "–".join(part.capitalize() for part in text.split("_")) if "_" in text else text


@drawn
def step_costs(groups: dict[str, list[Record]]) -> Table:
    """Arithmetic and memory of an update, its share of a step, and the measured time of a step, a row for each label.

    Of the best profile there is, since what runs of two sizes cost cannot be compared. Counted from the records'
    parameters and multiply-adds (a step is three forward passes); the time is the median over records with its range,
    the devices stand in the caption. Raises ValueError for an empty group.
    """
    groups = at_best(groups)
    heads = ("run", "parameters", "operations a weight", "numbers kept a weight", "share of a step's arithmetic",
             "median time of a step")  # fmt: skip
    everything, rows = flat(groups, "the cost of a step"), []
    for label, records in groups.items():
        settings, m = records[0].recipe.settings, records[0].metrics
        operations, held = UPDATES[settings.optimizer["name"]]
        update = operations * m["parameters"]
        share = update / (update + 6 * m["macs"] * settings.batch_size)
        times = np.array([1e3 * r.metrics["train_seconds"] / max(r.metrics["steps"], 1) for r in records])
        span = f" ({times.min():.2f} to {times.max():.2f})" if len(times) > 1 else ""
        time = f"{np.median(times):.2f} ms{span}"
        rows.append((label, f"{m['parameters']:,}", operations, held, words.percent(share), time))
    devices = words.joined(sorted({str(r.provenance.get("device", "unknown")) for r in everything}))
    return table(rows, heads, f"What a step costs: {words.caption(everything)} · {devices}")
