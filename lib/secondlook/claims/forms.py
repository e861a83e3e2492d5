"""The six forms a claim can take: measured numbers in, a verdict with its numbers out.

Every list of values holds one value a seed, in one order of seeds, so that lists pair. `p` replaces a form's own
primary p-value where a family of claims has adjusted it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from secondlook.evaluation.statistics import (
    LEVEL,
    Paired,
    holm,
    paired_test,
    prediction_half_width,
    summary,
)
from secondlook.sections import RESTS_ON

ALPHA = 0.05
ROUNDING = 1e-12  # of floating point, so that a value on the border is inside it
REPRODUCED, DIRECTION, NOT_REPRODUCED = "reproduced", "direction reproduced", "not reproduced"
INCONCLUSIVE, CONTRADICTED, NOT_RUN = "inconclusive", "contradicted", "not run"
UNDERSPECIFIED, TOO_FEW = "underspecified", "too few seeds"
MEASUREMENT, LOG, CODE, TEXT, ARITHMETIC = RESTS_ON

# Of several parts the worst decides: one number that is off refutes, and an undecided part leaves the whole undecided.
WORST_FIRST = (CONTRADICTED, NOT_REPRODUCED, NOT_RUN, INCONCLUSIVE, DIRECTION, REPRODUCED)


@dataclass(frozen=True)
class Verdict:
    """A verdict's word, how it came about, its numbers, and the p-value of its primary test where it has one.

    `told` gives what was measured in a few words.
    `rests_on` is one of RESTS_ON: records of ours (measurement), what the authors logged, coded or wrote, arithmetic.
    """

    word: str
    why: str
    published: float | list | None = None
    measured: float | list | None = None
    interval: list | None = None
    p: float | None = None
    told: str = ""
    rests_on: str = MEASUREMENT


def fact(holds: bool, why: str, published=None, measured=None, rests_on: str = ARITHMETIC) -> Verdict:
    """What is settled without a run: reproduced where it holds, else contradicted."""
    return Verdict(REPRODUCED if holds else CONTRADICTED, why, published, measured, rests_on=rests_on)


def settled(parts: Mapping[str, bool | None], told: str, measured=None, rests_on: str = LOG) -> Verdict:
    """What a log or a recipe says: contradicted where a part does not hold, reproduced where all do; None is open."""
    off = [name for name, holds in parts.items() if holds is not None and not holds]
    left = [name for name, holds in parts.items() if holds is None]
    told += f". Does not hold: {', '.join(off)}" if off else ""
    told += f". Not decided: {', '.join(left)}" if left else ""
    told += ". All of it holds" if not off and not left else ""
    measured = [float(v) for v in measured] if isinstance(measured, list) else measured
    word = CONTRADICTED if off else INCONCLUSIVE if left else REPRODUCED
    return Verdict(word, told, None, measured, rests_on=rests_on)


def decided(against: bool, sure: bool) -> str:
    """The word for a test that speaks against a claim, bears it out, or does neither."""
    return NOT_REPRODUCED if against else REPRODUCED if sure else INCONCLUSIVE


def tested(pairs: Mapping[str, tuple]) -> dict[str, tuple[Paired, float]]:
    """By name, the paired test of two lists of values, and its p-value adjusted for all of them (Holm)."""
    tests = {name: paired_test(*pair) for name, pair in pairs.items()}
    return {name: (tests[name], float(p)) for name, p in zip(tests, holm([t.p for t in tests.values()]))}


def value(values, published: float, half_unit: float, tolerance: float, sampling_se: float = 0.0,
          percent: bool = False, of: int = 1) -> Verdict:  # fmt: skip
    """Whether a published number is consistent with the measured ones, and these narrow enough to bear it out.

    `interval` is the 95 % prediction interval of the mean of `of` more runs: inside it the published number is
    consistent. With `percent` the reason gives shares as percentages and widths in points.
    """
    say, size = (lambda v: f"{100 * v:.4g} %", lambda v: f"{100 * v:.3g} points") if percent else (
        lambda v: f"{v:.4g}", lambda v: f"{v:.3g}")  # fmt: skip
    mean, half = summary(values).mean, prediction_half_width(values, half_unit, sampling_se, of)
    consistent = abs(mean - published) <= half + ROUNDING
    word = decided(not consistent, half <= tolerance + ROUNDING)
    why = (
        f"published {say(published)}, measured {say(mean)} over {len(values)} seeds, 95 % prediction interval "
        f"± {size(half)}: {'consistent' if consistent else 'not consistent'}"
    )
    if consistent:
        why += f", half-width {'within' if word == REPRODUCED else 'wider than'} the tolerance {size(tolerance)}"
    told = f"measured {say(mean)}, published {say(published)}"
    return Verdict(word, why, published, mean, [mean - half, mean + half], told=told)


def means(*values) -> list[float]:
    return [float(np.mean(v)) for v in values]


def worst(*words: str) -> str:
    return min(words, key=WORST_FIRST.index)


def several(named: list[tuple[str, Verdict]]) -> Verdict:
    """Several named parts of one claim: the worst decides (WORST_FIRST); the numbers become lists."""
    parts = [outcome for _, outcome in named]
    if len(parts) == 1:
        return parts[0]
    return Verdict(
        worst(*(o.word for o in parts)),
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


def greater(a, b=0.0, margin: float = 0.0, p: float | None = None, size: Verdict | None = None) -> Verdict:
    """Whether a exceeds b by more than `margin`, on paired differences. `size` is the outcome of a published gap.

    With a size: reproduced only if the gap too is; direction reproduced if the sign alone is right.
    """
    test = paired_test(a, b, margin)
    p = test.p if p is None else p
    above = test.mean > margin
    word = decided(p < ALPHA and not above, p < ALPHA and above)
    why = (
        f"mean difference {test.mean:.3g} (95 %: {test.low:.3g} to {test.high:.3g}) against {margin:g}, "
        f"p = {p:.2g} over {test.n} seeds"
    )
    if size is not None:
        why += f"; size: {size.why}"
        if word == REPRODUCED and size.word != REPRODUCED:
            word = DIRECTION
        elif word == INCONCLUSIVE and size.word == NOT_REPRODUCED:
            word = NOT_REPRODUCED
    published, told = size.published if size else None, f"difference {test.mean:.3g}"
    return Verdict(word, why, published, test.mean, [test.low, test.high], p, told)


def rank(groups: dict[str, list], first: str, p: float | None = None) -> Verdict:
    """Whether `first` has the largest values of all groups: its paired lead over each other, Holm over them.

    `measured` are the groups' means in their order, `interval` that of the smallest lead.
    """
    leads = {f"{first} − {name}": (groups[first], values) for name, values in groups.items() if name != first}
    return all_positive(groups, leads, p)


def order(groups: dict[str, list], p: float | None = None) -> Verdict:
    """Whether the groups are listed from the largest to the smallest: paired gaps of neighbours, Holm over them."""
    names = list(groups)
    return all_positive(groups, {f"{a} − {b}": (groups[a], groups[b]) for a, b in pairwise(names)}, p)


def count(differences: dict[str, list], least: int) -> Verdict:
    """Whether at least `least` of several statements hold; one holds when its values are above 0, Holm over all.

    Refuted where too many are significantly false for `least` to hold. `measured` is how many hold, `published` is
    `least`.
    """
    tests = tested({name: (values,) for name, values in differences.items()})
    holds = [n for n, (t, p) in tests.items() if p < ALPHA and t.mean > 0]
    fails = [n for n, (t, p) in tests.items() if p < ALPHA and t.mean < 0]
    open_ = [n for n in tests if n not in holds and n not in fails]
    word = decided(len(tests) - len(fails) < least, len(holds) >= least)
    said = [f"{word}: {', '.join(n)}" for word, n in (("true", holds), ("false", fails), ("undecided", open_)) if n]
    why = f"{len(holds)} of {len(tests)} statements hold, {least} expected ({'; '.join(said)})"
    if word == INCONCLUSIVE and least == len(tests) and not fails:
        largest = max(t.p for t, _ in tests.values())
        why += f"; unadjusted the largest p, enough where all must hold, is {largest:.3g}"
    return Verdict(word, why, least, len(holds), told=f"{len(holds)} of {len(tests)} statements")


def every(differences: dict[str, list]) -> Verdict:
    """Whether all of several statements hold, as `count` has it."""
    return count(differences, len(differences))


def equal(values, expected: float = 0.0, tolerance: float = 0.0, otherwise: str = CONTRADICTED) -> Verdict:
    """A fact that does not vary: every value is `expected` within `tolerance`; one seed is enough."""
    values = np.asarray(values, float).ravel()
    worst = float(values[np.argmax(np.abs(values - expected))])
    true = abs(worst - expected) <= tolerance
    why = f"the value furthest from {expected:g} is {worst:.3g}, {'within' if true else 'outside'} {tolerance:g}"
    return Verdict(REPRODUCED if true else otherwise, why, expected, worst)


def all_positive(groups: dict[str, list], pairs: dict[str, tuple], p: float | None = None) -> Verdict:
    """Whether every pair of values has a positive mean difference: Holm over the pairs.

    `measured` are the groups' means, `interval` that of the smallest difference.
    """
    tests = tested(pairs)
    behind = [n for n, (t, q) in tests.items() if t.mean < 0 and q < ALPHA]
    ahead = [n for n, (t, q) in tests.items() if t.mean > 0 and q < ALPHA]
    # One significant loss refutes; the claim itself needs every comparison, so the largest p is the primary one.
    primary = min(tests[n][1] for n in behind) if behind else max(q for _, q in tests.values())
    p = float(primary if p is None else p)
    word = decided(p < ALPHA and bool(behind), p < ALPHA)
    least = min(tests, key=lambda n: tests[n][0].mean)
    t = tests[least][0]
    why = (
        f"{len(ahead)} of {len(tests)} paired differences are above 0 and {len(behind)} below with p < {ALPHA:g} after "
        f"Holm; the smallest is {least}: {t.mean:.3g} (95 %: {t.low:.3g} to {t.high:.3g}), p = {p:.2g} over {t.n} seeds"
    )
    return Verdict(word, why, None, means(*groups.values()), [t.low, t.high], p)
