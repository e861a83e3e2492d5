"""CIFAR-100 seen through its twenty superclasses: confusion, ROC, and the classes that are hardest and easiest."""

import numpy as np
import plotly.graph_objects as go

from secondlook.data.names import CIFAR100, SUPERCLASSES
from secondlook.figures import words
from secondlook.figures.confusions import heat, matrices, mistakes, most_frequent, shares
from secondlook.figures.drawn import drawn
from secondlook.figures.scores import curve_axes, curves_and_areas, told_apart
from secondlook.figures.template import COLOURS, QUIET, Views, finish, line
from secondlook.figures.values import first_with, needed
from secondlook.record import Record

NAMES = tuple(name.replace("_", " ") for name in SUPERCLASSES)
MEMBER = np.array([[c in own for own in SUPERCLASSES.values()].index(True) for c in CIFAR100])  # of each class
GRID = np.linspace(0, 1, 101)  # false positive rates at which curves are averaged
NAMED = 3  # best and worst superclasses whose curves have a colour


@drawn
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
        title += f"; {words.percent((inside - right) / (1 - right), 0)} of the mistakes stay inside"
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


@drawn
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


def superclass_colours() -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What `embedding(…, colours=…)` takes: the superclasses' names, and the number of each class's own."""
    return NAMES, tuple(MEMBER.tolist())


def _cifar100(records: Record | list[Record], what: str) -> list[Record]:
    records = needed(records, what)
    if len(words.class_names(records[0])) != len(CIFAR100):
        raise ValueError(f"superclasses belong to CIFAR-100, not to {records[0].data_name}")
    return records


def _curve(figure: go.Figure, name: str, values: np.ndarray, look: dict, shown: bool) -> None:
    figure.add_scatter(x=GRID, y=values, mode="lines", name=name, line=look, showlegend=shown,
                       hovertemplate=f"{name}: %{{y:.1%}} found, %{{x:.0%}} false alarms<extra></extra>")  # fmt: skip
