"""What the forms cannot say of the four optimisers: statements about the authors' own curves, and what differs.

A statement about a curve that the authors logged is settled by that log, which decides nothing where it has a tie, or
whole seconds too close to tell apart. A statement about a technique is judged over seeds of ours, the log beside it.
"""

from contextlib import suppress
from dataclasses import asdict, replace

import numpy as np

from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import Verdict
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


def techniques(e: Evidence, pairs: dict, runs: dict) -> Verdict:
    """Every optimiser ends the middle stage, which has the net of the initial one, above its initial accuracy.

    `pairs` names, for an optimiser, its run of the middle stage and of the initial one: paired over seeds, Holm over
    the optimisers. `runs` names the runs of the factorial without any technique, with all of them on the same net, and
    with the larger net too; where their records are there, the reason says how much each brought.
    """
    first, second = ({n: c["test_accuracy"][-1] for n, c in _logs(e, stage).items()} for stage in (1, 2))
    gained = ", ".join(f"{NAMES[n]} {100 * (second[n] - first[n]):+.2f}" for n in NAMES)
    told = f"on one and the same net the techniques bring {gained} points in the authors' log"
    for name, (plain, all_of_them, larger) in runs.items():
        with suppress(Unjudged):
            own = e.measured("test_accuracy", *((run, "corrected") for run in (plain, all_of_them, larger)))
            a, b, c = (100 * accuracy.mean() for accuracy in own)
            told += f"; measured with {NAMES[name]}: {b - a:+.2f} points, and {c - b:+.2f} by the larger net"
    ours = _paired(e, pairs, told)
    gains = {NAMES[n]: e.numbers(a, "test_accuracy") - e.numbers(b, "test_accuracy") for n, (a, b) in ours.items()}
    outcome = forms.every(gains)
    return replace(outcome, why=f"{outcome.why}; {told}", published=None, measured=forms.means(*gains.values()))


def first_to(e: Evidence, first: list, targets: list) -> Verdict:
    """The optimisers `first` reach each target accuracy in fewer epochs than all the others do, in the log.

    Where the last of them ties with the first of the others the log decides nothing. Where records of the final runs
    are there, the reason says when these reach it.
    """
    parts, told, curves = {}, [], _logs(e, FINAL)
    for target in targets:
        epochs = {n: epochs_to(c["test_accuracy"], target) for n, c in curves.items()}
        told += [f"epochs to {100 * target:g} %: {_listed(epochs, 'g')}"]
        rest, last = min(v for n, v in epochs.items() if n not in first), max(epochs[n] for n in first)
        lead = None if last == rest else last < rest
        parts[f"{' and '.join(NAMES[n] for n in first)} lead to {100 * target:g} %"] = lead
    return forms.settled(parts, "; ".join(told) + _ours_to(e, targets))


def efficient(e: Evidence, first: str, target: float) -> Verdict:
    """In the log `first` has the highest last accuracy, the shortest epochs, and the fewest seconds to `target`.

    The first epoch, which holds the start of the process, is counted as long as the mean of the others. The log has
    whole seconds: epochs of two optimisers that differ by less than one may differ either way.
    """
    curves = _logs(e, FINAL)
    seconds = {n: np.r_[c["seconds"][1:].mean(), c["seconds"][1:]] for n, c in curves.items()}
    pace = {n: own.mean() for n, own in seconds.items()}
    arrival = {n: seconds_to(c["test_accuracy"], target, seconds[n]) for n, c in curves.items()}
    rounding = max(epochs_to(c["test_accuracy"], target) for c in curves.values())  # a second for each epoch
    parts = {
        "the highest accuracy": _alone({n: c["test_accuracy"][-1] for n, c in curves.items()}, first, 1),
        "the shortest epochs": _alone(pace, first, -1, within=1.0),
        f"the fewest seconds to {100 * target:g} %": _alone(arrival, first, -1, within=rounding),
    }
    told = f"seconds an epoch: {_listed(pace, '.1f')}; seconds to {100 * target:g} %: {_listed(arrival, '.0f')}"
    return forms.settled(parts, told, list(pace.values()))


def figure(e: Evidence, optimizer: str, says: list) -> Verdict:
    """Every statement `says` about an optimiser's final curves holds in the log; `_measures` has the words it knows.

    A word with two plain measures that disagree makes the claim underspecified.
    """
    measures = _measures(e, optimizer)
    if unknown := [s for s in says if s not in measures]:
        raise RecipeError(f"{e.where}: says {unknown[0]!r} is unknown; it knows {', '.join(measures)}")
    parts, told, found, split = {}, [], [], []
    for word in says:
        own = {name: holds(values) for name, (values, holds) in measures[word].items()}
        told += [f"{word}, {name}: {_listed(values, '.3g')}" for name, (values, _) in measures[word].items()]
        found += [values[optimizer] for values, _ in measures[word].values()]
        parts[word] = True if any(own.values()) else None if None in own.values() else False
        if len(set(own.values())) > 1:
            by, not_by = (", ".join(n for n, h in own.items() if bool(h) is wanted) for wanted in (True, False))
            split.append(f"{word} by the {by}, not by the {not_by}")
    verdict = forms.settled(parts, "; ".join(told), found)
    if verdict.word == forms.CONTRADICTED or not split:
        return verdict
    why = f"{'; '.join(told)}. The text gives no measure: {'; '.join(split)}"
    return replace(verdict, word=forms.UNDERSPECIFIED, why=why)


def _measures(e: Evidence, optimizer: str) -> dict[str, dict[str, tuple]]:
    """By word, and by the measure's name: a number for each optimiser, and whether the word holds for `optimizer`.

    close: training and test accuracy end less than 2 points apart · overfits: training accuracy ends above test
    accuracy, and training loss below test loss · robust: the worst place among the four over the stages is no worse
    than their median, and so the changes of the test accuracy from epoch to epoch · restless: these spread most of the
    four, and its falls add up to most · steady: to no more than the median of the four · smooth: so the changes and
    the rises of the test loss · rapid: 70 % is reached in no more epochs than the median, and the third epoch is as
    far above the first.
    """
    curves = _logs(e, FINAL)

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
    loss_gap = of(lambda a, b: b[-1] - a[-1], "train_loss", "test_loss")
    spread = of(lambda v: 100 * volatility(v), "test_accuracy")
    falls = of(lambda v: 100 * rises(-v), "test_accuracy")
    changes, falls_by = "points that its changes spread", "points that its falls add up to"
    places = [_places(e, stage) for stage in (1, 2, FINAL)]
    worst = {n: max(own[n] for own in places) for n in NAMES}
    gained = of(lambda v: 100 * (v[2] - v[0]), "test_accuracy")
    return {
        "close": {"points at the end": (gap, lambda v: abs(v[optimizer]) < 2)},
        "overfits": {"points at the end": (gap, above), "loss at the end": (loss_gap, above)},
        "robust": {"worst place over the stages": (worst, typical()), changes: (spread, typical())},
        "restless": {changes: (spread, most), falls_by: (falls, most)},
        "steady": {changes: (spread, typical()), falls_by: (falls, typical())},
        "smooth": {"spread of its changes": (of(volatility, "test_loss"), typical()),
                   "sum of its rises": (of(rises, "test_loss"), typical())},
        "rapid": {"epochs to 70 %": (of(lambda v: epochs_to(v, 0.7), "test_accuracy"), typical()),
                  "points gained from the first to the third epoch": (gained, typical(-1))},
    }  # fmt: skip


def regularised(e: Evidence, pairs: dict) -> Verdict:
    """Dropout makes the test loss rise less and the test accuracy higher, at equal epochs and rate, paired over seeds.

    `pairs` names, for an optimiser, a run with dropout and one without that differ in nothing else in their first ten
    epochs, of which the rises of the loss are added up and the last accuracy is taken.
    """
    logs, told, parts = [_logs(e, stage) for stage in (1, 2)], [], {}
    for name in pairs:
        (rise, top), (less, higher) = ((rises(c["test_loss"]), c["test_accuracy"][EARLY - 1])
                                       for c in (own[name] for own in logs))  # fmt: skip
        told.append(f"{NAMES[name]}: rises of the test loss {rise:.3f} without dropout and {less:.3f} with it, "
                    f"test accuracy {top:.2%} and {higher:.2%}")  # fmt: skip
    log = f"in the authors' log, {'; '.join(told)}"
    for name, groups in _paired(e, pairs, log).items():
        loss, accuracy = ([e.curves(group, key) for group in groups] for key in ("test_loss", "test_accuracy"))
        with_, without = ([rises(curve) for curve in own] for own in loss)
        parts[f"smoother with {NAMES[name]}"] = np.array(without) - with_
        parts[f"better with {NAMES[name]}"] = np.array([a[EARLY - 1] - b[EARLY - 1] for a, b in zip(*accuracy)])
    outcome = forms.every(parts)
    return replace(outcome, why=f"{outcome.why}; {log}")


def last_is_highest(e: Evidence, published: dict) -> Verdict:
    """The published final accuracy of each optimiser is the highest achieved, by two readings of that.

    Of its logged epochs, and of the ends of its three logged stages. Where the readings disagree it is underspecified.
    """
    lower, stages, told, logs = [], [], [], [_logs(e, stage) for stage in (1, 2, FINAL)]
    for name, key in published.items():
        number, accuracy = e.published(key), logs[-1][name]["test_accuracy"]
        best, before = int(accuracy.argmax()), max(own[name]["test_accuracy"][-1] for own in logs[:-1])
        lower += [NAMES[name]] if number.value < accuracy[best] - number.half_unit else []
        stages += [NAMES[name]] if number.value < before - number.half_unit else []
        highest = f"highest {100 * accuracy[best]:.2f} % in epoch {best + 1}"
        told.append(f"{NAMES[name]} {number.text}, {highest}, earlier stages {100 * before:.2f} %")
    named = [", ".join(own) or "none" for own in (lower, stages)]
    told.append(f"below an epoch of theirs: {named[0]}; below an earlier stage: {named[1]}")
    if bool(lower) != bool(stages):
        why = f"{'; '.join(told)}. The text does not say among what it is"
        return Verdict(forms.UNDERSPECIFIED, why, rests_on=forms.LOG)
    return forms.settled({"each is the highest": not lower}, "; ".join(told))


def two_runs(e: Evidence, published: list) -> Verdict:
    """The published numbers differ, and the log of the initial Adam ends at one of them: the other is another run."""
    numbers = [e.published(name) for name in published]
    last = _logs(e, 1)["adam"]["test_accuracy"][-1]
    fits = [abs(n.value - last) <= n.half_unit for n in numbers]
    told = f"{' and '.join(n.text for n in numbers)} are printed, and the log ends at {100 * last:.2f} %"
    differ = len({n.value for n in numbers}) > 1
    return forms.settled({"the numbers differ": differ, "one is the log's": sum(fits) == 1}, told)


def frozen(e: Evidence, epoch: int, rate: float, change: float) -> Verdict:
    """From `epoch` on the coded rate is below `rate` of the first, and no logged test accuracy moves by `change`."""
    left = float(rate_left(e.recipes("final-adam")[0].settings.schedule, epoch + 1)[-1])
    moved = {n: float(np.ptp(c["test_accuracy"][epoch:])) for n, c in _logs(e, FINAL).items()}
    told = f"in epoch {epoch + 1} the rate is {left:.1e} of the first; from there on the test accuracy moves by "
    parts = {"the rate is that low": left < rate, "nothing moves": max(moved.values()) < change}
    return forms.settled(parts, told + f"{_listed({n: 100 * v for n, v in moved.items()}, '.2f')} points", left)


def controlled(e: Evidence, columns: dict) -> Verdict:
    """Within each column of the report's table the runs differ in their optimiser alone, by the recipes.

    `columns` gives the runs of each, in one order of optimisers; `why` adds what differs between the columns.
    """
    settings = {name: [e.recipes(run)[0].settings for run in runs] for name, runs in columns.items()}
    within = {name: _differing([(own[0], other) for other in own[1:]]) for name, own in settings.items()}
    others = {name: [s for s in own if not s.startswith("optimizer")] for name, own in within.items()}
    within["the columns, one against the other"] = _differing(list(zip(*settings.values())))
    words = {name: ", ".join(SETTINGS.get(s, s) for s in own) or "nothing" for name, own in within.items()}
    told = "; ".join(f"what differs in {name}: {own}" for name, own in words.items())
    alone = {f"{name} differ in the optimiser alone": not own for name, own in others.items()}
    return forms.settled(alone, told, rests_on=forms.CODE)


def crucial(e: Evidence, p, pairs: dict, margin: float) -> Verdict:
    """The coded schedule ends more than `margin` above a constant rate, with each optimiser of `pairs`.

    These name the run with the schedule and the one without, each with its variant: paired over seeds, Holm over them.
    """
    own = e.measured("test_accuracy", *(tuple(run) for pair in pairs.values() for run in pair))
    gains = {NAMES[n]: a - b for n, a, b in zip(pairs, own[::2], own[1::2])}
    return forms.all_positive(gains, {f"{n}'s gain − {margin:g}": (gain, margin) for n, gain in gains.items()}, p)


def advantage(e: Evidence, runs: list, than: list) -> Verdict:
    """At least one of `runs` ends above `than`, a run and its variant; paired over seeds, Holm over the runs."""
    *groups, base = e.measured("test_accuracy", *runs, tuple(than))
    return forms.count({run: accuracy - base for run, accuracy in zip(runs, groups)}, least=1)


def _differing(pairs: list[tuple]) -> list[str]:
    """Names of the settings in which recipes differ; of tables, of the entries that do. Our precision is none."""
    names: dict[str, None] = {}
    for a, b in (map(asdict, pair) for pair in pairs):
        for name in a:
            own, other = (v if isinstance(v, dict) else {"": v} for v in (a[name], b[name]))
            differ = [key for key in {**own, **other} if own.get(key) != other.get(key) and name != "precision"]
            names |= {f"{name}.{key}".rstrip("."): None for key in differ}
    return list(names)


def _ours_to(e: Evidence, targets: list) -> str:
    """When our final runs reach each target accuracy, in mean epochs over their seeds; empty without their records."""
    told = ""
    with suppress(Unjudged):
        groups = e.gather(*(f"final-{name}" for name in NAMES), first=LEAST_SEEDS)
        curves = [e.curves(records, "test_accuracy") for records in groups]
        told = f"; over {len(groups[0])} seeds of ours"
        for target in targets:
            epochs = {name: np.mean([epochs_to(c, target) for c in own]) for name, own in zip(NAMES, curves)}
            told += f", to {100 * target:g} %: {_listed(epochs, '.3g')}"
    return told


def _logs(e: Evidence, stage: int) -> dict[str, Curves]:
    """The logged curves of a stage, by optimiser."""
    logs = keras_curves(e.root)
    return {name: logs[stage, name] for name in NAMES}


def _paired(e: Evidence, pairs: dict, told: str) -> dict[str, list]:
    """The records of each optimiser's pair of runs; `told` is said beside what is missing."""
    try:
        groups = e.gather(*(run for own in pairs.values() for run in own))
    except Unjudged as unjudged:
        raise Unjudged(unjudged.word, f"{told}; {unjudged.why}") from None
    return dict(zip(pairs, zip(groups[::2], groups[1::2])))


def _alone(values: dict, name: str, sign: int, within=0.0) -> bool | None:
    """Whether `name` alone has the highest value (sign 1) or the lowest (-1); None where the next is `within` reach."""
    lead = min(sign * (values[name] - v) for n, v in values.items() if n != name)
    return None if abs(lead) <= within else bool(lead > 0)


def _places(e: Evidence, stage: int) -> dict[str, int]:
    """The place of each optimiser by its last test accuracy in a logged stage; 1 is the best."""
    ends = {n: c["test_accuracy"][-1] for n, c in _logs(e, stage).items()}
    return {n: 1 + sum(other > end for other in ends.values()) for n, end in ends.items()}


def _listed(values: dict, form: str) -> str:
    return ", ".join(f"{NAMES[n]} {v:{form}}" for n, v in values.items())
