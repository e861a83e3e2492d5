"""All claims of all chapters at a glance."""

from collections import Counter

import plotly.graph_objects as go

from secondlook.figures.template import CLASS_COLOURS, QUIET, finish
from secondlook.reports import VERDICTS

COLOURS = dict(zip(VERDICTS, [CLASS_COLOURS[c] for c in (2, 9, 6, 1, 4)]))


def scoreboard(judgements: dict[str, list], id: str = "claims-by-verdict") -> go.Figure:
    """How many claims of each report got which verdict; `judgements` by the report's short title.

    Raises ValueError where there are none.
    """
    counts = {name: Counter(j.verdict for j in found) for name, found in judgements.items()}
    total = sum((c for c in counts.values()), Counter())
    if not total:
        raise ValueError("a scoreboard needs at least one judged claim")
    figure = go.Figure()
    for verdict in (v for v in VERDICTS if total[v]):
        numbers = [counts[name][verdict] for name in counts]
        figure.add_bar(
            y=list(counts), x=numbers, orientation="h", name=f"{verdict} ({total[verdict]})",
            marker_color=COLOURS.get(verdict, QUIET), text=[n or "" for n in numbers], textangle=0,
            hovertemplate="%{y}: %{x} " + verdict + "<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", xaxis_title="claims", legend_traceorder="normal")
    top, count = total.most_common(1)[0]
    title = f"Of {total.total()} claims {total['reproduced']} are reproduced"
    if top != "reproduced":
        title += f"; the commonest verdict is {top} ({count})"
    parts = "; ".join(f"{name}: " + ", ".join(f"{n} {v}" for v, n in c.items()) for name, c in counts.items())
    alt = f"Stacked bars, one a report, of claims by verdict. {parts}."
    return finish(figure, id, title, alt, "verdicts rest on full records of real data alone", 320 + 40 * len(counts))
