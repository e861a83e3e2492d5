"""ROC curves, one class against the rest."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation import metrics
from secondlook.figures.template import CLASS_COLOURS, DASHES, QUIET, finish, menu
from secondlook.figures.values import (
    NothingToDraw,
    agree,
    answering,
    caption,
    class_names,
    ends,
    few,
    joined,
    needed,
    sentence,
)
from secondlook.record import Record

CORNER = {"xaxis.range": [0, 0.3], "yaxis.range": [0.3, 1]}
WHOLE = {"xaxis.range": [0, 1], "yaxis.range": [0, 1]}
MOST = 10  # curves; of more classes the best and the worst halves of these are drawn


def roc(records: Record | list[Record], id: str = "roc", name: str = "") -> go.Figure:
    """The curve of each class, its threshold on hover, its AUC with the 95 % interval (DeLong) in the legend.

    Drawn from the first record that keeps curves or scores; `name` begins the title. Raises ValueError where none does.
    """
    records = needed(records, "ROC curves")
    record = next((r for r in answering(records) if "roc" in r.arrays or "scores" in r.arrays), None)
    if record is None:
        raise NothingToDraw(
            f"no record of {records[0].recipe.run} keeps curves or scores; its run needs keep = 'evidence'"
        )
    names, (curves, areas) = class_names(record), curves_and_areas(record)
    order = np.argsort([-a.value for a in areas], kind="stable")
    shown = order if len(order) <= MOST else np.r_[order[: MOST // 2], order[-MOST // 2 :]]
    figure = go.Figure()
    for k, i in enumerate(sorted(shown)):
        _curve(figure, names[i], curves[i], areas[i], k)
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": QUIET, "dash": "dot", "width": 1},
                       name="chance 0.5", hoverinfo="skip")  # fmt: skip
    figure.update_layout(updatemenus=[menu([("whole curve", {}, WHOLE), ("upper left corner, enlarged", {}, CORNER)])])
    figure.update_xaxes(title="false positive rate", range=[0, 1], tickformat=".2~%")
    figure.update_yaxes(title="true positive rate", range=[0, 1], tickformat=".2~%")
    title = told_apart({n: a.value for n, a in zip(names, areas)}, "classes")
    title = f"{name}: {title}" if name else sentence(title)
    title += f"; the mean over classes is {np.mean([a.value for a in areas]):.3f}"
    part = "" if len(shown) == len(order) else f" Of {len(order)} classes the five best and the five worst are drawn."
    alt = f"ROC curves, true against false positive rate, of {joined(names[i] for i in sorted(shown))}. {title}.{part}"
    note = f"five best and five worst of {len(order)} classes" if part else ""
    return finish(figure, id, title, alt, caption([record], note), 580)


def told_apart(areas: dict[str, float], noun: str, what: str = "AUC") -> str:
    """Which classes are told from the rest best and worst, by their areas under the curve."""
    order = ends(areas, lambda area: f"{area:.3f}")
    who, are = few(order.first, noun), agree(order.first, "is")
    if order.tied:
        return f"{who} {are} told from the rest equally well ({what} {order.best})"
    return f"{who} {are} told from the rest best ({what} {order.best}), {few(order.last, noun)} worst ({order.worst})"


def _curve(figure: go.Figure, name: str, curve: metrics.Roc, area: metrics.Interval, k: int) -> None:
    figure.add_scatter(
        x=curve.false_positive_rate, y=curve.true_positive_rate, mode="lines",
        customdata=np.nan_to_num(curve.threshold, posinf=np.nan),  # the first point's threshold is infinite
        name=f"{name} {area.value:.3f} [{area.low:.3f}, {area.high:.3f}]",
        line={"width": 1.8, "color": CLASS_COLOURS[k % 10], "dash": DASHES[k % 3]},
        hovertemplate=f"{name}: %{{y:.1%}} found, %{{x:.1%}} false alarms<br>"
        "threshold %{customdata:.3g}<extra></extra>",
    )  # fmt: skip


def curves_and_areas(record: Record) -> tuple[list[metrics.Roc], list[metrics.Interval]]:
    """Curves and AUC intervals of a record, as kept (`roc`) or computed from its `scores` and `labels`."""
    if "roc" in record.arrays:
        kept = [record.metrics[name] for name in ("auc", "auc_low", "auc_high")]
        if None in kept[0]:
            raise NothingToDraw(f"the record of {record.recipe} has no finite scores: it diverged")
        intervals = [metrics.Interval(*v) for v in zip(*kept, strict=True)]
        return metrics.unpack_curves(record.arrays["roc"], kept[0]), intervals
    scores, labels = metrics.decode_scores(record.arrays["scores"]), record.arrays["labels"]
    areas = [metrics.auc_interval(labels == c, scores[:, c]) for c in range(scores.shape[1])]
    return metrics.roc_one_vs_rest(labels, scores), areas
