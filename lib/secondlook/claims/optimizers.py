"""What the forms cannot say of the four optimisers: statements about the authors' own curves, and what differs.

A statement about a curve that the authors logged (`reports/logs/optimizers_keras.csv`) is settled by that log: it is
true by arithmetic, or the log contradicts it; where the log has a tie, or whole seconds too close to tell apart, it
decides nothing. A statement about a technique is judged over seeds of ours, with what the
log has of it beside.
"""

from dataclasses import asdict, replace

import numpy as np

from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import CODE, CONTRADICTED, INCONCLUSIVE, LOG, REPRODUCED, UNDERSPECIFIED, Outcome
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

    Where the last of them ties with the first of the others the log decides nothing. Where records of the final runs
    are there, the reason says when these reach it.
    """
    parts, told = {}, []
    for target in targets:
        epochs = {n: epochs_to(_final(e, n)["test_accuracy"], target) for n in NAMES}
        told += [f"epochs to {100 * target:g} %: " + ", ".join(f"{NAMES[n]} {v:g}" for n, v in epochs.items())]
        rest = min(v for n, v in epochs.items() if n not in first)
        last = max(epochs[n] for n in first)
        parts[f"{' and '.join(NAMES[n] for n in first)} lead to {100 * target:g} %"] = (
            None if last == rest else last < rest
        )
    return _settled(parts, "; ".join(told) + _ours_to(e, targets))


def efficient(e: Evidence, first: str, target: float) -> Outcome:
    """In the log `first` has the highest last accuracy, the shortest epochs, and the fewest seconds to `target`.

    The first epoch, which holds the start of the process, is counted as long as the mean of the others. The log has
    whole seconds: epochs of two optimisers that differ by less than one may differ either way.
    """
    curves = {n: _final(e, n) for n in NAMES}
    seconds = {n: np.r_[c["seconds"][1:].mean(), c["seconds"][1:]] for n, c in curves.items()}
    accuracy = {n: c["test_accuracy"][-1] for n, c in curves.items()}
    pace = {n: own.mean() for n, own in seconds.items()}
    arrival = {n: seconds_to(c["test_accuracy"], target, seconds[n]) for n, c in curves.items()}
    rounding = max(epochs_to(c["test_accuracy"], target) for c in curves.values())  # a second for each epoch
    parts = {
        "the highest accuracy": _alone(accuracy, first, 1),
        "the shortest epochs": _alone(pace, first, -1, within=1.0),
        f"the fewest seconds to {100 * target:g} %": _alone(arrival, first, -1, within=rounding),
    }
    told = f"seconds an epoch: {_listed(pace, '.1f')}; seconds to {100 * target:g} %: {_listed(arrival, '.0f')}"
    return _settled(parts, told, list(pace.values()))


def figure(e: Evidence, optimizer: str, says: list) -> Outcome:
    """Every statement `says` about an optimiser's final curves holds in the log; `_measures` has the words it knows.

    A word with two plain measures that disagree makes the claim underspecified.
    """
    measures = _measures(e, optimizer)
    if unknown := [s for s in says if s not in measures]:
        raise RecipeError(f"{e.where}: says {unknown[0]!r} is unknown; it knows {', '.join(measures)}")
    parts = {s: {name: holds(values) for name, (values, holds) in measures[s].items()} for s in says}
    told = "; ".join(
        f"{s}, {name}: {_listed(values, '.3g')}" for s in says for name, (values, _) in measures[s].items()
    )
    found = [values[optimizer] for s in says for values, _ in measures[s].values()]
    split = {s: own for s, own in parts.items() if len(set(own.values())) > 1}
    holds = {s: True if any(own.values()) else None if None in own.values() else False for s, own in parts.items()}
    outcome = _settled(holds, told, found)
    if outcome.verdict == CONTRADICTED or not split:
        return outcome
    said = "; ".join(f"{s} by the {', '.join(n for n, h in own.items() if h)}, not by the "
                     f"{', '.join(n for n, h in own.items() if not h)}" for s, own in split.items())  # fmt: skip
    return replace(outcome, verdict=UNDERSPECIFIED, why=f"{told}. The text gives no measure: {said}")


def _measures(e: Evidence, optimizer: str) -> dict[str, dict[str, tuple]]:
    """By word, and by the measure's name: a number for each optimiser, and whether the word holds for `optimizer`.

    close: training and test accuracy end less than 2 points apart · overfits: training accuracy ends above test
    accuracy, and training loss below test loss · robust: the worst place among the four over the stages is no worse
    than their median, and so the changes of the test accuracy from epoch to epoch · restless: these spread most of the
    four, and its falls add up to most · steady: to no more than the median of the four · smooth: so the changes and
    the rises of the test loss · rapid: 70 % is reached in no more epochs than the median, and the third epoch is as
    far above the first.
    """
    curves = {n: _final(e, n) for n in NAMES}

    def of(measure, *names: str) -> dict[str, float]:
        return {n: float(measure(*(c[name] for name in names))) for n, c in curves.items()}

    def typical(sign=1):
        """Not above the median of the four, or not below it."""
        return lambda values: bool(sign * values[optimizer] <= sign * np.median(list(values.values())))

    def above(values: dict) -> bool:
        return values[optimizer] > 0

    def most(values: dict) -> bool | None:
        return _alone(values, optimizer, 1)

    gap = of(lambda a, b: 100 * end_gap(a, b), "train_accuracy", "test_accuracy")
    spread = of(lambda v: 100 * volatility(v), "test_accuracy")
    falls = of(lambda v: 100 * rises(-v), "test_accuracy")
    changes, falls_by = "points that its changes spread", "points that its falls add up to"
    worst = {n: max(_places(e, stage)[n] for stage in (1, 2, FINAL)) for n in NAMES}
    loss_gap = of(lambda a, b: b[-1] - a[-1], "train_loss", "test_loss")
    loss_spread, loss_rises = of(volatility, "test_loss"), of(rises, "test_loss")
    epochs = of(lambda v: epochs_to(v, 0.7), "test_accuracy")
    gained = of(lambda v: 100 * (v[2] - v[0]), "test_accuracy")
    return {
        "close": {"points at the end": (gap, lambda v: abs(v[optimizer]) < 2)},
        "overfits": {"points at the end": (gap, above), "loss at the end": (loss_gap, above)},
        "robust": {"worst place over the stages": (worst, typical()), changes: (spread, typical())},
        "restless": {changes: (spread, most), falls_by: (falls, most)},
        "steady": {changes: (spread, typical()), falls_by: (falls, typical())},
        "smooth": {"spread of its changes": (loss_spread, typical()), "sum of its rises": (loss_rises, typical())},
        "rapid": {
            "epochs to 70 %": (epochs, typical()),
            "points gained from the first to the third epoch": (gained, typical(-1)),
        },
    }


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
    """The published final accuracy of each optimiser is the highest achieved, by two readings of that.

    Of its logged epochs, and of the ends of its three logged stages. Where the readings disagree it is underspecified.
    """
    lower, stages, told = [], [], []
    for name, key in published.items():
        number, accuracy = e.published(key), _final(e, name)["test_accuracy"]
        best, before = int(accuracy.argmax()), max(_logs(e)[stage, name]["test_accuracy"][-1] for stage in (1, 2))
        lower += [NAMES[name]] if number.value < accuracy[best] - number.half_unit else []
        stages += [NAMES[name]] if number.value < before - number.half_unit else []
        highest = f"highest {_percent(accuracy[best])} in epoch {best + 1}"
        told.append(f"{NAMES[name]} {number.text}, {highest}, earlier stages {_percent(before)}")
    told.append(
        f"below an epoch of theirs: {', '.join(lower) or 'none'}; below an earlier stage: {', '.join(stages) or 'none'}"
    )
    if bool(lower) != bool(stages):
        return Outcome(UNDERSPECIFIED, f"{'; '.join(told)}. The text does not say among what it is", rests_on=LOG)
    return _settled({"each is the highest": not lower}, "; ".join(told))


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
    alone = {f"{name} differ in the optimiser alone": not own for name, own in others.items()}
    return _settled(alone, told, rests_on=CODE)


def crucial(e: Evidence, p, pairs: dict, margin: float) -> Outcome:
    """The coded schedule ends more than `margin` above a constant rate, with each optimiser of `pairs`.

    These name the run with the schedule and the one without, each with its variant: paired over seeds, Holm over them.
    """
    groups = iter(e.gather(*(tuple(run) for pair in pairs.values() for run in pair)))
    accuracy = {NAMES[n]: [e.numbers(next(groups), "test_accuracy") for _ in pair] for n, pair in pairs.items()}
    gains = {n: a - b for n, (a, b) in accuracy.items()}
    return forms.all_positive(gains, {f"{n}'s gain − {margin:g}": (gain, margin) for n, gain in gains.items()}, p)


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


def _settled(parts: dict[str, bool | None], told: str, measured=None, rests_on=LOG) -> Outcome:
    """What a log or a recipe says: contradicted where a part does not hold, reproduced where all do; None is open."""
    off = [name for name, holds in parts.items() if holds is not None and not holds]
    left = [name for name, holds in parts.items() if holds is None]
    told += f". Does not hold: {', '.join(off)}" if off else ""
    told += f". Not decided: {', '.join(left)}" if left else ""
    told += ". All of it holds" if not off and not left else ""
    measured = [float(v) for v in measured] if isinstance(measured, list) else measured
    verdict = CONTRADICTED if off else INCONCLUSIVE if left else REPRODUCED
    return Outcome(verdict, told, None, measured, rests_on=rests_on)


def _alone(values: dict, name: str, sign: int, within=0.0) -> bool | None:
    """Whether `name` alone has the highest value (sign 1) or the lowest (-1); None where the next is `within` reach."""
    lead = min(sign * (values[name] - v) for n, v in values.items() if n != name)
    return None if abs(lead) <= within else bool(lead > 0)


def _places(e: Evidence, stage: int) -> dict[str, int]:
    """The place of each optimiser by its last test accuracy in a logged stage; 1 is the best."""
    ends = {n: _logs(e)[stage, n]["test_accuracy"][-1] for n in NAMES}
    return {n: 1 + sum(other > end for other in ends.values()) for n, end in ends.items()}


def _worded(settings: list[str]) -> str:
    return ", ".join(SETTINGS.get(name, name) for name in settings) or "nothing"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _listed(values: dict, form: str) -> str:
    return ", ".join(f"{NAMES[n]} {v:{form}}" for n, v in values.items())


def _points(gains: dict) -> str:
    return ", ".join(f"{NAMES[n]} {100 * g:+.2f}" for n, g in gains.items()) + " points in the authors' log"
