"""Curves over the epochs of training: ours as mean and range over seeds, the authors' logged ones dotted over them."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.curves import band, history, mean_curve
from secondlook.figures.template import CLASS_COLOURS, DASHES, SYMBOLS, finish, looks, views, wrapped
from secondlook.figures.values import (
    NothingToDraw,
    caption,
    counted,
    digits,
    ends,
    few,
    flat,
    joined,
    leads,
    percent,
    sentence,
    words,
)
from secondlook.record import Record

Curve = tuple[Sequence[float], Sequence[float]]  # epochs, counted from 1, and values
LOGGED = "authors’ log"
FEW = 40  # points of a line up to which each has a mark
MAGNITUDES = ("gradient_norm", "gradient_norm_sum", "learning_rate", "update_norm", "train_kl")  # on a log axis


def training_curves(
    groups: dict[str, list[Record]],
    metrics: Sequence[str] = ("train_loss", "test_accuracy"),
    logs: Mapping[str, Mapping[str, Curve]] | None = None,
    id: str = "training",
) -> go.Figure:
    """Histories against the epoch, a line for each label and a menu of `metrics`: mean and range over seeds.

    `logs` gives by label and metric a curve (epochs from 1, values) that the authors logged; a label may have a log
    alone. A history with several entries an epoch, such as `step_loss`, lies between the epochs. A metric that nobody
    has is left out. Raises ValueError without records, or where no record has any of the metrics.
    """
    everything, logs = flat(groups, "training curves"), logs or {}
    labels = list(dict.fromkeys([*groups, *logs]))
    figure, owners, shown, titles, places = go.Figure(), [], [], [], looks(labels)
    for metric in metrics:
        own = {label: _epochs(r, metric) for label, r in groups.items() if all(metric in x.history for x in r)}
        if not own:
            continue
        logged = {label: _logged(of[metric]) for label, of in logs.items() if metric in of}
        for label, k in places.items():
            if label in own:
                owners += _ours(figure, label, own[label], k, metric, len(shown))
            if label in logged:
                owners += _theirs(figure, label, logged[label], k, metric, len(shown))
        shown.append(metric)
        titles.append(_finding(metric, own, logged))
    if not shown:
        known = sorted(set().union(*(r.history for r in everything)))
        raise NothingToDraw(f"no record has the histories {joined(metrics)}; they have {', '.join(known)}")
    for trace, owner in zip(figure.data, owners):
        trace.visible = owner == 0
    layouts = [{**_axis(metric), "title.text": wrapped(title)} for metric, title in zip(shown, titles)]
    if len(shown) > 1:
        figure.update_layout(updatemenus=[views(owners, [sentence(words(m)) for m in shown], layouts)])
    figure.update_yaxes(exponentformat="power")
    figure.update_layout(
        xaxis_title="epoch", hovermode="x", **{k.replace(".", "_"): v for k, v in _axis(shown[0]).items()}
    )
    title = titles[0]
    alt = f"Line chart of {joined(words(m) for m in shown)} against the epoch: {joined(labels)}. {title}."
    return finish(figure, id, title, alt, caption(everything), 440)


def _epochs(records: list[Record], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions in epochs, and the history of each record in a row."""
    values = history(records, metric, metric)[1]
    longest = max(records, key=lambda r: len(r.history[metric]))
    epochs = len(longest.history.get("seconds", longest.history[metric]))
    return np.arange(1, values.shape[1] + 1) * epochs / values.shape[1], values


def _logged(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(part, float) for part in curve)
    return x, y


def _ours(figure: go.Figure, label: str, curves, k: int, metric: str, view: int) -> list[int]:
    added = band(figure, label, curves, k, owner=view)
    few = len(curves[0]) <= FEW
    figure.data[-1].update(mode="lines+markers" if few else "lines", marker={"symbol": SYMBOLS[k % 10], "size": 6},
                           line_dash="solid" if few else DASHES[k % 2],
                           hovertemplate=f"{label} %{{y{_form(metric)}}}<extra></extra>")  # fmt: skip
    return added


def _theirs(figure: go.Figure, label: str, curve: Curve, k: int, metric: str, view: int) -> list[int]:
    figure.add_scatter(x=curve[0], y=curve[1], name=f"{label}, {LOGGED}", mode="lines", legendgroup=f"{label} log",
                       line={"color": CLASS_COLOURS[k % 10], "dash": "dot", "width": 2.5},
                       hovertemplate=f"{label}, {LOGGED} %{{y{_form(metric)}}}<extra></extra>")  # fmt: skip
    return [view]


def _axis(metric: str) -> dict:
    return {
        "yaxis.title.text": words(metric) + (" (logarithmic)" if metric in MAGNITUDES else ""),
        "yaxis.tickformat": ".1~%" if _is_share(metric) else "",
        "yaxis.type": "log" if metric in MAGNITUDES else "linear",
    }


def _form(metric: str) -> str:
    return ":.2%" if _is_share(metric) else ":.4g"


def _is_share(metric: str) -> bool:
    return metric.endswith("accuracy")


def _finding(metric: str, own: dict, logged: dict) -> str:
    """Which label ends best and which worst, and how far from the authors' log where both have an epoch."""
    said = percent if _is_share(metric) else digits
    last = {}
    for label, (x, values) in own.items():
        mean = mean_curve(values)
        if np.isfinite(mean).any():
            last[label] = (mean[np.isfinite(mean)][-1], round(x[np.isfinite(mean)][-1]))
    reached = {label: value for label, (value, _) in last.items()}
    order = ends(reached, said, not _is_share(metric))
    title = sentence(leads(reached, "ends with", words(metric), said, not _is_share(metric)))
    if len(last) == 1:
        title += f" after {counted(next(iter(last.values()))[1], 'epoch')}"
    elif not order.tied:
        title += f", {few(order.last)} with {order.worst}"
    gaps = [gap for label, curve in logged.items() if label in last if (gap := _gap(own[label], curve)) is not None]
    if gaps:
        low, high = (f"{100 * g:.1f} points" if _is_share(metric) else digits(g) for g in (min(gaps), max(gaps)))
        span = low if low == high else f"{low.removesuffix(' points')} to {high}"
        title += f"; at the end {span} from the {LOGGED}"
    return title


def _gap(ours, curve) -> float | None:
    """The distance between our mean and the log at the last epoch that both have."""
    (x, values), (at, logged) = ours, curve
    mean = mean_curve(values)
    x, mean = x[np.isfinite(mean)], mean[np.isfinite(mean)]
    if not len(x) or not len(at) or min(x[-1], at[-1]) < max(x[0], at[0]):
        return None
    last = min(x[-1], at[-1])
    return float(abs(np.interp(last, x, mean) - np.interp(last, at, logged)))
