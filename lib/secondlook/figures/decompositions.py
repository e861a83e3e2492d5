"""What a number is made of: an accuracy by the parts of a recipe, the excess risk by its two errors."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import permutations

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.statistics import LEAST_SEEDS
from secondlook.figures import words
from secondlook.figures.marks import diamonds, label_rows, means, within
from secondlook.figures.template import COLOURS, MEASURED, QUIET, Views, finish, line, mark
from secondlook.figures.values import NothingToDraw, flat, mean_interval, needed, numbers, reach
from secondlook.record import Record
from secondlook.reports import Report

EARLY = 10  # epochs of the shorter training, which the first epochs of the longer one are
PARTS = {  # a setting: its word, and its value where the part is absent
    ("model", "stage"): ("larger net", 1),
    ("model", "batch_norm"): ("batch normalisation", False),
    ("model", "dropout"): ("dropout", False),
    ("schedule", "name"): ("schedule", "constant"),
}
LONGER = "more epochs"
LAST = ("penalty", "L2")  # what the final runs have besides: the setting and its word
WITH_ARTICLE = ("larger net", "schedule")
Cells = dict[tuple[bool, ...], np.ndarray]  # which parts are there → an accuracy a seed
ERRORS = {"estimation_error": "estimation error", "approximation_error": "approximation error",
          "excess_risk": "both together"}  # fmt: skip
SETS = {"plotted": "as plotted in Figure 10", "printed": "as its ten runs printed", "second": "a second stored set"}
KINDS = {"estimation_error": "ee", "approximation_error": "ae"}


def waterfall(groups: dict[str, list[Record]], finals: dict[str, list[Record]] | None = None,
              id: str = "waterfall") -> go.Figure:  # fmt: skip
    """For each label, from the test accuracy without any part to that with all, each part's share as a step.

    A group holds the runs of a factorial: every combination of the parts in PARTS that its records vary. Training for
    more than ten epochs is a part of its own where the schedule leaves the first ten alone, read off the curves. Two
    views a label: shares averaged over all orders of adding the parts (Shapley 1953), and added one by one. `finals`
    are the runs with one thing more, the penalty; those that differ in anything else are left out. Raises ValueError
    for a factorial that is not whole.
    """
    finals = {label: _with_one_more(own, groups.get(label, [])) for label, own in (finals or {}).items()}
    everything = flat(groups, "a waterfall") + [r for own in finals.values() for r in own]
    figure, labels, told = go.Figure(), [], {}
    views = Views(figure)
    for label, records in groups.items():
        names, cells, seeds = factorial(records)
        more = _beyond(cells[(True,) * len(names)], seeds, finals.get(label, []))
        for how, shares in (("averaged over all orders", averaged(cells)), ("one by one", one_by_one(cells))):
            steps = {**dict(zip(names, shares)), **({LAST[1]: more} if more is not None else {})}
            _steps(figure, cells[(False,) * len(names)], steps)
            views.own(len(labels))
            labels.append(f"{label}, {how}")
            told.setdefault(label, steps)
    views.menu(labels)
    heights = np.concatenate([np.cumsum(trace.y[:-1]) for trace in figure.data])
    span = [max(0, heights.min() - 0.05), heights.max() + 0.04]
    figure.update_yaxes(title="test accuracy", tickformat=".1~%", range=span)
    figure.update_xaxes(type="category", tickangle=-30)
    figure.update_layout(showlegend=False)
    title = words.sentence("; ".join(_most(label, steps) for label, steps in told.items()))
    shows = f"Waterfall chart of the test accuracy of {words.joined(groups)}, part by part"
    return finish(figure, id, title, shows, words.caption(everything), 440)


def factorial(records: list[Record]) -> tuple[list[str], Cells, list[int]]:
    """Names of the parts that vary, the accuracies of every combination on the seeds they share, and these seeds.

    Raises NothingToDraw where a combination has no records, or nothing varies.
    """
    varied = [p for p in PARTS if len({_setting(r, p) for r in records}) > 1]
    found: dict[tuple, dict[int, Record]] = {}
    for r in records:
        found.setdefault(tuple(_setting(r, p) != PARTS[p][1] for p in varied), {})[r.recipe.seed] = r
    whole = 2 ** len(varied)
    if len(found) < whole or not varied:
        raise NothingToDraw(f"the factorial has {len(found)} of {whole} combinations; train the rest of its runs")
    seeds = sorted(set.intersection(*(set(own) for own in found.values())))
    if not seeds:
        raise NothingToDraw("the combinations of the factorial have no seed in common")
    names = [PARTS[p][0] for p in varied]
    cells = {key: np.array([reach(own[s], "test_accuracy") for s in seeds], float) for key, own in found.items()}
    if all(len(r.history.get("test_accuracy", ())) > EARLY for r in records):
        early = {key: [own[s].history["test_accuracy"][EARLY - 1] for s in seeds] for key, own in found.items()}
        late = {(*key, True): v for key, v in cells.items()}
        return [*names, LONGER], {(*key, False): np.array(v, float) for key, v in early.items()} | late, seeds
    return names, cells, seeds


def _setting(record: Record, part: tuple[str, str]):
    """A setting of a record's recipe; None where it is left to the net, as dropout is in the quick profile."""
    return getattr(record.recipe.settings, part[0]).get(part[1])


def _with_one_more(finals: list[Record], records: list[Record]) -> list[Record]:
    """Those of `finals` that differ in the last setting alone from the runs that have every part."""
    parted = {LAST[0], *(owner for owner, _ in PARTS)}

    def other(record: Record) -> tuple[dict, list[bool]]:
        settings = {k: v for k, v in asdict(record.recipe.settings).items() if k not in parted}
        return settings, [_setting(record, p) != PARTS[p][1] for p in PARTS]

    whole = [other(r) for r in records]
    return [r for r in finals if all(other(r)[1]) and other(r) in whole]


def averaged(cells: Cells) -> list[np.ndarray]:
    """What each part brings, averaged over all orders in which the parts can be added; an array over seeds a part."""
    count = len(next(iter(cells)))
    orders = list(permutations(range(count)))
    return [sum(_added(cells, order, part) for order in orders) / len(orders) for part in range(count)]


def one_by_one(cells: Cells) -> list[np.ndarray]:
    """What each part brings to those before it."""
    order = tuple(range(len(next(iter(cells)))))
    return [_added(cells, order, part) for part in order]


def _added(cells: Cells, order: tuple[int, ...], part: int) -> np.ndarray:
    before = set(order[: order.index(part)])
    without, with_it = (tuple(k in own for k in range(len(order))) for own in (before, before | {part}))
    return cells[with_it] - cells[without]


def _beyond(whole: np.ndarray, seeds: list[int], finals: list[Record]) -> np.ndarray | None:
    """By how much the final runs differ from the whole factorial, on the seeds of both; None where there are none."""
    by_seed = {r.recipe.seed: reach(r, "test_accuracy") for r in finals}
    common = [by_seed[s] - whole[k] for k, s in enumerate(seeds) if s in by_seed]
    return np.array(common, float) if common else None


def _steps(figure: go.Figure, start: np.ndarray, steps: dict[str, np.ndarray]) -> None:
    found = {name: mean_interval(values) for name, values in steps.items()}
    first, half = mean_interval(start)
    heights = [first, *(m for m, _ in found.values())]
    texts = [words.percent(first), *(f"{100 * m:+.1f}" for m, _ in found.values()), words.percent(sum(heights))]
    hover = [f"without any: {words.percent(first, 2)}{words.spread(half, 2, False)}",
             *(f"{name}: {100 * m:+.2f}{words.spread(h, 2, False)} points" for name, (m, h) in found.items()),
             f"with all: {words.percent(sum(heights), 2)}"]  # fmt: skip
    figure.add_waterfall(
        x=["none", *found, "all"], y=[*heights, 0.0], measure=["absolute", *["relative"] * len(found), "total"], base=0,
        text=texts, textposition="outside", hovertext=hover, hoverinfo="text", cliponaxis=False,
        increasing={"marker": {"color": MEASURED}}, decreasing={"marker": {"color": COLOURS[1]}},
        totals={"marker": {"color": QUIET}}, connector={"line": {"color": QUIET, "width": 1}},
    )  # fmt: skip


def _most(label: str, steps: dict[str, np.ndarray]) -> str:
    """What lies between the ends, and the part that brings most of it."""
    points = {name: 100 * float(np.mean(v)) for name, v in steps.items()}
    rise = sum(points.values())
    order = words.ends(points, "{:+.1f}".format, lowest=rise < 0)
    parts = words.few([f"{'the ' if part in WITH_ARTICLE else ''}{part}" for part in order.first], "parts")
    brings = f"{words.agree(order.first, 'brings')} {order.best}{' each' * bool(order.first[1:])}"
    return f"of {rise:+.1f} points with {label} {parts} {brings}".replace("-", "−")


def published_errors(report: Report, models: Mapping[str, str], id: str = "published-risk") -> go.Figure:
    """The report's own two errors of each model, three sets of them: as plotted and as two stored outputs.

    `models` maps the word in the published numbers' names (SET_ee_WORD) to a label.
    """
    figure, labels = go.Figure(), list(models.values())
    views = Views(figure)
    found = {s: {m: [report.published[f"{s}_{k}_{m}"].value for k in KINDS.values()] for m in models} for s in SETS}
    for view, errors in enumerate(found.values()):
        for k, name in enumerate(ERRORS.values()):
            values = np.array([sum(v) if k == 2 else v[k] for v in errors.values()])
            figure.add_scatter(x=values, y=np.arange(len(labels)) + 0.18 * (k - 1), mode="markers", name=name,
                               marker=mark(k, 10 + k), hovertemplate=f"{name}: %{{x:.4f}}<extra></extra>")  # fmt: skip
        views.own(view)
    views.menu(list(SETS.values()))
    _rows(figure, labels)
    sums = [{models[m]: sum(v) for m, v in errors.items()} for errors in found.values()]
    worst = dict.fromkeys(words.few(words.ends(own, "{:.4f}".format).first, "models") for own in sums)
    title = f"The sum of the two errors is largest for {words.joined(worst)} in "
    title += f"{'all' if len(worst) == 1 else 'some'} of the report's own {len(found)} sets"
    moved = [models[m] for m in models if found["plotted"][m] != found["printed"][m]]
    title += f"; plotted other than printed: {words.joined(moved)}" if moved else ""
    shows = "Dot plot of estimation and approximation error of "
    shows += f"{words.joined(labels)}, from the report's own numbers"
    source = "numbers of the report and of its stored outputs"
    return finish(figure, id, title, shows, source, 150 + 46 * len(labels))


def decomposition(groups: dict[str, list[Record]], report: Report | None = None,
                  models: Mapping[str, str] | None = None, id: str = "risk") -> go.Figure:  # fmt: skip
    """Both errors of each labelled model with their 95 % intervals over draws; a menu chooses the error.

    `models` give by label the word of the published numbers (plotted_ee_WORD), diamonds where `report` is given.
    """
    everything, labels = flat(groups, "the decomposition of the risk"), list(groups)
    figure, shown = go.Figure(), []
    views = Views(figure)
    for view, (metric, name) in enumerate(ERRORS.items()):
        values = [numbers(records, metric) for records in groups.values()]
        found = [mean_interval(v) for v in values]
        name += ", mean" + " and 95 % interval" * any(h > 0 for _, h in found)
        means(figure, np.arange(len(labels)), found, "%{y}: %{x:.3f}", name=name)
        shown += values
        if report is not None and metric in KINDS:
            printed = [report.published[f"plotted_{KINDS[metric]}_{m}"] for m in map((models or {}).get, labels)]
            shown.append([p.value for p in printed])
            diamonds(figure, shown[-1], np.arange(len(printed)) + 0.25, [p.text for p in printed], "as plotted", 10,
                     hovertemplate="plotted %{text}<extra></extra>")  # fmt: skip
        views.own(view)
    views.menu(list(ERRORS.values()))
    _rows(figure, [f"{label}<br>{words.counted(len(own), 'draw')}" for label, own in groups.items()])
    within(figure, shown, low=-1.0)
    title = f"{_smallest(groups)}; {_floor(everything)}"
    shows = f"Dot plot of estimation error, approximation error and their sum for {words.joined(labels)}"
    return finish(figure, id, title, shows, words.caption(everything, "two Gaussians"), 190 + 46 * len(labels))


def _smallest(groups: dict[str, list[Record]]) -> str:
    """How large both errors together are, and for whom, where intervals keep the first from the last."""
    sums = {label: mean_interval(numbers(records, "excess_risk")) for label, records in groups.items()}
    order = words.ends({label: mean for label, (mean, _) in sums.items()}, "{:.3f}".format, lowest=True)
    if not order.first:
        return "No model has finite errors"
    surely = min(len(own) for own in groups.values()) >= LEAST_SEEDS and len(order.first) == len(order.last) == 1
    title = f"Both errors together are {order.best}"
    if surely and sum(sums[order.first[0]]) < np.subtract(*sums[order.last[0]]):
        return f"{title} for {order.first[0]}, the smallest, and {order.worst} for {order.last[0]}"
    return title + f" to {order.worst}" * (not order.tied)


def risk_curves(records: list[Record], id: str = "risk-curves") -> go.Figure:
    """Estimation and approximation error against the number of training images, a line for each width of the net.

    Means with 95 % intervals over draws; a menu chooses the error, the excess risk of the net included.
    """
    records = needed(records, "errors over training images")
    by: dict[float, dict[int, list[Record]]] = {}
    for r in records:
        width = float(r.recipe.settings.model.get("width", 1.0))
        by.setdefault(width, {}).setdefault(reach(r, "settings.train_size"), []).append(r)
    figure = go.Figure()
    views = Views(figure)
    for view, metric in enumerate(ERRORS):
        for k, (width, own) in enumerate(sorted(by.items())):
            found = [mean_interval(numbers(own[n], metric)) for n in sorted(own)]
            hover = f"width {width:g}, %{{x:,}} images: %{{y:.3f}}"
            means(figure, sorted(own), found, hover, across=True, mode="lines+markers",
                  name=f"width {words.short(width)}", line=line(k), marker=mark(k, 9))  # fmt: skip
        views.own(view)
    views.menu(list(ERRORS.values()))
    figure.update_yaxes(title="share of test images")
    places = sorted({n for own in by.values() for n in own})
    figure.update_xaxes(title="training images (logarithmic)", type="log", tickvals=places,
                        ticktext=[f"{n:,}" for n in places], minor={"showgrid": False})  # fmt: skip
    few, many = ([r for own in by.values() for r in own.get(n, [])] for n in (places[0], places[-1]))
    low, high = (np.nanmean(numbers(own, "estimation_error")) for own in (few, many))
    title = f"The estimation error goes from {low:.3f} with {places[0]:,} images to {high:.3f} with {places[-1]:,}"
    title += f"; {_floor(records)}"
    shows = "Line chart of the parts of the excess risk against training images"
    return finish(figure, id, title, shows, words.caption(records, "two Gaussians"), 440)


def _floor(records: list[Record]) -> str:
    floor = float(np.mean(numbers(records, "bayes_error")))
    share = words.percent(floor) if floor > 1e-6 else "fewer than a millionth"
    return f"the best possible rule errs in {share} of images"


def _rows(figure: go.Figure, labels: list[str]) -> None:
    label_rows(figure, labels)
    figure.update_xaxes(title="share of test images", zeroline=True)
