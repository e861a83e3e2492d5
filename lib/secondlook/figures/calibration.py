"""Whether a net is right as often as it is sure of itself."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation import metrics
from secondlook.figures.template import CLASS_COLOURS, DASHES, QUIET, SYMBOLS, finish, looks, menu
from secondlook.figures.values import NothingToDraw, agree, caption, ends, few, flat, joined, percent, sentence
from secondlook.record import Record

BINS = 15
FEWEST = 20  # images of a bin whose share says anything


def calibration(groups: dict[str, list[Record]], id: str = "calibration") -> go.Figure:
    """Accuracy against confidence in bins, a line for each label, its expected calibration error in the legend.

    Drawn from the first record of each label that keeps scores; bins of fewer than 20 images are left out, and the
    areas of the marks show how many images there are. Raises ValueError where a label has no scores.
    """
    flat(groups, "calibration")
    chosen = {label: _first(label, records) for label, records in groups.items()}
    found = {label: measured(record) for label, record in chosen.items()}
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name="as sure as right", hoverinfo="skip",
                                  line={"color": QUIET, "dash": "dot", "width": 1}))  # fmt: skip
    for (label, own), k in zip(found.items(), looks(found).values()):
        there = own.count >= min(FEWEST, own.count.max())
        colour = CLASS_COLOURS[k % 10]
        figure.add_scatter(x=own.confidence[there], y=own.accuracy[there], mode="lines+markers",
                           name=f"{label}, error {percent(own.ece)}", customdata=own.count[there],
                           line={"color": colour, "dash": DASHES[k % 3]},
                           marker={"color": colour, "symbol": SYMBOLS[k % 10],
                                   "size": 5 + 15 * np.sqrt(own.count[there] / own.count.max())},
                           hovertemplate=f"{label}: sure to %{{x:.0%}}, right in %{{y:.0%}} of %{{customdata:,}} "
                           "images<extra></extra>")  # fmt: skip
    top = max(float(np.max([t.x.max(), t.y.max()])) for t in figure.data[1:])
    if top < 0.85:
        shown = {"whole square": [0, 1], "where the images are": [0, round(top + 0.06, 2)]}
        buttons = [(text, {}, {"xaxis.range": r, "yaxis.range": r}) for text, r in shown.items()]
        figure.update_layout(updatemenus=[menu(buttons)])
    figure.update_xaxes(title="confidence in the answer", range=[0, 1], tickformat=".2~%")
    figure.update_yaxes(title="share of right answers", range=[0, 1], tickformat=".2~%")
    title = _finding(found)
    alt = f"Reliability diagram, accuracy against confidence, of {joined(found)}. {title}."
    return finish(figure, id, title, alt, caption(chosen.values()), 460)


def measured(record: Record) -> metrics.Calibration:
    """The calibration of a record's scores: of all classes, or of the five best where it keeps no more."""
    labels = np.asarray(record.arrays["labels"])
    if "scores" in record.arrays:
        return metrics.calibration(labels, metrics.decode_scores(record.arrays["scores"]), BINS)
    right = np.asarray(record.arrays["top5"])[:, 0] == labels
    best = metrics.decode_scores(record.arrays["top5_scores"])[:, :1]
    return metrics.calibration(np.where(right, 0, 1), best, BINS)


def _first(label: str, records: list[Record]) -> Record:
    for record in records:
        if "scores" in record.arrays or "top5_scores" in record.arrays:
            return record
    raise NothingToDraw(f"no record of {label} keeps scores; its run needs keep = 'evidence'")


def _finding(found: dict[str, metrics.Calibration]) -> str:
    """Who is off most, and in which direction."""
    errors = {label: own.ece for label, own in found.items()}
    order = ends(errors)
    own = found[worst := order.first[0]]
    sure = np.nansum(own.confidence * own.count) / own.count.sum()
    right = np.nansum(own.accuracy * own.count) / own.count.sum()
    word = "too sure" if sure > right else "not sure enough"
    word = "as sure as right" if percent(sure) == percent(right) else word
    text = f"{worst} is {word}: {percent(sure)} sure and {percent(right)} right on average"
    if order.tied and len(found) > 1:
        return sentence(f"{few(order.first)} have the same expected calibration error, {order.best}")
    text += f", an expected error of {order.best}"
    least = f"{few(order.last)} {agree(order.last, 'has')} the least, {order.worst}"
    return sentence(text if order.tied else f"{text}; {least}")
