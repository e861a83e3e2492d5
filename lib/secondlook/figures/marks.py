"""What several figures are drawn from: dots with intervals, lines at a value, rows with labels, a picture on axes."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.template import MEASURED, faded
from secondlook.figures.values import NothingToDraw


def means(figure: go.Figure, at, found: Sequence[tuple[float, float]], hover: str, *, across: bool = False,
          name: str = "", least: float = -np.inf, **more) -> None:  # fmt: skip
    """Adds dots at (mean, half-width) of `found`: beside rows `at`, or above places `at` where `across`.

    No interval goes below `least`.
    """
    name = name or ("mean, 95 % interval" if any(h > 0 for _, h in found) else "mean")
    values, half = np.array(found, float).reshape(-1, 2).T
    error = {"array": half, "thickness": 2}
    if (values - half < least).any():
        error |= {"symmetric": False, "arrayminus": np.clip(values - least, 0, half)}
    places = {"x": at, "y": values, "error_y": error} if across else {"x": values, "y": at, "error_x": error}
    look = {"mode": "markers", "marker": {"size": 10, "color": MEASURED}, **more}
    figure.add_scatter(**places, name=name, hovertemplate=f"{hover}<extra></extra>", **look)


def seeds(figure: go.Figure, values: Sequence[np.ndarray], digits: str = ".2%") -> None:
    """Adds a small dot for each seed of each row, below the row's mean."""
    rows = np.repeat(np.arange(len(values)) + 0.22, [len(v) for v in values])
    figure.add_scatter(x=np.concatenate(values), y=rows, mode="markers", name="a seed",
                       marker={"size": 6, "color": faded(MEASURED, 0.7)},
                       hovertemplate=f"%{{x:{digits}}}<extra></extra>")  # fmt: skip


def within(figure: go.Figure, values: Sequence, found: Sequence[tuple[float, float]] = (), low=0.0, high=1.0) -> None:
    """Fits the x axis to all `values` and to what lies between `low` and `high` of the intervals (mean, half-width).

    Raises ValueError where none of them is finite.
    """
    ends = np.concatenate([*map(np.ravel, values), *((m - h, m + h) for m, h in found)]).astype(float)
    ends = np.clip(ends[np.isfinite(ends)], low, high)
    if not len(ends):
        raise NothingToDraw("there is no finite number to draw: every seed diverged, or left no value")
    room = max(0.05 * np.ptp(ends), 0.005 * (high - low))
    figure.update_xaxes(range=[ends.min() - room, ends.max() + room])


def across(traces: Sequence[go.Scatter]) -> list[float] | None:
    """The x axis that fits the traces and their intervals, with some room; None where there is nothing to fit.

    Where labels of rows move into the plot, on a telephone, an axis that fits itself would leave them half of it.
    """
    ends = []
    for t in traces:
        above = 0.0 if t.error_x.array is None else np.asarray(t.error_x.array, float)
        below = above if t.error_x.arrayminus is None else np.asarray(t.error_x.arrayminus, float)
        ends += [np.asarray(t.x, float) + above, np.asarray(t.x, float) - below]
    ends = np.concatenate(ends) if ends else np.array([])
    ends = ends[np.isfinite(ends)]
    if not len(ends):
        return None
    room = 0.06 * (np.ptp(ends) or abs(ends[0]) or 1.0)
    return [float(ends.min() - room), float(ends.max() + room)]


def line_at(figure: go.Figure, value: float, span: Sequence[float], name: str, colour: str, dash: str = "dash") -> None:
    """Adds a vertical line at `value` from span[0] to span[1], named in the legend."""
    figure.add_scatter(x=[value, value], y=list(span), mode="lines", name=name, hovertemplate=f"{name}<extra></extra>",
                       line={"color": colour, "dash": dash, "width": 2})  # fmt: skip


def label_rows(figure: go.Figure, labels: Sequence[str], above: bool = True, **more) -> None:
    """Labels the rows 0, 1, … of the y axis, the first on top; on a telephone above their rows, if `above`."""
    n = len(labels)
    if above:
        figure.update_layout(meta={"secondlook": {"rows": True}})
    figure.update_yaxes(tickvals=list(range(n)), ticktext=list(labels), range=[n - 0.5, -0.5], zeroline=False, **more)


def picture(figure: go.Figure, source: str, width: float, height: float, toward: str = "center") -> None:
    """Lays a picture on the axes, `width` by `height` units from the upper left corner, its proportions kept."""
    figure.add_layout_image(source=source, x=0, y=0, sizex=width, sizey=height, xref="x", yref="y", sizing="stretch",
                            yanchor="top", layer="below")  # fmt: skip
    still = {"constrain": "domain", "fixedrange": True, "showgrid": False, "zeroline": False}
    figure.update_xaxes(range=[0, width], visible=False, constraintoward=toward, **still)
    figure.update_yaxes(range=[height, 0], scaleanchor="x", constraintoward="top", **still)
