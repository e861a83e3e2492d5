"""Checks that the title of a figure is short, and that what it calls first is first in the figure's own tables.

Who is said to reach or to end with the highest or lowest number, where a number is said to be the highest of all, which
class is recognised most and least often, and which is told from the rest best and worst.
"""

import html
import re

LONGEST = 90
FIGURE = re.compile(r'<figure class="sl-figure".*?</figure>', re.DOTALL)
TITLE = re.compile(r'<figcaption id="([^"]*)-title">(.*?)<span class="sl-subtitle">', re.DOTALL)
NUMBER = re.compile(r"[−-]?\d[\d,]*(?:\.\d+)?(?:e[−-]?\d+)?")
BEGINS = r"^(?:Small runs: |Yours: )*"
WHO = re.compile(
    BEGINS + r"(.+?) (?:reach(?:es)?|ends? with|has|have) the (highest|higher|lowest|lower) (.+?), ([\d.,]+)"
)
WHERE = re.compile(BEGINS + r"The (highest|lowest) (.+?), ([\d.,]+)(?: %)?, is at")
CLASSES = (
    re.compile(BEGINS + r"(?:.*: )?(.+) (?:is|are) recognised most often \(([\d.]+).*\), (.+) least \(([\d.]+)"),
    re.compile(BEGINS + r"(?:.*: )?(.+) (?:is|are) told from the rest best \(AUC ([\d.]+)\), (.+) worst \(([\d.]+)"),
)


def check(page: str) -> list[str]:
    """What is wrong with the titles of a page's figures; each line names the figure."""
    problems = []
    for body in FIGURE.findall(page):
        if not (found := TITLE.search(body)):
            continue
        name, title = found.groups()
        title, tables = _text(title), [_table(t) for t in re.findall(r"<table>.*?</table>", body, re.DOTALL)]
        if len(title) > LONGEST:
            problems.append(f"the title of {name!r} has {len(title)} characters, more than {LONGEST}: {title}")
        problems += [
            f"the title of {name!r} is not what its table says, {told}: {title}" for told in _false(title, tables)
        ]
    return problems


def _false(title: str, tables: list[tuple]) -> list[str]:
    """What the tables say other than the title."""
    if found := WHO.search(title):
        who, degree, metric, said = found.groups()
        own = [values for table in tables if _caption(table) == metric and (values := _ends(table))]
        apart = (
            len(own) > 1 and len(own[0]) == 1
        )  # curves of unequal length have a table each, and seeds their own ends
        return _compare(own[0], [(degree[0] == "h", who, said)]) if own and not apart else []
    if found := WHERE.search(title):
        degree, metric, said = found.groups()
        own = {k: v for table in tables if _caption(table) == metric for k, v in _all(table).items()}
        return _compare(own, [(degree == "highest", "", said)]) if own else []
    for kind, values in zip(CLASSES, (_diagonal, _areas)):
        if (found := kind.search(title)) and (own := values(tables)):
            best, most, worst, least = found.groups()
            return _compare(own, [(True, best, most), (False, worst, least)])
    return []


def _compare(own: dict[str, float], claims: list[tuple[bool, str, str]]) -> list[str]:
    """The claims (highest, who, number as printed) that do not hold of these numbers by name."""
    told = []
    for highest, who, said in claims:
        digits = len(said.replace(",", "").partition(".")[2])
        end = (max if highest else min)(own.values())
        unit = 0.51 * 10**-digits
        names = [name for name, value in own.items() if abs(value - end) <= 2 * unit]  # as near as print can tell
        if abs(end - float(said.replace(",", ""))) > unit:
            told.append(f"{end:g} where the title has {said}")
        elif who and not who[0].isdigit() and not any(_same(name.lower(), who.lower()) for name in names):
            told.append(f"{', '.join(names)} where the title has {who}")
    return told if len(own) > 1 else [f"{len(own)} row, of which none is first"]


def _same(name: str, who: str) -> bool:
    """Whether a row's name is among those of a title, or begins with it, as `c4 3e-7, L2` does with c4."""
    return name in who or name.startswith(f"{who} ")


def _ends(table: tuple) -> dict[str, float]:
    """By name the last number of each curve, or the mean of each row."""
    _, heads, rows = table
    if heads[0] != "row":
        last = {head: _number(cell) for head, cell in zip(heads[1:], rows[-1][1:])}
        return {name: v for name, v in last.items() if v is not None and not re.search("log$|published", name)}
    column = next((k for k, head in enumerate(heads) if head.startswith("mean")), None)
    found = {row[0]: _number(row[column]) for row in rows} if column else {}
    return {name: v for name, v in found.items() if v is not None and "diverged" not in name}


def _all(table: tuple) -> dict[str, float]:
    _, heads, rows = table
    cells = {f"{row[0]}, {head}": _number(cell) for row in rows for head, cell in zip(heads[1:], row[1:])}
    return {name: v for name, v in cells.items() if v is not None}


def _diagonal(tables: list[tuple]) -> dict[str, float]:
    rows = next((t[2] for t in tables if t[0].startswith("% of the label")), [])
    return {row[0]: float(row[k].replace(",", "")) for k, row in enumerate(rows, 1) if any(map(_number, row[1:]))}


def _areas(tables: list[tuple]) -> dict[str, float]:
    found = [re.fullmatch(r"(.+) ([\d.]+) \[.*\]", t[1][1]) for t in tables if len(t[1]) > 1]
    return {m.group(1): float(m.group(2)) for m in found if m}


def _number(cell: str) -> float | None:
    """The number of a cell such as `37.1 % ± 0.2 %, 10 seeds`; of a longer one, what stands before the first %."""
    share = re.search(rf"({NUMBER.pattern}) %", cell)
    found = share.group(1) if share else (m.group() if (m := NUMBER.match(cell)) else None)
    return None if found is None else float(found.replace(",", "").replace("−", "-"))


def _caption(table: tuple) -> str:
    return re.sub(r": \d+ of .*| \(logarithmic\)", "", table[0])


def _table(text: str) -> tuple[str, list[str], list[list[str]]]:
    """A table's caption, heads and rows."""
    rows = [[_text(cell) for cell in re.split(r"<t[hd][^>]*>", row)[1:]] for row in text.split("<tr>")[1:]]
    caption = re.search(r"<caption>(.*?)<", text)
    return _text(caption.group(1)) if caption else "", rows[0], rows[1:]


def _text(markup: str) -> str:
    return html.unescape(re.sub(r"<br\s*/?>", " ", re.sub(r"<(?!br)[^>]*>", "", markup))).strip()
