"""What is taken for what: confusion matrices, their difference, and the most frequent mistakes."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation import metrics
from secondlook.figures.template import MEASURED, finish, views
from secondlook.figures.values import (
    NothingToDraw,
    agree,
    answering,
    caption,
    class_names,
    ends,
    few,
    joined,
    mean_interval,
    needed,
    percent,
    sentence,
)
from secondlook.record import Record

LEAST = 0.5  # points below which a cell of a difference is left empty: on a telephone the numbers would touch
MOST = 30  # classes up to which there is room for a view of the columns, and, up to half of it, for numbers in cells


def confusion(records: Record | list[Record], click_sprite: dict | None = None, id: str = "confusion",
              name: str = "") -> go.Figure:  # fmt: skip
    """Labels down, predictions across, as images, as a share of each label (rows) and of each prediction (columns).

    Several seeds are averaged; `name` begins the title. Of more than MOST classes the colours end at the most frequent
    mistake, or nothing but the diagonal would be seen. `click_sprite` declares the images behind cells: {"src":
    data-URI or "", "columns": n, "tile": pixels, "cells": {"row,column": [tiles]}}. Raises ValueError for a record
    without predictions.
    """
    records = needed(records, "a confusion matrix")
    names = class_names(records[0])
    counts = matrices(records).mean(0)
    rows, columns = _shares(counts, 1), _shares(counts, 0)
    told = [("images", counts, ".0f"), ("% of the label (rows)", 100 * rows, ".1f")]
    if len(names) <= MOST:
        told.append(("% of the prediction (columns)", 100 * columns, ".1f"))
    figure = go.Figure()
    whole = np.floor(counts + 0.5).astype(int)  # halves as the cells round them
    totals = np.rint(np.broadcast_to(counts.sum(1, keepdims=True), counts.shape)).astype(int)
    both = np.stack([whole, totals], -1) if len(names) <= MOST else whole
    hover = "%{customdata[0]} of %{customdata[1]} %{y} images" if len(names) <= MOST else "%{customdata} %{y} images"
    for view, (label, values, digits) in enumerate(told):
        ends = {"zmin": 0, "zmax": _mistakes(values).max()} if len(names) > MOST else {}
        _heat(figure, values, names, customdata=both, visible=view == 0, name=label, **ends,
              texttemplate=_cells(names, digits),
              hovertemplate=f"{hover} called %{{x}}<br>{label}: %{{z:{digits}}}<extra></extra>")  # fmt: skip
    figure.update_layout(updatemenus=[views(range(len(told)), [t[0] for t in told])])
    title = recognised(counts, names)
    title = f"{name}: {title}" if name else sentence(title)
    alt = (
        f"Confusion matrix of {len(names)} classes, labels down, predictions across. {title}. {_mistake(rows, names)}."
    )
    note = "mean" if len(records) > 1 else ""
    return finish(figure, id, title, alt, caption(records, note), 560, click_sprite=click_sprite)


def recognised(counts: np.ndarray, names: tuple[str, ...]) -> str:
    """Which classes are recognised most and least often, of those that have images."""
    images = counts.sum(1)
    found = {n: counts[k, k] / images[k] for k, n in enumerate(names) if images[k]}
    order = ends(found, lambda share: percent(share, 0))
    text = f"{few(order.first, 'classes')} {agree(order.first, 'is')} recognised{' most often,' * (not order.tied)}"
    text += f" in {order.best} of {agree(order.first, 'its')} images"
    return text + f", {few(order.last, 'classes')} least, in {order.worst}" * (not order.tied)


def confusion_difference(a: Record | list[Record], b: Record | list[Record], labels: tuple[str, str],
                         id: str = "confusion-difference") -> go.Figure:  # fmt: skip
    """How b differs from a, cell by cell, in points of the label's images; `labels` name the two.

    Raises ValueError where the two do not tell the same classes apart.
    """
    a, b = needed(a, labels[0]), needed(b, labels[1])
    names = class_names(a[0])
    if names != class_names(b[0]):
        raise ValueError(f"{labels[0]} and {labels[1]} tell different classes apart; compare records of one task")
    if len(profiles := {r.recipe.profile for r in (*a, *b)}) > 1:
        raise NothingToDraw(
            f"{labels[0]} and {labels[1]} were trained at different profiles, {joined(sorted(profiles))}"
        )
    change = 100 * (_shares(matrices(b).mean(0), 1) - _shares(matrices(a).mean(0), 1))
    figure = go.Figure()
    short = "+.1f" if np.abs(change).max() < 9.95 else "+.0f"  # four signs fit into a cell on a telephone
    texts = [[f"{v:{short}}" if abs(v) >= LEAST and float(f"{v:{short}}") else "" for v in row] for row in change]
    _heat(figure, change, names, zmid=0, name="points of the label's images", text=texts,
          texttemplate="%{text}" if 2 * len(names) <= MOST else None,
          hovertemplate="%{y} called %{x}: %{z:+.1f} points<extra></extra>")  # fmt: skip
    gain = np.diag(change)
    k = int(np.abs(gain).argmax())
    better, worse = int((gain > 0).sum()), int((gain < 0).sum())
    title = f"{sentence(labels[1])} recognises {better} classes more often and {worse} less often than {labels[0]}"
    most = [n for n, g in zip(names, gain) if f"{abs(g):.1f}" == f"{abs(gain[k]):.1f}"]
    if better + worse == 0:
        title = f"{sentence(joined(labels[::-1]))} recognise every class equally often"
    elif len(most) == 1:
        title += f"; {names[k]} changes most, by {gain[k]:+.1f} points"
    alt = f"Difference of two confusion matrices, {labels[1]} minus {labels[0]}, in points of each label. {title}."
    return finish(figure, id, title, alt, caption([*a, *b]), 560)


def top_confusions(records: Record | list[Record], count: int = 10, id: str = "top-confusions") -> go.Figure:
    """The most frequent mistakes, as a share of the label's images: the mean over seeds with its 95 % interval."""
    records = needed(records, "the most frequent mistakes")
    names = class_names(records[0])
    shares = np.stack([_shares(m, 1) for m in matrices(records)])
    mean = _mistakes(shares.mean(0))
    order = np.argsort(-mean, axis=None, kind="stable")[:count]
    pairs = [divmod(int(i), len(names)) for i in order if mean.flat[i] > 0]
    if not pairs:
        raise NothingToDraw(f"{joined(sorted({str(r.recipe) for r in records}))}: no test image is mistaken")
    found = [mean_interval(shares[:, i, j]) for i, j in pairs]
    figure = go.Figure(
        go.Bar(x=np.array([m for m, _ in found]), y=[f"{names[i]} → {names[j]}" for i, j in pairs], orientation="h",
               marker_color=MEASURED, error_x={"array": np.array([h for _, h in found]), "thickness": 1.5,
                                               "visible": len(records) > 2},
               hovertemplate="%{y}: %{x:.1%} of its images<extra></extra>")
    )  # fmt: skip
    figure.update_xaxes(title="share of its images", tickformat=".2~%")
    figure.update_yaxes(autorange="reversed")
    title = sentence(_mistake(mean, names))
    alt = f"Bar chart of the {len(pairs)} most frequent mistakes, label → prediction. {title}."
    return finish(figure, id, title, alt, caption(records), 130 + 30 * len(pairs))


def matrices(records: list[Record]) -> np.ndarray:
    """Confusion counts of each record that did not diverge, (records, classes, classes).

    Raises NothingToDraw where all did, and for one without predictions.
    """
    found = []
    for r in answering(records):
        if "predictions" not in r.arrays or "labels" not in r.arrays:
            raise NothingToDraw(f"the record of {r.recipe} keeps no predictions; its run needs keep = 'predictions'")
        found.append(metrics.confusion(r.arrays["labels"], r.arrays["predictions"], len(class_names(r))))
    return np.stack(found)


def _shares(counts: np.ndarray, axis: int) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis, keepdims=True), 1)


def _cells(names, digits: str) -> str | None:
    return f"%{{z:{digits}}}" if 2 * len(names) <= MOST else None


def _heat(figure: go.Figure, values: np.ndarray, names: tuple[str, ...], **more) -> None:
    gap = 1 if len(names) <= MOST else 0
    figure.add_heatmap(
        z=values, x=list(names), y=list(names), xgap=gap, ygap=gap, textfont_size=10, showscale=False, **more
    )
    figure.update_xaxes(
        title="predicted", side="bottom", tickangle=-45, constrain="domain", showgrid=False, type="category"
    )
    figure.update_yaxes(title="label", autorange="reversed", showgrid=False, type="category")


def _mistakes(values: np.ndarray) -> np.ndarray:
    """The values off the diagonal; -1 on it."""
    off = values.copy()
    np.fill_diagonal(off, -1)
    return off


def _mistake(rows: np.ndarray, names: tuple[str, ...]) -> str:
    """The most frequent mistake, as a share of the label's images; all of them where several are equally frequent."""
    order = ends({(i, j): v for (i, j), v in np.ndenumerate(_mistakes(rows)) if v > 0})
    if not order.first:
        return "no image is mistaken"
    told = few([f"{names[i]} called {names[j]}" for i, j in order.first], "mistakes")
    how = "are equally frequent" if order.first[1:] else "is the most frequent mistake"
    return f"{told} {how}: {order.best} of {agree(order.first, 'its')} images"
