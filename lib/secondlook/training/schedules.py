"""Schedules of the learning rate by name, from a recipe's `schedule` table: torch's where torch has them.

Epochs count from 0. Every schedule but `one_cycle` sets the rate once an epoch.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_schedules

from secondlook.recipe import RecipeError, nearest

REQUIRED = object()
OPTIONS: dict[str, dict] = {  # of each schedule, with their defaults
    "constant": {},
    "plateau": {"factor": 0.1, "patience": REQUIRED, "threshold": 1e-4, "minimum": 0.0},
    "multi_step": {"milestones": REQUIRED, "factor": 0.1},
    "step": {"every": REQUIRED, "factor": 0.1},
    "exponential": {"decay_rate": REQUIRED, "decay_step": 1},
    "exp_after": {"after": 10, "rate": 0.1},
    "halve_then_tenth": {"halve_from": 10, "tenth_from": 20},
    "cosine": {"minimum": 0.0},
    "one_cycle": {"peak_at": 0.3, "start": 1 / 25, "end": 1e-4 / 25},
}


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


def check(table: dict) -> dict:
    """The table's options with their defaults. Raises RecipeError for an unknown name or option, or a bad value."""
    name = table.get("name")
    if name not in OPTIONS:
        raise RecipeError(f"schedule: unknown name {name!r}{nearest(name, OPTIONS)}")
    own = {key: value for key, value in table.items() if key != "name"}
    for key, value in own.items():
        if key not in OPTIONS[name]:
            raise RecipeError(f"schedule {name!r}: {key} is no option of it{nearest(key, ('name', *OPTIONS[name]))}")
        values = value if key == "milestones" and isinstance(value, list | tuple) else [value]
        if any(isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v < math.inf for v in values):
            raise RecipeError(f"schedule {name!r}: {key} must be a number, at least 0, not {value!r}")
    options = {**OPTIONS[name], **own}
    for key, value in options.items():
        if value is REQUIRED:
            raise RecipeError(f"schedule {name!r}: {key} is missing")
        if key in ("every", "decay_step", "decay_rate") and value == 0:
            raise RecipeError(f"schedule {name!r}: {key} must be above 0")
    return options


def build(table: dict, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int) -> Schedule:
    """The schedule of a recipe's table, over the optimiser's own learning rate η₀.

    constant · plateau: ×factor after more than `patience` epochs without a better validation loss · multi_step: ×factor
    at `milestones` · step: ×factor `every` so many epochs · exponential: η₀·decay_rate^(t/decay_step) in epoch t ·
    exp_after: ×e^(−rate) each epoch from `after` on · halve_then_tenth: ×½ each epoch from `halve_from` on, ×⅒ each
    epoch from `tenth_from` on, compounding · cosine: to `minimum` · one_cycle: up to η₀ at the share `peak_at` of all
    steps, from `start`·η₀ and down to `end`·η₀. Raises RecipeError as `check` does.
    """
    name, o = table.get("name"), check(table)
    if name == "constant":
        return Schedule(optimizer, None)
    if name == "plateau":
        options = {"patience": o["patience"], "threshold": o["threshold"], "min_lr": o["minimum"]}
        return Schedule(
            optimizer, torch_schedules.ReduceLROnPlateau(optimizer, factor=o["factor"], **options), watches=True
        )
    if name == "multi_step":
        return Schedule(optimizer, torch_schedules.MultiStepLR(optimizer, list(o["milestones"]), o["factor"]))
    if name == "step":
        return Schedule(optimizer, torch_schedules.StepLR(optimizer, o["every"], o["factor"]))
    if name == "cosine":
        return Schedule(optimizer, torch_schedules.CosineAnnealingLR(optimizer, max(1, epochs), o["minimum"]))
    if name == "one_cycle":
        options = {"pct_start": o["peak_at"], "div_factor": 1 / o["start"], "final_div_factor": o["start"] / o["end"]}
        total, rate = max(2, epochs * steps_per_epoch + 1), optimizer.param_groups[0]["lr"]
        cycle = torch_schedules.OneCycleLR(optimizer, rate, total_steps=total, cycle_momentum=False, **options)
        return Schedule(optimizer, cycle, every_step=True)
    return Schedule(optimizer, torch_schedules.LambdaLR(optimizer, _factor(name, o)))


def _factor(name: str, o: dict) -> Callable[[int], float]:
    """What the initial rate is multiplied by in epoch t."""
    if name == "exponential":
        return lambda t: o["decay_rate"] ** (t / o["decay_step"])
    if name == "exp_after":
        return lambda t: math.exp(-o["rate"] * max(0, t - o["after"] + 1))
    first, then = o["halve_from"], max(o["halve_from"], o["tenth_from"])
    return lambda t: 0.5 ** max(0, min(t + 1, then) - first) * 0.1 ** max(0, t + 1 - then)
