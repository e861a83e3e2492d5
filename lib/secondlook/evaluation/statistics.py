"""Means with intervals, paired tests and the half-width inside which a published number is consistent."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
LEAST_SEEDS = 3  # two tell so little of their spread that the interval is 13 times as wide as they are apart


class Summary(NamedTuple):
    """Mean, standard deviation and t-interval of `n` values."""

    mean: float
    sd: float
    low: float
    high: float
    n: int


class Paired(NamedTuple):
    """Mean of the paired differences, its t-interval, and the two-sided p of its being the margin tested against."""

    mean: float
    low: float
    high: float
    p: float
    n: int


class McNemar(NamedTuple):
    """Images only one of two models has right, the difference of their accuracies and the exact two-sided p."""

    only_a: int
    only_b: int
    difference: float
    p: float


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation (n − 1), 95 % t-interval. Raises ValueError for fewer than two or non-finite values."""
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"a spread needs a list of at least two values, not {values.tolist()!r}")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"expected finite values, not {values.tolist()!r}; say what a diverged seed counts as first")
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = _t(len(values)) * sd / np.sqrt(len(values))
    return Summary(mean, sd, float(mean - half), float(mean + half), len(values))


def paired_test(a: Sequence[float], b: Sequence[float] | float = 0.0, margin: float = 0.0) -> Paired:
    """The t-test of a − b against `margin`: mean difference, its 95 % interval, two-sided p.

    `b` may be one number (a one-sample test). Differences that are all equal have p = 0, or 1 where they equal the
    margin. Raises ValueError for unequal lengths, fewer than two or non-finite values.
    """
    if np.ndim(b) and len(b) != len(a):
        raise ValueError(f"{len(a)} and {len(b)} values do not pair; give one of each for every seed")
    s = summary(np.asarray(a, float) - np.asarray(b, float))
    excess, error = s.mean - margin, s.sd / np.sqrt(s.n)
    p = 2.0 * stats.t.sf(abs(excess) / error, s.n - 1) if error else excess == 0.0
    return Paired(s.mean, s.low, s.high, float(p), s.n)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values adjusted for their number, in the order given (Holm 1979). Raises ValueError outside [0, 1]."""
    p = np.asarray(p_values, float)
    if not np.all((p >= 0.0) & (p <= 1.0)):
        raise ValueError(f"p-values lie in [0, 1], not {p_values!r}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def mcnemar(correct_a: Sequence[bool], correct_b: Sequence[bool]) -> McNemar:
    """Two single models on one test set: the exact binomial test of the images on which they differ (McNemar 1947)."""
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"two models must be judged on the same images, not on {a.size} and {b.size}")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    p = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, float(a.mean() - b.mean()), p)


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of k in n (Wilson 1927). Raises ValueError unless 0 ≤ k ≤ n and n > 0."""
    return tuple(map(float, stats.binomtest(k, n).proportion_ci(LEVEL, "wilson")))


def prediction_half_width(
    values: Sequence[float], half_unit: float = 0.0, sampling_se: float = 0.0, of: int = 1
) -> float:
    """How far a published number may lie from the mean of k values and still be the mean `of` so many more like them.

    t(0.975, k−1)·√(sd²·(1/of + 1/k) + SE²) + half a unit of the last printed digit. `sampling_se` is the standard error
    of the published number that comes from its images, given only where `values` do not vary over such images.
    """
    s = summary(values)
    return float(_t(s.n) * np.sqrt(s.sd**2 * (1 / of + 1 / s.n) + sampling_se**2) + half_unit)


def _t(n: int) -> float:
    return float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))
