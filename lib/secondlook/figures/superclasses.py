"""CIFAR-100 seen through its twenty superclasses: confusion, ROC, and the classes that are hardest and easiest."""

import numpy as np
import plotly.graph_objects as go

from secondlook.data.names import CIFAR100, SUPERCLASSES
from secondlook.evaluation.statistics import wilson
from secondlook.figures.confusion import _heat, _mistake, _shares, matrices, recognised
from secondlook.figures.marks import label_rows, means
from secondlook.figures.roc import CORNER, WHOLE, curves_and_areas, told_apart
from secondlook.figures.template import CLASS_COLOURS, DASHES, QUIET, finish, menu, views
from secondlook.figures.values import (
    NothingToDraw,
    answering,
    caption,
    class_names,
    joined,
    mean_interval,
    needed,
    percent,
    sentence,
)
from secondlook.record import Record

NAMES = tuple(name.replace("_", " ") for name in SUPERCLASSES)
MEMBER = np.array([[c in own for own in SUPERCLASSES.values()].index(True) for c in CIFAR100])  # of each class
GRID = np.linspace(0, 1, 101)  # false positive rates at which curves are averaged
NAMED = 3  # best and worst superclasses whose curves have a colour


def superclass_confusion(records: Record | list[Record], click_sprite: dict | None = None,
                         id: str = "superclass-confusion") -> go.Figure:  # fmt: skip
    """Superclasses down, predicted ones across, as a share of each and as a share of its mistakes; seeds are averaged.

    `click_sprite` declares the images behind cells (`Chapter.click_images` of `image_cells`). Raises ValueError for
    records without predictions or of another data set.
    """
    records = _cifar100(records, "a confusion matrix")
    classes = matrices(records).mean(0)
    counts = _grouped(classes)
    wrong = counts.copy()
    wrong[np.diag_indices(20)] = 0
    told = [("% of the superclass", 100 * _shares(counts, 1)), ("% of its mistakes", 100 * _shares(wrong, 1))]
    figure = go.Figure()
    for view, (label, values) in enumerate(told):
        _heat(figure, values, NAMES, visible=view == 0,
              hovertemplate=f"%{{y}} called %{{x}}: %{{z:.1f}} {label}<extra></extra>")  # fmt: skip
    figure.update_xaxes(tickfont_size=10)
    figure.update_yaxes(tickfont_size=10)
    figure.update_layout(updatemenus=[views(range(len(told)), [label for label, _ in told])])
    inside, right = np.trace(counts) / counts.sum(), np.trace(classes) / classes.sum()
    title = f"{percent(inside)} of the images land in their superclass, {percent(right)} in their class"
    if right < 1:
        title += f": {percent((inside - right) / (1 - right), 0)} of the mistakes stay inside"
    alt = f"Confusion matrix of the 20 superclasses of CIFAR-100. {title}. {_mistake(_shares(counts, 1), NAMES)}."
    return finish(figure, id, title, alt, caption(records), 560, click_sprite=click_sprite)


def image_cells(records: Record | list[Record], index: np.ndarray | None, most: int = 3) -> dict[str, list[int]]:
    """Up to `most` images behind each "row,column" of the superclasses, of the first record that keeps predictions.

    index (n,) gives each test image's number in the data set; {} where it is None, for then there are no images.
    """
    record = next((r for r in _cifar100(records, "images") if "predictions" in r.arrays), None)
    cells: dict[str, list[int]] = {}
    if record is not None and index is not None:
        rows, columns = (MEMBER[np.asarray(record.arrays[name], int)] for name in ("labels", "predictions"))
        for image, row, column in zip(index.tolist(), rows.tolist(), columns.tolist()):
            if len(cell := cells.setdefault(f"{row},{column}", [])) < most:
                cell.append(image)
    return cells


def superclass_roc(records: Record | list[Record], id: str = "superclass-roc") -> go.Figure:
    """The mean ROC curve of the five classes of each superclass, and of all hundred; one class against the rest.

    Drawn from the first record that keeps curves. Raises ValueError where none does.
    """
    records = _cifar100(records, "ROC curves")
    record = next((r for r in answering(records) if "roc" in r.arrays or "scores" in r.arrays), None)
    if record is None:
        raise NothingToDraw(f"no record of {records[0].recipe.run} keeps curves; its run needs keep = 'evidence'")
    curves, areas = curves_and_areas(record)
    found = np.stack([np.interp(GRID, c.false_positive_rate, c.true_positive_rate) for c in curves])
    area = np.array([a.value for a in areas])
    mean = np.array([area[np.equal(MEMBER, g)].mean() for g in range(20)])
    order = np.argsort(-mean, kind="stable")
    named = [*order[:NAMED], *order[-NAMED:]]
    figure = go.Figure()
    for g in order:
        k = named.index(g) if g in named else None
        look = {"color": QUIET, "width": 1} if k is None else {"color": CLASS_COLOURS[k], "dash": DASHES[k % 3]}
        _curve(figure, f"{NAMES[g]} {mean[g]:.3f}", found[np.equal(MEMBER, g)].mean(0), look, k is not None)
    _curve(figure, f"all 100 classes {area.mean():.3f}", found.mean(0), {"color": CLASS_COLOURS[8], "width": 4}, True)
    figure.update_layout(updatemenus=[menu([("whole curve", {}, WHOLE), ("upper left corner, enlarged", {}, CORNER)])])
    figure.update_xaxes(title="false positive rate", range=[0, 1], tickformat=".2~%")
    figure.update_yaxes(title="true positive rate, mean of the classes", range=[0, 1], tickformat=".2~%")
    title = sentence(told_apart(dict(zip(NAMES, mean)), "superclasses", "mean AUC"))
    title += f"; over all 100 classes it is {area.mean():.3f}"
    alt = f"Mean ROC curves of the superclasses {joined(NAMES[g] for g in named)} and of all classes. {title}."
    return finish(figure, id, title, alt, caption([record], "the mean of each superclass's five classes"), 560)


def hardest_classes(records: Record | list[Record], count: int = 10, id: str = "hardest-classes") -> go.Figure:
    """How often the `count` hardest and easiest classes are recognised: mean and 95 % interval, and their mistake.

    The interval is over seeds, Wilson's for a single one. Raises ValueError for records without predictions.
    """
    records = needed(records, "the hardest classes")
    names, found = class_names(records[0]), matrices(records)
    recalls = np.stack([np.diag(_shares(m, 1)) for m in found])
    counts = found.mean(0)
    order = np.argsort(recalls.mean(0), kind="stable")
    shown = np.r_[order[:count], order[-count:]] if len(order) > 2 * count else order
    rows = np.array([_recall(recalls[:, c], counts[c, c], counts[c].sum()) for c in shown])
    off = counts.copy()
    np.fill_diagonal(off, -1)
    texts = [
        f"{names[c]}: {percent(m)}" + f", mostly called {names[int(off[c].argmax())]}" * bool(off[c].max() > 0)
        for c, (m, *_) in zip(shown, rows)
    ]
    figure = go.Figure()
    means(figure, np.arange(len(shown)), rows[:, :2], "%{text}", text=texts)
    figure.data[0].error_x.update(symmetric=False, array=rows[:, 2] - rows[:, 0], arrayminus=rows[:, 0] - rows[:, 1])
    label_rows(figure, [names[c] for c in shown], tickfont_size=11)
    figure.update_xaxes(title="share recognised", tickformat=".2~%", rangemode="tozero")
    figure.update_layout(showlegend=False)
    mean = recalls.mean(0)
    none = int(np.sum(mean == 0))
    title = sentence(recognised(counts, names))
    title += f"; {none} of {len(names)} classes never" if 0 < none < len(names) else ""
    alt = f"Dot plot of the share recognised of the {len(shown)} hardest and easiest classes. {title}."
    return finish(figure, id, title, alt, caption(records), 110 + 24 * len(shown))


def superclass_colours() -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What `embedding(…, colours=…)` takes: the superclasses' names, and the number of each class's own."""
    return NAMES, tuple(MEMBER.tolist())


def _recall(values: np.ndarray, hits: float, images: float) -> tuple[float, float, float]:
    """Mean, lower and upper end of the interval."""
    if len(values) > 1:
        mean, half = mean_interval(values)
        return mean, max(mean - half, 0.0), min(mean + half, 1.0)
    return float(values[0]), *(wilson(round(hits), round(images)) if images else (0.0, 1.0))


def _cifar100(records: Record | list[Record], what: str) -> list[Record]:
    records = needed(records, what)
    if len(class_names(records[0])) != len(CIFAR100):
        raise ValueError(f"superclasses belong to CIFAR-100, not to {records[0].data_name}")
    return records


def _grouped(counts: np.ndarray) -> np.ndarray:
    """Confusion counts of 100 classes as those of 20 superclasses."""
    groups = np.eye(20)[MEMBER]
    return groups.T @ counts @ groups


def _curve(figure: go.Figure, name: str, values: np.ndarray, line: dict, shown: bool) -> None:
    figure.add_scatter(x=GRID, y=values, mode="lines", name=name, line=line, showlegend=shown,
                       hovertemplate=f"{name}: %{{y:.1%}} found, %{{x:.0%}} false alarms<extra></extra>")  # fmt: skip
