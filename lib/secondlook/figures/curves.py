"""Curves of training: loss and other histories against the iteration, mean over seeds with the range they cover."""

import warnings

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.template import CLASS_COLOURS, DASHES, faded, finish, menu
from secondlook.figures.values import (
    caption,
    counted,
    digits,
    ends,
    few,
    flat,
    joined,
    leads,
    needed,
    reach,
    sentence,
    words,
)
from secondlook.record import Record

Curves = tuple[np.ndarray, np.ndarray]  # positions (points,), values (seeds, points) with NaN where there is none


def loss_curves(records: list[Record], id: str = "loss-curves") -> go.Figure:
    """Training loss (mean since the point before) and validation loss of one run, without and with the penalty.

    Each is the mean over seeds in a band from the lowest to the highest. Raises ValueError for records of several runs.
    """
    records = needed(records, "loss curves")
    if len(runs := {(r.recipe.run, r.recipe.variant) for r in records}) > 1:
        raise ValueError(f"loss curves show one run of one variant, not {sorted(runs)}; draw a figure for each")
    x, penalty = history(records, "penalty")
    series = {"training": history(records, "train_loss")[1], "validation": history(records, "validation_loss")[1]}
    figure, owners = go.Figure(), []
    for view in (0, 1):
        for k, (name, values) in enumerate(series.items()):
            owners += band(figure, name, (x, values + view * penalty), k, visible=view == 0, owner=view)
    owners += band(figure, "penalty alone", (x, penalty), 2, visible=False, owner=1)
    rule = records[0].recipe.settings.loss.replace("_", "–").title()
    buttons = [
        (f"{what}{', logarithmic' if kind == 'log' else ''}", {"visible": [o == view for o in owners]},
         {"yaxis.type": kind, "yaxis.title.text": f"{rule} loss{' + penalty' if view else ''}"})
        for view, what in enumerate(("without the penalty", "with the penalty")) for kind in ("linear", "log")
    ]  # fmt: skip
    figure.update_layout(
        updatemenus=[menu(buttons)], yaxis_title=f"{rule} loss", xaxis_title="iteration", hovermode="x"
    )
    title = _fall(x, mean_curve(series["validation"]), records)
    alt = f"Line chart of training and validation loss against iteration, 0 to {x[-1]:,.0f}. {title}."
    return finish(figure, id, title, alt, caption(records), 440)


def learning_curves(groups: dict[str, list[Record]], metric: str = "validation_accuracy", id: str = "learning-curves",
                    x: str = "iteration", lowest: bool = False) -> go.Figure:  # fmt: skip
    """One history of several runs, by the label each shall have; `lowest` where less is better.

    The histories `x` and `metric` must be in every record; ValueError where not.
    """
    everything = flat(groups, "learning curves")
    figure, reached = go.Figure(), {}
    for k, (label, records) in enumerate(groups.items()):
        positions, values = history(list(records), metric, x)
        band(figure, label, (positions, values), k)
        mean = mean_curve(values)
        reached[label] = mean[np.isfinite(mean)][-1] if np.isfinite(mean).any() else np.nan
    title, order = leads(reached, "ends with", words(metric), digits, lowest), ends(reached, digits, lowest)
    title = sentence(title if order.tied else f"{title}, {few(order.last)} with {order.worst}")
    scale = {"linear": "linear scale", "log": "logarithmic scale"}
    figure.update_layout(
        updatemenus=[menu([(text, {}, {"yaxis.type": kind}) for kind, text in scale.items()])],
        xaxis_title=x.replace("_", " "), yaxis_title=words(metric), hovermode="x",
    )  # fmt: skip
    alt = f"Line chart of {words(metric)} against {x}: {joined(groups)}. {title}."
    return finish(figure, id, title, alt, caption(everything), 440)


def history(records: list[Record], name: str, x: str = "iteration") -> Curves:
    """Positions and one history a record, stacked; shorter ones (stopped early) end in NaN, infinities become NaN."""
    for record in records:
        if name not in record.history or x not in record.history:
            raise ValueError(
                f"the record of {record.recipe} has no history {name!r}; it has {', '.join(record.history)}"
            )
    rows = [np.asarray(r.history[name], float) for r in records]
    values = np.full((len(rows), max(map(len, rows))), np.nan)
    for target, row in zip(values, rows):
        target[: len(row)] = row
    values[~np.isfinite(values)] = np.nan
    return np.asarray(max((r.history[x] for r in records), key=len), float), values


def band(figure: go.Figure, name: str, curves: Curves, k: int, visible=True, owner: int = 0) -> list[int]:
    """Adds the mean, and for several seeds their range; returns the owner once for each trace added."""
    x, values = curves
    colour = CLASS_COLOURS[k % len(CLASS_COLOURS)]
    before = len(figure.data)
    common = {"visible": visible, "legendgroup": name, "hoverinfo": "skip"}
    if len(values) > 1:
        low, high = _quietly(np.nanmin, values), _quietly(np.nanmax, values)
        there = np.isfinite(low)
        outline = np.r_[high[there], low[there][::-1]]
        figure.add_scatter(x=np.r_[x[there], x[there][::-1]], y=outline, fill="toself", fillcolor=faded(colour),
                           line_width=0, mode="lines", showlegend=False, **common)  # fmt: skip
    figure.add_scatter(x=x, y=mean_curve(values), name=name, mode="lines", visible=visible, legendgroup=name,
                       line={"color": colour, "dash": DASHES[k % len(DASHES)], "width": 2},
                       hovertemplate=f"{name} %{{y:.4g}}<extra></extra>")  # fmt: skip
    return [owner] * (len(figure.data) - before)


def mean_curve(values: np.ndarray) -> np.ndarray:
    return _quietly(np.nanmean, values)


def _quietly(function, values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a point that no seed reached is NaN, as it should be
        return function(values, axis=0)


def _fall(x: np.ndarray, loss: np.ndarray, records: list[Record]) -> str:
    """The finding: how far the validation loss falls and how early, or that it does not, or that seeds diverge."""
    diverged = [r for r in records if r.status == "diverged"]
    if diverged:
        first = min((s for r in diverged if (s := reach(r, "diverged_step")) is not None), default=None)
        when = f", first at iteration {first:,}" if first is not None else ""
        return f"Training diverges with {len(diverged)} of {counted(len(records), 'seed')}{when}"
    there = np.isfinite(loss)
    x, loss = x[there], loss[there]
    if len(loss) < 2:
        return "The validation loss was taken fewer than two times"
    start, end = loss[0], loss[-1]
    if end >= start:
        return f"The validation loss does not fall: from {digits(start)} to {digits(end)} in {x[-1]:,.0f} iterations"
    early = x[np.argmax(loss <= start - 0.9 * (start - end))]
    share = f"nine tenths of the way in the first {early:,.0f} of {x[-1]:,.0f} iterations"
    return sentence(f"the validation loss falls from {digits(start)} to {digits(end)}, {share}")
