"""What a curve over epochs says of its training: how restless it is, when it arrives, how far two of them end apart."""

import math
from collections.abc import Sequence

import numpy as np

EARLY = 10  # epochs over which restlessness is measured, so that a falling learning rate does not hide it


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
