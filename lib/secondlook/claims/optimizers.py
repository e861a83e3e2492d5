"""What the forms cannot say of the four optimisers: statements about the authors' own curves, and what differs.

A statement about a curve that the authors logged (`reports/logs/optimizers_keras.csv`) is settled by that log: it is
true by arithmetic, or the log contradicts it. A statement about a technique is judged over seeds of ours, with what the
log has of it beside.
"""

from dataclasses import asdict, replace

import numpy as np

from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import CONTRADICTED, REPRODUCED, UNDERSPECIFIED, Outcome
from secondlook.evaluation.curves import EARLY, end_gap, epochs_to, rate_left, rises, seconds_to, volatility
from secondlook.evaluation.statistics import LEAST_SEEDS
from secondlook.logs import Curves, keras_curves
from secondlook.recipe import RecipeError

FINAL = 3  # the stage that the report's figures show
SETTINGS = {"optimizer.name": "the optimiser", "optimizer.learning_rate": "its learning rate",
            "optimizer.momentum": "its momentum", "optimizer.alpha": "its average", "optimizer.eps": "its ε",
            "model.stage": "the net", "penalty.l2_dense": "its L2 term", "schedule.name": "the schedule",
            "epochs": "the epochs"}  # fmt: skip
NAMES = {"adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop", "adamax": "Adamax"}


def techniques(e: Evidence, pairs: dict, runs: dict) -> Outcome:
    """Every optimiser ends the middle stage, which has the net of the initial one, above its initial accuracy.

    `pairs` names, for an optimiser, its run of the middle stage and of the initial one: paired over seeds, Holm over
    the optimisers. `runs` names the runs of the factorial without any technique, with all of them on the same net, and
    with the larger net too; where their records are there, the reason says how much each brought.
    """
    logs = _logs(e)
    logged = {name: logs[2, name]["test_accuracy"][-1] - logs[1, name]["test_accuracy"][-1] for name in NAMES}
    told = f"on one and the same net the techniques bring {_points(logged)}"
    for name, (plain, all_of_them, larger) in runs.items():
        try:
            groups = e.gather((plain, "corrected"), (all_of_them, "corrected"), (larger, "corrected"))
        except Unjudged:
            continue
        a, b, c = (e.numbers(records, "test_accuracy").mean() for records in groups)
        told += (
            f"; measured with {NAMES[name]}: {100 * (b - a):+.2f} points, and {100 * (c - b):+.2f} by the larger net"
        )
    ours = _paired(e, pairs, told)
    gains = {NAMES[n]: e.numbers(a, "test_accuracy") - e.numbers(b, "test_accuracy") for n, (a, b) in ours.items()}
    outcome = forms.count(gains, len(gains))
    means = [float(gain.mean()) for gain in gains.values()]
    return replace(outcome, why=f"{outcome.why}; {told}", published=None, measured=means)


def first_to(e: Evidence, first: list, targets: list) -> Outcome:
    """The optimisers `first` reach each target accuracy in fewer epochs than all the others do, in the log.

    Where records of the final runs are there, the reason says when these reach it.
    """
    parts, told = {}, []
    for target in targets:
        epochs = {n: epochs_to(_final(e, n)["test_accuracy"], target) for n in NAMES}
        told += [f"epochs to {100 * target:g} %: " + ", ".join(f"{NAMES[n]} {v:g}" for n, v in epochs.items())]
        rest = min(v for n, v in epochs.items() if n not in first)
        parts[f"{' and '.join(NAMES[n] for n in first)} lead to {100 * target:g} %"] = (
            max(epochs[n] for n in first) < rest
        )
    return _settled(parts, "; ".join(told) + _ours_to(e, targets))


def efficient(e: Evidence, first: str, target: float) -> Outcome:
    """In the log `first` has the highest last accuracy, the shortest epochs, and the fewest seconds to `target`.

    The first epoch, which holds the start of the process, is counted as long as the mean of the others.
    """
    curves = {n: _final(e, n) for n in NAMES}
    seconds = {n: np.r_[c["seconds"][1:].mean(), c["seconds"][1:]] for n, c in curves.items()}
    accuracy = {n: c["test_accuracy"][-1] for n, c in curves.items()}
    pace = {n: own.mean() for n, own in seconds.items()}
    arrival = {n: seconds_to(c["test_accuracy"], target, seconds[n]) for n, c in curves.items()}
    parts = {
        "the highest accuracy": _alone(accuracy, first, max),
        "the shortest epochs": _alone(pace, first, min),
        f"the fewest seconds to {100 * target:g} %": _alone(arrival, first, min),
    }
    told = f"seconds an epoch: {_listed(pace, '.1f')}; seconds to {100 * target:g} %: {_listed(arrival, '.0f')}"
    return _settled(parts, told, list(pace.values()))


def figure(e: Evidence, optimizer: str, says: list) -> Outcome:
    """Every statement `says` about an optimiser's final curves holds in the log.

    close: training and test accuracy end less than 2 points apart · overfits: training accuracy ends above test
    accuracy.

    The other words have two plain measures each; where these disagree the claim is underspecified. restless: the
    changes of the test accuracy from epoch to epoch spread most of the four, and its falls add up to most · steady: to
    no more than the median of the four · smooth: so the changes and the rises of the test loss · rapid: 70 % is reached
    in no more epochs than the median, and the third epoch is as far above the first.
    """
    curves = {n: _final(e, n) for n in NAMES}

    def of(measure, *names: str) -> dict[str, float]:
        return {n: float(measure(*(c[name] for name in names))) for n, c in curves.items()}

    def typical(values: dict, sign: int) -> bool:
        """Not above the median of the four, or not below it."""
        return sign * values[optimizer] <= sign * np.median(list(values.values()))

    gap = of(lambda a, b: 100 * end_gap(a, b), "train_accuracy", "test_accuracy")
    unrest = {"points that its changes spread": of(lambda v: 100 * volatility(v), "test_accuracy"),
              "points that its falls add up to": of(lambda v: 100 * rises(-v), "test_accuracy")}  # fmt: skip
    measures = {
        "close": {"points at the end": (gap, lambda v: abs(v[optimizer]) < 2)},
        "overfits": {"points at the end": (gap, lambda v: v[optimizer] > 0)},
        "restless": {name: (values, lambda v: _alone(v, optimizer, max)) for name, values in unrest.items()},
        "steady": {name: (values, lambda v: typical(v, 1)) for name, values in unrest.items()},
        "smooth": {
            "spread of its changes": (of(volatility, "test_loss"), lambda v: typical(v, 1)),
            "sum of its rises": (of(rises, "test_loss"), lambda v: typical(v, 1)),
        },
        "rapid": {
            "epochs to 70 %": (of(lambda v: epochs_to(v, 0.7), "test_accuracy"), lambda v: typical(v, 1)),
            "points gained from the first to the third epoch": (
                of(lambda v: 100 * (v[2] - v[0]), "test_accuracy"),
                lambda v: typical(v, -1),
            ),
        },
    }
    if unknown := [s for s in says if s not in measures]:
        raise RecipeError(f"{e.where}: says {unknown[0]!r} is unknown; it knows {', '.join(measures)}")
    parts = {s: {name: holds(values) for name, (values, holds) in measures[s].items()} for s in says}
    told = "; ".join(
        f"{s}, {name}: {_listed(values, '.3g')}" for s in says for name, (values, _) in measures[s].items()
    )
    found = [values[optimizer] for s in says for values, _ in measures[s].values()]
    split = {s: own for s, own in parts.items() if len(set(own.values())) > 1}
    outcome = _settled({s: any(own.values()) for s, own in parts.items()}, told, found)
    if outcome.verdict == CONTRADICTED or not split:
        return outcome
    said = "; ".join(f"{s} by the {', '.join(n for n, h in own.items() if h)}, not by the "
                     f"{', '.join(n for n, h in own.items() if not h)}" for s, own in split.items())  # fmt: skip
    return replace(outcome, verdict=UNDERSPECIFIED, why=f"{told}. The text gives no measure: {said}")


def regularised(e: Evidence, pairs: dict) -> Outcome:
    """Dropout makes the test loss rise less and the test accuracy higher, at equal epochs and rate, paired over seeds.

    `pairs` names, for an optimiser, a run with dropout and one without that differ in nothing else in their first ten
    epochs, of which the rises of the loss are added up and the last accuracy is taken.
    """
    logs, told, parts = _logs(e), [], {}
    for name in pairs:
        without, with_ = ({k: v[:EARLY] for k, v in logs[stage, name].items()} for stage in (1, 2))
        told.append(f"{NAMES[name]}: rises of the test loss {rises(without['test_loss']):.3f} without dropout and "
                    f"{rises(with_['test_loss']):.3f} with it, test accuracy {without['test_accuracy'][-1]:.2%} and "
                    f"{with_['test_accuracy'][-1]:.2%}")  # fmt: skip
    log = f"in the authors' log, {'; '.join(told)}"
    for name, groups in _paired(e, pairs, log).items():
        loss, accuracy = ([e.curves(group, key) for group in groups] for key in ("test_loss", "test_accuracy"))
        with_, without = ([rises(curve) for curve in own] for own in loss)
        parts[f"smoother with {NAMES[name]}"] = np.array(without) - with_
        parts[f"better with {NAMES[name]}"] = np.array([a[EARLY - 1] - b[EARLY - 1] for a, b in zip(*accuracy)])
    outcome = forms.count(parts, len(parts))
    return replace(outcome, why=f"{outcome.why}; {log}")


def last_is_highest(e: Evidence, published: dict) -> Outcome:
    """The published final accuracy of each optimiser is the highest of its logged epochs."""
    lower, told = [], []
    for name, key in published.items():
        number, accuracy = e.published(key), _final(e, name)["test_accuracy"]
        best = int(accuracy.argmax())
        lower += [NAMES[name]] if number.value < accuracy[best] - number.half_unit else []
        told.append(f"{NAMES[name]} {number.text}, highest {_percent(accuracy[best])} in epoch {best + 1}")
    told.append(f"below their highest: {', '.join(lower) or 'none'}")
    return _settled({"each is the highest of its epochs": not lower}, "; ".join(told))


def two_runs(e: Evidence, published: list) -> Outcome:
    """The published numbers differ, and the log of the initial Adam ends at one of them: the other is another run."""
    numbers = [e.published(name) for name in published]
    last = _logs(e)[1, "adam"]["test_accuracy"][-1]
    fits = [abs(n.value - last) <= n.half_unit for n in numbers]
    told = f"{' and '.join(n.text for n in numbers)} are printed, and the log ends at {_percent(last)}"
    return _settled(
        {"the numbers differ": len({n.value for n in numbers}) > 1, "one is the log's": sum(fits) == 1}, told
    )


def frozen(e: Evidence, epoch: int, rate: float, change: float) -> Outcome:
    """From `epoch` on the coded rate is below `rate` of the first, and no logged test accuracy moves by `change`."""
    schedule = e.recipes("final-adam")[0].settings.schedule
    left = float(rate_left(schedule, epoch + 1)[-1])
    moved = {n: float(np.ptp(_final(e, n)["test_accuracy"][epoch:])) for n in NAMES}
    told = f"in epoch {epoch + 1} the rate is {left:.1e} of the first; from there on the test accuracy moves by "
    parts = {"the rate is that low": left < rate, "nothing moves": max(moved.values()) < change}
    return _settled(parts, told + f"{_listed({n: 100 * v for n, v in moved.items()}, '.2f')} points", left)


def controlled(e: Evidence, columns: dict) -> Outcome:
    """Within each column of the report's table the runs differ in their optimiser alone, by the recipes.

    `columns` gives the runs of each, in one order of optimisers; `why` adds what differs between the columns.
    """
    settings = {name: [e.recipes(run)[0].settings for run in runs] for name, runs in columns.items()}
    within = {name: _all_differing([(own[0], other) for other in own[1:]]) for name, own in settings.items()}
    others = {name: [s for s in own if not s.startswith("optimizer")] for name, own in within.items()}
    within["the columns, one against the other"] = _all_differing(list(zip(*settings.values())))
    told = "; ".join(f"what differs in {name}: {_worded(own)}" for name, own in within.items())
    return _settled({f"{name} differ in the optimiser alone": not own for name, own in others.items()}, told)


def advantage(e: Evidence, runs: list, than: list) -> Outcome:
    """At least one of `runs` ends above `than`, a run and its variant; paired over seeds, Holm over the runs."""
    *groups, base = e.gather(*runs, tuple(than))
    reference = e.numbers(base, "test_accuracy")
    return forms.count({run: e.numbers(g, "test_accuracy") - reference for run, g in zip(runs, groups)}, least=1)


def _all_differing(pairs: list[tuple]) -> list[str]:
    return list(dict.fromkeys(name for a, b in pairs for name in differing(a, b)))


def differing(a, b) -> list[str]:
    """Names of the settings in which two recipes differ; of tables, of the entries that do. Our precision is none."""
    a, b = asdict(a), asdict(b)
    names = []
    for name in a:
        if name != "precision" and a[name] != b[name]:
            both = isinstance(a[name], dict) and isinstance(b[name], dict)
            keys = {**a[name], **b[name]} if both else {}
            own = [key for key in keys if a[name].get(key) != b[name].get(key)]
            names += [f"{name}.{key}" for key in own] or [name]
    return names


def _ours_to(e: Evidence, targets: list) -> str:
    """When our final runs reach each target accuracy, in mean epochs over their seeds; empty without their records."""
    try:
        groups = e.gather(*(f"final-{name}" for name in NAMES), first=LEAST_SEEDS)
    except Unjudged:
        return ""
    curves = {name: e.curves(records, "test_accuracy") for name, records in zip(NAMES, groups)}
    told = f"; over {len(groups[0])} seeds of ours"
    for target in targets:
        epochs = {name: np.mean([epochs_to(c, target) for c in own]) for name, own in curves.items()}
        told += f", to {100 * target:g} %: {_listed(epochs, '.3g')}"
    return told


def _logs(e: Evidence) -> dict[tuple[int, str], Curves]:
    return keras_curves(e.report.path.parents[1])


def _final(e: Evidence, name: str) -> Curves:
    return _logs(e)[FINAL, name]


def _paired(e: Evidence, pairs: dict, told: str) -> dict[str, list]:
    """The records of each optimiser's pair of runs; `told` is said beside what is missing."""
    try:
        groups = e.gather(*(run for own in pairs.values() for run in own))
    except Unjudged as unjudged:
        raise Unjudged(unjudged.verdict, f"{told}; {unjudged.why}") from None
    return dict(zip(pairs, zip(groups[::2], groups[1::2])))


def _settled(parts: dict[str, bool], told: str, measured=None) -> Outcome:
    """What a log or a recipe says: reproduced where every part holds, contradicted where one does not."""
    off = [name for name, holds in parts.items() if not holds]
    told += f". Does not hold: {', '.join(off)}" if off else ". All of it holds"
    measured = [float(v) for v in measured] if isinstance(measured, list) else measured
    return Outcome(CONTRADICTED if off else REPRODUCED, told, None, measured)


def _alone(values: dict, name: str, best) -> bool:
    """Whether `name` alone has the best value."""
    return [n for n, v in values.items() if v == best(values.values())] == [name]


def _worded(settings: list[str]) -> str:
    return ", ".join(SETTINGS.get(name, name) for name in settings) or "nothing"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _listed(values: dict, form: str) -> str:
    return ", ".join(f"{NAMES[n]} {v:{form}}" for n, v in values.items())


def _points(gains: dict) -> str:
    return ", ".join(f"{NAMES[n]} {100 * g:+.2f}" for n, g in gains.items()) + " points in the authors' log"
