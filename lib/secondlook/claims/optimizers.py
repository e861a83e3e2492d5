"""What the forms cannot say of the four optimisers: statements about the authors' own curves, and what differs.

A statement about a curve that the authors logged (`reports/logs/optimizers_keras.csv`) is settled by that log: it is
true by arithmetic, or the log contradicts it. What would hold of other seeds is another question, which figures answer.
"""

from dataclasses import asdict

import numpy as np

from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import CONTRADICTED, REPRODUCED, Outcome
from secondlook.evaluation.curves import end_gap, epochs_to, rate_left, seconds_to, volatility
from secondlook.logs import Curves, keras_curves
from secondlook.recipe import RecipeError

FINAL = 3  # the stage that the report's figures show
NAMES = {"adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop", "adamax": "Adamax"}


def techniques(e: Evidence, runs: dict) -> Outcome:
    """Every optimiser ends the middle stage, which has the net of the initial one, above its initial accuracy.

    `runs` names, for an optimiser, the runs of the factorial without any technique, with all of them on the same net,
    and with the larger net too; where their records are there, the reason says how much each brought.
    """
    logs = _logs(e)
    gains = {name: logs[2, name]["test_accuracy"][-1] - logs[1, name]["test_accuracy"][-1] for name in NAMES}
    worse = [NAMES[n] for n, gain in gains.items() if gain <= 0]
    told = f"on one and the same net the techniques bring {_points(gains)}"
    for name, (plain, all_of_them, larger) in runs.items():
        try:
            groups = e.gather((plain, "corrected"), (all_of_them, "corrected"), (larger, "corrected"))
        except Unjudged as unjudged:
            told += f"; the factorial of {NAMES[name]}: {unjudged.why}"
            continue
        a, b, c = (e.numbers(records, "test_accuracy").mean() for records in groups)
        told += (
            f"; measured with {NAMES[name]}: {100 * (b - a):+.2f} points, and {100 * (c - b):+.2f} by the larger net"
        )
    return _settled({f"a gain for {', '.join(worse) or 'all'}": not worse}, told, list(gains.values()))


def first_to(e: Evidence, first: list, targets: list) -> Outcome:
    """The optimisers `first` reach each target accuracy in fewer epochs than all the others do, in the log."""
    parts, told = {}, []
    for target in targets:
        epochs = {n: epochs_to(_final(e, n)["test_accuracy"], target) for n in NAMES}
        told += [f"epochs to {target:.0%}: " + ", ".join(f"{NAMES[n]} {v:g}" for n, v in epochs.items())]
        rest = min(v for n, v in epochs.items() if n not in first)
        parts[f"{' and '.join(NAMES[n] for n in first)} lead to {target:.0%}"] = max(epochs[n] for n in first) < rest
    return _settled(parts, "; ".join(told))


def efficient(e: Evidence, first: str, target: float) -> Outcome:
    """In the log `first` has the highest last accuracy, the shortest epochs, and the fewest seconds to `target`."""
    curves = {n: _final(e, n) for n in NAMES}
    accuracy = {n: c["test_accuracy"][-1] for n, c in curves.items()}
    pace = {n: c["seconds"].mean() for n, c in curves.items()}
    arrival = {n: seconds_to(c["test_accuracy"], target, c["seconds"]) for n, c in curves.items()}
    parts = {
        "the highest accuracy": _alone(accuracy, first, max),
        "the shortest epochs": _alone(pace, first, min),
        f"the fewest seconds to {target:.0%}": _alone(arrival, first, min),
    }
    told = f"seconds an epoch: {_listed(pace, '.1f')}; seconds to {target:.0%}: {_listed(arrival, '.0f')}"
    return _settled(parts, told, list(pace.values()))


def figure(e: Evidence, optimizer: str, says: list) -> Outcome:
    """Every statement `says` about an optimiser's final curves holds in the log.

    close: training and test accuracy end less than 2 points apart · overfits: training accuracy ends above test
    accuracy · smooth: the test loss changes less from epoch to epoch than the median of the four · restless: the test
    accuracy changes most of the four · rapid: reaches 70 % in no more epochs than the median of the four.
    """
    curves = {n: _final(e, n) for n in NAMES}
    measured = {
        "close": {n: abs(end_gap(c["train_accuracy"], c["test_accuracy"])) for n, c in curves.items()},
        "overfits": {n: end_gap(c["train_accuracy"], c["test_accuracy"]) for n, c in curves.items()},
        "smooth": {n: volatility(c["test_loss"]) for n, c in curves.items()},
        "restless": {n: volatility(c["test_accuracy"]) for n, c in curves.items()},
        "rapid": {n: epochs_to(c["test_accuracy"], 0.7) for n, c in curves.items()},
    }
    holds = {
        "close": lambda v: v[optimizer] < 0.02,
        "overfits": lambda v: v[optimizer] > 0,
        "smooth": lambda v: v[optimizer] < np.median(list(v.values())),
        "restless": lambda v: _alone(v, optimizer, max),
        "rapid": lambda v: v[optimizer] <= np.median(list(v.values())),
    }
    if unknown := [s for s in says if s not in holds]:
        raise RecipeError(f"{e.where}: says {unknown[0]!r} is unknown; it knows {', '.join(holds)}")
    told = "; ".join(f"{s}: {_listed(measured[s], '.3g')}" for s in says)
    return _settled({s: holds[s](measured[s]) for s in says}, told, [measured[s][optimizer] for s in says])


def regularised(e: Evidence, optimizers: list) -> Outcome:
    """In the log dropout makes the test loss smoother and the test accuracy higher, at equal epochs and rate.

    Of the first ten epochs of the first two stages, which for `optimizers` differ in dropout alone.
    """
    logs, parts, told = _logs(e), {}, []
    for name in optimizers:
        without, with_ = ({k: v[:10] for k, v in logs[stage, name].items()} for stage in (1, 2))
        loss = [volatility(c["test_loss"]) for c in (without, with_)]
        accuracy = [c["test_accuracy"][-1] for c in (without, with_)]
        parts[f"smoother with {NAMES[name]}"] = loss[1] < loss[0]
        parts[f"better with {NAMES[name]}"] = accuracy[1] > accuracy[0]
        told.append(f"{NAMES[name]}: changes of the test loss {loss[0]:.3f} without dropout and {loss[1]:.3f} with it, "
                    f"test accuracy {accuracy[0]:.2%} and {accuracy[1]:.2%}")  # fmt: skip
    return _settled(parts, "; ".join(told))


def last_is_highest(e: Evidence, published: dict) -> Outcome:
    """The published final accuracy of each optimiser is the highest of its logged epochs."""
    parts, told = {}, []
    for name, key in published.items():
        number, accuracy = e.published(key), _final(e, name)["test_accuracy"]
        best = int(accuracy.argmax())
        parts[f"{NAMES[name]} published its highest"] = number.value >= accuracy[best] - number.half_unit
        told.append(f"{NAMES[name]} {number.text}, highest {accuracy[best]:.2%} in epoch {best + 1}")
    return _settled(parts, "; ".join(told))


def two_runs(e: Evidence, published: list) -> Outcome:
    """The published numbers differ, and the log of the initial Adam ends at one of them: the other is another run."""
    numbers = [e.published(name) for name in published]
    last = _logs(e)[1, "adam"]["test_accuracy"][-1]
    fits = [abs(n.value - last) <= n.half_unit for n in numbers]
    told = f"{' and '.join(n.text for n in numbers)} are printed, and the log ends at {last:.2%}"
    return _settled(
        {"the numbers differ": len({n.value for n in numbers}) > 1, "one is the log's": sum(fits) == 1}, told
    )


def frozen(e: Evidence, epoch: int, rate: float, change: float) -> Outcome:
    """From `epoch` on the coded rate is below `rate` of the first, and no logged test accuracy moves by `change`."""
    schedule = e.recipes("final-adam")[0].settings.schedule
    left = float(rate_left(schedule, epoch + 1)[-1])
    moved = {n: float(np.ptp(_final(e, n)["test_accuracy"][epoch:])) for n in NAMES}
    told = f"in epoch {epoch}, counted from 0, the rate is {left:.1e} of the first; the test accuracy then moves by "
    parts = {"the rate is that low": left < rate, "nothing moves": max(moved.values()) < change}
    return _settled(parts, told + f"{_listed({n: 100 * v for n, v in moved.items()}, '.2f')} points", left)


def controlled(e: Evidence, pairs: list) -> Outcome:
    """Between the two runs of each pair one setting differs at most, by the recipes."""
    found = {f"{a} and {b}": differing(e.recipes(a)[0].settings, e.recipes(b)[0].settings) for a, b in pairs}
    told = "; ".join(f"{pair}: {', '.join(names) or 'nothing'}" for pair, names in found.items())
    counts = [len(names) for names in found.values()]
    return _settled({f"{pair} differ in one": len(names) <= 1 for pair, names in found.items()}, told, counts)


def advantage(e: Evidence, runs: list, than: list) -> Outcome:
    """At least one of `runs` ends above `than`, a run and its variant; paired over seeds, Holm over the runs."""
    *groups, base = e.gather(*runs, tuple(than))
    reference = e.numbers(base, "test_accuracy")
    return forms.count({run: e.numbers(g, "test_accuracy") - reference for run, g in zip(runs, groups)}, least=1)


def differing(a, b) -> list[str]:
    """Names of the settings in which two recipes differ; of tables, of the entries that do."""
    a, b = asdict(a), asdict(b)
    names = []
    for name in a:
        if a[name] != b[name]:
            both = isinstance(a[name], dict) and isinstance(b[name], dict)
            keys = {**a[name], **b[name]} if both else {}
            own = [key for key in keys if a[name].get(key) != b[name].get(key)]
            names += [f"{name}.{key}" for key in own] or [name]
    return names


def _logs(e: Evidence) -> dict[tuple[int, str], Curves]:
    return keras_curves(e.report.path.parents[1])


def _final(e: Evidence, name: str) -> Curves:
    return _logs(e)[FINAL, name]


def _settled(parts: dict[str, bool], told: str, measured=None) -> Outcome:
    """What a log or a recipe says: reproduced where every part holds, contradicted where one does not."""
    off = [name for name, holds in parts.items() if not holds]
    told += f". Does not hold: {', '.join(off)}" if off else ". All of it holds"
    measured = [float(v) for v in measured] if isinstance(measured, list) else measured
    return Outcome(CONTRADICTED if off else REPRODUCED, told, None, measured)


def _alone(values: dict, name: str, best) -> bool:
    """Whether `name` alone has the best value."""
    return [n for n, v in values.items() if v == best(values.values())] == [name]


def _listed(values: dict, form: str) -> str:
    return ", ".join(f"{NAMES[n]} {v:{form}}" for n, v in values.items())


def _points(gains: dict) -> str:
    return ", ".join(f"{NAMES[n]} {100 * g:+.2f}" for n, g in gains.items()) + " points in the authors' log"
