"""Tables and notices: HTML that a screen reader can follow, and plain text where there is no page."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from secondlook.checks import nearest
from secondlook.estimates import core_time
from secondlook.figures import words
from secondlook.recipe import Recipe
from secondlook.reports import Report

LONG = 12  # rows; a longer list of what is missing is folded away under its caption


@dataclass(frozen=True)
class Html:
    """HTML, in a cell of a table or by itself, with the text it stands for."""

    markup: str
    text: str

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first cell of a row is its header. Shows as HTML on a page, as text elsewhere.

    A folded one shows its caption, and its rows when that is opened.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple, ...]
    caption: str = ""
    folded: bool = False

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in self.columns)
        body = "".join(
            f'<tr><th scope="row">{_markup(first)}</th>{"".join(f"<td>{_markup(c)}</td>" for c in rest)}</tr>'
            for first, *rest in self.rows
        )
        told = html.escape(self.caption)
        title = f"<caption>{told}</caption>" if self.caption and not self.folded else ""
        shown = f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<details class="sl-folded"><summary>{told}</summary>{shown}</details>' if self.folded else shown

    def __repr__(self) -> str:
        cells = [list(self.columns), *([_text(c) for c in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells]
        lines.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join([*([self.caption] if self.caption else []), *lines])


@dataclass(frozen=True)
class Notice:
    """A box that says what is missing and which command makes it; words between `backticks` are shown as code."""

    text: str

    def _repr_html_(self) -> str:
        return f'<div class="sl-missing" role="note">{code(self.text)}</div>'

    def __repr__(self) -> str:
        return self.text


def table(rows: Iterable[Mapping | Sequence], columns: Sequence[str] | Mapping[str, str], caption: str = "") -> Table:
    """A table. Rows are dicts (then `columns` are their keys, or key → heading) or sequences of as many cells.

    Raises ValueError for a key that a row lacks, or a row of another length.
    """
    headings = tuple(columns.values()) if isinstance(columns, Mapping) else tuple(columns)
    cells = []
    for row in rows:
        if isinstance(row, Mapping) and (lost := [k for k in columns if k not in row]):
            raise ValueError(f"a row has no {lost[0]!r}{nearest(lost[0], row)}")
        values = tuple(row[k] for k in columns) if isinstance(row, Mapping) else tuple(row)
        if len(values) != len(headings):
            raise ValueError(f"a row has {len(values)} cells under {len(headings)} columns: {values!r}")
        cells.append(values)
    return Table(headings, tuple(cells), caption)


def number(value, most: int = 0) -> str:
    """A number, or several; nothing where there are more than `most` of them."""
    if value is None or (most and isinstance(value, list | tuple) and len(value) > most):
        return ""
    if isinstance(value, list | tuple):
        return " / ".join(number(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def code(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _markup(cell) -> str:
    return cell.markup if isinstance(cell, Html) else html.escape(_text(cell))


def _text(cell) -> str:
    return cell.text if isinstance(cell, Html) else number(cell)


def missing_table(recipes: Iterable[Recipe],
                  caption: str = "Runs without records, and the commands that make them") -> Table:  # fmt: skip
    """Every run of which records are missing: how many, what they take, and the command.

    `recipes` are those without a record, as `Chapter.missing` has them. Shared recipes are counted once. A long one is
    folded, and its caption then says how many records it lists.
    """
    groups: dict[tuple, dict[str, Recipe]] = {}
    for r in recipes:
        groups.setdefault((r.report, r.sweep or r.run, r.variant, r.profile), {})[r.id] = r
    told = []
    for (_, run, variant, _), own in groups.items():
        command = next(iter(own.values())).command(run)
        takes = core_time(own.values())
        told.append((run, words.VARIANTS.get(variant, variant), len(own), takes, Html(code(f"`{command}`"), command)))
    folded = len(told) > LONG
    records = words.counted(sum(len(own) for own in groups.values()), "record")
    count = f": {records}, {words.counted(len(told), 'command')}" * folded
    return Table(("run", "variant", "records", "takes about", "command"), tuple(told), caption + count, folded)


def settings_table(report: Report, runs: list[str], variant: str) -> Table:
    """A row a run with the settings of its first seed. Raises RecipeError for a run that the report does not have."""
    heads, rows = ("run", "net", "optimiser", "rate", "momentum", "schedule", "L2", "epochs"), []
    for run in runs:
        s = report.recipes(run, variant)[0].settings
        net = ", ".join(f"{k} {v}" for k, v in s.model.items() if k != "name") or s.model["name"]
        rate, momentum, l2 = ("" if v is None else words.short(v) for v in (
            s.optimizer["learning_rate"], s.optimizer.get("momentum"), s.penalty.get("l2_dense")))  # fmt: skip
        schedule = s.schedule["name"].replace("_", " ")
        rows.append((run, net, s.optimizer["name"], rate, momentum, schedule, l2, s.epochs))
    return table(rows, heads, "Settings, by the recipes")
