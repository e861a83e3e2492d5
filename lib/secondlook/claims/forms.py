"""The six forms a claim can take: measured numbers in, a verdict with its numbers out.

Every list of values holds one value a seed, in one order of seeds, so that lists pair. `p` replaces a form's own
primary p-value where a family of claims has adjusted it.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from secondlook.evaluation.statistics import LEVEL, holm, paired_test, prediction_half_width, summary
from secondlook.sections import RESTS_ON

ALPHA = 0.05
ROUNDING = 1e-12  # of floating point, so that a value on the border is inside it
REPRODUCED, DIRECTION, NOT_REPRODUCED = "reproduced", "direction reproduced", "not reproduced"
INCONCLUSIVE, CONTRADICTED, NOT_RUN = "inconclusive", "contradicted", "not run"
UNDERSPECIFIED, TOO_FEW = "underspecified", "too few seeds"
MEASUREMENT, LOG, CODE, TEXT, ARITHMETIC = RESTS_ON

# Of several parts the worst decides: one number that is off refutes, and one undecided part leaves the whole undecided.
WORST_FIRST = (CONTRADICTED, NOT_REPRODUCED, NOT_RUN, INCONCLUSIVE, DIRECTION, REPRODUCED)


@dataclass(frozen=True)
class Outcome:
    """A verdict, how it came about, its numbers, and the p-value of the claim's primary test where it has one.

    `told` gives what was measured in a few words.
    `rests_on` is one of RESTS_ON: records of ours (measurement), what the authors logged, coded or wrote, arithmetic.
    """

    verdict: str
    why: str
    published: float | list | None = None
    measured: float | list | None = None
    interval: list | None = None
    p: float | None = None
    told: str = ""
    rests_on: str = MEASUREMENT


def value(values, published: float, half_unit: float, tolerance: float, sampling_se: float = 0.0,
          percent: bool = False, of: int = 1) -> Outcome:  # fmt: skip
    """Whether a published number is consistent with the measured ones, and these narrow enough to bear it out.

    `interval` is the 95 % prediction interval of the mean of `of` more runs: inside it the published number is
    consistent. With `percent` the reason gives shares as percentages and widths in points.
    """
    say, size = (lambda v: f"{100 * v:.4g} %", lambda v: f"{100 * v:.3g} points") if percent else (
        lambda v: f"{v:.4g}", lambda v: f"{v:.3g}")  # fmt: skip
    mean, half = summary(values).mean, prediction_half_width(values, half_unit, sampling_se, of)
    consistent = abs(mean - published) <= half + ROUNDING
    if not consistent:
        verdict = NOT_REPRODUCED
    else:
        verdict = REPRODUCED if half <= tolerance + ROUNDING else INCONCLUSIVE
    why = (
        f"published {say(published)}, measured {say(mean)} over {len(values)} seeds, one more run within {size(half)}: "
        f"{'consistent' if consistent else 'not consistent'}"
    )
    if consistent:
        why += f", half-width {'within' if verdict == REPRODUCED else 'wider than'} the tolerance {size(tolerance)}"
    told = f"measured {say(mean)}, published {say(published)}"
    return Outcome(verdict, why, published, mean, [mean - half, mean + half], told=told)


def several(named: list[tuple[str, Outcome]]) -> Outcome:
    """Several named parts of one claim: the worst decides (WORST_FIRST); the numbers become lists."""
    parts = [outcome for _, outcome in named]
    if len(parts) == 1:
        return parts[0]
    return Outcome(
        min((o.verdict for o in parts), key=WORST_FIRST.index),
        "; ".join(f"{name}: {o.why}" for name, o in named),
        *([getattr(o, key) for o in parts] for key in ("published", "measured", "interval")),
        told="; ".join(f"{name}: {o.told}" for name, o in named if o.told),
    )


def joint(intervals: int) -> str:
    """What is said of several intervals of one claim, nothing of a single one: the level at which all of them hold.

    It is that whatever their dependence (Bonferroni).
    """
    if intervals < 2:
        return ""
    level = max(0.0, 1 - intervals * (1 - LEVEL))
    return f"; each interval is at {100 * LEVEL:.0f} %, the {intervals} jointly at {100 * level:.0f} % or more"


def greater(a, b=0.0, margin: float = 0.0, p: float | None = None, size: Outcome | None = None) -> Outcome:
    """Whether a exceeds b by more than `margin`, on paired differences. `size` is the outcome of a published gap.

    With a size: reproduced only if the gap too is; direction reproduced if the sign alone is right.
    """
    test = paired_test(a, b, margin)
    p = test.p if p is None else p
    if p < ALPHA:
        verdict = REPRODUCED if test.mean > margin else NOT_REPRODUCED
    else:
        verdict = INCONCLUSIVE
    why = (
        f"mean difference {test.mean:.3g} (95 %: {test.low:.3g} to {test.high:.3g}) against {margin:g}, "
        f"p = {p:.2g} over {test.n} seeds"
    )
    if size is not None:
        why += f"; size: {size.why}"
        if verdict == REPRODUCED and size.verdict != REPRODUCED:
            verdict = DIRECTION
        elif verdict == INCONCLUSIVE and size.verdict == NOT_REPRODUCED:
            verdict = NOT_REPRODUCED
    published, told = size.published if size else None, f"difference {test.mean:.3g}"
    return Outcome(verdict, why, published, test.mean, [test.low, test.high], p, told)


def rank(groups: dict[str, list], first: str, p: float | None = None) -> Outcome:
    """Whether `first` has the largest values of all groups: its paired lead over each other, Holm over them.

    `measured` are the groups' means in their order, `interval` that of the smallest lead.
    """
    leads = {f"{first} − {name}": (groups[first], values) for name, values in groups.items() if name != first}
    return all_positive(groups, leads, p)


def order(groups: dict[str, list], p: float | None = None) -> Outcome:
    """Whether the groups are listed from the largest to the smallest: paired gaps of neighbours, Holm over them."""
    names = list(groups)
    return all_positive(groups, {f"{a} − {b}": (groups[a], groups[b]) for a, b in pairwise(names)}, p)


def count(differences: dict[str, list], least: int) -> Outcome:
    """Whether at least `least` of several statements hold; one holds when its values are above 0, Holm over all.

    Refuted where too many are significantly false for `least` to hold. `measured` is how many hold, `published` is
    `least`.
    """
    tests = {name: paired_test(values) for name, values in differences.items()}
    sure = holm([t.p for t in tests.values()]) < ALPHA
    holds = [n for (n, t), s in zip(tests.items(), sure) if s and t.mean > 0]
    fails = [n for (n, t), s in zip(tests.items(), sure) if s and t.mean < 0]
    if len(holds) >= least:
        verdict = REPRODUCED
    else:
        verdict = NOT_REPRODUCED if len(tests) - len(fails) < least else INCONCLUSIVE
    open_ = [n for n in tests if n not in holds and n not in fails]
    said = [f"{word}: {', '.join(n)}" for word, n in (("true", holds), ("false", fails), ("undecided", open_)) if n]
    why = f"{len(holds)} of {len(tests)} statements hold, {least} expected ({'; '.join(said)})"
    if verdict == INCONCLUSIVE and least == len(tests) and not fails:
        largest = max(t.p for t in tests.values())
        why += f"; unadjusted the largest p, enough where all must hold, is {largest:.3g}"
    return Outcome(verdict, why, least, len(holds), told=f"{len(holds)} of {len(tests)} statements")


def equal(values, expected: float = 0.0, tolerance: float = 0.0, otherwise: str = CONTRADICTED) -> Outcome:
    """A fact that does not vary: every value is `expected` within `tolerance`; one seed is enough."""
    values = np.asarray(values, float).ravel()
    worst = float(values[np.argmax(np.abs(values - expected))])
    true = abs(worst - expected) <= tolerance
    why = f"the value furthest from {expected:g} is {worst:.3g}, {'within' if true else 'outside'} {tolerance:g}"
    return Outcome(REPRODUCED if true else otherwise, why, expected, worst)


def worse(outcome: Outcome, verdict: str, why: str) -> Outcome:
    """The same outcome with one more part: the worse of the two verdicts, both reasons."""
    both = min((outcome.verdict, verdict), key=WORST_FIRST.index)
    return replace(outcome, verdict=both, why=f"{outcome.why}; {why}")


def all_positive(groups: dict[str, list], pairs: dict[str, tuple], p: float | None = None) -> Outcome:
    """Whether every pair of values has a positive mean difference: Holm over the pairs.

    `measured` are the groups' means, `interval` that of the smallest difference.
    """
    tests = {name: paired_test(a, b) for name, (a, b) in pairs.items()}
    adjusted = dict(zip(tests, holm([t.p for t in tests.values()])))
    behind = [n for n, t in tests.items() if t.mean < 0 and adjusted[n] < ALPHA]
    ahead = [n for n, t in tests.items() if t.mean > 0 and adjusted[n] < ALPHA]
    # One significant loss refutes; the claim itself needs every comparison, so the largest p is the primary one.
    own = min(adjusted[n] for n in behind) if behind else max(adjusted.values())
    p = float(own if p is None else p)
    if p >= ALPHA:
        verdict = INCONCLUSIVE
    else:
        verdict = NOT_REPRODUCED if behind else REPRODUCED
    least = min(tests, key=lambda n: tests[n].mean)
    t = tests[least]
    why = (
        f"{len(ahead)} of {len(tests)} paired differences are above 0 and {len(behind)} below with p < {ALPHA:g} after "
        f"Holm; the smallest is {least}: {t.mean:.3g} (95 %: {t.low:.3g} to {t.high:.3g}), p = {p:.2g} over {t.n} seeds"
    )
    return Outcome(verdict, why, None, [float(np.mean(v)) for v in groups.values()], [t.low, t.high], p)
