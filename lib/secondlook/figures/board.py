"""Claims with their verdicts: the table of a chapter, and that of all chapters, which filters and sorts."""

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from secondlook.checks import nearest
from secondlook.figures.tables import Html, Table, code, number
from secondlook.figures.words import counted, percent
from secondlook.reports import read
from secondlook.sections import INDICATIONS, VERDICTS, Claim

SHORT = 7  # digits of a record's id
SHOWN = 3  # ids, or numbers, in a cell
LINE = 150  # characters of a reason that are shown before it is opened
SHARES = re.compile(r"accuracy|precision|recall|f1$")
SORTED = ("id", "verdict", "claim", "seeds", "indication, no verdict")
COLUMNS = ("id", "verdict", "claim", "published", "measured", "seeds", "indication, no verdict")


def verdicts(judgements: Iterable, caption: str = "Claims and their verdicts", page: str = "") -> Table:
    """Every claim with its verdict, what that rests on and its numbers, from judgements or their dicts.

    The reason is a line that opens to all of it, with interval and records; a link leads to the figure on `page` that
    shows the claim. What reduced runs indicate of claims not run has a column of its own, where there is any. Raises
    ValueError for a verdict that is none.
    """
    rows = []
    for j in judgements:
        j = dict(j) if isinstance(j, Mapping) else j.as_dict()
        claim = read(j["report"]).claims.get(j["id"])
        numbers = (*_numbers(j, claim), len(j["seeds"] or []) or "")
        badge = _badge(j["verdict"], j.get("rests_on"))
        rows.append((j["id"], badge, _said(j, claim, page), *numbers, _indicated(j.get("indication"))))
    if any(row[-1] for row in rows):
        return Table(COLUMNS, tuple(rows), caption)
    return Table(COLUMNS[:-1], tuple(row[:-1] for row in rows), caption)


def board(judgements: Mapping[str, Sequence]) -> Html:
    """All claims under their reports, by the report's short title, with menus that filter and headings that sort.

    The menus need no script: rules of style, written here, hide the rows that are not asked for.
    """
    groups, texts, found = [], [], Counter()
    for title, own in judgements.items():
        name = own[0].report
        told = ", ".join(f"{n} {w}" for w, n in Counter(j.verdict for j in own).most_common())
        rows = "".join(_row(row, j) for row, j in zip(verdicts(own, page=f"../notebooks/{name}.html").rows, own))
        head = f'<a href="../notebooks/{name}.html">{html.escape(title)}</a> <small>{told}</small>'
        head = f'<tr class="sl-group"><th scope="rowgroup" colspan="{len(COLUMNS)}">{head}</th></tr>'
        groups.append(f'<tbody class="r-{name}">{head}{rows}</tbody>')
        texts.append(f"{title}: {told}")
        found.update([f"r-{name}"] * len(own) + [kind for j in own for kind in _kinds(j)])
    menus = {
        "Report": {f"r-{own[0].report}": title for title, own in judgements.items()},
        "Verdict": {_slug("v", word): word for word in VERDICTS},
        "Indication": {_slug("i", word): word for word in INDICATIONS},
    }
    rules = "".join(_rule(kind) for words in menus.values() for kind in words if found[kind])
    chosen = "".join(_menu(name, words, found) for name, words in menus.items())
    sorts = {c: f'<button type="button">{c}</button>' for c in SORTED}
    heads = "".join(f'<th scope="col">{sorts.get(c, c)}</th>' for c in COLUMNS)
    table = f"<table><caption>Claim by claim</caption><thead><tr>{heads}</tr></thead>{''.join(groups)}</table>"
    return Html(f'<style>{rules}</style><div class="sl-board"><p>{chosen}</p>{table}</div>', "\n".join(texts))


def _rule(kind: str) -> str:
    """The style that hides what is not of a kind while a menu has it chosen."""
    others = f":is(tbody:not(.{kind}, :has(.{kind})), tbody:not(.{kind}) tr:not(.sl-group, .{kind}))"
    return f'.sl-board:has([value="{kind}"]:checked) {others} {{ display: none; }}'


def _menu(name: str, words: Mapping[str, str], found: Counter) -> str:
    shown = [(kind, word) for kind, word in words.items() if found[kind]]
    options = "".join(f'<option value="{kind}">{html.escape(word)} ({found[kind]})</option>' for kind, word in shown)
    return f'<label>{name} <select autocomplete="off"><option value="">all</option>{options}</select></label> '


def _row(cells: Sequence, j) -> str:
    """A row of the board; `data-sort` is the place of a word in its order."""
    first, badge, *rest = (c.markup if isinstance(c, Html) else html.escape(str(c)) for c in (*cells, "")[:7])
    *middle, last = rest
    place = INDICATIONS.index(j.indication.outcome) if j.indication else len(INDICATIONS)
    body = "".join(f"<td>{cell}</td>" for cell in middle)
    return (
        f'<tr class="{" ".join(_kinds(j))}"><th scope="row">{first}</th>'
        f'<td data-sort="{VERDICTS.index(j.verdict)}">{badge}</td>{body}<td data-sort="{place}">{last}</td></tr>'
    )


def _kinds(j) -> list[str]:
    return [_slug("v", j.verdict), *([_slug("i", j.indication.outcome)] if j.indication else [])]


def _slug(kind: str, word: str) -> str:
    return f"{kind}-{word.replace(' ', '-')}"


def _said(j: Mapping, claim: Claim | None, page: str) -> Html:
    """The claim, the reason in a line that opens, and the figure that shows it."""
    figure = claim.figure if claim else ""
    link = f' <a class="sl-shows" href="{page}#{figure}">figure</a>' if figure else ""
    more = {"Interval": _interval(j["interval"]), "Records": _ids(j["records"] or [])}
    why = [(j.get("why") or "").rstrip("."), *(f"{word} {text}" for word, text in more.items() if text)]
    return Html(f"{html.escape(j['says'])}{link}{_why('. '.join(filter(None, why)), _line(j))}", j["says"])


def _line(j: Mapping) -> str:
    """The reason as one line: its first sentence, or, of a claim not run, how many records it waits for."""
    why = j.get("why") or ""
    if j["verdict"] == "not run" and (waits := re.findall(r"(\d+) of \d+ by", why)):
        return f"waits for {counted(sum(map(int, waits)), 'full record')}"
    first = re.split(r"(?<=\.)\s+(?=[A-Z])", why)[0].rstrip(".")
    return first if len(first) <= LINE else f"{first[: first.rfind(' ', 0, LINE)].rstrip(',;:')} …"


def _numbers(j: Mapping, claim: Claim | None) -> tuple[str, str]:
    """Published and measured with their unit, where the claim's form says what they are; else the reason names them."""
    if claim is None or claim.form not in ("value", "greater", "equal", "text"):
        return "", ""
    numbers = claim.options.get("values") or [claim.options]
    metrics = [entry.get("metric", claim.options.get("metric", "")) for entry in numbers]
    names = [entry["published"] for entry in numbers if isinstance(entry.get("published"), str)]
    printed = [_printed(read(j["report"]).published[name].text, m) for name, m in zip(names, metrics)]
    measured = j["measured"] if isinstance(j["measured"], list) else [j["measured"]]
    if j["measured"] is None or len(measured) != len(metrics):
        return _few(printed), ""
    return _few(printed), _few([_unit(v, m, claim.form == "greater") for v, m in zip(measured, metrics)])


def _printed(text: str, metric: str) -> str:
    return f"{100 * float(text):.4g} %" if SHARES.search(metric) and "%" not in text else text


def _few(texts: Sequence[str]) -> str:
    return "; ".join(texts) if len(texts) <= SHOWN else ""


def _unit(value: float, metric: str, difference: bool) -> str:
    if not isinstance(value, int | float):
        return ""
    if SHARES.search(metric):
        return f"{100 * value:+.2f} points" if difference else percent(value, 2)
    return f"{value:{'+' * difference}.4g}{' s' * metric.endswith('seconds')}"


def _indicated(indication: Mapping | None) -> Html | str:
    """A badge with the word, and what it rests on in a line that opens."""
    if not indication:
        return ""
    word, says = indication["outcome"], indication["says"]
    shown = f'<span class="verdict indication-{word.replace(" ", "-")}">{html.escape(word)}</span>'
    why = f"{indication['why']} Records {_ids(indication['records'])}"
    return Html(f"{shown}{_why(why, says)}", says)


def _badge(verdict: str, rests_on: str | None) -> Html:
    """The verdict as a badge: a word and a class for its colour, and below it what the verdict rests on."""
    if verdict not in VERDICTS:
        raise ValueError(f"unknown verdict {verdict!r}{nearest(verdict, VERDICTS)}")
    shown = f'<span class="verdict verdict-{verdict.replace(" ", "-")}">{html.escape(verdict)}</span>'
    if not rests_on:
        return Html(shown, verdict)
    return Html(f"{shown}<br><small>by {html.escape(rests_on)}</small>", f"{verdict} (by {rests_on})")


def _why(why: str, line: str) -> str:
    return f"<details><summary>{code(line)}</summary>{code(why)}</details>" if why else ""


def _interval(value) -> str:
    """[low, high], or several of them."""
    if not value:
        return ""
    if isinstance(value[0], list | tuple):
        return " / ".join(_interval(v) for v in value)
    return f"[{', '.join(number(v) for v in value)}]"


def _ids(records: Sequence[str]) -> str:
    shown = ", ".join(r[:SHORT] for r in records[:SHOWN])
    return f"{shown} + {len(records) - SHOWN}" if len(records) > SHOWN else shown
