"""Who is first, by how much, and how surely; and numbers read off curves, ours beside the authors'."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.statistics import LEAST_SEEDS, holm, mcnemar, paired_test
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import around, diamonds, label_rows, means, seeds
from secondlook.figures.template import MEASURED, QUIET, SHARE, Views, finish
from secondlook.figures.values import NothingToDraw, flat, mean_interval, numbers, share_interval
from secondlook.logs import Curves
from secondlook.record import Record
from secondlook.reports import Published

ALPHA = 0.05
VIEWS = ("each", "paired differences", "how often first")


@dataclass(frozen=True)
class Pair:
    """Two labels compared on the seeds they share: mean difference, half its 95 % interval, p after Holm (or NaN)."""

    a: str
    b: str
    mean: float
    half: float
    p: float
    test: str


@drawn
def ranking(groups: dict[str, list[Record]], metric: str = "test_accuracy",
            published: dict[str, Published | list[Published]] | None = None,
            id: str = "ranking") -> go.Figure:  # fmt: skip
    """Labelled runs, a menu of three views: each with interval and published values; every pair; wins over seeds.

    Pairs are compared on the seeds that all groups have: t-tests with Holm's correction, or, of one seed whose
    predictions are kept, McNemar's test. The metric is a share. Raises NothingToDraw where no group has a finite value.
    """
    everything = flat(groups, "a ranking")
    found = {label: share_interval(numbers(records, metric)) for label, records in groups.items()}
    if not any(np.isfinite(m) for m, _ in found.values()):
        raise NothingToDraw(f"{words.joined(found)}: no finite {metric}")
    reported = {k: own for k, own in groups.items() if not all(r.recipe.variant == "custom" for r in own)}
    shared = _shared(reported or groups)  # a reader's own seeds decide nothing about the report's
    pairs = _pairs(shared, metric)
    figure = go.Figure()
    views = Views(figure)
    _each(figure, groups, metric, found, published or {})
    views.own(0)
    _differences(figure, pairs)
    views.own(1)
    _wins(figure, _won(shared, metric) if any(shared.values()) else {})
    views.own(2)
    word = words.name(metric)
    rows = (list(groups), [f"{p.a} − {p.b}" for p in pairs], list(shared))
    titles = ((word, SHARE), (f"difference of {word}, points", ""), ("share of seeds", SHARE))
    layouts = [_rows(labels, *title) for labels, title in zip(rows, titles)]
    shown = [k for k in range(3) if k in views.owners]
    views.owners = [shown.index(owner) for owner in views.owners]
    views.menu([VIEWS[k] for k in shown], [layouts[k] for k in shown])
    figure.update_layout({key.replace(".", "_"): value for key, value in layouts[0].items()})
    figure.update_yaxes(zeroline=False)
    shows = f"Dot plot of the {word} of {words.joined(groups)}, of the differences of all pairs, and of wins"
    title, height = _order(found, pairs, shared), 130 + 44 * max(len(groups), len(pairs))
    return finish(figure, id, title, shows, words.caption(everything), height)


def _shared(groups: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """The records of the seeds that all groups have, in one order; none where a group has a seed twice."""
    by_seed = {label: {r.recipe.seed: r for r in records} for label, records in groups.items()}
    common = sorted(set.intersection(*(set(own) for own in by_seed.values())))
    return {label: [own[s] for s in common] for label, own in by_seed.items()}


def _pairs(shared: dict[str, list[Record]], metric: str) -> list[Pair]:
    values = {label: numbers(records, metric) for label, records in shared.items()}
    found = []
    for a, b in combinations(values, 2):
        there = np.isfinite(values[a]) & np.isfinite(values[b])
        x, y = values[a][there], values[b][there]
        if len(x) >= LEAST_SEEDS:
            test = paired_test(x, y)
            found.append([a, b, test.mean, test.high - test.mean, test.p, f"paired t-test, {test.n} seeds"])
        elif len(x) == 1:
            found.append([a, b, float((x - y)[0]), 0.0, _mcnemar(shared[a][0], shared[b][0]), "McNemar, one seed"])
        elif len(x):
            found.append([a, b, float((x - y).mean()), 0.0, np.nan, "two seeds, too few for a test"])
    tested = [row for row in found if np.isfinite(row[4])]
    for row, p in zip(tested, holm([row[4] for row in tested]) if tested else ()):
        row[4] = float(p)
    return [Pair(*row) for row in found]


def _mcnemar(a: Record, b: Record) -> float:
    if not all("predictions" in r.arrays for r in (a, b)):
        return np.nan
    right = [np.asarray(r.arrays["predictions"]) == np.asarray(r.arrays["labels"]) for r in (a, b)]
    return mcnemar(*right).p if right[0].shape == right[1].shape else np.nan


def _each(figure: go.Figure, groups, metric: str, found, published) -> None:
    seeds(figure, [numbers(records, metric) for records in groups.values()])
    texts = [f"{label}: {words.percent(m, 2)}{words.spread(h, 2)}, {words.counted(len(groups[label]), 'seed')}"
             for label, (m, h) in found.items()]  # fmt: skip
    means(figure, np.arange(len(found)), list(found.values()), "%{text}", text=texts)
    points = [(list(found).index(label) - 0.16, p) for label, own in published.items() if label in found
              for p in (own if isinstance(own, list) else [own])]  # fmt: skip
    if points:
        diamonds(figure, [p.value for _, p in points], [k for k, _ in points], [p.text for _, p in points])


def _differences(figure: go.Figure, pairs: list[Pair]) -> None:
    for certain, name, colour in ((True, "p < 0.05 after Holm", MEASURED), (False, "not certain", QUIET)):
        own = {k: p for k, p in enumerate(pairs) if (p.p < ALPHA) == certain}
        if own:
            texts = [f"{p.a} − {p.b}: {100 * p.mean:+.2f}{words.spread(p.half, 2, False)} points<br>{p.test}"
                     + (f", p = {p.p:.2g}" if np.isfinite(p.p) else "") for p in own.values()]  # fmt: skip
            look = {"color": colour, "size": 10, "symbol": "circle" if certain else "circle-open"}
            found = [(100 * p.mean, 100 * p.half) for p in own.values()]
            means(figure, list(own), found, "%{text}", name=name, text=texts, marker=look)


def _wins(figure: go.Figure, shares: dict[str, float]) -> None:
    if shares:
        figure.add_bar(x=list(shares.values()), y=list(range(len(shares))), orientation="h", marker_color=MEASURED,
                       width=0.6, name="first", text=[words.percent(s, 0) for s in shares.values()], showlegend=False,
                       hovertemplate="first in %{text} of the seeds<extra></extra>")  # fmt: skip


def _won(shared: dict[str, list[Record]], metric: str) -> dict[str, float]:
    """The share of seeds in which each label is highest; a tie is divided."""
    values = np.nan_to_num(np.array([numbers(records, metric) for records in shared.values()]), nan=-np.inf)
    first = values == values.max(0)
    return dict(zip(shared, (first / first.sum(0)).mean(1).tolist()))


def _rows(labels: list[str], title: str, form: str) -> dict:
    rows = {"tickvals": list(range(len(labels))), "ticktext": labels, "range": [len(labels) - 0.5, -0.5]}
    return {"xaxis.title.text": title, "xaxis.tickformat": form, **{f"yaxis.{k}": v for k, v in rows.items()}}


def _order(found: dict, pairs: list[Pair], shared: dict) -> str:
    order = words.ends({label: mean for label, (mean, _) in found.items()})
    title = f"{words.sentence(words.few(order.first))} {words.agree(order.first, 'has' if order.tied else 'leads')} "
    title += f"{'with ' * (not order.tied)}{order.best}"
    title += "" if order.tied else f", {words.few(order.last)} {words.agree(order.last, 'has')} {order.worst}"
    count = len(next(iter(shared.values())))
    tested = [p for p in pairs if np.isfinite(p.p)]
    if not tested:
        few = {0: "no common seed ranks", 1: "one seed without predictions ranks"}
        return f"{title}; {few.get(count, f'{count} seeds rank')} nobody"
    how = "on one test set" if count == 1 else f"over {count} seeds"
    return f"{title}; significant differences {how}: {sum(p.p < ALPHA for p in tested)} of {len(tested)}"


@dataclass(frozen=True)
class Measure:
    """A number of a run's curves, which are named as in a history; infinite where a run never arrives."""

    name: str
    of: Callable[[Mapping[str, np.ndarray]], float]
    form: str = ".3g"  # how it is printed; a share where it ends in %
    least: float = -np.inf  # no run can have less, so no interval goes below

    def told(self, value: float) -> str:
        return format(value, self.form).replace("%", " %") if np.isfinite(value) else "not reached"

    def interval(self, mean: float, half: float) -> str:
        """`70.0 % ± 1.0 %`, or from where to where it goes if it would go below the least."""
        if mean - half < self.least:
            return f"{self.told(mean)}, from {self.told(self.least)} to {self.told(mean + half)}"
        return self.told(mean) + (f" ± {self.told(half)}" if half else "")

    def read(self, runs: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """The number of each run; NaN of one that keeps no such curve, or a shorter one."""
        return np.array([self._read(curves) for curves in runs], float)

    def _read(self, curves: Mapping[str, np.ndarray]) -> float:
        try:
            return self.of(curves)
        except (KeyError, IndexError):
            return np.nan


@drawn
def measures(groups: Mapping[str, list[Record]], of: Sequence[Measure], logs: Mapping[str, Curves],
             id: str = "measures", height: int = 44) -> go.Figure:  # fmt: skip
    """Each measure of each labelled run: seeds, mean and 95 % interval of ours, and a diamond for the authors' log.

    A label may have a log alone. Runs that do not arrive stand at the right edge. Raises ValueError where nobody has
    a finite value of the first measure.
    """
    everything = flat(groups, "measures of curves") if groups else []
    labels = list(dict.fromkeys([*logs, *groups]))
    figure, layouts, titles = go.Figure(), [], []
    views = Views(figure)
    for view, measure in enumerate(of):
        ours = {label: measure.read([r.history for r in groups.get(label, [])]) for label in labels}
        theirs = {label: measure.read([logs[label]] if label in logs else []) for label in labels}
        before = len(figure.data)
        _measured(figure, measure, list(ours.values()), list(theirs.values()))
        views.own(view)
        known = (own for own in (ours, theirs) if any(len(v) and np.isfinite(v).all() for v in own.values()))
        told = next(known, {})
        titles.append(_least_and_most(measure, told, told is not theirs, view == 0))
        fitted = around(figure.data[before:])
        layouts.append({
            "xaxis.title.text": measure.name,
            "xaxis.tickformat": SHARE if measure.form.endswith("%") else "",
            **({"xaxis.range": fitted} if fitted else {"xaxis.autorange": True}),
        })  # fmt: skip
    figure.update_layout({key.replace(".", "_"): value for key, value in layouts[0].items()})
    shown = [{**layout, "title.text": title} for layout, title in zip(layouts, titles)]
    views.menu([words.sentence(m.name) for m in of if len(of) > 1], shown)
    label_rows(figure, labels)
    note = words.caption(everything) if everything else "the authors’ logs on CIFAR-10"
    shows = f"Dot plot of {words.joined(m.name for m in of)}, of {words.joined(labels)}"
    return finish(figure, id, titles[0], shows, note, 150 + height * len(labels))


def _measured(figure: go.Figure, measure: Measure, ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    finite = [v[np.isfinite(v)] for v in ours]
    here = [k for k, v in enumerate(finite) if len(v)]
    everything = np.concatenate([*finite, *(t[np.isfinite(t)] for t in theirs)])
    if not len(everything):
        return
    if here:
        seeds(figure, finite, measure.form)
        found = [mean_interval(finite[k]) for k in here]
        means(figure, here, found, "%{text}", least=measure.least, text=[measure.interval(*own) for own in found])
    logged = [(k - 0.16, t[0]) for k, t in enumerate(theirs) if len(t) and np.isfinite(t[0])]
    if logged:
        texts = [measure.told(v) for _, v in logged]
        diamonds(figure, [v for _, v in logged], [k for k, _ in logged], texts, "authors’ log")
    late = [(k + shift, np.sum(np.isposinf(v))) for shift, rows in ((0.22, ours), (-0.22, theirs))
            for k, v in enumerate(rows) if np.isposinf(v).any()]  # fmt: skip
    if late:
        edge = everything.max() + 0.06 * (np.ptp(everything) or abs(everything.max()) or 1)
        figure.add_scatter(x=[edge] * len(late), y=[k for k, _ in late], mode="markers", name="not reached",
                           text=[f"not reached by {words.counted(int(n), 'run')}" for _, n in late],
                           marker={"symbol": "triangle-right-open", "size": 11, "color": QUIET},
                           hovertemplate="%{text}<extra></extra>")  # fmt: skip


def _least_and_most(measure: Measure, values: dict[str, np.ndarray], ours: bool, needed: bool) -> str:
    """Who has the least and who the most of a measure; a label with a run that does not arrive has the most.

    Raises ValueError where a title is `needed` and nobody has a number.
    """
    with np.errstate(invalid="ignore"):
        mean = {label: float(np.mean(v)) for label, v in values.items() if len(v) and not np.isnan(v).any()}
    name = words.sentence(measure.name)
    if not any(np.isfinite(v) for v in mean.values()):
        if not needed:
            return f"{name}: nobody has it"
        raise NothingToDraw(f"no run and no log has a finite number of {measure.name}")
    low, high = (measure.told(end(mean.values())) for end in (min, max))
    where = "" if ours else " in the authors’ log"
    if low == high:
        return f"{name}{where}: {low} for {words.joined(mean)}"
    least, most = ([label for label, v in mean.items() if measure.told(v) == end] for end in (low, high))
    return f"{name}{where}: from {words.few(least)} {low} to {words.few(most)} {high}"
