"""From recipes to records: load what is there, train what is missing."""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from secondlook.checks import RecipeError, nearest
from secondlook.estimates import Estimate, core_minutes, estimate
from secondlook.files import check_writable, lock
from secondlook.groups import groups
from secondlook.recipe import KEEPS, Recipe
from secondlook.record import Record, Records, contents, folder_for, shelf_of
from secondlook.reports import ROOT
from secondlook.training.stopping import Stopped, stop_on_signals

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
    cluster: str = ""  # the address of a Dask scheduler whose workers train, or the file that it wrote
    send_data: bool = False  # to workers elsewhere that lack a data set
    progress: Callable[[str, float], None] = lambda label, share: None
    results: list | None = None  # on a worker: records and checkpoints to be filed by the process that asked

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
class Runs:
    """Records in the order of their recipes, and the recipes that have none, with the reason."""

    records: list[Record] = field(default_factory=list)
    missing: list[Recipe] = field(default_factory=list)
    reason: str = ""


def load_or_train(
    recipes: list[Recipe], execution: Execution | None = None, *, train: str = "missing", max_minutes: float = 15.0
) -> Runs:
    """Records for `recipes`: those that exist are loaded, missing ones trained if their estimate fits `max_minutes`.

    train is `missing`, `always` (again, replacing) or `never`; the environment variable SECONDLOOK_TRAIN=never wins. A
    signal to stop has its usual effect, once everything is saved. Raises RecipeError for a bad `train`, DataError for
    missing data.
    """
    if train not in TRAIN:
        raise RecipeError(f"unknown train {train!r}{nearest(train, TRAIN)}")
    execution = execution or Execution()
    forbidden = os.environ.get("SECONDLOOK_TRAIN") == "never"
    store = Records(execution.records_dir, execution.runs_dir)
    wanted = recipes if train == "always" and not forbidden else without_record(recipes, store)
    reason = ""
    if wanted and (forbidden or train == "never"):
        reason = "the book is built without training" if forbidden else 'train="never" switches training off'
    elif wanted and (expected := estimate_for(wanted, execution)).minutes > max_minutes:
        reason = f"training takes {expected}, more than max_minutes={max_minutes:g}"
    elif wanted:
        execution = replace(execution, deadline=execution.deadline or time.monotonic() + 60 * max_minutes)
        try:
            with stop_on_signals():
                produce(wanted, execution)
        except Stopped as stop:
            if stop.signal is not None:
                signal.raise_signal(stop.signal)
            reason = f"max_minutes={max_minutes:g} were over before the training; it is saved, and goes on from there"
    found = [record for record in store.each(recipes) if record is not None]
    return Runs(found, unique(without_record(recipes, store)), reason)


def produce(recipes: list[Recipe], execution: Execution) -> list[Record]:
    """Trains every recipe, group by group, and files each record as soon as it is whole.

    On a processor, `execution.processes` of them at a time where that is more than one; or on the workers of
    `execution.cluster`. Raises OSError or RecordError, before any work, where something could not be written or no
    scheduler answers, and training.checkpoint.Stopped when asked to stop or when the deadline passes; what was begun is
    saved.
    """
    recipes = richest(recipes)
    check_folders(recipes, execution)
    together = groups(recipes)
    if recipes and execution.cluster:
        return _side_by_side(together if execution.device.startswith("cuda") else _apart(together), execution)
    if execution.processes > 1 and len(units := _apart(together)) > 1 and execution.resolved_device() == "cpu":
        return _side_by_side(units, execution)
    made: list[Record] = []
    for group in together:
        if made and execution.deadline is not None and time.monotonic() >= execution.deadline:
            raise Stopped(execution.runs_dir, None)
        made += _produce(group, execution)
    return made


def _produce(group: list[Recipe], execution: Execution) -> list[Record]:
    from secondlook.experiments import PRODUCE
    from secondlook.training.fast.cpu import denormals_flushed
    from secondlook.training.machine import few_threads

    with denormals_flushed(), few_threads():
        return PRODUCE[group[0].kind](group, execution)


def _apart(together: list[list[Recipe]]) -> list[list[Recipe]]:
    """The groups, but seeds of one net, which share a step on a GPU, one by one."""
    return [unit for g in together for unit in ([[r] for r in g] if g[0].kind == "classifier" else [g])]


def _side_by_side(units: list[list[Recipe]], execution: Execution) -> list[Record]:
    """The units on several workers, the longest first."""
    from secondlook.cluster import on_workers
    from secondlook.experiments.filing import filed
    from secondlook.training.checkpoint import Checkpoint

    costs = {f"{u[0].id}-{len(u)}": core_minutes(u) for u in units}
    pieces = dict(sorted(zip(costs, units, strict=True), key=lambda piece: -costs[piece[0]]))
    processes, shares = min(execution.processes, len(units)), dict.fromkeys(costs, 0.0)
    recipes = [recipe for unit in units for recipe in unit]
    reports = ", ".join(dict.fromkeys(recipe.report for recipe in recipes))
    label = f"{reports}, {len(recipes)} runs, " + (execution.cluster or f"{processes} at a time")

    def progress(key: str, share: float) -> None:
        shares[key] = max(share, shares[key])  # a run of two phases begins twice
        execution.progress(label, sum(costs[k] * shares[k] for k in costs) / sum(costs.values()))

    def finished(results: list) -> list[Path]:
        for records, checkpoints in results:
            filed(records, execution, [Checkpoint(path, {}) for path in checkpoints])
        filed_paths.extend(paths := [path for _, checkpoints in results for path in checkpoints])
        return paths

    images = {r.data.name: r.data for r in recipes if r.data.source != "standin" and r.kind != "risk"}
    filed_paths: list[Path] = []
    try:
        on_workers(_produce, pieces, execution, processes, progress, finished, tuple(images.values()))
    finally:  # a run whose worker was lost just after it had told may have begun, and saved itself, again
        for path in filed_paths:
            Checkpoint(path, {}).remove()
    store = Records(execution.records_dir, execution.runs_dir)
    return [store.get(recipe) for recipe in recipes]


def without_record(recipes: list[Recipe], store: Records) -> list[Recipe]:
    """The recipes whose record is missing, or keeps less than they ask for."""
    return [recipe for recipe, record in zip(recipes, store.each(recipes)) if record is None]


def unique(recipes: list[Recipe]) -> list[Recipe]:
    """The recipes without those that equal an earlier one: two variants that agree share one record."""
    return list({r.id: r for r in reversed(recipes)}.values())[::-1]


def richest(recipes: list[Recipe]) -> list[Recipe]:
    """The recipes, of equal ones the one that keeps most."""
    found = {r.id: r for r in sorted(recipes, key=lambda r: KEEPS.index(r.keep))}
    return [found[r.id] for r in unique(recipes)]


def estimate_for(recipes: list[Recipe], execution: Execution) -> Estimate:
    """How long `produce` will take for these recipes. Measures what work costs here, where that is not known."""
    return estimate(richest(recipes), execution.resolved_device(), execution.processes)


def check_folders(recipes: list[Recipe], execution: Execution) -> None:
    """Returns nothing where all that training the recipes will write can be written, and raises before any work if not.

    Raises OSError for a folder, RecordError for a shelf to which nothing can be added; both say the way out.
    """
    for name in ("checkpoints", "weights"):
        check_writable(execution.runs_dir / name, "--runs-dir")
    shelves: dict = {}
    for recipe in recipes:
        path = shelf_of(recipe, folder_for(recipe, execution.records_dir, execution.runs_dir))
        shelves.setdefault((path.parent, "--records-dir" if recipe.is_evidence else "--runs-dir"), set()).add(path)
    for (folder, option), paths in shelves.items():
        check_writable(folder, option)
        with lock(folder / ".lock"):
            for path in sorted(paths):
                contents(path)
