"""Schedules of the learning rate by name, from a recipe's `schedule` table: torch's where torch has them.

Epochs count from 0. Every schedule but `one_cycle` sets the rate once an epoch.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import pydantic.dataclasses
from pydantic import Field
from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_schedules

from secondlook.recipe import STRICT, Amount, BelowOne, Count, Positive, RecipeError, Share, Size, chosen

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


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
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


@dataclass
class Schedule:
    """Changes an optimiser's learning rate when told that a step or an epoch is over."""

    optimizer: Optimizer
    scheduler: object | None
    watches: bool = False  # decides on the validation loss
    every_step: bool = False

    @property
    def rate(self) -> float:
        """The learning rate that the next step takes."""
        return float(self.optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        if self.every_step:
            self._advance()

    def after_epoch(self, validation_loss: float | None) -> None:
        if self.scheduler is not None and not self.every_step:
            self._advance(*([validation_loss] if self.watches else []))

    def _advance(self, *told) -> None:
        with warnings.catch_warnings():  # torch saw no step: continued after an epoch, or machine code
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.scheduler.step(*told)

    def state(self) -> dict:
        return {} if self.scheduler is None else self.scheduler.state_dict()

    def restore(self, state: dict) -> None:
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state)


def check(table: dict) -> Options:
    """The table's options with their defaults. Raises RecipeError where one is unknown, missing or bad."""
    options = chosen(Options, table, OPTIONS, "schedule")
    if REQUIRED.get(options.name, "name") not in table:
        raise RecipeError(f"schedule {options.name!r}: {REQUIRED[options.name]} is missing")
    return options


def build(table: dict, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int) -> Schedule:
    """The schedule of a recipe's table, over the optimiser's own learning rate η₀.

    constant · plateau: ×factor after more than `patience` epochs without a better validation loss · multi_step: ×factor
    at `milestones` · step: ×factor `every` so many epochs · exponential: η₀·decay_rate^(t/decay_step) in epoch t ·
    exp_after: ×e^(−rate) each epoch from `after` on · halve_then_tenth: ×½ each epoch from `halve_from` on, ×⅒ each
    epoch from `tenth_from` on, compounding · cosine: to `minimum` · one_cycle: up to η₀ at the share `peak_at` of all
    steps, from `start`·η₀ and down to `end`·η₀. Raises RecipeError as `check` does.
    """
    o = check(table)
    name = o.name
    if name == "constant":
        return Schedule(optimizer, None)
    if name == "plateau":
        options = {"patience": o.patience, "threshold": o.threshold, "min_lr": o.minimum}
        return Schedule(
            optimizer, torch_schedules.ReduceLROnPlateau(optimizer, factor=o.factor, **options), watches=True
        )
    if name == "multi_step":
        return Schedule(optimizer, torch_schedules.MultiStepLR(optimizer, list(o.milestones), o.factor))
    if name == "step":
        return Schedule(optimizer, torch_schedules.StepLR(optimizer, o.every, o.factor))
    if name == "cosine":
        return Schedule(optimizer, torch_schedules.CosineAnnealingLR(optimizer, max(1, epochs), o.minimum))
    if name == "one_cycle":
        options = {"pct_start": o.peak_at, "div_factor": 1 / o.start, "final_div_factor": o.start / o.end}
        total, rate = max(2, epochs * steps_per_epoch + 1), optimizer.param_groups[0]["lr"]
        cycle = torch_schedules.OneCycleLR(optimizer, rate, total_steps=total, cycle_momentum=False, **options)
        return Schedule(optimizer, cycle, every_step=True)
    return Schedule(optimizer, torch_schedules.LambdaLR(optimizer, _factor(name, o)))


def _factor(name: str, o: Options) -> Callable[[int], float]:
    """What the initial rate is multiplied by in epoch t."""
    if name == "exponential":
        return lambda t: o.decay_rate ** (t / o.decay_step)
    if name == "exp_after":
        return lambda t: math.exp(-o.rate * max(0, t - o.after + 1))
    first, then = o.halve_from, max(o.halve_from, o.tenth_from)
    return lambda t: 0.5 ** max(0, min(t + 1, then) - first) * 0.1 ** max(0, t + 1 - then)
