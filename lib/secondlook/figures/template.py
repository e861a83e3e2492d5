"""The look of every figure: two templates, colours and signs, controls, and `finish`, which makes a figure complete.

Colours that a trace carries are the same in both modes: each has at least three times the contrast of light and of
dark paper, and any two of the ten differ for readers with and without colour blindness. What must change with the
mode (text, grid, heat maps) is left to the templates.
"""

import itertools
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go

COLOURS = (
    "#5a69c3", "#f05a0f", "#2d9669", "#ff4b96", "#7896c3", "#870fff", "#d2000f", "#9678ff", "#5a694b", "#c30096",
)  # fmt: skip
DASHES = ("solid", "dash", "dot")  # a second cue, so that colour is never alone
SYMBOLS = ("circle", "square", "triangle-up", "cross", "x", "star", "pentagon", "hexagon", "bowtie", "hourglass")
MEASURED, PUBLISHED, QUIET = COLOURS[0], COLOURS[6], "#7f868e"
# the place of an optimiser in the lists above, the same in every figure
OPTIMIZERS = {"Adam": 0, "AdamW": 0, "SGD": 1, "RMSprop": 2, "Adamax": 3, "Nadam": 4, "AMSGrad": 5}
SHARE = ".2~%"  # ticks of an axis of shares
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
# what no figure needs, or what would send its data to a server
BUTTONS_REMOVED = ["sendChartToCloud", "zoomIn2d", "zoomOut2d", "autoScale2d", "select2d", "lasso2d"]
WIDTH = 78  # characters in a line of a title
LONGEST = 90  # characters of a title
TOP, TOP_WITH_MENU, MENU = 28, 60, 40  # pixels above the plot: for panel titles, for menus, for a second row of them
BELOW = 63  # pixels from the plot to its legend, the axis and its title between them
LINE, SUBTITLE = 22, 48  # pixels of a title's line, and of what is below it; a page sets both aside


def _template(ink: str, quiet: str, grid: str, paper: str, sequential: list, diverging: list) -> dict:
    axis = {"automargin": True, "gridcolor": grid, "linecolor": grid, "zerolinecolor": grid, "zerolinewidth": 1,
            "ticks": "", "title": {"standoff": 8},
            "tickfont": {"color": ink}}  # or labels inside the plot would take the plot's colour for white  # fmt: skip
    clear = "rgba(0,0,0,0)"
    layout = {
        "font": {"family": FONT, "size": 13, "color": ink},
        "paper_bgcolor": clear, "plot_bgcolor": clear,
        "colorway": list(COLOURS),
        "colorscale": {"sequential": sequential, "diverging": diverging},
        "title": {"x": 0, "xref": "paper", "yref": "container", "y": 1, "yanchor": "top", "font": {"size": 16},
                  "subtitle": {"font": {"size": 13, "color": quiet}}},
        "margin": {"l": 8, "r": 12, "t": TOP, "b": 8},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.18, "yanchor": "top", "font": {"size": 12}},
        "hoverlabel": {"bgcolor": paper, "bordercolor": quiet, "font": {"color": ink, "family": FONT}, "align": "left"},
        "xaxis": axis, "yaxis": axis,
        "updatemenudefaults": {"bgcolor": paper, "bordercolor": quiet, "font": {"color": ink, "size": 13}},
        "sliderdefaults": {"font": {"color": ink, "size": 12}, "bgcolor": grid, "bordercolor": quiet,
                           "tickcolor": quiet, "activebgcolor": quiet},
        "modebar": {"bgcolor": clear, "color": quiet, "activecolor": ink, "remove": BUTTONS_REMOVED},
        "annotationdefaults": {"font": {"color": ink, "size": 12}, "showarrow": False},
        "shapedefaults": {"line": {"color": quiet, "width": 1.5, "dash": "dash"}},
    }  # fmt: skip
    bars = {"outlinewidth": 0, "thickness": 12, "tickfont": {"size": 11}}
    return {"layout": layout, "data": {"heatmap": [{"type": "heatmap", "autocolorscale": True, "colorbar": bars}]}}


# Heat maps carry numbers: no colour of a scale comes near the middle grey on which neither dark nor light text is read.
LIGHT = _template(
    ink="#1f2328", quiet="#57606b", grid="#d8dee6", paper="#ffffff",
    sequential=[[0, "#f6f8fb"], [1, "#9db0ee"]],
    diverging=[[0, "#f2aa7c"], [0.5, "#f6f8fb"], [1, "#9db0ee"]],
)  # fmt: skip
DARK = _template(
    ink="#e6e9ed", quiet="#a3adb8", grid="#3d444d", paper="#1d2126",
    sequential=[[0, "#1c2128"], [1, "#5060bd"]],
    diverging=[[0, "#a34a12"], [0.5, "#1c2128"], [1, "#5060bd"]],
)  # fmt: skip


def finish(figure: go.Figure, id: str, title: str, shows: str, data_name: str, height: int = 420, more: str = "",
           **extras) -> go.Figure:  # fmt: skip
    """The figure, complete: template, title that states the finding, the data's name below it, alternative text, size.

    The alternative text is what the figure `shows`, the title, and `more`. `extras` are what `layout.meta.secondlook`
    declares besides: hover_sprite, click_sprite. Titles begin as `data_name` says where it is a `wording.Caption`; of
    the clauses between their semicolons as many stand above the figure as 90 characters hold, all in the text.
    Numbers of the traces become float32 or the smallest whole numbers. Raises ValueError where words or traces lack.
    """
    for name, value in (("id", id), ("title", title), ("shows", shows), ("data_name", data_name)):
        if not value:
            raise ValueError(f"a figure needs {name}: nobody can find, read or trust it without")
    if not figure.data:
        raise ValueError(f"figure {id} has no traces; give it records that hold what it shows")
    if figure.layout.legend.y is None:  # counted in heights of the plot, of which low figures need more
        figure.update_layout(legend_y=min(-0.18, -BELOW / max(height - 70, 60)))
    if figure.layout.meta and all(trace.type in ("scatter", "bar") for trace in figure.data):
        extras = {**figure.layout.meta["secondlook"], **extras}
    alt = " ".join(filter(None, [f"{shows}. {title}.", more]))
    titles = _titles(figure, title, getattr(data_name, "begins", ""))
    room = LINE * max(text.count("<br>") + 1 for text in titles) + SUBTITLE
    second_row = MENU * any(m.pad.b and m.pad.b > MENU for m in figure.layout.updatemenus)
    figure.layout.template = LIGHT  # as the book has it; to update Plotly's own one with it takes a fifth of a second
    figure.update_layout(
        height=height + room + second_row,
        margin_t=(TOP_WITH_MENU if figure.layout.updatemenus else TOP) + room + second_row,
        title={"text": titles[0], "subtitle": {"text": data_name}, "pad.t": 22},
        meta={"secondlook": {"id": id, "alt": alt, "room": room, **{k: v for k, v in extras.items() if v}}},
    )
    for trace in figure.data:
        for key, value in trace.to_plotly_json().items():
            slim = _slim(value)
            if slim is not value:
                trace[key] = None  # Plotly keeps the old array where the new one is equal
                trace[key] = slim
    return figure


def _titles(figure: go.Figure, title: str, begins: str) -> list[str]:
    """The title in lines, and those that a menu changes it to; all of them begin alike."""
    found = [wrapped(shortened(begins + title))]
    for button in (b for m in figure.layout.updatemenus for b in m.buttons):
        traces, layout = (*button.args, {})[:2]
        if "title.text" in layout:
            found.append(wrapped(shortened(begins + layout["title.text"])))
            button.args = [traces, {**layout, "title.text": found[-1]}]
    return found


def shortened(title: str) -> str:
    """The first clauses of a title, as many as 90 characters hold, and at least one."""
    clauses = title.split("; ")
    fit = [k for k in range(1, len(clauses) + 1) if len("; ".join(clauses[:k])) <= LONGEST]
    return "; ".join(clauses[: max(fit, default=1)])


def wrapped(title: str) -> str:
    """A title in the lines that a figure has room for."""
    kept = title.replace(" %", "\xa0%")  # a number and its sign stay on one line
    return "<br>".join(textwrap.wrap(kept, WIDTH)).replace("\xa0%", " %")


def menu(buttons: Sequence[tuple[str, dict, dict]], **more) -> dict:
    """A drop-down above the plot; each button is (label, changes of the traces, changes of the layout)."""
    found = [{"label": label, "method": "update", "args": [traces, layout]} for label, traces, layout in buttons]
    place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": 10}, "active": 0}
    return {"type": "dropdown", **place, "buttons": found, **more}


class Views:
    """Which traces a drop-down above the plot shows at a time."""

    def __init__(self, figure: go.Figure):
        self.figure, self.owners = figure, []

    def own(self, view: int) -> None:
        """The traces added since the last call belong to `view`; to all views where it is −1."""
        self.owners += [view] * (len(self.figure.data) - len(self.owners))

    def menu(self, labels: Sequence[str], layouts: Sequence[dict] | None = None, **more) -> None:
        """Shows the first view, and adds the menu of `labels`, unless there are none; `layouts` change with the view.

        `more` is as for `menu`.
        """
        for trace, owner in zip(self.figure.data, self.owners):
            if owner >= 0:
                trace.visible = owner == 0
        if labels:
            shown = [{"visible": [o in (-1, k) for o in self.owners]} for k in range(len(labels))]
            buttons = list(zip(labels, shown, layouts or [{}] * len(labels), strict=True))
            self.figure.update_layout(updatemenus=[menu(buttons, **more)])


def slider(labels: Sequence[str], layouts: Sequence[dict], prefix: str, **more) -> dict:
    """A slider below the plot, one step for each change of the layout, starting at the last."""
    steps = [{"label": t, "method": "update", "args": [{}, layout]} for t, layout in zip(labels, layouts, strict=True)]
    place = {"active": len(steps) - 1, "currentvalue": {"prefix": prefix}, "pad": {"t": 24}, "len": 1, "x": 0}
    return {**place, "steps": steps, **more}


def looks(labels: Iterable[str]) -> dict[str, int]:
    """For each label its place in the lists of colours, dashes and signs: an optimiser has the same in every figure.

    A label may go on after the name, `SGD, momentum 0.9`; the first that has a name takes its place, the others the
    first places left.
    """
    labels = list(dict.fromkeys(labels))
    found: dict[str, int] = {}
    for label in labels:
        place = OPTIMIZERS.get(label.split(",")[0])
        if place is not None and place not in found.values():
            found[label] = place
    left = (k for k in itertools.count() if k not in found.values())
    return {label: found[label] if label in found else next(left) for label in labels}


def line(k: int, **more) -> dict:
    """The colour and the dash of place k; `more` is added, or takes their place."""
    return {"color": COLOURS[k % 10], "dash": DASHES[k % 3], **more}


def mark(k: int, size, **more) -> dict:
    """The colour and the sign of place k, in this size."""
    return {"color": COLOURS[k % 10], "symbol": SYMBOLS[k % 10], "size": size, **more}


def faded(colour: str, alpha: float = 0.2) -> str:
    """`#rrggbb` as a transparent rgba()."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def _slim(value):
    """The same numbers in the smallest plain type; dicts are searched, everything else is given back as it is."""
    if isinstance(value, dict):
        slim = {k: _slim(v) for k, v in value.items()}
        return slim if any(slim[k] is not value[k] for k in value) else value
    if isinstance(value, list | tuple) and len(value) > 8 and all(isinstance(v, float) for v in value):
        return np.array(value, np.float32)
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype == np.float64:
        return value.astype(np.float32)
    if value.dtype.kind in "iu" and value.size:
        for kind in (np.uint8, np.int16, np.int32):
            if np.iinfo(kind).min <= value.min() and value.max() <= np.iinfo(kind).max:
                return value if value.dtype == kind else value.astype(kind)
    return value
