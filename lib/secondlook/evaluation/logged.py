"""What a curve that somebody logged says: how far runs of ours are from it, where it breaks, how rough it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

ALPHA = 0.05
WINDOWS = ((51, 150), (161, 200), (211, 300))  # epochs at one rate, without the start and what follows a cut
SETTLED = 20  # epochs after which a loss that falls faster than before does so for a reason


@dataclass(frozen=True)
class Misfit:
    """How far the mean of `runs` runs is from a log, and one run from their mean (both root mean squares).

    `p` is the probability of so large a distance if the log were one more run of the same settings; NaN for a single
    run, of which nobody knows how far its like would be.
    """

    distance: float
    spread: float
    p: float
    runs: int

    @property
    def excluded(self) -> bool:
        """Whether the log is no run of these settings, at the 95 % level."""
        return self.p < ALPHA


def misfit(log: Sequence[float], runs: Sequence[Sequence[float]]) -> Misfit:
    """How well runs (k, entries) fit a log of as many entries or more; entries beyond those of the runs are left out.

    The entries of a run rise and fall together, so they are counted as one number, which can only make `p` too large:
    t = distance / (spread · √(1 + 1/k)) with k − 1 degrees of freedom. Raises ValueError where nothing can be compared.
    """
    runs = np.asarray(runs, float)
    if runs.ndim != 2 or not runs.size or runs.shape[1] > len(log):
        raise ValueError(f"a log of {len(log)} entries cannot be held against runs of shape {runs.shape}")
    count = len(runs)
    distance = _rms(runs.mean(0) - np.asarray(log, float)[: runs.shape[1]])
    if count < 2:
        return Misfit(distance, np.nan, np.nan, count)
    spread = float(np.sqrt(runs.var(0, ddof=1).mean()))
    if spread == 0.0:
        return Misfit(distance, 0.0, float(distance == 0.0), count)
    p = 2.0 * stats.t.sf(distance / (spread * np.sqrt(1 + 1 / count)), count - 1)
    return Misfit(distance, spread, float(p), count)


def epoch_losses(rows: Sequence[Mapping[str, str]], column: str) -> np.ndarray:
    """The mean of a column of a log in each epoch; the rows tell their `epoch`, from 1 and in order."""
    epochs = np.array([int(row["epoch"]) for row in rows])
    values = np.array([float(row[column]) for row in rows])
    return np.array([values[epochs == epoch].mean() for epoch in np.unique(epochs)])


def breaks(losses: Sequence[float]) -> np.ndarray:
    """By how much more the loss falls in an epoch than in the one before: entry i is of epoch i + 3; large is a break.

    A loss that settles falls less and less; where it suddenly falls more, something was changed.
    """
    return -np.diff(losses, 2)


def milestones(losses: Sequence[float], count: int = 2) -> list[int]:
    """The `count` epochs after which the loss breaks most, ascending, of those later than SETTLED."""
    later = breaks(losses)
    later[: SETTLED - 2] = -np.inf
    return sorted(int(i) + 2 for i in np.argsort(-later, kind="stable")[:count])


def prominence(losses: Sequence[float], epoch: int, around: int = 20) -> float:
    """The break after an epoch as a multiple of the largest change of pace, of either sign, in those `around` it."""
    found, at = breaks(losses), epoch - 2
    others = np.r_[found[max(0, at - around) : at - 1], found[at + 2 : at + 1 + around]]
    return float(found[at] / np.abs(others).max())


def roughness(losses: Sequence[float], first: int, last: int) -> float:
    """Standard deviation of the loss's change from epoch to epoch, over epochs `first` … `last`, less its own trend.

    The trend of the changes is a parabola. Raises ValueError for fewer than six epochs.
    """
    changes = np.diff(np.asarray(losses, float)[first - 1 : last])
    if len(changes) < 5:
        raise ValueError(f"epochs {first} to {last} of {len(losses)} are too few to tell noise from a trend")
    at = np.linspace(-1, 1, len(changes))
    left = changes - np.polynomial.Polynomial.fit(at, changes, 2)(at)
    return float(np.sqrt((left**2).sum() / (len(changes) - 3)))


def rougher(a: float, b: float, epochs: int) -> float:
    """The two-sided p of two roughnesses over as many epochs being equal (F of the variances).

    Neighbouring changes of independent noise share a loss and are correlated by −1/2, so three of them tell as much of
    their variance as two independent ones would.
    """
    freedom = (epochs - 4) / 1.5
    ratio = (max(a, b) / min(a, b)) ** 2
    return float(min(1.0, 2.0 * stats.f.sf(ratio, freedom, freedom)))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
