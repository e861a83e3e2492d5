"""The numbers of a figure as tables, for readers who cannot see it or would rather read.

Each view of a menu or a slider has its own, under the titles of its axes; curves over the same places share one.
"""

import base64
import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

ROWS = 60  # of a table; of a longer one so many, evenly spaced
CELLS = 900  # of a heat map; a larger one is read by pointing at it
MARKS = ("scatter", "bar", "waterfall")


@dataclass(frozen=True)
class Table:
    """Words and rounded numbers: the first cell of a row names it."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Axis:
    """One axis: its title, the texts at its ticks, and how its values are written."""

    title: str
    ticks: tuple[tuple[float | str, str], ...]
    kind: str  # as Plotly's: linear, log, category
    percent: bool
    upward: bool
    visible: bool

    def value(self, value, digits: int = 4) -> str:
        return number(value, self.percent, digits)

    def tick(self, value) -> str | None:
        """The text at a place: its own, or on a linear axis the nearest, since dots and bars stand beside it."""
        spots = dict(self.ticks)
        if value in spots or self.kind == "category" or not spots:
            return spots.get(value)
        nearest = min(spots, key=lambda spot: abs(spot - value))
        if self.kind != "linear":
            return spots[nearest] if math.isclose(nearest, value, rel_tol=1e-6) else None
        gap = abs(self.ticks[1][0] - self.ticks[0][0]) if len(self.ticks) > 1 else 1
        return spots[nearest] if abs(nearest - value) <= gap / 2 or min(spots) < value < max(spots) else None

    def place(self, value) -> str:
        return self.value(value) if (found := self.tick(value)) is None else found


def number(value, percent: bool = False, digits: int = 4) -> str:
    """A number to so many digits, whole ones in full; a text without its tags; nothing where there is none."""
    if value is None or isinstance(value, str):
        return plain(value or "")
    if not math.isfinite(value):
        return ""
    if value == int(value) and not percent:
        return f"{int(value):,}"
    rounded = float(f"{100 * value if percent else value:.{digits}g}")
    text = f"{rounded:g}" if 0 < abs(rounded) < 1e-3 else f"{rounded:,.6f}".rstrip("0").rstrip(".")
    return f"{text} %" if percent else text


def plain(text) -> str:
    """Plotly's text without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<br\s*/?>", " ", str(text)))).strip()


def views(figure: dict) -> list[tuple[str, list[Table]]]:
    """What a figure shows in numbers: the label of each view with its tables; views that say the same stand once."""
    found: dict[tuple, str] = {}
    for label, traces, layout in _chosen(figure):
        if tables := _tables(traces, layout):
            found.setdefault(tuple(tables), label)
    return [(label if len(found) > 1 else "", list(tables)) for tables, label in found.items()]


def numbers_html(figure: dict, title: str) -> str:
    """The `<details>` that follows a figure; empty for pictures and maps without meaning on their axes."""
    found = views(figure)
    if not found:
        return ""
    name = html.escape(f"The numbers of this figure: {plain(title)}")
    body = "".join((label and f"<p>{html.escape(label)}") + "".join(map(_element, tables)) for label, tables in found)
    return (
        f'<details class="sl-numbers"><summary aria-label="{name}">The numbers of this figure</summary>'
        f'<div class="sl-scroll" role="region" tabindex="0" aria-label="{name}">{body}</div></details>'
    )


def _element(table: Table) -> str:
    """A table without the end tags that HTML lets one leave out: they would be a third of it."""
    rows, total = table.rows, len(table.rows)
    if total > ROWS:
        rows = [rows[round(i * (total - 1) / (ROWS - 1))] for i in range(ROWS)]
    fewer = f"{ROWS} of {total:,} rows, evenly spaced" if total > ROWS else ""
    about = ": ".join(filter(None, (table.caption, fewer)))
    head = "".join(f"<th scope=col>{html.escape(text)}" for text in table.head)
    body = "".join(f"<tr><th scope=row>{'<td>'.join(html.escape(text) for text in row)}" for row in rows)
    caption = f"<caption>{html.escape(about)}</caption>" if about else ""
    return f"<table>{caption}<thead><tr>{head}<tbody>{body}</table>"


# ---- what a menu or a slider chooses


def _chosen(figure: dict) -> Iterator[tuple[str, list[dict], dict]]:
    """Label, traces and layout of every view: each control goes through its choices while the others stand still."""
    layout = figure["layout"]
    traces = [{key: _decoded(value) for key, value in trace.items()} for trace in figure["data"]]
    controls = [*(layout.get("updatemenus") or ()), *(layout.get("sliders") or ())]
    choices = [choice for control in controls for choice in control.get("buttons") or control.get("steps") or ()]
    if not choices:
        yield "", traces, layout
    for choice in choices:
        yield plain(choice.get("label") or ""), *_after(choice, traces, layout)


def _after(choice: dict, traces: list[dict], layout: dict) -> tuple[list[dict], dict]:
    """Traces and layout after a choice, as Plotly's `update`, `restyle` and `relayout` change them."""
    changes = list(choice["args"])
    of_traces = changes.pop(0) if choice["method"] in ("update", "restyle") else {}
    of_layout = changes.pop(0) if choice["method"] in ("update", "relayout") and changes else {}
    traces = list(traces)
    for place, k in enumerate(changes[0] if changes else range(len(traces))):
        new = {key: value[place % len(value)] if isinstance(value, list) else value for key, value in of_traces.items()}
        traces[k] = {**traces[k], **new}
    for path, value in of_layout.items():
        layout = _with(layout, path, value)
    return traces, layout


def _with(table: dict, path: str, value) -> dict:
    key, _, rest = path.partition(".")
    return {**table, key: _with(table.get(key) or {}, rest, value) if rest else value}


def _decoded(value):
    """Plotly's packed arrays as lists."""
    if not isinstance(value, dict):
        return value
    if "bdata" not in value:
        return {key: _decoded(inner) for key, inner in value.items()}
    array = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
    return array.reshape([int(n) for n in str(value.get("shape", -1)).split(",")]).tolist()


# ---- the tables of a view


def _tables(traces: list[dict], layout: dict) -> list[Table]:
    shown = []
    for trace in (trace for trace in traces if trace.get("visible", True) is True):
        axes = [_axis(traces, layout, trace.get(f"{letter}axis", letter)) for letter in "xy"]
        if _speaks(trace, *axes):
            shown.append((trace, *axes))
    lines = [one for one in shown if _is_line(one[0])]
    rest = [one for one in shown if one[0].get("type") != "heatmap" and one not in lines]
    return [*(_map(*one) for one in shown if one[0].get("type") == "heatmap"), *_lines(lines), *_series(rest)]


def _axis(traces: list[dict], layout: dict, id: str) -> Axis:
    given = layout.get(f"{id[0]}axis{id[1:]}") or {}
    # the title of the axis, or of one that it moves with
    kin = [v for k, v in layout.items() if k.startswith(f"{id[0]}axis") and isinstance(v, dict)
           and (k.replace("axis", "") == given.get("matches") or v.get("matches") == id)]  # fmt: skip
    titles = [plain((axis.get("title") or {}).get("text") or "") for axis in (given, *kin)]
    values = [v for t in traces if t.get(f"{id[0]}axis", id[0]) == id for v in t.get(id[0]) or ()]
    texts = given.get("ticktext") or ()
    span = given.get("range")
    return Axis(
        title=next(filter(None, titles), ""),
        ticks=tuple(zip(_decoded(given.get("tickvals")) or (), map(plain, texts))) if texts else (),
        kind=given.get("type") or ("category" if any(isinstance(v, str) for v in values) else "linear"),
        percent="%" in (given.get("tickformat") or ""),
        upward=span[0] < span[1] if span else given.get("autorange") != "reversed",
        visible=given.get("visible", True),
    )


def _speaks(trace: dict, x: Axis, y: Axis) -> bool:
    """Whether a trace says anything in numbers: no picture, no helper for the eye, no map without named axes."""
    if trace.get("hoverinfo") == "skip" or trace.get("mode") == "text" or not (x.visible and y.visible):
        return False
    if not any(axis.title or axis.ticks or axis.kind == "category" for axis in (x, y)):
        return False
    if trace.get("type") == "heatmap":
        return 0 < sum(map(len, trace.get("z") or ())) <= CELLS
    return trace.get("type", "scatter") in MARKS and bool(trace.get("x"))


def _map(trace: dict, x: Axis, y: Axis) -> Table:
    form = str(trace.get("hovertemplate") or "")
    percent, sign = bool(re.search(r"%\{z[^}]*%\}", form)), "+" if "%{z:+" in form else ""
    z = trace["z"]
    top = [x.place(value) for value in trace.get("x") or range(len(z[0]))]
    side = [y.place(value) for value in trace.get("y") or range(len(z))]
    cells = [[(sign if (v or 0) > 0 else "") + number(v, percent) for v in row] for row in z]
    corner = " \\ ".join(filter(None, (y.title, x.title)))
    return Table(plain(trace.get("name", "")), (corner, *top), tuple((name, *row) for name, row in zip(side, cells)))


def _is_line(trace: dict) -> bool:
    """A line at a value: upright or level."""
    ends = trace.get("x") or (), trace.get("y") or ()
    return trace.get("mode") == "lines" and len(ends[0]) == 2 and any(one[0] == one[1] for one in ends)


def _lines(shown: list[tuple]) -> list[Table]:
    rows = []
    for trace, x, y in shown:
        (left, right), level = trace["x"], trace["y"][0]
        rows.append((plain(trace.get("name") or ""), x.value(left) if left == right else y.value(level)))
    rows = tuple(dict.fromkeys(row for row in rows if row[0]))
    return [Table("Lines", ("line", "at"), rows)] if rows else []


# ---- curves, dots and bars


@dataclass(frozen=True)
class Column:
    """One trace: the places it names, and what stands there."""

    of: tuple  # its axes: others with the same may stand beside it
    name: str
    side: Axis
    top: str
    spots: tuple
    cells: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(map(self.side.place, self.spots))

    def fits(self, other: "Column") -> bool:
        """Whether two share a table: each has one value a place, and their places are the same or have names."""
        both = (self, other)
        named = all(one.side.tick(spot) is not None for one in both for spot in one.spots)
        single = all(len(set(one.keys)) == len(one.keys) for one in both)
        return self.of == other.of and single and (named or self.keys == other.keys)


def _series(shown: list[tuple]) -> list[Table]:
    groups: list[list[Column]] = []
    for column in (_column(*one) for one in shown):
        group = next((group for group in groups if group[0].fits(column)), None)
        if group:
            group.append(column)
        else:
            groups.append([column])
    # one number a row, such as a mean, before many of them
    return sorted(map(_together, groups), key=lambda table: len({row[0] for row in table.rows}) < len(table.rows))


def _column(trace: dict, x: Axis, y: Axis) -> Column:
    across = trace.get("orientation") == "h" or bool(y.ticks and not x.ticks) or y.kind == "category"
    at, values, side, axis = (trace["y"], trace["x"], y, x) if across else (trace["x"], trace["y"], x, y)
    errors = (trace.get("error_x" if across else "error_y") or {}).get("array") or [0] * len(at)
    texts = _texts(trace)
    there = [i for i in range(len(at)) if number(values[i]) and number(at[i])]
    cells = []
    for i in there:
        half = f" ± {axis.value(errors[i], 2)}" if (errors[i] or 0) > 0 else ""
        cells.append(_without(side.place(at[i]), plain(texts[i])) if texts else axis.value(values[i]) + half)
    where = (trace.get("xaxis", "x"), trace.get("yaxis", "y"), across)
    return Column(where, plain(trace.get("name") or ""), side, axis.title, tuple(at[i] for i in there), tuple(cells))


def _texts(trace: dict) -> list[str]:
    """The texts of a trace that say more than its values, not those that only name them."""
    form = trace.get("hovertemplate") or ""
    telling = "%{text}" in form and not re.search(r"%\{[xyz]", form)
    texts = trace.get("hovertext") if trace.get("hoverinfo") == "text" else trace.get("text") if telling else None
    return texts if isinstance(texts, list) else []


def _without(key: str, text: str) -> str:
    """A text that begins with the name of its row, without it."""
    return (re.sub(r"^[:,]?\s*", "", text[len(key) :]) or text) if key and text.startswith(key) else text


def _together(columns: list[Column]) -> Table:
    first = columns[0]
    head = (first.side.title or "row", *(column.name or first.top for column in columns))
    if len(columns) == 1:
        return Table(first.top, head, tuple(zip(first.keys, first.cells)))
    spots = {key: spot for column in columns for key, spot in zip(column.keys, column.spots)}
    keys = list(spots)
    if not any(isinstance(spot, str) for spot in spots.values()):  # as they stand, from the left or from the top
        keys.sort(key=spots.get, reverse=first.of[2] and first.side.upward)
    cells = [dict(zip(column.keys, column.cells)) for column in columns]
    return Table(first.top, head, tuple((key, *(column.get(key, "") for column in cells)) for key in keys))
