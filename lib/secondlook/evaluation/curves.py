"""What a curve over epochs says: how restless it is, when it arrives; how far runs are from one that was logged."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

EARLY = 10  # epochs over which restlessness is measured, so that a falling learning rate does not hide it
ALPHA = 0.05
WINDOWS = ((51, 150), (161, 200), (211, 300))  # epochs at one rate, without the start and what follows a cut
SETTLED = 20  # epochs after which a loss that falls faster than before does so for a reason


def volatility(values: Sequence[float], epochs: int = EARLY) -> float:
    """The standard deviation of the changes from epoch to epoch within the first `epochs`; NaN for fewer than three."""
    changes = np.diff(np.asarray(values, float)[:epochs])
    return float(changes.std()) if len(changes) > 1 else math.nan


def rises(values: Sequence[float], epochs: int = EARLY) -> float:
    """The sum of all changes upwards from epoch to epoch within the first `epochs`."""
    return float(np.diff(np.asarray(values, float)[:epochs]).clip(min=0).sum())


def epochs_to(values: Sequence[float], target: float) -> float:
    """The first epoch, counted from 1, whose value is at least `target`; infinite where none is."""
    reached = np.flatnonzero(np.asarray(values, float) >= target)
    return float(reached[0] + 1) if len(reached) else math.inf


def seconds_to(values: Sequence[float], target: float, seconds: Sequence[float]) -> float:
    """The seconds that passed until the end of that epoch; infinite where none reaches the target."""
    epoch = epochs_to(values, target)
    return float(np.sum(np.asarray(seconds, float)[: int(epoch)])) if math.isfinite(epoch) else math.inf


def end_gap(train: Sequence[float], test: Sequence[float]) -> float:
    """The last value of `train` minus the last of `test`."""
    return float(train[-1] - test[-1])


def rate_left(schedule: dict, epochs: int) -> np.ndarray:
    """The share of the first learning rate that a schedule leaves in each epoch, counted from 0; shape (epochs,).

    Of the four that `training.schedules` steps once an epoch and this report knows. Raises ValueError for any other.
    """
    t, options = np.arange(epochs), {k: v for k, v in schedule.items() if k != "name"}
    forms = {
        "constant": lambda: 0.0 * t,
        "exponential": lambda decay_rate, decay_step=1: t / decay_step * math.log(decay_rate),
        "exp_after": lambda after=10, rate=0.1: -rate * np.maximum(0, t - after + 1),
        "halve_then_tenth": lambda halve_from=10, tenth_from=20: (
            math.log(0.5) * np.clip(np.minimum(t + 1, tenth_from) - halve_from, 0, None)
            + math.log(0.1) * np.clip(t + 1 - tenth_from, 0, None)
        ),
    }
    if schedule.get("name") not in forms:
        raise ValueError(f"unknown schedule {schedule.get('name')!r}; expected one of {', '.join(forms)}")
    return np.exp(forms[schedule["name"]](**options))


# ------------------------------------------------------------------ curves that somebody logged


class Misfit(NamedTuple):
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
    distance = float(np.sqrt(np.mean((runs.mean(0) - np.asarray(log, float)[: runs.shape[1]]) ** 2)))
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
    return float(min(1.0, 2.0 * stats.f.sf((max(a, b) / min(a, b)) ** 2, freedom, freedom)))
