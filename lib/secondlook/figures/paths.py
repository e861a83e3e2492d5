"""Training as a path: loss against accuracy, best epoch against last, and the weights' way from their start."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from secondlook.figures import words
from secondlook.figures.curves import history, mean_curve
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import label_rows, means, within
from secondlook.figures.template import (
    MEASURED,
    PUBLISHED,
    QUIET,
    SHARE,
    SYMBOLS,
    Views,
    finish,
    line,
    looks,
    mark,
    slider,
)
from secondlook.figures.values import NothingToDraw, flat, mean_interval, needed
from secondlook.record import Record

STEPS = 30  # of the slider
LEAST = 1e-9  # a move that a logarithmic axis can show
STILL = 1e-3  # of the first epoch's move: below it a path stands still
ACCURACY = "test_accuracy"


@drawn
def trade_off(groups: dict[str, list[Record]], published: Mapping[str, tuple[float, float]] | None = None,
              id: str = "trade-off") -> go.Figure:  # fmt: skip
    """Test accuracy against training loss through the epochs, a path for each label; a slider marks where each one is.

    `published` gives (loss, accuracy) by label. Means over seeds. Raises ValueError for records without these curves.
    """
    everything, figure, paths, published = flat(groups, "paths of loss and accuracy"), go.Figure(), {}, published or {}
    for (label, records), k in zip(groups.items(), looks(groups).values()):
        loss, accuracy = (mean_curve(history(records, name, name)[1]) for name in ("train_loss", ACCURACY))
        paths[label] = loss, accuracy
        figure.add_scatter(x=loss, y=accuracy, name=label, mode="lines", customdata=np.arange(1, len(loss) + 1),
                           line=line(k, width=2), hovertemplate=f"{label}, epoch %{{customdata}}: loss %{{x:.3f}}, "
                           "accuracy %{y:.1%}<extra></extra>")  # fmt: skip
    for k, (label, (x, y)) in enumerate(published.items()):
        figure.add_scatter(x=[x], y=[y], name=f"{label}, published", mode="markers",
                           marker={"color": PUBLISHED, "size": 11, "symbol": SYMBOLS[3 + k]},
                           hovertemplate="published: loss %{x:.3f}, accuracy %{y:.0%}<extra></extra>")  # fmt: skip
    if not any(np.isfinite(loss + accuracy).any() for loss, accuracy in paths.values()):
        raise NothingToDraw(f"{words.joined(groups)}: no epoch with a finite loss and test accuracy")
    last = max(len(loss) for loss, _ in paths.values())
    epochs = sorted({int(e) for e in np.rint(np.linspace(1, last, min(STEPS, last)))})
    moments = [{"annotations": _names(paths, epoch)} for epoch in epochs]
    control = slider([str(e) for e in epochs], moments, "epoch ", pad={"t": 48})
    legend = {"y": 1.02, "yanchor": "bottom"}  # the slider is below
    figure.update_layout(sliders=[control], annotations=_names(paths, last), legend=legend)
    xs, ys = (np.concatenate([*(p[k] for p in paths.values()), [v[k] for v in published.values()]]) for k in (0, 1))
    figure.update_xaxes(title="training loss (falls to the left)", range=_room(xs, 0.08))
    figure.update_yaxes(title=words.name(ACCURACY), tickformat=SHARE, range=_room(ys, 0.2))
    losses, reached = ({label: pair[k][-1] for label, pair in paths.items()} for k in (0, 1))
    low = words.leads(losses, "has", "training loss", words.digits, lowest=True)
    title = words.sentence(f"{low}; {words.leads(reached, 'has', words.name(ACCURACY))}")
    shows = f"Paths of training in the plane of training loss and test accuracy for {words.joined(groups)}"
    return finish(figure, id, title, shows, words.caption(everything), 500)


def _room(values: np.ndarray, share: float) -> list[float]:
    """The range of the values with room for labels; fixed, or axes would jump with the marks."""
    room = share * np.ptp(values[np.isfinite(values)])
    return [np.nanmin(values) - room, np.nanmax(values) + room]


def _names(paths: dict, epoch: int) -> list[dict]:
    """A label with an arrow at each path's place after `epoch`, or at its end where it is shorter."""
    names = []
    for (label, (loss, accuracy)), k in zip(paths.items(), looks(paths).values()):
        i = min(epoch, len(loss)) - 1
        if np.isfinite(loss[i]) and np.isfinite(accuracy[i]):
            side = -34 if len(names) % 2 else 34
            names.append({"x": float(loss[i]), "y": float(accuracy[i]), "text": label, "showarrow": True,
                          "arrowhead": 6, "arrowsize": 1.2, "arrowcolor": line(k)["color"], "ax": side,
                          "ay": side})  # fmt: skip
    return names


@drawn
def best_and_last(groups: dict[str, list[Record]], id: str = "best-and-last") -> go.Figure:
    """Test accuracy at each seed's best epoch and at its last, mean and 95 % interval, a row for each label."""
    there = {label: [r for r in own if np.isfinite(r.history[ACCURACY]).any()] for label, own in groups.items()}
    groups = {label: own for label, own in there.items() if own}  # a run may diverge before its first epoch ends
    everything, labels = flat(groups, "best and last epochs"), list(groups)
    curves = [history(records, ACCURACY, ACCURACY)[1] for records in groups.values()]
    best = [np.nanmax(c, 1) for c in curves]
    last = [np.array([row[np.isfinite(row)][-1] for row in c]) for c in curves]
    figure = go.Figure()
    for i, (high, low) in enumerate(zip(best, last)):
        figure.add_scatter(x=[low.mean(), high.mean()], y=[i, i], mode="lines", showlegend=False, hoverinfo="skip",
                           line={"color": MEASURED, "width": 3})  # fmt: skip
    for k, (values, name) in enumerate(((best, "best epoch"), (last, "last epoch"))):
        found = [mean_interval(v) for v in values]
        texts = [f"{label}, {name}: {words.percent(m, 2)}{words.spread(h, 2)}" for label, (m, h) in zip(labels, found)]
        name += ", 95 % interval" if any(h > 0 for _, h in found) else ""
        means(figure, np.arange(len(labels)), found, "%{text}", name=name, text=texts, marker=mark(k, 11))
    figure.update_xaxes(title=words.name(ACCURACY), tickformat=".1%")
    within(figure, [*best, *last], [mean_interval(v) for v in (*best, *last)])
    label_rows(figure, labels)
    falls = {label: (b - a).mean() for label, b, a in zip(labels, best, last)}
    when = {label: np.median(np.nanargmax(c, 1) + 1) for label, c in zip(labels, curves)}
    shows = f"Dot plot of test accuracy at the best and at the last epoch for {words.joined(labels)}"
    return finish(figure, id, _falls(falls, when), shows, words.caption(everything), 190 + 56 * len(labels))


def _falls(falls: dict[str, float], when: dict[str, float]) -> str:
    order = words.ends(falls, lambda fall: f"{100 * fall:.1f} points")
    its, loses = (words.agree(order.first, word) for word in ("its", "loses"))
    about = f" (about {when[order.first[0]]:.0f})" * (len(order.first) == 1)
    title = f"From {its} best epoch{about} to the last {words.few(order.first)} {loses} {order.best}"
    if order.tied and order.best == "0.0 points":
        title = f"{words.few(order.first)} {loses} nothing after {its} best epoch"
    others = [f"{label} {100 * v:.1f}" for label, v in falls.items() if label not in order.first]
    return words.sentence(f"{title}, {words.joined(others)}" if others else title)


@drawn
def trajectories(groups: Mapping[str, Record], id: str = "trajectories") -> go.Figure:
    """The weights' path of each labelled record, a menu of views and a slider over epochs.

    Together: all paths on the plane of most variance of their common map (arrays `path_sketch`, from one start). Each:
    its path over the loss on its own plane (`path_plane`, `path_axes`, `path_loss`). See `insight.trajectory`. Raises
    ValueError where a record keeps no path, or their starts are not those of one net.
    """
    for record in needed(groups.values(), "trajectories"):
        _path(record, "path_plane")
    maps, share = _together({label: np.asarray(r.arrays["path_sketch"], float) for label, r in groups.items()})
    figure, marks, places = go.Figure(), [], looks(groups)
    views = Views(figure)
    for k, (label, record) in enumerate(groups.items(), 1):
        _slice(figure, record)
        views.own(k)
        for view, path in ((0, maps[label]), (k, _path(record, "path_plane").astype(float))):
            _add_path(figure, label, path, places[label])
            marks.append((len(figure.data) - 1, path))
            views.own(view)
    epochs = max((np.asarray(r.arrays["path_epochs"]) for r in groups.values()), key=len)
    views.menu(["together", *(f"{label} and its loss" for label in groups)])
    figure.update_layout(showlegend=False, sliders=[_moving(marks, epochs)])
    figure.update_xaxes(title="first principal direction")
    figure.update_yaxes(title="second principal direction", scaleanchor="x")  # distances are read off both
    far = {label: float(np.linalg.norm(r.arrays["path_sketch"][-1])) for label, r in groups.items()}
    order = words.ends(far, "{:.2g}".format)
    where = "farthest from the start" if not order.tied else "from the start"
    title = f"{words.sentence(words.few(order.first))} {words.agree(order.first, 'ends')} {where}, about {order.best}"
    title += "" if order.tied else f", {words.few(order.last)} nearest, about {order.worst}"
    title += f"; the map shows {words.percent(share, 0)} of the paths’ variance"
    shows = f"Paths of the weights of {words.joined(groups)} over {epochs[-1]} epochs, on a plane"
    return finish(figure, id, title, shows, words.caption(groups.values()), 560)


def _path(record: Record, name: str) -> np.ndarray:
    if name not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no path of its weights; train it again to have one")
    return np.asarray(record.arrays[name])


def _together(sketches: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    """Places of all paths on the two principal directions of all their points, and the share of variance these hold."""
    if len({s.shape[1] for s in sketches.values()}) > 1:
        raise NothingToDraw("paths of nets of different kinds lie on no common map")
    everything = np.concatenate(list(sketches.values()))
    _, values, directions = np.linalg.svd(everything - everything.mean(0), full_matrices=False)
    share = float((values[:2] ** 2).sum() / max((values**2).sum(), 1e-30))
    return {label: own @ directions[:2].T for label, own in sketches.items()}, share


def _add_path(figure: go.Figure, label: str, places: np.ndarray, k: int) -> None:
    """Adds a path, and the mark with its name that the slider moves along it."""
    figure.add_scatter(x=places[:, 0], y=places[:, 1], mode="lines+markers", name=label, marker=mark(k, 5),
                       line=line(k, width=2), hovertemplate=f"{label}<extra></extra>")  # fmt: skip
    figure.add_scatter(x=places[-1:, 0], y=places[-1:, 1], mode="markers+text", hoverinfo="skip", text=[label],
                       textposition="top center", cliponaxis=False, textfont={"size": 13},
                       marker=mark(k, 15, line={"width": 2, "color": QUIET}))  # fmt: skip


def _slice(figure: go.Figure, record: Record) -> None:
    across, down = np.asarray(record.arrays["path_axes"], float)
    loss = np.asarray(record.arrays["path_loss"], float)
    figure.add_contour(x=across, y=down, z=np.log10(np.maximum(loss, 1e-6)), customdata=loss, ncontours=18,
                       showscale=False, contours={"coloring": "none"}, line={"width": 1, "color": QUIET},
                       hovertemplate="loss %{customdata:.3g}<extra></extra>")  # fmt: skip


def _moving(marks: list, epochs: np.ndarray) -> dict:
    """A slider that moves the marks along their paths, starting at the end."""
    control = slider([str(e) for e in epochs.tolist()], [{}] * len(epochs), "epoch ", pad={"t": 44})
    for point, step in enumerate(control["steps"]):
        here = [places[min(point, len(places) - 1)] for _, places in marks]
        moved = {"x": [[round(float(x), 4)] for x, _ in here], "y": [[round(float(y), 4)] for _, y in here]}
        step |= {"method": "restyle", "args": [moved, [index for index, _ in marks]]}
    return control


@drawn
def moves(groups: Mapping[str, Record], id: str = "moves") -> go.Figure:
    """How far each epoch moves the weights of each labelled record (`path_moves`), on a logarithmic axis, down to 1e-9.

    Raises ValueError where a record keeps no path.
    """
    needed(groups.values(), "the moves of the weights")
    found = {label: (_path(r, "path_epochs")[1:], _path(r, "path_moves").astype(float)) for label, r in groups.items()}
    figure = go.Figure()
    for (label, (x, y)), k in zip(found.items(), looks(found).values()):
        there = y >= LEAST  # a path that stands still has no place on a logarithmic axis: its line ends
        figure.add_scatter(x=x[there], y=y[there], name=label, mode="lines+markers",
                           line={"color": line(k)["color"], "width": 2},
                           hovertemplate=f"{label} %{{y:.3g}}<extra></extra>",
                           marker={"symbol": SYMBOLS[k % 10], "size": 6})  # fmt: skip
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title="distance moved in an epoch", type="log", exponentformat="power")
    figure.update_layout(hovermode="x")
    shows = f"Line chart of the distance that each epoch moves the weights, of {words.joined(groups)}"
    return finish(figure, id, _still(found), shows, words.caption(groups.values()), 400)


def _still(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """From which epoch on nobody moves by a thousandth of the first one, or how far the last one still moves."""
    shares = {label: y / max(y[0], LEAST) for label, (_, y) in found.items()}
    label = max(shares, key=lambda n: shares[n][-1])
    if shares[label][-1] >= STILL:
        share = words.percent(shares[label][-1])
        return f"The last epoch moves the weights by {share} of what the first did, with {label}"
    moving = {n: max(np.flatnonzero(share >= STILL), default=-1) for n, share in shares.items()}
    epoch = max(int(found[n][0][last + 1]) for n, last in moving.items())
    return f"From epoch {epoch} on the weights move less than a thousandth as far as in the first"
