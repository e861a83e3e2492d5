"""Tables and notices: HTML that a screen reader can follow, and plain text where there is no page."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from secondlook.estimates import core_time
from secondlook.figures.published import Comparison, Row, compare, fair
from secondlook.figures.values import VARIANT_WORDS, caption, counted, flat, percent, told_mean
from secondlook.recipe import Recipe, nearest
from secondlook.reports import Report
from secondlook.sections import VERDICTS

SHORT = 7  # digits of a record's id
SHOWN = 3  # ids, or numbers, in a cell
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
    caption: str = field(default="")
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
    """A box that says what is missing and which command makes it."""

    text: str

    def _repr_html_(self) -> str:
        return f'<div class="sl-missing" role="note">{_code(self.text)}</div>'

    def __repr__(self) -> str:
        return self.text


def table(rows: Iterable[Mapping | Sequence], columns: Sequence[str] | Mapping[str, str], caption: str = "") -> Table:
    """A table. Rows are dicts (then `columns` are their keys, or key → heading) or sequences of as many cells.

    Raises ValueError for a key that a row lacks, or a row of another length.
    """
    keys = list(columns)
    headings = tuple(columns.values()) if isinstance(columns, Mapping) else tuple(columns)
    cells = []
    for row in rows:
        if isinstance(row, Mapping) and (lost := [k for k in keys if k not in row]):
            raise ValueError(f"a row has no {lost[0]!r}{nearest(lost[0], row)}")
        values = tuple(row[k] for k in keys) if isinstance(row, Mapping) else tuple(row)
        if len(values) != len(keys):
            raise ValueError(f"a row has {len(values)} cells under {len(keys)} columns: {values!r}")
        cells.append(values)
    return Table(headings, tuple(cells), caption)


def verdicts(judgements: Iterable, caption: str = "Claims and their verdicts") -> Table:
    """Every claim with its verdict, what that rests on and its numbers, from judgements or their dicts.

    Why, interval and records unfold.

    What reduced runs indicate of claims not run has a column of its own, where there is any.
    Raises ValueError for a verdict that is none.
    """
    rows = []
    for j in judgements:
        j = dict(j) if isinstance(j, Mapping) else j.as_dict()
        seeds, more = j["seeds"] or [], [_interval(j["interval"]), _ids(j["records"] or [])]
        more = [f"{word} {text}" for word, text in zip(("Interval", "Records"), more) if text]
        claim = Html(f"{html.escape(j['says'])}{_why('. '.join([(j.get('why') or '').rstrip('.'), *more]))}", j["says"])
        numbers = (_number(j["published"], SHOWN), _number(j["measured"], SHOWN))
        verdict = badge(j["verdict"], j.get("rests_on"))
        rows.append((j["id"], verdict, claim, *numbers, len(seeds) or "", _indicated(j.get("indication"))))
    columns = ("id", "verdict", "claim", "published", "measured", "seeds", "indication, no verdict")
    if not any(row[-1] for row in rows):
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    return Table(columns, tuple(rows), caption)


def _indicated(indication: dict | None) -> Html | str:
    if not indication:
        return ""
    word, says = indication["outcome"], indication["says"]
    shown = html.escape(says).replace(word, f"<strong>{word}</strong>", 1)
    why = f"{indication['why']} Records {_ids(indication['records'])}"
    return Html(f"{shown}{_why(why)}", says)


def badge(verdict: str, rests_on: str | None = "") -> Html:
    """The verdict as a badge: a word and a class for its colour, and below it what the verdict rests on.

    Raises ValueError for an unknown verdict.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"unknown verdict {verdict!r}{nearest(verdict, VERDICTS)}")
    shown = f'<span class="verdict verdict-{verdict.replace(" ", "-")}">{html.escape(verdict)}</span>'
    if not rests_on:
        return Html(shown, verdict)
    return Html(f"{shown}<br><small>by {html.escape(rests_on)}</small>", f"{verdict} (by {rests_on})")


def published_table(report: Report, rows: list[Row] | None = None) -> Table:
    """Every published number of a report with where it stands; with `rows` those numbers beside what was measured.

    The measured column is the mean ± half its 95 % interval; in brackets, where one more run would fall.
    """
    if rows is None:
        told = [(p.says or p.id, p.text, p.where) for p in report.published.values()]
        source = f". Source: {report.source}" if report.source else ""
        return Table(("number", "published", "where"), tuple(told), f"Numbers published: {report.title}{source}")
    rows = fair(rows)
    everything = [r for row in rows for r in flat(row.groups, row.published)]
    found = compare(report, rows)
    labels = list(dict.fromkeys(c.label for c in found))
    cells = {
        (
            c.published.id,
            c.label,
        ): _measured(c)
        for c in found
    }
    told = []
    for id_ in dict.fromkeys(row.published for row in rows):
        p = report.published[id_]
        told.append((p.says or id_, p.text, *(cells.get((id_, label), "") for label in labels)))
    heads = ("number", "published", *labels)
    note = "mean ± half its 95 % interval, in brackets the 95 % prediction interval of one more run"
    return Table(heads, tuple(told), f"Published and measured: {caption(everything, note)}")


def _measured(c: Comparison) -> str:
    if not c.tells:
        return f"{told_mean(c.values)}, {counted(len(c.values), 'seed')}"
    low, high = (percent(c.mean + side * c.half) for side in (-1, 1))
    return f"{told_mean(c.values)}, {'fits' if c.consistent else 'does not fit'} ({low} to {high})"


def missing_table(
    recipes: Iterable[Recipe], caption: str = "Runs without records, and the commands that make them"
) -> Table:
    """Every run of which records are missing: how many, what they take, and the command.

    `recipes` are those without a record, as `Chapter.missing` has them. Shared recipes are counted once. A long one is
    folded, and its caption then says how many records it lists.
    """
    groups: dict[tuple, dict[str, Recipe]] = {}
    for r in recipes:
        groups.setdefault((r.report, r.sweep or r.run, r.variant, r.profile), {})[r.id] = r
    told = []
    for (_, run, variant, _), own in groups.items():
        words = VARIANT_WORDS.get(variant, variant)
        command = next(iter(own.values())).command(run)
        takes = core_time(own.values())
        told.append((run, words, len(own), takes, Html(_code(f"`{command}`"), command)))
    heads = ("run", "variant", "records", "takes about", "command")
    folded = len(told) > LONG
    count = f": {counted(sum(len(own) for own in groups.values()), 'record')}, {counted(len(told), 'command')}"
    return Table(heads, tuple(told), caption + count * folded, folded)


def notice(text: str) -> Notice:
    """A box for what is missing; words between `backticks` are shown as code."""
    return Notice(text)


def _markup(cell) -> str:
    return cell.markup if isinstance(cell, Html) else html.escape(_text(cell))


def _text(cell) -> str:
    if isinstance(cell, Html):
        return cell.text
    return "" if cell is None else _number(cell) if isinstance(cell, float) else str(cell)


def _code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _why(why: str | None) -> str:
    return f"<details><summary>why</summary>{_code(why)}</details>" if why else ""


def _number(value, most: int = 0) -> str:
    """A number, or several; nothing where there are more than `most` of them."""
    if value is None or (most and isinstance(value, list | tuple) and len(value) > most):
        return ""
    if isinstance(value, list | tuple):
        return " / ".join(_number(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _interval(value) -> str:
    """[low, high], or several of them."""
    if not value:
        return ""
    if isinstance(value[0], list | tuple):
        return " / ".join(_interval(v) for v in value)
    return f"[{', '.join(_number(v) for v in value)}]"


def _ids(records: Sequence[str]) -> str:
    shown = ", ".join(r[:SHORT] for r in records[:SHOWN])
    return f"{shown} + {len(records) - SHOWN}" if len(records) > SHOWN else shown
