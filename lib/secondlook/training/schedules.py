"""Schedules of the learning rate by name, from a recipe's `schedule` table, as torch's own schedulers.

Epochs count from 0. Every schedule but `one_cycle` sets the rate once an epoch.
"""

import math
import warnings
from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch.optim import Optimizer, lr_scheduler

from secondlook.checks import STRICT, RecipeError, chosen
from secondlook.recipe import Amount, BelowOne, Count, Positive, Share, Size

OPTIONS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "plateau": ("factor", "patience", "threshold", "minimum"),
    "multi_step": ("milestones", "factor"),
    "step": ("every", "factor"),
    "exponential": ("decay_rate", "decay_step"),
    "exp_after": ("after", "rate"),
    "halve_then_tenth": ("halve_from", "tenth_from"),
    "cosine": ("minimum",),
    "one_cycle": ("peak_at", "start", "end"),
}
REQUIRED = {"plateau": "patience", "multi_step": "milestones", "step": "every", "exponential": "decay_rate"}


@dataclass(frozen=True, config=STRICT)
class Options:
    """What a recipe's `schedule` table may set; epochs, but for rates and factors."""

    name: str
    factor: BelowOne = 0.1
    patience: Count = 0
    threshold: Amount = 1e-4
    minimum: Amount = 0.0
    milestones: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    every: Size = 1
    decay_rate: Annotated[Share, Field(gt=0)] = 1.0
    decay_step: Positive = 1.0
    after: Count = 10
    rate: Amount = 0.1
    halve_from: Count = 10
    tenth_from: Count = 20
    peak_at: Share = 0.3  # of all steps
    start: Positive = 1 / 25  # of the highest rate, as the next
    end: Positive = 1e-4 / 25


def check(table: dict) -> Options:
    """The table's options with their defaults. Raises RecipeError where one is unknown, missing or bad."""
    options = chosen(Options, table, OPTIONS, "schedule")
    if REQUIRED.get(options.name, "name") not in table:
        raise RecipeError(f"schedule {options.name!r}: {REQUIRED[options.name]} is missing")
    return options


def build(table: dict, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """The scheduler of a recipe's table, over the optimiser's own learning rate η₀.

    constant · plateau: ×factor after more than `patience` epochs without a better validation loss · multi_step: ×factor
    at `milestones` · step: ×factor `every` so many epochs · exponential: η₀·decay_rate^(t/decay_step) in epoch t ·
    exp_after: ×e^(−rate) each epoch from `after` on · halve_then_tenth: ×½ each epoch from `halve_from` on, ×⅒ each
    epoch from `tenth_from` on, compounding · cosine: to `minimum` · one_cycle: up to η₀ at the share `peak_at` of all
    steps, from `start`·η₀ and down to `end`·η₀. Raises RecipeError as `check` does.
    """
    o = check(table)
    match o.name:
        case "plateau":
            return lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=o.factor, patience=o.patience, threshold=o.threshold, min_lr=o.minimum
            )
        case "multi_step":
            return lr_scheduler.MultiStepLR(optimizer, list(o.milestones), o.factor)
        case "step":
            return lr_scheduler.StepLR(optimizer, o.every, o.factor)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs), o.minimum)
        case "one_cycle":
            return lr_scheduler.OneCycleLR(
                optimizer, optimizer.param_groups[0]["lr"], total_steps=max(2, epochs * steps_per_epoch + 1),
                pct_start=o.peak_at, div_factor=1 / o.start, final_div_factor=o.start / o.end, cycle_momentum=False,
            )  # fmt: skip
    return lr_scheduler.LambdaLR(optimizer, _factor(o))


def _factor(o: Options) -> Callable[[int], float]:
    """What the initial rate is multiplied by in epoch t."""
    if o.name == "exponential":
        return lambda t: o.decay_rate ** (t / o.decay_step)
    if o.name == "exp_after":
        return lambda t: math.exp(-o.rate * max(0, t - o.after + 1))
    if o.name == "halve_then_tenth":
        first, then = o.halve_from, max(o.halve_from, o.tenth_from)
        return lambda t: 0.5 ** max(0, min(t + 1, then) - first) * 0.1 ** max(0, t + 1 - then)
    return lambda t: 1.0


def advance(scheduler: lr_scheduler.LRScheduler, validation_loss: float | None = None, *, after: str) -> None:
    """Moves the learning rate on after a "step" or an "epoch", if that is when the scheduler acts."""
    if after != ("step" if isinstance(scheduler, lr_scheduler.OneCycleLR) else "epoch"):
        return
    with warnings.catch_warnings():  # torch saw no step: continued after an epoch, or machine code
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        watches = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        scheduler.step(*[validation_loss] * watches)
