"""All claims of all chapters at a glance."""

from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from secondlook.figures.tables import Table
from secondlook.figures.template import CLASS_COLOURS, QUIET, finish
from secondlook.sections import INDICATIONS, RESTS_ON, VERDICTS

COLOURS = dict(zip(VERDICTS, [CLASS_COLOURS[c] for c in (2, 9, 6, 1, 4)]))
INDICATED = dict(zip(INDICATIONS, [CLASS_COLOURS[c] for c in (2, 6, 1)]))


def scoreboard(judgements: dict[str, list], id: str = "claims-by-verdict") -> go.Figure:
    """How many claims of each report got which verdict, and beside that what reduced runs indicate of those not run;
    `judgements` by the report's short title.

    Raises ValueError where there are none.
    """
    counts = {name: Counter(j.verdict for j in found) for name, found in judgements.items()}
    total = sum(counts.values(), Counter())
    if not total:
        raise ValueError("a scoreboard needs at least one judged claim")
    indicated = {n: Counter(j.indication.outcome for j in found if j.indication) for n, found in judgements.items()}
    figure = go.Figure()
    _bars(figure, counts, VERDICTS, COLOURS)
    _bars(figure, indicated, INDICATIONS, INDICATED, "indication: ", xaxis="x2", cliponaxis=False)
    figure.update_layout(barmode="stack", xaxis_title="claims", legend_traceorder="normal")
    hints = sum(sum(indicated.values(), Counter()).values())
    if hints:
        figure.update_layout(xaxis_domain=[0, 0.66], xaxis2={"domain": [0.74, 1], "title": "indications"})
    top, count = total.most_common(1)[0]
    title = f"Of {total.total()} claims {total['reproduced']} are reproduced"
    if top != "reproduced":
        title += f"; the commonest verdict is {top} ({count})"
    alt = f"Stacked bars, one a report, of claims by verdict. {_told(counts)}."
    if hints:
        alt += f" Beside them, of the claims not run, what reduced runs indicate. {_told(indicated)}."
    return finish(figure, id, title, alt, "verdicts rest on full records of real data alone", 320 + 40 * len(counts))


def grounds(judgements: dict[str, list]) -> Table:
    """What the verdicts rest on: a row for each verdict given, a column for each ground, and how many claims of all."""
    found = Counter((j.verdict, j.rests_on) for own in judgements.values() for j in own if j.rests_on)
    given = [v for v in VERDICTS if any(found[v, ground] for ground in RESTS_ON)]
    rows = [(v, *(found[v, ground] or "" for ground in RESTS_ON)) for v in given]
    against = sum(found["contradicted", ground] for ground in RESTS_ON)
    ours = found["contradicted", "measurement"] or "none"
    told = f"{ours} of the {against} contradicted claims on a measurement of this project"
    return Table(("verdict", *RESTS_ON), tuple(rows), f"What verdicts rest on: {told}")


def _bars(figure: go.Figure, counts: dict[str, Counter], words: Sequence[str], colours: dict, kind="", **options):
    total = sum(counts.values(), Counter())
    for word in (w for w in words if total[w]):
        numbers = [count[word] for count in counts.values()]
        figure.add_bar(
            y=list(counts), x=numbers, orientation="h", name=f"{kind}{word} ({total[word]})",
            marker_color=colours.get(word, QUIET), text=[n or "" for n in numbers], textangle=0,
            hovertemplate="%{y}: %{x} " + word + "<extra></extra>", **options,
        )  # fmt: skip


def _told(counts: dict[str, Counter]) -> str:
    return "; ".join(f"{name}: " + ", ".join(f"{n} {w}" for w, n in c.items()) for name, c in counts.items() if c)
