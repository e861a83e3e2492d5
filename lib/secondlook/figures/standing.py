"""Where the evidence stands: claims and their verdicts, and how far the runs that go further have come.

An attempt is one of `claims.standing.attempts`: aim, records, missing plans, and a state that is a word.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from secondlook.estimates import core_time
from secondlook.figures import words
from secondlook.figures.marks import diamonds, label_rows, within
from secondlook.figures.tables import Table
from secondlook.figures.template import COLOURS, MEASURED, finish
from secondlook.figures.values import mean_interval
from secondlook.sections import INDICATIONS, RESTS_ON, VERDICTS

# the families of the badges: green, blue, red, amber, violet, and greys for what was not judged
GREEN, BLUE, RED, AMBER, VIOLET = COLOURS[2], COLOURS[4], COLOURS[6], "#d99a00", COLOURS[5]
GREYS = ("#59626c", "#8d97a2", "#c3cad2")
VERDICT_COLOURS = dict(zip(VERDICTS, (GREEN, BLUE, RED, AMBER, VIOLET, *GREYS)))
INDICATION_COLOURS = dict(zip(INDICATIONS, (GREEN, RED, AMBER, GREYS[1])))
AIM = COLOURS[2]


def scoreboard(judgements: dict[str, list], id: str = "claims-by-verdict") -> go.Figure:
    """How many claims of each report got which verdict, and beside that what reduced runs indicate of those not run.

    `judgements` by the report's short title. Raises ValueError where there are none.
    """
    counts = {name: Counter(j.verdict for j in found) for name, found in judgements.items()}
    total = sum(counts.values(), Counter())
    if not total:
        raise ValueError("a scoreboard needs at least one judged claim")
    indicated = {n: Counter(j.indication.outcome for j in found if j.indication) for n, found in judgements.items()}
    figure, hints = go.Figure(), any(indicated.values())
    _bars(figure, counts, VERDICTS, VERDICT_COLOURS)
    _bars(figure, indicated, INDICATIONS, INDICATION_COLOURS, "indication: ", xaxis="x2", cliponaxis=False)
    figure.update_layout(barmode="stack", xaxis_title="claims", legend_traceorder="normal")
    if hints:
        figure.update_layout(xaxis_domain=[0, 0.66], xaxis2={"domain": [0.74, 1], "title": "indications"})
    claims, count = words.counted(total.total(), "claim"), total["reproduced"]
    title = f"Of {claims} {count} {'is' if count == 1 else 'are'} reproduced"
    top = [verdict for verdict, count in total.items() if count == max(total.values())]
    if "reproduced" not in top and len(total) > 1:
        which = f"verdict is {top[0]}" if len(top) == 1 else f"verdicts are {words.joined(top)}"
        title += f"; the commonest {which} ({max(total.values())}{' each' * (len(top) > 1)})"
    more = f"{_told(counts)}."
    more += f" Beside them, of the claims not run, what reduced runs indicate. {_told(indicated)}." * hints
    source, height = "verdicts rest on full records of real data alone", 320 + 40 * len(counts)
    return finish(figure, id, title, "Stacked bars, one a report, of claims by verdict", source, height, more)


def _bars(figure: go.Figure, counts: dict[str, Counter], kinds: Sequence[str], colours: dict, kind="", **options):
    total = sum(counts.values(), Counter())
    for word in (w for w in kinds if total[w]):
        numbers = [count[word] for count in counts.values()]
        figure.add_bar(
            y=list(counts), x=numbers, orientation="h", name=f"{kind}{word} ({total[word]})",
            marker_color=colours[word], text=[n or "" for n in numbers], textangle=0,
            hovertemplate="%{y}: %{x} " + word + "<extra></extra>", **options,
        )  # fmt: skip


def _told(counts: dict[str, Counter]) -> str:
    return "; ".join(f"{name}: " + ", ".join(f"{n} {w}" for w, n in c.items()) for name, c in counts.items() if c)


def grounds(judgements: dict[str, list]) -> Table:
    """What the verdicts rest on: a row for each verdict given, a column for each ground, and how many claims of all."""
    found = Counter((j.verdict, j.rests_on) for own in judgements.values() for j in own if j.rests_on)
    given = [v for v in VERDICTS if any(found[v, ground] for ground in RESTS_ON)]
    rows = [(v, *(found[v, ground] or "" for ground in RESTS_ON)) for v in given]
    against = sum(found["contradicted", ground] for ground in RESTS_ON)
    ours = found["contradicted", "measurement"] or "none"
    told = f"{ours} of the {against} contradicted claims on a measurement of this project"
    return Table(("verdict", *RESTS_ON), tuple(rows), f"What verdicts rest on: {told}")


def aims(attempts: Sequence, id: str = "aims") -> go.Figure:
    """A row for each aim: what was published, the aim, and what the records reach, hollow where they are not full.

    Raises ValueError where there is none.
    """
    if not attempts:
        raise ValueError("aims need at least one attempt; `[aim.NAME]` in a report's file states one")
    labels, states = [_label(a) for a in attempts], [a.state for a in attempts]
    printed = {i: a.aim.beside for i, a in enumerate(attempts) if a.aim.beside}
    least = [a.aim.least for a in attempts]
    figure = go.Figure()
    diamonds(figure, [p.value for p in printed.values()], list(printed), [p.text for p in printed.values()])
    figure.add_scatter(
        x=[p.value for p in least], y=list(range(len(attempts))), text=[p.text for p in least],
        mode="markers", name="aim", hovertemplate="aim %{text}<extra></extra>",
        marker={"size": 20, "color": AIM, "symbol": "line-ns", "line": {"width": 3, "color": AIM}},
    )  # fmt: skip
    for profile, symbol in (("full", "circle"), ("reduced", "circle-dot")):
        found = [(i, *mean_interval(a.values), _reached(a)) for i, a in enumerate(attempts) if a.profile == profile]
        found = [row for row in found if np.isfinite(row[1])]
        if found:
            at, reached, half, texts = map(list, zip(*found))
            figure.add_scatter(x=reached, y=at, mode="markers", name=f"{profile} records", error_x={"array": half},
                               text=texts, marker={"size": 11, "color": MEASURED, "symbol": symbol},
                               hovertemplate="%{text}<extra></extra>")  # fmt: skip
    figure.update_xaxes(title="test accuracy", tickformat=".0%")
    within(figure, [[p.value for p in (*least, *printed.values())], *(a.values for a in attempts)])
    label_rows(figure, [label.replace(": ", ":<br>") for label in labels])
    reached, waiting = states.count("reached"), states.count("open")
    title = f"{reached} of {words.counted(len(states), 'aim')} {'is' if reached == 1 else 'are'} reached"
    title += f"; {waiting} {'waits' if waiting == 1 else 'wait'} for full records" if waiting else ""
    told = "; ".join(f"{label}, aim {a.aim.least.text}: {_reached(a)}" for label, a in zip(labels, attempts))
    names = dict.fromkeys(r.data_name for a in attempts for r in a.records)
    note = f"{words.joined(names)} · further" if names else "no records yet"
    shows = "Dot plot of test accuracy: published, aim, and reached"
    return finish(figure, id, title, shows, note, 150 + 46 * len(labels), f"{told}.")


def aims_table(attempts: Sequence) -> Table:
    """Every aim with what its records reach, and what those that are missing take."""
    heads = ("aim", "at least", "published", "reached", "state", "still to run")
    rows = []
    for a in attempts:
        beside = a.aim.beside.text if a.aim.beside else ""
        takes = core_time(a.missing) if a.missing else ""
        still = f"{words.counted(len(a.missing), 'record')}, {takes}" if a.missing else ""
        rows.append((_label(a), a.aim.least.text, beside, _reached(a), a.state, still))
    return Table(heads, tuple(rows), "Aims, and how far the records have come")


def _reached(attempt) -> str:
    """What the records reach, with their seeds and, unless full, their profile; "no record" where there is none."""
    if not attempt.records:
        return "no record"
    mean, half = mean_interval(attempt.values)
    if not np.isfinite(mean):
        return "no finite number"
    seeds = words.counted(len(attempt.records), "seed")
    profile = "" if attempt.profile == "full" else f", {attempt.profile}"
    return f"{words.percent(mean)}{words.spread(half)}, {seeds}{profile}"


def _label(attempt) -> str:
    return f"{attempt.report}: {attempt.aim.says}"
