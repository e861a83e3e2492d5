"""What the authors' own log says: the loss of every epoch, where it breaks, how rough it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.curves import SETTLED, WINDOWS, breaks, milestones, roughness
from secondlook.figures.template import CLASS_COLOURS, DASHES, finish, looks, views
from secondlook.figures.values import digits, ends, joined

VIEWS = ("mean loss of each epoch", "how suddenly it falls", "change from epoch to epoch")


def logged_curves(losses: Mapping[str, Sequence[float]], source: str, id: str = "logged") -> go.Figure:
    """Logged losses (one an epoch, by label) with three views: themselves, their breaks, their changes.

    `source` names the log. Raises ValueError without a curve.
    """
    if not losses:
        raise ValueError("no logged curve; give one by label")
    figure, owners, places = go.Figure(), [], looks(losses)
    for label, values in losses.items():
        k, loss = places[label], np.asarray(values, float)
        epochs = np.arange(1, len(loss) + 1)
        for view, (x, y) in enumerate(((epochs, loss), (epochs[2:], breaks(loss)), (epochs[1:], np.diff(loss)))):
            figure.add_scatter(x=x, y=y, name=label, mode="lines", visible=view == 0, legendgroup=label,
                               line={"color": CLASS_COLOURS[k % 10], "dash": DASHES[k % 3], "width": 2},
                               hovertemplate=f"{label} %{{y:.4g}}<extra></extra>")  # fmt: skip
            owners.append(view)
    last = max(len(v) for v in losses.values())
    ranges = [{"xaxis.range": [start, last]} for start in (0, SETTLED, SETTLED)]
    units = ["training loss", "fall beyond that of the epoch before", "change of the training loss"]
    ranges[1]["yaxis.range"], ranges[2]["yaxis.range"] = None, [-0.04, 0.04]
    layouts = [
        {"yaxis.title.text": u, "yaxis.autorange": "yaxis.range" not in r or r["yaxis.range"] is None, **r}
        for u, r in zip(units, ranges)
    ]
    figure.update_layout(updatemenus=[views(owners, VIEWS, layouts)], hovermode="x", xaxis_title="epoch",
                         yaxis_title=units[0], xaxis_range=[0, last])  # fmt: skip
    title = _finding(losses)
    alt = f"Line chart of the training loss that was logged for {joined(losses)}, against the epoch. {title}."
    return finish(figure, id, title, alt, source, 420)


def _finding(losses: Mapping[str, Sequence[float]]) -> str:
    """After which epochs the loss breaks, and which curve is the rougher at the first rate.

    Later changes are as small as what the images make that a log of 2,000 steps leaves out of each epoch.
    """
    found = {tuple(milestones(v)) for v in losses.values()}
    said = " or ".join(f"{a} and {b}" for a, b in sorted(found))
    text = f"The logged losses break after epochs {said}"
    if len(losses) != 2 or min(map(len, losses.values())) < WINDOWS[0][1]:
        return text
    first, last = WINDOWS[0]
    order = ends({label: roughness(v, first, last) for label, v in losses.items()}, digits)
    told = "both are equally rough" if order.tied else f"the rougher one is {order.first[0]}’s"
    return f"{text}; in epochs {first} to {last} {told}"
