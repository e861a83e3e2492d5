"""The paths that optimisers take from one start, on one map and each over the loss around it, and their steps."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.template import CLASS_COLOURS, DASHES, QUIET, SYMBOLS, finish, looks, views
from secondlook.figures.values import NothingToDraw, agree, caption, ends, few, joined, needed, percent, sentence
from secondlook.record import Record

LEAST = 1e-9  # a move that a logarithmic axis can show
STILL = 1e-3  # of the first epoch's move: below it a path stands still


def trajectories(groups: Mapping[str, Record], id: str = "trajectories") -> go.Figure:
    """The weights' path of each labelled record, a menu of views and a slider over epochs.

    Together: all paths on the plane of most variance of their common map (arrays `path_sketch`, from one start). Each:
    its path over the loss on its own plane (`path_plane`, `path_axes`, `path_loss`). See `insight.trajectory`. Raises
    ValueError where a record keeps no path, or their starts are not those of one net.
    """
    needed(groups.values(), "trajectories")
    for record in groups.values():
        if "path_plane" not in record.arrays:
            raise NothingToDraw(
                f"the record of {record.recipe} keeps no path of its weights; train it again to have one"
            )
    maps, kept = _together({label: np.asarray(r.arrays["path_sketch"], float) for label, r in groups.items()})
    own = {label: np.asarray(r.arrays["path_plane"], float) for label, r in groups.items()}
    figure, owners, marks, labels, looked = go.Figure(), [], [], list(groups), looks(groups)
    for k, label in enumerate(labels):
        _slice(figure, groups[label])
        owners.append(k + 1)
        for view, places in ((0, maps[label]), (k + 1, own[label])):
            _path(figure, label, places, looked[label])
            marks.append((len(figure.data) - 1, places))
            owners += [view, view]
    epochs = max((np.asarray(r.arrays["path_epochs"]) for r in groups.values()), key=len)
    for trace, owner in zip(figure.data, owners):
        trace.visible = owner == 0
    names = ["together", *(f"{label} and its loss" for label in labels)]
    figure.update_layout(showlegend=False, updatemenus=[views(owners, names)], sliders=[_slider(marks, epochs)])
    figure.update_xaxes(title="first principal direction")
    figure.update_yaxes(title="second principal direction", scaleanchor="x")  # distances are read off both
    title = _finding(groups, kept)
    alt = f"Paths of the weights of {joined(labels)} over {epochs[-1]} epochs, on a plane. {title}."
    return finish(figure, id, title, alt, caption(groups.values()), 560)


def moves(groups: Mapping[str, Record], id: str = "moves") -> go.Figure:
    """How far each epoch moves the weights of each labelled record (`path_moves`), on a logarithmic axis, down to 1e-9.

    Raises ValueError where a record keeps no path.
    """
    needed(groups.values(), "the moves of the weights")
    found = {}
    for label, record in groups.items():
        if "path_moves" not in record.arrays:
            raise NothingToDraw(
                f"the record of {record.recipe} keeps no path of its weights; train it again to have one"
            )
        found[label] = np.asarray(record.arrays["path_epochs"])[1:], np.asarray(record.arrays["path_moves"], float)
    figure = go.Figure()
    for (label, (x, y)), k in zip(found.items(), looks(found).values()):
        there = y >= LEAST  # a path that stands still has no place on a logarithmic axis: its line ends
        figure.add_scatter(x=x[there], y=y[there], name=label, mode="lines+markers",
                           line={"color": CLASS_COLOURS[k % 10], "width": 2},
                           hovertemplate=f"{label} %{{y:.3g}}<extra></extra>",
                           marker={"symbol": SYMBOLS[k % 10], "size": 6})  # fmt: skip
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title="distance moved in an epoch", type="log", exponentformat="power")
    figure.update_layout(hovermode="x")
    title = _still(found)
    alt = f"Line chart of the distance that each epoch moves the weights, of {joined(groups)}. {title}."
    return finish(figure, id, title, alt, caption(groups.values()), 400)


def _together(sketches: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    """Places of all paths on the two principal directions of all their points, and the share of variance these hold."""
    if len({s.shape[1] for s in sketches.values()}) > 1:
        raise NothingToDraw("paths of nets of different kinds lie on no common map")
    everything = np.concatenate(list(sketches.values()))
    _, values, directions = np.linalg.svd(everything - everything.mean(0), full_matrices=False)
    kept = float((values[:2] ** 2).sum() / max((values**2).sum(), 1e-30))
    return {label: own @ directions[:2].T for label, own in sketches.items()}, kept


def _path(figure: go.Figure, label: str, places: np.ndarray, k: int) -> None:
    """Adds a path, and the mark with its name that the slider moves along it."""
    look = {"color": CLASS_COLOURS[k % 10], "symbol": SYMBOLS[k % 10]}
    figure.add_scatter(x=places[:, 0], y=places[:, 1], mode="lines+markers", name=label, marker={**look, "size": 5},
                       line={"color": CLASS_COLOURS[k % 10], "dash": DASHES[k % 3], "width": 2},
                       hovertemplate=f"{label}<extra></extra>")  # fmt: skip
    figure.add_scatter(x=places[-1:, 0], y=places[-1:, 1], mode="markers+text", hoverinfo="skip", text=[label],
                       textposition="top center", cliponaxis=False, textfont={"size": 13},
                       marker={**look, "size": 15, "line": {"width": 2, "color": QUIET}})  # fmt: skip


def _slice(figure: go.Figure, record: Record) -> None:
    across, down = np.asarray(record.arrays["path_axes"], float)
    loss = np.asarray(record.arrays["path_loss"], float)
    figure.add_contour(x=across, y=down, z=np.log10(np.maximum(loss, 1e-6)), customdata=loss, ncontours=18,
                       showscale=False, contours={"coloring": "none"}, line={"width": 1, "color": QUIET},
                       hovertemplate="loss %{customdata:.3g}<extra></extra>")  # fmt: skip


def _slider(marks: list, epochs: np.ndarray) -> dict:
    """A slider that moves the marks along their paths, starting at the end."""
    steps = []
    for point, epoch in enumerate(epochs.tolist()):
        here = [places[min(point, len(places) - 1)] for _, places in marks]
        moved = {"x": [[round(float(x), 4)] for x, _ in here], "y": [[round(float(y), 4)] for _, y in here]}
        steps.append({"label": str(epoch), "method": "restyle", "args": [moved, [index for index, _ in marks]]})
    return {"active": len(steps) - 1, "steps": steps, "currentvalue": {"prefix": "epoch "}, "pad": {"t": 44},
            "len": 1, "x": 0}  # fmt: skip


def _still(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """From which epoch on nobody moves by a thousandth of the first one, or how far the last one still moves."""
    shares = {label: y / max(y[0], LEAST) for label, (_, y) in found.items()}
    label = max(shares, key=lambda n: shares[n][-1])
    if shares[label][-1] >= STILL:
        return f"The last epoch moves the weights by {percent(shares[label][-1])} of what the first did, with {label}"
    moving = {n: max(np.flatnonzero(share >= STILL), default=-1) for n, share in shares.items()}
    epoch = max(int(found[n][0][last + 1]) for n, last in moving.items())
    return f"From epoch {epoch} on the weights move less than a thousandth as far as in the first"


def _finding(groups: Mapping[str, Record], kept: float) -> str:
    """How far each path ends from the start, and how much of the paths the common map shows."""
    far = {label: float(np.linalg.norm(r.arrays["path_sketch"][-1])) for label, r in groups.items()}
    order = ends(far, "{:.2g}".format)
    where = "farthest from the start" if not order.tied else "from the start"
    title = f"{sentence(few(order.first))} {agree(order.first, 'ends')} {where}, about {order.best}"
    title += "" if order.tied else f", {few(order.last)} nearest, about {order.worst}"
    return f"{title}; the map shows {percent(kept, 0)} of the paths’ variance"
