"""From recipes to records: load what is there, produce what is missing.

The only place where training, insight and evaluation meet. Each kind has a module with `groups(recipes)`, which puts
together what is cheaper together, and `produce(group, execution)`, which gives a record for each recipe of a group.
"""

import importlib
import operator
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from secondlook.estimates import Estimate, core_minutes, estimate
from secondlook.experiments.filing import check_folders
from secondlook.recipe import KEEPS, Recipe, RecipeError, nearest
from secondlook.record import Record, Records
from secondlook.reports import ROOT, Plan

TRAIN = ("missing", "always", "never")


@dataclass
class Execution:
    """How to run, which changes no result: where data and checkpoints lie, on what, until when, who is told."""

    data_dir: Path = ROOT / "data"
    records_dir: Path = ROOT / "records"
    runs_dir: Path = ROOT / "runs"
    device: str = "auto"
    deadline: float | None = None  # in the seconds of time.monotonic()
    processes: int = 1  # of one thread each, on a processor
    progress: Callable[[str, float], None] = lambda label, share: None

    def resolved_device(self) -> str:
        """The device's name for torch. Raises RecipeError where it is not there."""
        import torch

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise RecipeError(f"unknown device {self.device!r}; expected auto, cpu, cuda or cuda:N")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise RecipeError(f"device {self.device!r}: this machine has no CUDA device; use 'cpu' or 'auto'")
        return self.device


@dataclass
class Outcome:
    """Records in the order of their plans, and the plans that have none, with the reason."""

    records: list[Record] = field(default_factory=list)
    missing: list[Plan] = field(default_factory=list)
    reason: str = ""


def load_or_produce(
    plans: list[Plan], execution: Execution | None = None, *, train: str = "missing", max_minutes: float = 15.0
) -> Outcome:
    """Records for `plans`: those that exist are loaded, missing ones trained if their estimate fits `max_minutes`.

    train is `missing`, `always` (again, replacing) or `never`; the environment variable SECONDLOOK_TRAIN=never wins.
    Raises RecipeError for a bad `train`, DataError for missing data.
    """
    if train not in TRAIN:
        raise RecipeError(f"unknown train {train!r}{nearest(train, TRAIN)}")
    execution = execution or Execution()
    forbidden = os.environ.get("SECONDLOOK_TRAIN") == "never"
    if forbidden:
        train = "never"
    store = Records(execution.records_dir, execution.runs_dir)
    wanted = plans if train == "always" else without_record(plans, store)
    reason = ""
    if wanted and train == "never":
        switched = "SECONDLOOK_TRAIN=never, as in every build of the book," if forbidden else 'train="never"'
        reason = f"{switched} switches training off"
    elif wanted and (expected := estimate_for(wanted, execution)).minutes > max_minutes:
        reason = f"training takes {expected}, more than max_minutes={max_minutes:g}"
    elif wanted:
        execution.deadline = execution.deadline or time.monotonic() + 60 * max_minutes
        if not _in_time(wanted, execution):
            reason = f"max_minutes={max_minutes:g} were over before the training; it is saved, and goes on from there"
    have = [record for record in store.each(p.recipe for p in plans) if record is not None]
    return Outcome(have, unique(without_record(plans, store)), reason)


def _in_time(plans: list[Plan], execution: Execution) -> bool:
    """Whether the plans were produced before the deadline. A signal has its usual effect, once everything is saved."""
    from secondlook.training.checkpoint import Stopped, stop_on_signals

    try:
        with stop_on_signals():
            produce(plans, execution)
    except Stopped as stop:
        if stop.signal is not None:
            signal.raise_signal(stop.signal)
        return False
    return True


def without_record(plans: list[Plan], store: Records) -> list[Plan]:
    """The plans whose record is missing, or keeps less than they ask for."""
    return [p for p, record in zip(plans, store.each(p.recipe for p in plans)) if record is None]


def unique(plans: list[Plan]) -> list[Plan]:
    """The plans without those whose recipe equals an earlier one's: two variants that agree share one record."""
    return list({p.recipe.id: p for p in reversed(plans)}.values())[::-1]


def richest(plans: list[Plan]) -> list[Recipe]:
    """The recipes of the plans, of equal ones the one that keeps most."""
    found: dict[str, Recipe] = {}
    for recipe in sorted((p.recipe for p in plans), key=lambda r: -KEEPS.index(r.keep)):
        found.setdefault(recipe.id, recipe)
    return [found[p.recipe.id] for p in unique(plans)]


def estimate_for(plans: list[Plan], execution: Execution) -> Estimate:
    """How long `produce` will take for these plans. Measures what units of work cost here, where that is not known."""
    return estimate(richest(plans), execution.resolved_device(), execution.processes)


def produce(plans: list[Plan], execution: Execution) -> list[Record]:
    """Trains every plan, group by group, and files each record as soon as it is whole.

    On a processor, `execution.processes` of them at a time where that is more than one. Raises OSError or RecordError,
    before any work, where something could not be written, and training.checkpoint.Stopped when asked to stop or when
    the deadline passes; what was begun is saved.
    """
    from secondlook.training.checkpoint import Stopped

    recipes, groups = richest(plans), []
    check_folders(recipes, execution)
    for kind in dict.fromkeys(r.kind for r in recipes):
        module = importlib.import_module(f"secondlook.experiments.{kind}")
        groups += module.groups([r for r in recipes if r.kind == kind])
    if execution.processes > 1 and len(recipes) > 1 and execution.resolved_device() == "cpu":
        return _side_by_side(groups, execution)
    made: list[Record] = []
    for group in groups:
        if made and execution.deadline is not None and time.monotonic() >= execution.deadline:
            raise Stopped(execution.runs_dir, None)
        made += _produce(group, execution)
    return made


def _produce(group: list[Recipe], execution: Execution) -> list[Record]:
    from secondlook.training.fast.cpu import denormals_flushed
    from secondlook.training.machine import few_threads

    with denormals_flushed(), few_threads():
        return importlib.import_module(f"secondlook.experiments.{group[0].kind}").produce(group, execution)


def _side_by_side(groups: list[list[Recipe]], execution: Execution) -> list[Record]:
    """The groups in several processes; seeds of one net, which share a step on a GPU, share nothing here."""
    from secondlook.training.parallel import in_processes

    units = [unit for g in groups for unit in ([[r] for r in g] if g[0].kind == "classifier" else [g])]
    processes, shares = min(execution.processes, len(units)), [0.0] * len(units)
    label = f"{groups[0][0].report}, {sum(map(len, units))} runs, {processes} at a time"
    costs = [core_minutes(unit) for unit in units]

    def progress(number: int, _, share: float) -> None:
        shares[number] = max(share, shares[number])  # a run of two phases begins twice
        execution.progress(label, sum(map(operator.mul, costs, shares)) / sum(costs))

    in_processes(_produce, units, execution, processes, progress)
    store = Records(execution.records_dir, execution.runs_dir)
    return [store.get(recipe) for unit in units for recipe in unit]
