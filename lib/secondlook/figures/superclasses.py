"""CIFAR-100 seen through its twenty superclasses: confusion, ROC, and the classes that are hardest and easiest."""

import numpy as np
import plotly.graph_objects as go

from secondlook.data.names import CIFAR100, SUPERCLASSES
from secondlook.evaluation.statistics import wilson
from secondlook.figures import words
from secondlook.figures.confusions import heat, matrices, mistakes, most_frequent, recognised, shares
from secondlook.figures.marks import label_rows, means
from secondlook.figures.scores import curve_axes, curves_and_areas, told_apart
from secondlook.figures.template import COLOURS, QUIET, SHARE, Views, finish, line
from secondlook.figures.values import first_with, mean_interval, needed
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
    groups = np.eye(20)[MEMBER]
    counts = groups.T @ classes @ groups
    told = {"% of the superclass": counts, "% of its mistakes": mistakes(counts, 0)}
    figure = go.Figure()
    views = Views(figure)
    for view, (label, values) in enumerate(told.items()):
        heat(figure, 100 * shares(values, 1), NAMES,
             hovertemplate=f"%{{y}} called %{{x}}: %{{z:.1f}} {label}<extra></extra>")  # fmt: skip
        views.own(view)
    views.menu(list(told))
    figure.update_xaxes(tickfont_size=10)
    figure.update_yaxes(tickfont_size=10)
    inside, right = np.trace(counts) / counts.sum(), np.trace(classes) / classes.sum()
    title = f"{words.percent(inside)} of the images land in their superclass, {words.percent(right)} in their class"
    if right < 1:
        title += f": {words.percent((inside - right) / (1 - right), 0)} of the mistakes stay inside"
    shows, more = "Confusion matrix of the 20 superclasses of CIFAR-100", f"{most_frequent(shares(counts, 1), NAMES)}."
    return finish(figure, id, title, shows, words.caption(records), 560, more, click_sprite=click_sprite)


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
    record = first_with(_cifar100(records, "ROC curves"), ("roc", "scores"), "curves")
    curves, areas = curves_and_areas(record)
    found = np.stack([np.interp(GRID, c.false_positive_rate, c.true_positive_rate) for c in curves])
    area = np.array([a.value for a in areas])
    mean = np.array([area[g == MEMBER].mean() for g in range(20)])
    order = np.argsort(-mean, kind="stable")
    named = [*order[:NAMED], *order[-NAMED:]]
    figure = go.Figure()
    for g in order:
        look = line(named.index(g)) if g in named else {"color": QUIET, "width": 1}
        _curve(figure, f"{NAMES[g]} {mean[g]:.3f}", found[g == MEMBER].mean(0), look, g in named)
    _curve(figure, f"all 100 classes {area.mean():.3f}", found.mean(0), {"color": COLOURS[8], "width": 4}, True)
    curve_axes(figure, "true positive rate, mean of the classes")
    title = words.sentence(told_apart(dict(zip(NAMES, mean)), "superclasses", "mean AUC"))
    title += f"; over all 100 classes it is {area.mean():.3f}"
    shows = f"Mean ROC curves of the superclasses {words.joined(NAMES[g] for g in named)} and of all classes"
    note = words.caption([record], "the mean of each superclass's five classes")
    return finish(figure, id, title, shows, note, 560)


def hardest_classes(records: Record | list[Record], count: int = 10, id: str = "hardest-classes") -> go.Figure:
    """How often the `count` hardest and easiest classes are recognised: mean and 95 % interval, and their mistake.

    The interval is over seeds, Wilson's for a single one. Raises ValueError for records without predictions.
    """
    records = needed(records, "the hardest classes")
    names, found = words.class_names(records[0]), matrices(records)
    recalls = np.stack([np.diag(shares(m, 1)) for m in found])
    counts, mean = found.mean(0), recalls.mean(0)
    order = np.argsort(mean, kind="stable")
    shown = np.r_[order[:count], order[-count:]] if len(order) > 2 * count else order
    rows = np.array([_recall(recalls[:, c], counts[c, c], counts[c].sum()) for c in shown])
    off = mistakes(counts)
    texts = [
        f"{names[c]}: {words.percent(m)}" + f", mostly called {names[int(off[c].argmax())]}" * bool(off[c].max() > 0)
        for c, (m, *_) in zip(shown, rows)
    ]
    figure = go.Figure()
    means(figure, np.arange(len(shown)), rows[:, :2], "%{text}", text=texts)
    figure.data[0].error_x.update(symmetric=False, array=rows[:, 2] - rows[:, 0], arrayminus=rows[:, 0] - rows[:, 1])
    label_rows(figure, [names[c] for c in shown], tickfont_size=11)
    figure.update_xaxes(title="share recognised", tickformat=SHARE, rangemode="tozero")
    figure.update_layout(showlegend=False)
    none = int(np.sum(mean == 0))
    title = words.sentence(recognised(counts, names))
    title += f"; {none} of {len(names)} classes never" if 0 < none < len(names) else ""
    shows = f"Dot plot of the share recognised of the {len(shown)} hardest and easiest classes"
    return finish(figure, id, title, shows, words.caption(records), 110 + 24 * len(shown))


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
    if len(words.class_names(records[0])) != len(CIFAR100):
        raise ValueError(f"superclasses belong to CIFAR-100, not to {records[0].data_name}")
    return records


def _curve(figure: go.Figure, name: str, values: np.ndarray, look: dict, shown: bool) -> None:
    figure.add_scatter(x=GRID, y=values, mode="lines", name=name, line=look, showlegend=shown,
                       hovertemplate=f"{name}: %{{y:.1%}} found, %{{x:.0%}} false alarms<extra></extra>")  # fmt: skip
