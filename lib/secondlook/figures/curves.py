"""Curves of training: mean over seeds with the range they cover, the authors' logged ones dotted over them."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.template import COLOURS, SYMBOLS, Views, faded, finish, line, looks, menu
from secondlook.figures.values import NothingToDraw, flat, needed, reach
from secondlook.record import Record

Curve = tuple[Sequence[float], Sequence[float]]  # epochs, counted from 1, and values
Curves = tuple[np.ndarray, np.ndarray]  # positions (points,), values (seeds, points) with NaN where there is none
LOGGED = "authors’ log"
FEW = 40  # points of a line up to which each has a mark
MAGNITUDES = ("gradient_norm", "gradient_norm_sum", "learning_rate", "update_norm", "train_kl")  # on a log axis


def history(records: list[Record], name: str, x: str = "iteration") -> Curves:
    """Positions and one history a record, stacked; shorter ones (stopped early) end in NaN, infinities become NaN."""
    for record in records:
        if name not in record.history or x not in record.history:
            known = ", ".join(record.history)
            raise ValueError(f"the record of {record.recipe} has no history {name!r}; it has {known}")
    rows = [np.asarray(r.history[name], float) for r in records]
    values = np.full((len(rows), max(map(len, rows))), np.nan)
    for target, row in zip(values, rows):
        target[: len(row)] = row
    values[~np.isfinite(values)] = np.nan
    return np.asarray(max((r.history[x] for r in records), key=len), float), values


def mean_curve(values: np.ndarray) -> np.ndarray:
    """The mean over seeds (rows); NaN where no seed has a value."""
    return _quietly(np.nanmean, values)


def _quietly(function, values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a point that no seed reached is NaN, as it should be
        return function(values, axis=0)


def band(figure: go.Figure, name: str, curves: Curves, k: int) -> None:
    """Adds the mean, and for several seeds their range."""
    x, values = curves
    if len(values) > 1:
        low, high = _quietly(np.nanmin, values), _quietly(np.nanmax, values)
        there = np.isfinite(low)
        outline = np.r_[high[there], low[there][::-1]]
        figure.add_scatter(x=np.r_[x[there], x[there][::-1]], y=outline, fill="toself", legendgroup=name,
                           fillcolor=faded(COLOURS[k % 10]), line_width=0, mode="lines", showlegend=False,
                           hoverinfo="skip")  # fmt: skip
    figure.add_scatter(x=x, y=mean_curve(values), name=name, mode="lines", legendgroup=name, line=line(k, width=2),
                       hovertemplate=f"{name} %{{y:.4g}}<extra></extra>")  # fmt: skip


@drawn
def loss_curves(records: list[Record], id: str = "loss-curves") -> go.Figure:
    """Training loss (mean since the point before) and validation loss of one run, without and with the penalty.

    Each is the mean over seeds in a band from the lowest to the highest. Raises ValueError for records of several runs.
    """
    records = needed(records, "loss curves")
    if len(runs := {(r.recipe.run, r.recipe.variant) for r in records}) > 1:
        raise ValueError(f"loss curves show one run of one variant, not {sorted(runs)}; draw a figure for each")
    x, penalty = history(records, "penalty")
    series = {"training": history(records, "train_loss")[1], "validation": history(records, "validation_loss")[1]}
    figure = go.Figure()
    views = Views(figure)
    for view in (0, 1):
        for k, (name, values) in enumerate(series.items()):
            band(figure, name, (x, values + view * penalty), k)
        views.own(view)
    band(figure, "penalty alone", (x, penalty), 2)
    views.own(1)
    views.menu([])
    rule = records[0].recipe.settings.loss.replace("_", "–").title()
    buttons = [
        (f"{what}{', logarithmic' if kind == 'log' else ''}", {"visible": [o == view for o in views.owners]},
         {"yaxis.type": kind, "yaxis.title.text": f"{rule} loss{' + penalty' if view else ''}"})
        for view, what in enumerate(("without the penalty", "with the penalty")) for kind in ("linear", "log")
    ]  # fmt: skip
    axes = {"yaxis_title": f"{rule} loss", "xaxis_title": "iteration", "hovermode": "x"}
    figure.update_layout(updatemenus=[menu(buttons)], **axes)
    shows = f"Line chart of training and validation loss against iteration, 0 to {x[-1]:,.0f}"
    title = _fall(x, mean_curve(series["validation"]), records)
    return finish(figure, id, title, shows, words.caption(records), 440)


def _fall(x: np.ndarray, loss: np.ndarray, records: list[Record]) -> str:
    """The finding: how far the validation loss falls and how early, or that it does not, or that seeds diverge."""
    diverged = [r for r in records if r.status == "diverged"]
    if diverged:
        first = min((s for r in diverged if (s := reach(r, "diverged_step")) is not None), default=None)
        when = f", first at iteration {first:,}" if first is not None else ""
        return f"Training diverges with {len(diverged)} of {words.counted(len(records), 'seed')}{when}"
    there = np.isfinite(loss)
    x, loss = x[there], loss[there]
    if len(loss) < 2:
        return "The validation loss was taken fewer than two times"
    start, end = loss[0], loss[-1]
    if end >= start:
        return f"The validation loss does not fall: from {words.digits(start)} to {words.digits(end)}"
    early = x[np.argmax(loss <= start - 0.9 * (start - end))]
    return f"Nine tenths of the fall of the validation loss come in the first {early:,.0f} of {x[-1]:,.0f} iterations"


@drawn
def training_curves(groups: dict[str, list[Record]], metrics: Sequence[str] = ("train_loss", "test_accuracy"),
                    logs: Mapping[str, Mapping[str, Curve]] | None = None, id: str = "training"
                    ) -> go.Figure:  # fmt: skip
    """Histories against the epoch, a line for each label and a menu of `metrics`: mean and range over seeds.

    `logs` gives by label and metric a curve (epochs from 1, values) that the authors logged; a label may have a log
    alone. A history with several entries an epoch, such as `step_loss`, lies between the epochs. A metric that nobody
    has is left out. Raises ValueError without records, or where no record has any of the metrics.
    """
    everything, logs = flat(groups, "training curves"), logs or {}
    places = looks([*groups, *logs])
    figure, titles, layouts = go.Figure(), [], []
    views = Views(figure)
    shown = [m for m in metrics if any(all(m in r.history for r in own) for own in groups.values())]
    if not shown:
        known = sorted(set().union(*(r.history for r in everything)))
        raise NothingToDraw(f"no record has the histories {words.joined(metrics)}; they have {', '.join(known)}")
    for view, metric in enumerate(shown):
        ours = {label: _epochs(r, metric) for label, r in groups.items() if all(metric in x.history for x in r)}
        logged = {label: tuple(np.asarray(part, float) for part in of[metric])
                  for label, of in logs.items() if metric in of}  # fmt: skip
        for label, k in places.items():
            _line(figure, label, ours.get(label), logged.get(label), k, ":.2%" if _is_share(metric) else ":.4g")
        views.own(view)
        titles.append(_finding(metric, ours, logged))
        layouts.append({
            "yaxis.title.text": words.name(metric) + (" (logarithmic)" if metric in MAGNITUDES else ""),
            "yaxis.tickformat": ".1~%" if _is_share(metric) else "",
            "yaxis.type": "log" if metric in MAGNITUDES else "linear",
        })  # fmt: skip
    names = [words.sentence(words.name(m)) for m in shown if len(shown) > 1]
    views.menu(names, [{**layout, "title.text": title} for layout, title in zip(layouts, titles) if names])
    figure.update_yaxes(exponentformat="power")
    first = {key.replace(".", "_"): value for key, value in layouts[0].items()}
    figure.update_layout(xaxis_title="epoch", hovermode="x", **first)
    shows = f"Line chart of {words.joined(map(words.name, shown))} against the epoch: "
    shows += words.joined(dict.fromkeys([*groups, *logs]))
    return finish(figure, id, titles[0], shows, words.caption(everything), 440)


def _epochs(records: list[Record], metric: str) -> Curves:
    """Positions in epochs, and the history of each record in a row."""
    values = history(records, metric, metric)[1]
    longest = max(records, key=lambda r: len(r.history[metric]))
    epochs = len(longest.history.get("seconds", longest.history[metric]))
    return np.arange(1, values.shape[1] + 1) * epochs / values.shape[1], values


def _line(figure: go.Figure, label: str, ours: Curves | None, logged: Curve | None, k: int, form: str) -> None:
    if ours is not None:
        band(figure, label, ours, k)
        few = len(ours[0]) <= FEW
        figure.data[-1].update(mode="lines+markers" if few else "lines", marker={"symbol": SYMBOLS[k % 10], "size": 6},
                               line_dash="solid" if few or k % 2 == 0 else "dash",
                               hovertemplate=f"{label} %{{y{form}}}<extra></extra>")  # fmt: skip
    if logged is not None:
        figure.add_scatter(x=logged[0], y=logged[1], name=f"{label}, {LOGGED}", mode="lines",
                           legendgroup=f"{label} log", line=line(k, dash="dot", width=2.5),
                           hovertemplate=f"{label}, {LOGGED} %{{y{form}}}<extra></extra>")  # fmt: skip


def _is_share(metric: str) -> bool:
    return metric.endswith("accuracy")


def _finding(metric: str, ours: dict[str, Curves], logged: dict) -> str:
    """Which label ends best and which worst, each seed at its own last epoch; and how far from the authors' log where
    both have an epoch."""
    share, last, epochs = _is_share(metric), {}, 0
    said = words.percent if share else words.digits
    for label, (x, values) in ours.items():
        ends = [seed[np.isfinite(seed)][-1] for seed in values if np.isfinite(seed).any()]
        if ends:
            last[label], epochs = np.mean(ends), round(x[np.isfinite(values).any(0)][-1])
    order = words.ends(last, said, not share)
    title = words.sentence(words.leads(last, "ends with", words.name(metric), said, not share))
    if len(last) == 1:
        title += f" after {words.counted(epochs, 'epoch')}"
    elif not order.tied:
        title += f"; {words.few(order.last)} with {order.worst}"
    gaps = [gap for label, curve in logged.items() if label in last if (gap := _gap(ours[label], curve)) is not None]
    if gaps:
        low, high = (f"{100 * g:.1f} points" if share else words.digits(g) for g in (min(gaps), max(gaps)))
        span = low if low == high else f"{low.removesuffix(' points')} to {high}"
        title += f"; at the end {span} from the {LOGGED}"
    return title


def _gap(ours: Curves, log: Curve) -> float | None:
    """The distance between our mean and the log at the last epoch that both have."""
    (x, values), (at, logged) = ours, log
    mean = mean_curve(values)
    x, mean = x[np.isfinite(mean)], mean[np.isfinite(mean)]
    if not len(x) or not len(at) or min(x[-1], at[-1]) < max(x[0], at[0]):
        return None
    last = min(x[-1], at[-1])
    return float(abs(np.interp(last, x, mean) - np.interp(last, at, logged)))
