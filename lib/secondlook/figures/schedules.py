"""Schedules of the learning rate beside each other, and the accuracies that were logged under one of them."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from secondlook.evaluation.curves import rate_left
from secondlook.figures.template import CLASS_COLOURS, DASHES, finish, looks
from secondlook.figures.values import joined, short
from secondlook.logs import Curves

STILL = 1e-4  # of the first rate: below it training hardly moves
LOWEST = 1e-14  # of the axis


def schedules(tables: Mapping[str, dict], logs: Mapping[str, Curves], name: str, epochs: int = 30,
              shorter: Mapping[str, int] | None = None, id: str = "schedules") -> go.Figure:  # fmt: skip
    """The share of the first rate left in each epoch under each labelled schedule, and logged test accuracies below.

    `tables` are recipes' `schedule` tables by label; `name` is the label of the one that the logs were made under;
    `shorter` gives the epochs of those that end earlier. Needs no record. Raises ValueError for an unknown schedule.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.55, 0.45])
    found = {label: rate_left(table, (shorter or {}).get(label, epochs)) for label, table in tables.items()}
    places = looks([*logs, *found])
    for label, left in found.items():
        k = places[label] % 10
        figure.add_scatter(x=np.arange(1, len(left) + 1), y=left, name=label, mode="lines", row=1, col=1,
                           line={"color": CLASS_COLOURS[k], "dash": DASHES[k % 3], "width": 2, "shape": "hv"},
                           hovertemplate=f"{label} %{{y:.2g}}<extra></extra>")  # fmt: skip
    for label, curves in logs.items():
        accuracy, k = curves["test_accuracy"], places[label]
        figure.add_scatter(x=np.arange(1, len(accuracy) + 1), y=accuracy, name=f"{label}, logged", mode="lines", row=2,
                           col=1, line={"color": CLASS_COLOURS[k % 10], "dash": "dot", "width": 2.5},
                           hovertemplate=f"{label} %{{y:.2%}}<extra></extra>")  # fmt: skip
    figure.update_yaxes(title="share of the first rate", type="log", exponentformat="power", row=1, col=1,
                        range=[np.log10(LOWEST), 0.5], dtick=4)  # fmt: skip
    figure.update_yaxes(title="test accuracy", tickformat=".2~%", row=2, col=1)
    figure.update_xaxes(title="epoch", row=2, col=1)
    figure.update_layout(hovermode="x")
    title = _finding(found[name], logs)
    alt = f"Two charts against the epoch: the learning rate under {joined(tables)}, and the accuracies logged. {title}."
    return finish(figure, id, title, alt, "recipes, and the authors’ logs on CIFAR-10", 560)


def _finding(left: np.ndarray, logs: Mapping[str, Curves]) -> str:
    still = np.flatnonzero(left < STILL)
    if not len(still):
        return f"The rate never falls below {short(STILL)} of the first"
    first = int(still[0])
    title = f"From epoch {first + 1} on the rate is below {short(STILL)} of the first"
    moved = [np.ptp(c["test_accuracy"][first:]) for c in logs.values() if len(c["test_accuracy"]) > first]
    return f"{title}: no logged accuracy then moves by more than {100 * max(moved):.2f} points" if moved else title
