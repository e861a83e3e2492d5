"""What is taken for what: confusion matrices, their difference, the most frequent and the most certain mistakes."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation import metrics
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import picture, placeholder, sprite
from secondlook.figures.template import MEASURED, SHARE, Views, finish
from secondlook.figures.values import NothingToDraw, answering, kept, mean_interval, needed
from secondlook.record import Record

LEAST = 0.5  # points below which a cell of a difference is left empty: on a telephone the numbers would touch
MOST = 30  # classes up to which there is room for a view of the columns, and, up to half of it, for numbers in cells


@drawn
def confusion(records: Record | list[Record], click_sprite: dict | None = None, id: str = "confusion",
              name: str = "") -> go.Figure:  # fmt: skip
    """Labels down, predictions across, as images, as a share of each label (rows) and of each prediction (columns).

    Several seeds are averaged; `name` begins the title. Of more than MOST classes the colours end at the most frequent
    mistake, or nothing but the diagonal would be seen. `click_sprite` declares the images behind cells: {"src":
    data-URI or "", "columns": n, "tile": pixels, "cells": {"row,column": [tiles]}}. Raises ValueError for a record
    without predictions.
    """
    records = needed(records, "a confusion matrix")
    names = words.class_names(records[0])
    counts = matrices(records).mean(0)
    rows, columns, many = shares(counts, 1), shares(counts, 0), len(names) > MOST
    told = [("images", counts, ".0f"), ("% of the label (rows)", 100 * rows, ".1f"),
            ("% of the prediction (columns)", 100 * columns, ".1f")][: 2 if many else 3]  # fmt: skip
    whole = np.floor(counts + 0.5).astype(int)  # halves as the cells round them
    totals = np.rint(np.broadcast_to(counts.sum(1, keepdims=True), counts.shape)).astype(int)
    both, hover = np.stack([whole, totals], -1), "%{customdata[0]} of %{customdata[1]} %{y} images"
    if many:
        both, hover = whole, "%{customdata} %{y} images"
    figure = go.Figure()
    views = Views(figure)
    for view, (label, values, digits) in enumerate(told):
        ends = {"zmin": 0, "zmax": mistakes(values).max()} if many else {}
        heat(figure, values, names, customdata=both, name=label, **ends,
             texttemplate=f"%{{z:{digits}}}" if 2 * len(names) <= MOST else None,
             hovertemplate=f"{hover} called %{{x}}<br>{label}: %{{z:{digits}}}<extra></extra>")  # fmt: skip
        views.own(view)
    views.menu([label for label, *_ in told])
    title = recognised(counts, names)
    title = f"{name}: {title}" if name else words.sentence(title)
    shows = f"Confusion matrix of {len(names)} classes, labels down, predictions across"
    note = words.caption(records, "mean" if len(records) > 1 else "")
    return finish(figure, id, title, shows, note, 560, f"{most_frequent(rows, names)}.", click_sprite=click_sprite)


def matrices(records: list[Record]) -> np.ndarray:
    """Confusion counts of each record that did not diverge, (records, classes, classes).

    Raises NothingToDraw where all did, and for one without predictions.
    """
    found = []
    for r in answering(records):
        if "predictions" not in r.arrays or "labels" not in r.arrays:
            raise NothingToDraw(f"the record of {r.recipe} keeps no predictions; its run needs keep = 'predictions'")
        found.append(metrics.confusion(r.arrays["labels"], r.arrays["predictions"], len(words.class_names(r))))
    return np.stack(found)


def shares(counts: np.ndarray, axis: int) -> np.ndarray:
    """The counts as shares of the labels (1) or of the predictions (0)."""
    return counts / np.maximum(counts.sum(axis, keepdims=True), 1)


def mistakes(values: np.ndarray, diagonal: float = -1) -> np.ndarray:
    """The values off the diagonal."""
    off = values.copy()
    np.fill_diagonal(off, diagonal)
    return off


def heat(figure: go.Figure, values: np.ndarray, names: tuple[str, ...], **more) -> None:
    """Adds a matrix of classes, labels down."""
    gap = 1 if len(names) <= MOST else 0
    place = {"x": list(names), "y": list(names), "xgap": gap, "ygap": gap}
    figure.add_heatmap(z=values, textfont_size=10, showscale=False, **place, **more)
    figure.update_xaxes(title="predicted", side="bottom", tickangle=-45, constrain="domain", showgrid=False,
                        type="category")  # fmt: skip
    figure.update_yaxes(title="label", autorange="reversed", showgrid=False, type="category")


def recognised(counts: np.ndarray, names: tuple[str, ...]) -> str:
    """Which classes are recognised most and least often, of those that have images."""
    images = counts.sum(1)
    found = {n: counts[k, k] / images[k] for k, n in enumerate(names) if images[k]}
    order = words.ends(found, lambda share: words.percent(share, 0))
    text = f"{words.few(order.first, 'classes')} {words.agree(order.first, 'is')} recognised"
    its = words.agree(order.first, "its")
    if order.tied:
        return f"{text} in {order.best} of {its} images"
    return f"{text} most often ({order.best} of {its} images), {words.few(order.last, 'classes')} least ({order.worst})"


def most_frequent(rows: np.ndarray, names: tuple[str, ...]) -> str:
    """The most frequent mistake, as a share of the label's images; all of them where several are equally frequent."""
    order = words.ends({(i, j): v for (i, j), v in np.ndenumerate(mistakes(rows)) if v > 0})
    if not order.first:
        return "no image is mistaken"
    told = words.few([f"{names[i]} called {names[j]}" for i, j in order.first], "mistakes")
    how = "are equally frequent" if order.first[1:] else f"is the {'only' if order.tied else 'most frequent'} mistake"
    return f"{told} {how}: {order.best} of {words.agree(order.first, 'its')} images"


@drawn
def confusion_difference(a: Record | list[Record], b: Record | list[Record], labels: tuple[str, str],
                         id: str = "confusion-difference") -> go.Figure:  # fmt: skip
    """How b differs from a, cell by cell, in points of the label's images; `labels` name the two.

    Raises ValueError where the two do not tell the same classes apart.
    """
    a, b = needed(a, labels[0]), needed(b, labels[1])
    names = words.class_names(a[0])
    if names != words.class_names(b[0]):
        raise ValueError(f"{labels[0]} and {labels[1]} tell different classes apart; compare records of one task")
    if len(profiles := {r.recipe.profile for r in (*a, *b)}) > 1:
        told = words.joined(sorted(profiles))
        raise NothingToDraw(f"{labels[0]} and {labels[1]} were trained at different profiles, {told}")
    change = 100 * (shares(matrices(b).mean(0), 1) - shares(matrices(a).mean(0), 1))
    figure = go.Figure()
    short = "+.1f" if np.abs(change).max() < 9.95 else "+.0f"  # four signs fit into a cell on a telephone
    texts = [[f"{v:{short}}" if abs(v) >= LEAST and float(f"{v:{short}}") else "" for v in row] for row in change]
    heat(figure, change, names, zmid=0, name="points of the label's images", text=texts,
         texttemplate="%{text}" if 2 * len(names) <= MOST else None,
         hovertemplate="%{y} called %{x}: %{z:+.1f} points<extra></extra>")  # fmt: skip
    gain = np.diag(change)
    better, worse = int((gain > 0).sum()), int((gain < 0).sum())
    counts = f"{better} classes more often and {worse} less often"
    if len(names) in (better, worse):
        counts = f"every class {'more' if better else 'less'} often"
    title = f"{words.sentence(labels[1])} recognises {counts} than {labels[0]}"
    order = words.ends(dict(zip(names, np.abs(gain))), "{:.1f}".format)
    if better + worse == 0:
        title = f"{words.sentence(words.joined(labels[::-1]))} recognise every class equally often"
    elif len(order.first) == 1:
        most = f"{gain[names.index(order.first[0])]:+.1f} points".replace("-", "−")
        title += f"; {order.first[0]} changes most, by {most}"
    shows = f"Difference of two confusion matrices, {labels[1]} minus {labels[0]}, in points of each label"
    return finish(figure, id, title, shows, words.caption([*a, *b]), 560)


@drawn
def top_confusions(records: Record | list[Record], count: int = 10, id: str = "top-confusions") -> go.Figure:
    """The most frequent mistakes, as a share of the label's images: the mean over seeds with its 95 % interval."""
    records = needed(records, "the most frequent mistakes")
    names = words.class_names(records[0])
    each = np.stack([shares(m, 1) for m in matrices(records)])
    mean = mistakes(each.mean(0))
    order = np.argsort(-mean, axis=None, kind="stable")[:count]
    pairs = [divmod(int(i), len(names)) for i in order if mean.flat[i] > 0]
    if not pairs:
        raise NothingToDraw(f"{words.joined(sorted({str(r.recipe) for r in records}))}: no test image is mistaken")
    found = np.array([mean_interval(each[:, i, j]) for i, j in pairs])
    figure = go.Figure(
        go.Bar(x=found[:, 0], y=[f"{names[i]} → {names[j]}" for i, j in pairs], orientation="h", marker_color=MEASURED,
               error_x={"array": found[:, 1], "thickness": 1.5, "visible": len(records) > 2},
               hovertemplate="%{y}: %{x:.1%} of its images<extra></extra>")
    )  # fmt: skip
    figure.update_xaxes(title="share of its images", tickformat=SHARE)
    figure.update_yaxes(autorange="reversed")
    title = words.sentence(most_frequent(mean, names))
    shows = f"Bar chart of the {len(pairs)} most frequent mistakes, label → prediction"
    return finish(figure, id, title, shows, words.caption(records), 130 + 30 * len(pairs))


@drawn
def misclassified(record: Record, images: np.ndarray | None, count: int = 5, id: str = "misclassified") -> go.Figure:
    """One wrong answer of each of the `count` classes with the most of them: the one given most probability.

    `images` are the record's test images in the order of its labels (`Chapter.pixels`); without them a placeholder
    names the command. Raises ValueError for a record without scores, or without mistakes.
    """
    (record,) = needed(record, "misclassified images")
    rows, certain = mistaken_rows(record, count)
    if images is None:
        return placeholder(record.data_name, record.recipe.data.name, id, words.caption([record]))
    names = words.class_names(record)
    labels, said = record.arrays["labels"][rows], record.arrays["predictions"][rows]
    text = [f"{names[a]}<br>→<br>{names[b]}<br>{words.percent(p, 0)}" for a, b, p in zip(labels, said, certain)]
    figure = go.Figure(go.Scatter(x=np.arange(len(rows)) + 0.5, y=np.full(len(rows), 1.04), mode="text", text=text,
                                  hoverinfo="skip", textposition="bottom center", textfont_size=11))  # fmt: skip
    room = 2.0  # four lines take as much as an image on the narrowest page
    picture(figure, sprite(_framed(images[rows]), len(rows)), len(rows), 1, range=[room, 0])
    sure = int(np.argmax(certain))
    title = words.sentence(f"{names[labels[sure]]} called {names[said[sure]]} with a probability of ")
    title += f"{words.percent(certain[sure], 0)}; the most certain mistakes about "
    title += words.joined(names[k] for k in labels)
    shows = f"{len(rows)} test images with their label, the prediction and its probability"
    return finish(figure, id, title, shows, words.caption([record]), 250)


def mistaken_rows(record: Record, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the record's test images and their probabilities, the classes with the most mistakes first."""
    scores = metrics.decode_scores(kept(record, "scores"))
    labels, said = (np.asarray(record.arrays[k], int) for k in ("labels", "predictions"))
    wrong = labels != said
    if not wrong.any():
        raise NothingToDraw(f"the record of {record.recipe} has no mistake to show")
    certain = scores[np.arange(len(labels)), said]
    counts = np.bincount(labels[wrong], minlength=labels.max() + 1)
    classes = [c for c in np.argsort(-counts, kind="stable")[:count] if counts[c]]
    rows = np.array([np.where(wrong & (labels == c), certain, -1).argmax() for c in classes])
    return rows, certain[rows]


def _framed(images: np.ndarray, scale: int = 4, edge: int = 6) -> np.ndarray:
    """Images made larger by whole pixels, so that a browser does not blur them, with a white frame between them."""
    large = np.asarray(images).repeat(scale, 1).repeat(scale, 2)
    around = [(0, 0), (edge, edge), (edge, edge)] + [(0, 0)] * (large.ndim - 3)
    return np.pad(large, around, constant_values=255)
