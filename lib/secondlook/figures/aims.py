"""How far the runs that go further have come: each beside its aim and beside what was published.

An attempt is one of `claims.standing.attempts`: aim, records, missing plans, and a state that is a word.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from secondlook.estimates import core_time
from secondlook.figures.marks import label_rows, within
from secondlook.figures.tables import Table
from secondlook.figures.template import CLASS_COLOURS, MEASURED, PUBLISHED, finish
from secondlook.figures.values import counted, joined, mean_interval, percent, spread

AIM = CLASS_COLOURS[2]


def aims(attempts: Sequence, id: str = "aims") -> go.Figure:
    """A row for each aim: what was published, the aim, and what the records reach, hollow where they are not full.

    Raises ValueError where there is none.
    """
    if not attempts:
        raise ValueError("aims need at least one attempt; `[aim.NAME]` in a report's file states one")
    labels = [_label(a) for a in attempts]
    printed = [(i, a.aim.beside) for i, a in enumerate(attempts) if a.aim.beside]
    figure = go.Figure()
    figure.add_scatter(
        x=[p.value for _, p in printed], y=[i for i, _ in printed], text=[p.text for _, p in printed], mode="markers",
        marker={"size": 11, "color": PUBLISHED, "symbol": "diamond"}, name="published",
        hovertemplate="published %{text}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[a.aim.least.value for a in attempts], y=list(range(len(attempts))),
        text=[a.aim.least.text for a in attempts],
        mode="markers", name="aim", hovertemplate="aim %{text}<extra></extra>",
        marker={"size": 20, "color": AIM, "symbol": "line-ns", "line": {"width": 3, "color": AIM}},
    )  # fmt: skip
    for profile, symbol in (("full", "circle"), ("reduced", "circle-dot"), ("quick", "circle-open")):
        own = [(i, mean_interval(a.values), a) for i, a in enumerate(attempts) if a.profile == profile]
        own = [(i, found, a) for i, found, a in own if np.isfinite(found[0])]
        if own:
            figure.add_scatter(
                x=[m for _, (m, _), _ in own], y=[i for i, _, _ in own], mode="markers", name=f"{profile} records",
                error_x={"array": [h for _, (_, h), _ in own]}, text=[reached_words(a) for _, _, a in own],
                marker={"size": 11, "color": MEASURED, "symbol": symbol}, hovertemplate="%{text}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="test accuracy", tickformat=".0%")
    shown = [a.aim.least.value for a in attempts] + [p.value for _, p in printed]
    within(figure, [shown, *(a.values for a in attempts)])
    label_rows(figure, [label.replace(": ", ":<br>") for label in labels])
    states = [a.state for a in attempts]
    reached, waiting = states.count("reached"), states.count("open")
    title = f"{reached} of {counted(len(states), 'aim')} {'is' if reached == 1 else 'are'} reached"
    title += f"; {waiting} {'waits' if waiting == 1 else 'wait'} for full records" if waiting else ""
    told = "; ".join(f"{label}, aim {a.aim.least.text}: {reached_words(a)}" for label, a in zip(labels, attempts))
    alt = f"Dot plot of test accuracy: published, aim, and reached. {told}."
    return finish(figure, id, title, alt, data_of(attempts), 150 + 46 * len(labels))


def aims_table(attempts: Sequence) -> Table:
    """Every aim with what its records reach, and what those that are missing take."""
    heads = ("aim", "at least", "published", "reached", "state", "still to run")
    rows = []
    for a in attempts:
        beside = a.aim.beside.text if a.aim.beside else ""
        rows.append((_label(a), a.aim.least.text, beside, reached_words(a), a.state, _still(a)))
    return Table(heads, tuple(rows), "Aims, and how far the records have come")


def reached_words(attempt) -> str:
    """What the records reach, with their seeds and, unless full, their profile; "no record" where there is none."""
    if not attempt.records:
        return "no record"
    mean, half = mean_interval(attempt.values)
    if not np.isfinite(mean):
        return "no finite number"
    seeds = counted(len(attempt.records), "seed")
    return f"{percent(mean)}{spread(half)}, {seeds}{'' if attempt.profile == 'full' else f', {attempt.profile}'}"


def data_of(attempts: Sequence) -> str:
    """The data sets of all records, as a caption."""
    names = dict.fromkeys(r.data_name for a in attempts for r in a.records)
    return f"{joined(names)} · further" if names else "no records yet"


def _label(attempt) -> str:
    return f"{attempt.report}: {attempt.aim.says}"


def _still(attempt) -> str:
    """How many records are missing, and what they are expected to take."""
    if not attempt.missing:
        return ""
    return f"{counted(len(attempt.missing), 'record')}, {core_time(p.recipe for p in attempt.missing)}"
