"""Which settings fit a logged first epoch: candidates against the log, as curves and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.curves import Misfit, misfit
from secondlook.figures.tables import Table, table
from secondlook.figures.template import CLASS_COLOURS, DASHES, PUBLISHED, QUIET, faded, finish, views
from secondlook.figures.values import NothingToDraw, caption, counted, digits, flat, joined, short
from secondlook.record import Record

Candidates = Mapping[str, Sequence[Record]]  # by optimiser; settings are told apart by their run
Logs = Mapping[str, Sequence[float]]  # by optimiser


def candidate_misfits(records: Sequence[Record], log: Sequence[float], curve: str = "step_loss") -> dict[str, Misfit]:
    """How well the history `curve` of each comparable run fits the log, from the nearest to the furthest."""
    kept = comparable(records, curve)
    if not any(len(r.history.get(curve, ())) for r in kept):
        raise NothingToDraw("these runs are too short for an entry of the log")
    found = {run: misfit(log, [r.history.get(curve, ()) for r in own]) for run, own in by_run(kept).items()}
    return dict(sorted(found.items(), key=lambda pair: pair[1].distance))


def comparable(records: Sequence[Record], curve: str = "step_loss") -> list[Record]:
    """The records with the longest history `curve`: a distance over fewer entries is another distance."""
    lengths = [len(r.history.get(curve, ())) for r in records]
    return [r for r, n in zip(records, lengths) if n == max(lengths)]


def shortened(records: Sequence[Record], curve: str) -> list[Record]:
    """The finished records with the history `curve` cut to the shortest of them, so that all can be compared."""
    kept = [r for r in records if r.status == "finished" and len(r.history.get(curve, ()))]
    least = min((len(r.history[curve]) for r in kept), default=0)
    return [replace(r, history={**r.history, curve: r.history[curve][:least]}) for r in kept]


def by_run(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by the name of their run, in the order given."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.recipe.run, []).append(record)
    return found


def settings_of(record: Record, decay: bool = False) -> str:
    """A candidate's settings in words: 0.001, momentum 0.9, augmented; with its weight decay where that is asked."""
    s = record.recipe.settings
    momentum = s.optimizer.get("momentum", 0.0)
    parts = [short(s.optimizer["learning_rate"]), f"momentum {momentum:g}" if momentum else ""]
    parts.append(f"decay {short(s.optimizer.get('weight_decay', 0.0))}" if decay else "")
    return ", ".join(filter(None, [*parts, "augmented" if s.augment else ""]))


def identification(groups: Candidates, logs: Logs, steps: int = 2000, id: str = "identification") -> go.Figure:
    """The losses of every candidate's first epoch and the logged ones, each the mean of `steps` steps.

    A menu of the optimisers. Settings that the log excludes at the 95 % level are grey; the range of seeds is drawn
    for the nearest. Raises ValueError without records.
    """
    flat(dict(groups), "the identification")
    groups = {optimizer: comparable(records) for optimizer, records in groups.items()}
    everything, (figure, owners, said) = flat(groups, "the identification"), (go.Figure(), [], [])
    for view, (optimizer, records) in enumerate(groups.items()):
        own, found = by_run(records), candidate_misfits(records, logs[optimizer])
        before, kept = len(figure.data), 0
        for run, fit in reversed(found.items()):
            kept += not fit.excluded
            _candidate(figure, own[run], fit, steps, None if fit.excluded else kept - 1, run == next(iter(found)))
        x = steps * np.arange(1, len(logs[optimizer]) + 1)
        figure.add_scatter(x=x, y=list(logs[optimizer]), name="authors’ log", mode="lines+markers",
                           line={"color": PUBLISHED, "dash": "dot", "width": 3}, marker={"size": 8, "symbol": "x"},
                           hovertemplate="logged %{y:.3f}<extra></extra>")  # fmt: skip
        owners += [view] * (len(figure.data) - before)
        said.append(_said(optimizer, own, found))
    for trace, owner in zip(figure.data, owners):
        trace.visible = owner == 0
    figure.update_layout(updatemenus=[views(owners, list(groups))], xaxis_title="step of 4 images, in the first epoch",
                         yaxis_title=f"training loss, mean of {steps:,} steps")  # fmt: skip
    title = "; ".join(said)
    alt = f"Line chart of the first epoch's loss for candidates of {joined(groups)}, with the logged losses. {title}."
    return finish(figure, id, title, alt, caption(everything), 460)


def identification_table(groups: Candidates, logs: Logs, curve: str = "step_loss", what: str = "the logged first epoch",
                         shortest: bool = False) -> Table:  # fmt: skip
    """Every candidate with its distance from the log, the spread of its seeds, and whether the log excludes it.

    `curve` is the history held against the logs, `what` names them in the caption; with `shortest` longer runs are
    compared over as many entries as the shortest has, otherwise shorter runs are left out.
    """
    flat(dict(groups), "the identification")
    if shortest:
        groups = {optimizer: shortened(records, curve) for optimizer, records in groups.items()}
    groups, rows = {optimizer: comparable(records, curve) for optimizer, records in groups.items()}, []
    for optimizer, records in groups.items():
        own = by_run(records)
        decays = len({r.recipe.settings.optimizer.get("weight_decay", 0.0) for r in records}) > 1
        for run, fit in candidate_misfits(records, logs[optimizer], curve).items():
            name = f"{optimizer} {settings_of(own[run][0], decays)}"
            verdict = "cannot be told" if np.isnan(fit.p) else "excluded" if fit.excluded else "not excluded"
            rows.append((name, f"{fit.distance:.3f}", _or_dash(fit.spread), _or_dash(fit.p), fit.runs, verdict))
    everything = flat(groups, "the identification")
    heads = ("optimiser, rate", "distance from the log", "spread of a seed", "p", "seeds", "at the 95 % level")
    return table(rows, heads, f"Candidates against {what}: {caption(everything)}")


def _candidate(figure: go.Figure, records, fit: Misfit, steps: int, k: int | None, nearest: bool) -> None:
    values = np.stack([r.history["step_loss"] for r in records]).astype(float)
    x, name = steps * np.arange(1, values.shape[1] + 1), settings_of(records[0])
    colour = QUIET if k is None else CLASS_COLOURS[k % 6]  # the seventh is the log's
    if nearest and len(values) > 1:
        figure.add_scatter(x=np.r_[x, x[::-1]], y=np.r_[values.max(0), values.min(0)[::-1]], fill="toself",
                           fillcolor=faded(colour), line_width=0, mode="lines", name="range of its seeds",
                           showlegend=False, hoverinfo="skip")  # fmt: skip
    line = {"color": colour, "dash": "solid" if nearest else DASHES[(k or 0) % 3], "width": 3 if nearest else 1.5}
    figure.add_scatter(x=x, y=values.mean(0), name=name, mode="lines+markers" if len(x) == 1 else "lines", line=line,
                       showlegend=k is not None, legendrank=1000 + round(1000 * fit.distance),
                       hovertemplate=f"{name}: %{{y:.3f}}, distance {fit.distance:.3f}<extra></extra>")  # fmt: skip


def _said(optimizer: str, own, found: dict[str, Misfit]) -> str:
    run, fit = next(iter(found.items()))
    text = f"{optimizer}: {settings_of(own[run][0])} is nearest to the log ({digits(fit.distance)})"
    left = sum(not f.excluded for f in found.values())
    if np.isnan(fit.p):
        return f"{text}, of one seed each nothing can be excluded"
    return f"{text}, {left} of {counted(len(found), 'setting')} cannot be excluded"


def _or_dash(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}" if value >= 5e-4 else "< 0.001"
