"""What a net's scores say: ROC curves, one class against the rest, and whether it is right as often as it is sure."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation import metrics
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.template import COLOURS, QUIET, SHARE, finish, line, looks, mark, menu
from secondlook.figures.values import NothingToDraw, first_with, flat, needed
from secondlook.record import Record

CORNER = {"xaxis.range": [0, 0.3], "yaxis.range": [0.3, 1]}
WHOLE = {"xaxis.range": [0, 1], "yaxis.range": [0, 1]}
MOST = 10  # curves; of more classes the best and the worst halves of these are drawn
BINS = 15
FEWEST = 20  # images of a bin whose share says anything


@drawn
def roc(records: Record | list[Record], id: str = "roc", name: str = "") -> go.Figure:
    """The curve of each class, its threshold on hover, its AUC with the 95 % interval (DeLong) in the legend.

    Drawn from the first record that keeps curves or scores; `name` begins the title. Raises ValueError where none does.
    """
    record = first_with(needed(records, "ROC curves"), ("roc", "scores"), "curves or scores")
    names, (curves, areas) = words.class_names(record), curves_and_areas(record)
    values = dict(zip(names, [a.value for a in areas]))
    order = np.argsort([-a.value for a in areas], kind="stable")
    shown = sorted(order if len(order) <= MOST else np.r_[order[: MOST // 2], order[-MOST // 2 :]])
    figure = go.Figure()
    for k, i in enumerate(shown):
        curve, area = curves[i], areas[i]
        figure.add_scatter(
            x=curve.false_positive_rate, y=curve.true_positive_rate, mode="lines", line=line(k, width=1.8),
            customdata=np.nan_to_num(curve.threshold, posinf=np.nan),  # the first point's threshold is infinite
            name=f"{names[i]} {area.value:.3f} [{area.low:.3f}, {area.high:.3f}]",
            hovertemplate=f"{names[i]}: %{{y:.1%}} found, %{{x:.1%}} false alarms<br>"
            "threshold %{customdata:.3g}<extra></extra>",
        )  # fmt: skip
    _diagonal(figure, "chance 0.5")
    curve_axes(figure, "true positive rate")
    title = told_apart(values, "classes")
    title = f"{name}: {title}" if name else words.sentence(title)
    title += f"; the mean over classes is {np.mean(list(values.values())):.3f}"
    shows = f"ROC curves, true against false positive rate, of {words.joined(names[i] for i in shown)}"
    part = len(shown) < len(order)
    more = f"Of {len(order)} classes the five best and the five worst are drawn." * part
    note = words.caption([record], f"five best and five worst of {len(order)} classes" * part)
    return finish(figure, id, title, shows, note, 580, more)


def curve_axes(figure: go.Figure, found: str) -> None:
    """The axes of ROC curves, and the menu that enlarges their corner; `found` names the y axis."""
    figure.update_layout(updatemenus=[menu([("whole curve", {}, WHOLE), ("upper left corner, enlarged", {}, CORNER)])])
    figure.update_xaxes(title="false positive rate", range=[0, 1], tickformat=SHARE)
    figure.update_yaxes(title=found, range=[0, 1], tickformat=SHARE)


def told_apart(areas: dict[str, float], noun: str, what: str = "AUC") -> str:
    """Which classes are told from the rest best and worst, by their areas under the curve."""
    order = words.ends(areas, lambda area: f"{area:.3f}")
    text = f"{words.few(order.first, noun)} {words.agree(order.first, 'is')} told from the rest "
    if order.tied:
        return f"{text}equally well ({what} {order.best})"
    return f"{text}best ({what} {order.best}), {words.few(order.last, noun)} worst ({order.worst})"


def curves_and_areas(record: Record) -> tuple[list[metrics.Roc], list[metrics.Interval]]:
    """Curves and AUC intervals of a record, as kept (`roc`) or computed from its `scores` and `labels`."""
    if "roc" in record.arrays:
        intervals = [record.metrics[name] for name in ("auc", "auc_low", "auc_high")]
        if None in intervals[0]:
            raise NothingToDraw(f"the record of {record.recipe} has no finite scores: it diverged")
        curves = metrics.unpack_curves(record.arrays["roc"], intervals[0])
        return curves, [metrics.Interval(*v) for v in zip(*intervals, strict=True)]
    scores, labels = metrics.decode_scores(record.arrays["scores"]), record.arrays["labels"]
    areas = [metrics.auc_interval(labels == c, scores[:, c]) for c in range(scores.shape[1])]
    return metrics.roc_one_vs_rest(labels, scores), areas


def _diagonal(figure: go.Figure, name: str) -> None:
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": QUIET, "dash": "dot", "width": 1}, name=name,
                       hoverinfo="skip")  # fmt: skip


@drawn
def roc_edge(groups: dict[str, Record], id: str = "roc-edge") -> go.Figure:
    """ROC curves of ones against zeros on a logarithmic axis, where the false alarms are few; a line a record.

    From scores, or as a single point from svm_predictions where a record has no scores. The left edge, where no zero is
    called a one, is drawn at half a zero.
    """
    records = needed(groups.values(), "ROC curves")
    figure, areas = go.Figure(), {}
    for k, (label, record) in enumerate(groups.items()):
        name, labels = label, record.arrays.get("labels")
        if "scores" in record.arrays:
            curves, intervals = curves_and_areas(record)
            (x, y), area = (curves[-1].false_positive_rate, curves[-1].true_positive_rate), intervals[-1]
            areas[label] = area.value
            name += f" {area.value:.4f} [{area.low:.4f}, {area.high:.4f}]"
        elif "svm_predictions" in record.arrays:
            one = metrics.roc(labels == 1, record.arrays["svm_predictions"])
            x, y = one.false_positive_rate[1:-1], one.true_positive_rate[1:-1]
        else:
            raise NothingToDraw(f"the record of {record.recipe} keeps no scores; its run needs keep = 'evidence'")
        figure.add_scatter(x=np.maximum(x, 0.5 / np.sum(labels == 0)), y=y, mode="lines+markers", name=name,
                           customdata=x, line=line(k, shape="hv"), marker={"size": 5, "color": COLOURS[k % 10]},
                           hovertemplate=f"{label}: %{{y:.2%}} of the ones,"
                           " %{customdata:.2%} of the zeros<extra></extra>")  # fmt: skip
    figure.update_xaxes(title="zeros called ones (logarithmic)", type="log", tickvals=[0.001, 0.01, 0.1, 1],
                        tickformat=".1~%")  # fmt: skip
    figure.update_yaxes(title="ones called ones", tickformat=".1~%")
    title = f"ROC curves of {words.joined(groups)}"
    if areas:
        order = words.ends(areas, "{:.4f}".format)
        title = f"{words.few(order.first)} {words.agree(order.first, 'tells')} ones from zeros"
        title += f"{'' if order.tied else ' best,'} with an AUC of {order.best}"
        title += "" if order.tied else f"; {words.few(order.last)} {words.agree(order.last, 'has')} {order.worst}"
    note = words.caption(records, "the left edge is no zero at all")
    return finish(figure, id, title, "ROC curves on a logarithmic axis", note, 440)


@drawn
def calibration(groups: dict[str, list[Record]], id: str = "calibration") -> go.Figure:
    """Accuracy against confidence in bins, a line for each label, its expected calibration error in the legend.

    Drawn from the first record of each label that keeps scores; bins of fewer than 20 images are left out, and the
    areas of the marks show how many images there are. Raises ValueError where a label has no scores.
    """
    flat(groups, "calibration")
    chosen = {label: _with_scores(label, records) for label, records in groups.items()}
    found = {label: measured(record) for label, record in chosen.items()}
    figure = go.Figure()
    _diagonal(figure, "as sure as right")
    for (label, own), k in zip(found.items(), looks(found).values()):
        there = own.count >= min(FEWEST, own.count.max())
        figure.add_scatter(x=own.confidence[there], y=own.accuracy[there], mode="lines+markers", line=line(k),
                           name=f"{label}, error {words.percent(own.ece)}", customdata=own.count[there],
                           marker=mark(k, 5 + 15 * np.sqrt(own.count[there] / own.count.max())),
                           hovertemplate=f"{label}: sure to %{{x:.0%}}, right in %{{y:.0%}} of %{{customdata:,}} "
                           "images<extra></extra>")  # fmt: skip
    top = max(float(np.max([t.x.max(), t.y.max()])) for t in figure.data[1:])
    if top < 0.85:
        shown = {"whole square": [0, 1], "where the images are": [0, round(top + 0.06, 2)]}
        buttons = [(text, {}, {"xaxis.range": r, "yaxis.range": r}) for text, r in shown.items()]
        figure.update_layout(updatemenus=[menu(buttons)])
    figure.update_xaxes(title="confidence in the answer", range=[0, 1], tickformat=SHARE)
    figure.update_yaxes(title="share of right answers", range=[0, 1], tickformat=SHARE)
    shows = f"Reliability diagram, accuracy against confidence, of {words.joined(found)}"
    return finish(figure, id, _most_off(found), shows, words.caption(chosen.values()), 460)


def measured(record: Record) -> metrics.Calibration:
    """The calibration of a record's scores: of all classes, or of the five best where it keeps no more."""
    labels = np.asarray(record.arrays["labels"])
    if "scores" in record.arrays:
        return metrics.calibration(labels, metrics.decode_scores(record.arrays["scores"]), BINS)
    right = np.asarray(record.arrays["top5"])[:, 0] == labels
    best = metrics.decode_scores(record.arrays["top5_scores"])[:, :1]
    return metrics.calibration(np.where(right, 0, 1), best, BINS)


def _with_scores(label: str, records: list[Record]) -> Record:
    for record in records:
        if "scores" in record.arrays or "top5_scores" in record.arrays:
            return record
    raise NothingToDraw(f"no record of {label} keeps scores; its run needs keep = 'evidence'")


def _most_off(found: dict[str, metrics.Calibration]) -> str:
    """Who is off most, and in which direction."""
    order = words.ends({label: own.ece for label, own in found.items()})
    if order.tied and len(found) > 1:
        return words.sentence(f"{words.few(order.first)} have the same expected calibration error, {order.best}")
    own = found[worst := order.first[0]]
    shares = [np.nansum(v * own.count) / own.count.sum() for v in (own.confidence, own.accuracy)]
    sure, right = map(words.percent, shares)
    how = "calibrated" if sure == right else "overconfident" if shares[0] > shares[1] else "underconfident"
    text = f"{worst} is {how}: confidence {sure}, accuracy {right}, an expected error of {order.best}"
    if not order.tied:
        text += f"; {words.few(order.last)} {words.agree(order.last, 'has')} the least, {order.worst}"
    return words.sentence(text)
