"""Training as a path in the plane of loss and accuracy, and what is lost between its best epoch and its last."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.curves import history, mean_curve
from secondlook.figures.marks import label_rows, means, within
from secondlook.figures.template import CLASS_COLOURS, DASHES, MEASURED, PUBLISHED, SYMBOLS, finish, looks, slider
from secondlook.figures.values import (
    NothingToDraw,
    agree,
    caption,
    counted,
    digits,
    ends,
    few,
    flat,
    joined,
    leads,
    mean_interval,
    percent,
    sentence,
    spread,
    words,
)
from secondlook.record import Record

STEPS = 30  # of the slider


def trade_off(groups: dict[str, list[Record]], published: Mapping[str, tuple[float, float]] | None = None,
              metric: str = "test_accuracy", id: str = "trade-off") -> go.Figure:  # fmt: skip
    """Accuracy against training loss through the epochs, a path for each label; a slider marks where each one is.

    `published` gives (loss, accuracy) by label. Means over seeds. Raises ValueError for records without these curves.
    """
    everything, figure, paths = flat(groups, "paths of loss and accuracy"), go.Figure(), {}
    for (label, records), k in zip(groups.items(), looks(groups).values()):
        loss, accuracy = (mean_curve(history(records, name, name)[1]) for name in ("train_loss", metric))
        paths[label] = loss, accuracy
        figure.add_scatter(x=loss, y=accuracy, name=label, mode="lines", customdata=np.arange(1, len(loss) + 1),
                           line={"color": CLASS_COLOURS[k % 10], "dash": DASHES[k % 3], "width": 2},
                           hovertemplate=f"{label}, epoch %{{customdata}}: loss %{{x:.3f}}, "
                           "accuracy %{y:.1%}<extra></extra>")  # fmt: skip
    for k, (label, (x, y)) in enumerate((published or {}).items()):
        figure.add_scatter(x=[x], y=[y], name=f"{label}, published", mode="markers",
                           marker={"color": PUBLISHED, "size": 11, "symbol": SYMBOLS[3 + k]},
                           hovertemplate="published: loss %{x:.3f}, accuracy %{y:.0%}<extra></extra>")  # fmt: skip
    if not any(np.isfinite(loss + accuracy).any() for loss, accuracy in paths.values()):
        raise NothingToDraw(f"{joined(groups)}: no epoch with a finite loss and {words(metric)}")
    last = max(len(loss) for loss, _ in paths.values())
    epochs = sorted({int(e) for e in np.rint(np.linspace(1, last, min(STEPS, last)))})
    moments = [{"annotations": _marks(paths, epoch)} for epoch in epochs]
    control = {**slider([str(e) for e in epochs], moments, "epoch "), "pad": {"t": 48}}
    legend = {"y": 1.02, "yanchor": "bottom"}  # the slider is below
    figure.update_layout(sliders=[control], annotations=_marks(paths, last), legend=legend)
    ends = [
        np.concatenate([*(p[k] for p in paths.values()), *([v[k]] for v in (published or {}).values())]) for k in (0, 1)
    ]
    spans = [(np.nanmin(v), np.nanmax(v), share * np.ptp(v[np.isfinite(v)])) for v, share in zip(ends, (0.08, 0.2))]
    (left, right, room), (low, high, above) = spans  # fixed, or axes would jump with the marks; room for labels
    figure.update_xaxes(title="training loss (falls to the left)", range=[left - room, right + room])
    figure.update_yaxes(title=words(metric), tickformat=".2~%", range=[low - above, high + above])
    title = _finding(paths, metric)
    alt = f"Paths of training in the plane of training loss and {words(metric)} for {joined(groups)}. {title}."
    return finish(figure, id, title, alt, caption(everything), 500)


def best_and_last(groups: dict[str, list[Record]], metric: str = "test_accuracy", id: str = "best-and-last"
                  ) -> go.Figure:  # fmt: skip
    """The metric at each seed's best epoch and at its last, mean and 95 % interval, a row for each label."""
    there = {label: [r for r in own if np.isfinite(r.history[metric]).any()] for label, own in groups.items()}
    groups = {label: own for label, own in there.items() if own}  # a run may diverge before its first epoch ends
    everything, labels = flat(groups, "best and last epochs"), list(groups)
    curves = [history(records, metric, metric)[1] for records in groups.values()]
    best = [np.nanmax(c, 1) for c in curves]
    last = [np.array([row[np.isfinite(row)][-1] for row in c]) for c in curves]
    when = [np.nanargmax(c, 1) + 1 for c in curves]
    figure = go.Figure()
    for i, (high, low) in enumerate(zip(best, last)):
        figure.add_scatter(x=[low.mean(), high.mean()], y=[i, i], mode="lines", showlegend=False, hoverinfo="skip",
                           line={"color": MEASURED, "width": 3})  # fmt: skip
    for values, name, symbol in ((best, "best epoch", "circle"), (last, "last epoch", "square")):
        found = [mean_interval(v) for v in values]
        texts = [f"{label}, {name}: {percent(m, 2)}{spread(h, 2)}" for label, (m, h) in zip(labels, found)]
        k = 0 if symbol == "circle" else 1
        name += ", 95 % interval" if any(h > 0 for _, h in found) else ""
        means(figure, np.arange(len(labels)), found, "%{text}", name=name, text=texts,
              marker={"size": 11, "symbol": symbol, "color": CLASS_COLOURS[k]})  # fmt: skip
    figure.update_xaxes(title=words(metric), tickformat=".1%")
    within(figure, [*best, *last], [mean_interval(v) for v in (*best, *last)])
    label_rows(figure, labels)
    falls = {label: (b - a).mean() for label, b, a in zip(labels, best, last)}
    order = ends(falls, lambda fall: f"{100 * fall:.1f} points")
    about = f" (about {np.median(when[labels.index(order.first[0])]):.0f})" * (len(order.first) == 1)
    title = f"From {agree(order.first, 'its')} best epoch{about} to the last {few(order.first)} "
    title += f"{agree(order.first, 'loses')} {order.best}"
    if order.tied and order.best == "0.0 points":
        title = f"{few(order.first)} {agree(order.first, 'loses')} nothing after {agree(order.first, 'its')} best epoch"
    others = [f"{label} {100 * v:.1f}" for label, v in falls.items() if label not in order.first]
    title = sentence(f"{title}, {joined(others)}" if others else title)
    alt = f"Dot plot of {words(metric)} at the best and at the last epoch for {joined(labels)}. {title}."
    return finish(figure, id, title, alt, caption(everything), 190 + 56 * len(labels))


def _marks(paths: dict, epoch: int) -> list[dict]:
    """A label with an arrow at each path's place after `epoch`, or at its end where it is shorter."""
    marks = []
    for (label, (loss, accuracy)), k in zip(paths.items(), looks(paths).values()):
        i = min(epoch, len(loss)) - 1
        if np.isfinite(loss[i]) and np.isfinite(accuracy[i]):
            side = -1 if len(marks) % 2 else 1
            marks.append({"x": float(loss[i]), "y": float(accuracy[i]), "text": label, "showarrow": True,
                          "arrowhead": 6, "arrowsize": 1.2, "arrowcolor": CLASS_COLOURS[k % 10], "ax": 34 * side,
                          "ay": 34 * side})  # fmt: skip
    return marks


def _finding(paths: dict, metric: str) -> str:
    losses, reached = ({label: pair[k][-1] for label, pair in paths.items()} for k in (0, 1))
    epochs = counted(max(len(x) for x, _ in paths.values()), "epoch")
    low = leads(losses, "has", "training loss", digits, lowest=True)
    return f"After {epochs} {low}; {leads(reached, 'has', words(metric))}"
