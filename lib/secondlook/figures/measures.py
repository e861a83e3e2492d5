"""Numbers read off curves, ours beside the authors': a row a run, a menu of measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.marks import across, label_rows, means, seeds
from secondlook.figures.template import PUBLISHED, QUIET, finish, views, wrapped
from secondlook.figures.values import NothingToDraw, caption, counted, few, flat, joined, mean_interval, sentence
from secondlook.logs import Curves
from secondlook.record import Record


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


def measures(groups: Mapping[str, list[Record]], of: Sequence[Measure], logs: Mapping[str, Curves],
             id: str = "measures", height: int = 44) -> go.Figure:  # fmt: skip
    """Each measure of each labelled run: seeds, mean and 95 % interval of ours, and a diamond for the authors' log.

    A label may have a log alone. Runs that do not arrive stand at the right edge. Raises ValueError where nobody has
    a finite value of the first measure.
    """
    everything = flat(groups, "measures of curves") if groups else []
    labels = list(dict.fromkeys([*logs, *groups]))
    figure, owners, layouts, titles = go.Figure(), [], [], []
    for view, measure in enumerate(of):
        ours = {label: _values(measure, [r.history for r in groups.get(label, [])]) for label in labels}
        theirs = {label: _values(measure, [logs[label]] if label in logs else []) for label in labels}
        before = len(figure.data)
        _view(figure, measure, list(ours.values()), list(theirs.values()))
        owners += [view] * (len(figure.data) - before)
        known = (own for own in (ours, theirs) if any(len(v) and np.isfinite(v).all() for v in own.values()))
        told = next(known, {})
        titles.append(_finding(measure, told, told is not theirs, view == 0))
        layouts.append({**_axis(measure, figure.data[before:]), "title.text": wrapped(titles[-1])})
    for trace, owner in zip(figure.data, owners):
        trace.visible = owner == 0
    if len(of) > 1:
        figure.update_layout(updatemenus=[views(owners, [sentence(m.name) for m in of], layouts)])
    figure.update_layout({key.replace(".", "_"): value for key, value in layouts[0].items() if key != "title.text"})
    label_rows(figure, labels)
    note = caption(everything) if everything else "the authors’ logs on CIFAR-10"
    alt = f"Dot plot of {joined(m.name for m in of)}, of {joined(labels)}. {titles[0]}."
    return finish(figure, id, titles[0], alt, note, 150 + height * len(labels))


def _values(measure: Measure, curves: list[Mapping[str, np.ndarray]]) -> np.ndarray:
    return np.array([_value(measure, own) for own in curves], float)


def _value(measure: Measure, curves: Mapping[str, np.ndarray]) -> float:
    try:
        return measure.of(curves)
    except (KeyError, IndexError):  # a run that keeps no such curve, or a shorter one
        return np.nan


def _axis(measure: Measure, traces: Sequence[go.Scatter]) -> dict:
    """The x axis of a measure's view, as a menu sets it."""
    fitted = across(traces)
    return {
        "xaxis.title.text": measure.name,
        "xaxis.tickformat": ".2~%" if measure.form.endswith("%") else "",
        **({"xaxis.range": fitted} if fitted else {"xaxis.autorange": True}),
    }


def _view(figure: go.Figure, measure: Measure, ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    finite = [v[np.isfinite(v)] for v in ours]
    here = [k for k, v in enumerate(finite) if len(v)]
    everything = np.concatenate([*finite, *(t[np.isfinite(t)] for t in theirs)])
    if not len(everything):
        return
    if here:
        seeds(figure, finite, measure.form)
        found = [mean_interval(finite[k]) for k in here]
        means(figure, here, found, "%{text}", least=measure.least, text=[measure.interval(*own) for own in found])
    logged = [(k, t[0]) for k, t in enumerate(theirs) if len(t) and np.isfinite(t[0])]
    if logged:
        figure.add_scatter(x=[v for _, v in logged], y=[k - 0.16 for k, _ in logged], mode="markers",
                           name="authors’ log", text=[measure.told(v) for _, v in logged],
                           marker={"color": PUBLISHED, "symbol": "diamond", "size": 11},
                           hovertemplate="authors’ log %{text}<extra></extra>")  # fmt: skip
    late = [(k + shift, np.sum(np.isposinf(v))) for shift, rows in ((0.22, ours), (-0.22, theirs))
            for k, v in enumerate(rows) if np.isposinf(v).any()]  # fmt: skip
    if late:
        edge = everything.max() + 0.06 * (np.ptp(everything) or abs(everything.max()) or 1)
        figure.add_scatter(x=[edge] * len(late), y=[k for k, _ in late], mode="markers", name="not reached",
                           text=[f"not reached by {counted(int(n), 'run')}" for _, n in late],
                           marker={"symbol": "triangle-right-open", "size": 11, "color": QUIET},
                           hovertemplate="%{text}<extra></extra>")  # fmt: skip


def _finding(measure: Measure, values: dict[str, np.ndarray], ours: bool, needed: bool) -> str:
    """Who has the least and who the most of a measure; a label with a run that does not arrive has the most.

    Raises ValueError where a title is `needed` and nobody has a number.
    """
    with np.errstate(invalid="ignore"):
        mean = {label: float(np.mean(v)) for label, v in values.items() if len(v) and not np.isnan(v).any()}
    if not any(np.isfinite(v) for v in mean.values()):
        if not needed:
            return f"{sentence(measure.name)}: nobody has it"
        raise NothingToDraw(f"no run and no log has a finite number of {measure.name}")
    low, high = min(mean.values()), max(mean.values())
    least, most = ([label for label, v in mean.items() if measure.told(v) == measure.told(end)] for end in (low, high))
    where = "" if ours else " in the authors’ log"
    if measure.told(low) == measure.told(high):
        return f"{sentence(measure.name)}{where}: {measure.told(low)} for {joined(mean)}"
    told = (f"{few(labels)} {measure.told(end)}" for labels, end in ((least, low), (most, high)))
    return f"{sentence(measure.name)}{where}: from {' to '.join(told)}"
