"""What the authors' own logs say: their losses, the settings that fit them, the schedule they were made under."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from secondlook.evaluation.curves import SETTLED, WINDOWS, Misfit, breaks, milestones, misfit, rate_left, roughness
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.tables import Table, table
from secondlook.figures.template import DASHES, PUBLISHED, QUIET, SHARE, Views, faded, finish, line, looks
from secondlook.figures.values import NothingToDraw, flat
from secondlook.logs import Curves
from secondlook.record import Record

Candidates = Mapping[str, Sequence[Record]]  # by optimiser; settings are told apart by their run
Logs = Mapping[str, Sequence[float]]  # by optimiser
VIEWS = ("mean loss of each epoch", "how suddenly it falls", "change from epoch to epoch")
STEPS = 2000  # of training, that an entry of a log is the mean of
STILL = 1e-4  # of the first rate: below it training hardly moves
LOWEST = 1e-14  # of the axis


@drawn
def logged_curves(losses: Logs, source: str, id: str = "logged") -> go.Figure:
    """Logged losses (one an epoch, by label) with three views: themselves, their breaks, their changes.

    `source` names the log.
    """
    figure, places = go.Figure(), looks(losses)
    views = Views(figure)
    for label, values in losses.items():
        loss = np.asarray(values, float)
        epochs = np.arange(1, len(loss) + 1)
        for view, (x, y) in enumerate(((epochs, loss), (epochs[2:], breaks(loss)), (epochs[1:], np.diff(loss)))):
            figure.add_scatter(x=x, y=y, name=label, mode="lines", legendgroup=label,
                               line=line(places[label], width=2),
                               hovertemplate=f"{label} %{{y:.4g}}<extra></extra>")  # fmt: skip
            views.own(view)
    last = max(len(v) for v in losses.values())
    units = ("training loss", "fall beyond that of the epoch before", "change of the training loss")
    settled = {"xaxis.range": [SETTLED, last]}
    layouts = [{"yaxis.autorange": True, "xaxis.range": [0, last]},
               {"yaxis.autorange": True, "yaxis.range": None, **settled},
               {"yaxis.autorange": False, "yaxis.range": [-0.04, 0.04], **settled}]  # fmt: skip
    layouts = [{"yaxis.title.text": unit, **layout} for unit, layout in zip(units, layouts)]
    views.menu(VIEWS, layouts)
    figure.update_layout(hovermode="x", xaxis_title="epoch", yaxis_title=units[0], xaxis_range=[0, last])
    shows = f"Line chart of the training loss that was logged for {words.joined(losses)}, against the epoch"
    return finish(figure, id, _broken(losses), shows, source, 420)


def _broken(losses: Logs) -> str:
    """After which epochs the loss breaks, and which curve is the rougher at the first rate.

    Later changes are as small as what the images make that a log of 2,000 steps leaves out of each epoch.
    """
    found = {tuple(milestones(v)) for v in losses.values()}
    said = " or ".join(f"{a} and {b}" for a, b in sorted(found))
    text = f"The logged losses break after epochs {said}"
    first, last = WINDOWS[0]
    if len(losses) != 2 or min(map(len, losses.values())) < last:
        return text
    order = words.ends({label: roughness(v, first, last) for label, v in losses.items()}, words.digits)
    told = "both are equally rough" if order.tied else f"the rougher one is {order.first[0]}’s"
    return f"{text}; in epochs {first} to {last} {told}"


def candidate_misfits(records: Sequence[Record], log: Sequence[float], curve: str = "step_loss") -> dict[str, Misfit]:
    """How well the history `curve` of each comparable run fits the log, from the nearest to the furthest."""
    records = comparable(records, curve)
    if not any(len(r.history.get(curve, ())) for r in records):
        raise NothingToDraw("these runs are too short for an entry of the log")
    found = {run: misfit(log, [r.history.get(curve, ()) for r in own]) for run, own in by_run(records).items()}
    return dict(sorted(found.items(), key=lambda pair: pair[1].distance))


def comparable(records: Sequence[Record], curve: str = "step_loss") -> list[Record]:
    """The records with the longest history `curve`: a distance over fewer entries is another distance."""
    lengths = [len(r.history.get(curve, ())) for r in records]
    return [r for r, n in zip(records, lengths) if n == max(lengths)]


def shortened(records: Sequence[Record], curve: str) -> list[Record]:
    """The finished records with the history `curve` cut to the shortest of them, so that all can be compared."""
    there = [r for r in records if r.status == "finished" and len(r.history.get(curve, ()))]
    least = min((len(r.history[curve]) for r in there), default=0)
    return [replace(r, history={**r.history, curve: r.history[curve][:least]}) for r in there]


def by_run(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by the name of their run, in the order given."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.recipe.run, []).append(record)
    return found


def _settings(record: Record, decay: bool = False) -> str:
    """A candidate's settings in words: 0.001, momentum 0.9, augmented; with its weight decay where that is asked."""
    s = record.recipe.settings
    momentum = s.optimizer.get("momentum", 0.0)
    parts = [words.short(s.optimizer["learning_rate"]), f"momentum {momentum:g}" if momentum else ""]
    parts.append(f"decay {words.short(s.optimizer.get('weight_decay', 0.0))}" if decay else "")
    return ", ".join(filter(None, [*parts, "augmented" if s.augment else ""]))


@drawn
def identification(groups: Candidates, logs: Logs, id: str = "identification") -> go.Figure:
    """The losses of every candidate's first epoch and the logged ones, each the mean of 2,000 steps.

    A menu of the optimisers. Settings that the log excludes at the 95 % level are grey; the range of seeds is drawn
    for the nearest. Raises ValueError without records.
    """
    flat(groups, "the identification")
    groups = {optimizer: comparable(records) for optimizer, records in groups.items()}
    everything, figure, said = flat(groups, "the identification"), go.Figure(), {}
    views = Views(figure)
    for view, (optimizer, records) in enumerate(groups.items()):
        runs, found = by_run(records), candidate_misfits(records, logs[optimizer])
        left = 0
        for run, fit in reversed(found.items()):
            left += not fit.excluded
            _candidate(figure, runs[run], fit, None if fit.excluded else left - 1, run == next(iter(found)))
        x = STEPS * np.arange(1, len(logs[optimizer]) + 1)
        figure.add_scatter(x=x, y=list(logs[optimizer]), name="authors’ log", mode="lines+markers",
                           line={"color": PUBLISHED, "dash": "dot", "width": 3}, marker={"size": 8, "symbol": "x"},
                           hovertemplate="logged %{y:.3f}<extra></extra>")  # fmt: skip
        views.own(view)
        said[optimizer] = _nearest(optimizer, runs, found), left, found
    views.menu(list(groups))
    figure.update_xaxes(title="step of 4 images, in the first epoch")
    figure.update_yaxes(title=f"training loss, mean of {STEPS:,} steps")
    shows = f"Line chart of the first epoch's loss for candidates of {words.joined(groups)}, with the logged losses"
    return finish(
        figure, id, _left(said), shows, words.caption(everything), 460, "; ".join(t for t, *_ in said.values())
    )


def _candidate(figure: go.Figure, records, fit: Misfit, k: int | None, nearest: bool) -> None:
    values = np.stack([r.history["step_loss"] for r in records]).astype(float)
    x, name = STEPS * np.arange(1, values.shape[1] + 1), _settings(records[0])
    colour = QUIET if k is None else line(k % 6)["color"]  # the seventh is the log's
    if nearest and len(values) > 1:
        figure.add_scatter(x=np.r_[x, x[::-1]], y=np.r_[values.max(0), values.min(0)[::-1]], fill="toself",
                           fillcolor=faded(colour), line_width=0, mode="lines", name="range of its seeds",
                           showlegend=False, hoverinfo="skip")  # fmt: skip
    look = {"color": colour, "dash": "solid" if nearest else DASHES[(k or 0) % 3], "width": 3 if nearest else 1.5}
    figure.add_scatter(x=x, y=values.mean(0), name=name, mode="lines+markers" if len(x) == 1 else "lines", line=look,
                       showlegend=k is not None, legendrank=1000 + round(1000 * fit.distance),
                       hovertemplate=f"{name}: %{{y:.3f}}, distance {fit.distance:.3f}<extra></extra>")  # fmt: skip


def _nearest(optimizer: str, runs: dict[str, list[Record]], found: dict[str, Misfit]) -> str:
    fit = next(iter(found.values()))
    order = words.ends({run: f.distance for run, f in found.items()}, words.digits, lowest=True)
    first = words.few([_settings(runs[run][0]) for run in order.first], "settings")
    text = f"{optimizer}: {first} {words.agree(order.first, 'is')} nearest to the log ({order.best})"
    if order.tied:
        text = f"{optimizer}: {first} {words.agree(order.first, 'lies')} {order.best} from the log"
    return f"{text}, of one seed each nothing can be excluded" if np.isnan(fit.p) else text


def _left(said: dict) -> str:
    """How many settings of each optimiser the log leaves, or, of one seed each, which is nearest."""
    if any(np.isnan(fit.p) for *_, found in said.values() for fit in found.values()):
        return "; ".join(text for text, *_ in said.values())
    told = [f"{left} of {len(found)} settings of {name}" for name, (_, left, found) in said.items()]
    return f"The log does not exclude {words.joined(told)}"


@drawn
def identification_table(groups: Candidates, logs: Logs, curve: str = "step_loss", what: str = "the logged first epoch",
                         shortest: bool = False) -> Table:  # fmt: skip
    """Every candidate with its distance from the log, the spread of its seeds, and whether the log excludes it.

    `curve` is the history held against the logs, `what` names them in the caption; with `shortest` longer runs are
    compared over as many entries as the shortest has, otherwise shorter runs are left out.
    """
    flat(groups, "the identification")
    if shortest:
        groups = {optimizer: shortened(records, curve) for optimizer, records in groups.items()}
    groups, rows = {optimizer: comparable(records, curve) for optimizer, records in groups.items()}, []
    for optimizer, records in groups.items():
        runs = by_run(records)
        decays = len({r.recipe.settings.optimizer.get("weight_decay", 0.0) for r in records}) > 1
        for run, fit in candidate_misfits(records, logs[optimizer], curve).items():
            name = f"{optimizer} {_settings(runs[run][0], decays)}"
            verdict = "cannot be told" if np.isnan(fit.p) else "excluded" if fit.excluded else "not excluded"
            rows.append((name, f"{fit.distance:.3f}", _or_dash(fit.spread), _or_dash(fit.p), fit.runs, verdict))
    heads = ("optimiser, rate", "distance from the log", "spread of a seed", "p", "seeds", "at the 95 % level")
    everything = flat(groups, "the identification")
    return table(rows, heads, f"Candidates against {what}: {words.caption(everything)}")


def _or_dash(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}" if value >= 5e-4 else "< 0.001"


def schedules(tables: Mapping[str, dict], logs: Mapping[str, Curves], name: str, epochs: int = 30,
              shorter: Mapping[str, int] | None = None, id: str = "schedules") -> go.Figure:  # fmt: skip
    """The share of the first rate left in each epoch under each labelled schedule, and logged test accuracies below.

    `tables` are recipes' `schedule` tables by label; `name` is the label of the one that the logs were made under;
    `shorter` gives the epochs of those that end earlier. Needs no record. Raises ValueError for an unknown schedule.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.55, 0.45])
    found = {label: rate_left(table, (shorter or {}).get(label, epochs)) for label, table in tables.items()}
    places = looks([*logs, *found])
    for label, left in found.items():
        figure.add_scatter(x=np.arange(1, len(left) + 1), y=left, name=label, mode="lines", row=1, col=1,
                           line=line(places[label] % 10, width=2, shape="hv"),
                           hovertemplate=f"{label} %{{y:.2g}}<extra></extra>")  # fmt: skip
    for label, curves in logs.items():
        accuracy = curves["test_accuracy"]
        figure.add_scatter(x=np.arange(1, len(accuracy) + 1), y=accuracy, name=f"{label}, logged", mode="lines", row=2,
                           col=1, line=line(places[label], dash="dot", width=2.5),
                           hovertemplate=f"{label} %{{y:.2%}}<extra></extra>")  # fmt: skip
    figure.update_yaxes(title="share of the first rate", type="log", exponentformat="power", row=1, col=1,
                        range=[np.log10(LOWEST), 0.5], dtick=4)  # fmt: skip
    figure.update_yaxes(title="test accuracy", tickformat=SHARE, row=2, col=1)
    figure.update_xaxes(title="epoch", row=2, col=1)
    figure.update_layout(hovermode="x")
    shows = "Two charts against the epoch: the learning rate under "
    shows += f"{words.joined(tables)}, and the accuracies logged"
    return finish(figure, id, _still(found[name], logs), shows, "recipes, and the authors’ logs on CIFAR-10", 560)


def _still(left: np.ndarray, logs: Mapping[str, Curves]) -> str:
    still = np.flatnonzero(left < STILL)
    if not len(still):
        return f"The rate never falls below {words.short(STILL)} of the first"
    first = int(still[0])
    rate = f"the rate is below {words.short(STILL)} of the first"
    moved = [np.ptp(c["test_accuracy"][first:]) for c in logs.values() if len(c["test_accuracy"]) > first]
    still = f"no logged accuracy moves by more than {100 * max(moved):.2f} points; " if moved else ""
    return f"From epoch {first + 1} on {still}{rate}"
