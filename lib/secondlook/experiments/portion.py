"""One command for a machine with a GPU for some minutes: measures it, trains missing records in the order of value,
and packs them to be carried home.

Nothing is fetched, and nothing but the training side's packages is imported. Whatever ends the minutes, every record
that was finished lies in an archive, and long runs whose checkpoint is small enough to carry go on another time.
"""

import gc
import importlib
import json
import math
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace

from secondlook.archive import LIMIT, pack_all
from secondlook.experiments import Execution, produce, without_record
from secondlook.recipe import KEEPS, Recipe
from secondlook.record import Record, Records, replace_file
from secondlook.reports import Plan, names, read

# What is worth most first. A pattern is REPORT/VARIANT/RUN. `first` takes seed 0 of each run, `in turn` one seed of all
# runs after another, `together` all seeds of a run, which share a GPU where the net is small.
ORDER: tuple[tuple[str, str], ...] = (
    ("first", "vgg/as_published/vgg11"),
    ("first", "vgg/as_published/vgg16"),
    ("first", "vae/as_coded/*"),
    ("first", "vae/*"),
    ("together", "alexnet/as_coded/lenet-*"),
    ("together", "alexnet/corrected/lenet-*"),
    ("together", "optimizers/as_coded/*"),
    ("together", "optimizers/as_published/*"),
    ("in turn", "v*/as_*"),
    ("in turn", "vae/*"),
    ("first", "alexnet/*/alexnet*"),
    ("together", "alexnet/*"),
    ("together", "*"),
)
FILES, CARRIED = 8, 60 * 2**20  # what can be carried home: how many files, and bytes in all
PACKING = 20.0  # seconds kept for the last archive


@dataclass
class Portion:
    """What became of the minutes; `carry` keeps what is to be carried home in `out`."""

    out: Path
    execution: Execution
    facts: dict
    missing: list[Plan]
    began: float = field(default_factory=time.time)
    done: list[Record] = field(default_factory=list)
    failed: list[tuple[Recipe, str]] = field(default_factory=list)
    archives: list[Path] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)
    stopped_by: int | None = None

    @property
    def remaining(self) -> list[Plan]:
        made = {record.id for record in self.done}
        return [plan for plan in self.missing if plan.recipe.id not in made]

    def carry(self) -> None:
        """Archives of the new records, the checkpoints of this portion that are small enough, `portion.json`."""
        store = Records(self.execution.records_dir, self.execution.runs_dir)
        self.done = [record for record in store.each(plan.recipe for plan in self.missing) if record is not None]
        self.archives = pack_all(self.done, self.out)
        for path in self.checkpoints:
            path.unlink()
        self.checkpoints, room = [], CARRIED - sum(path.stat().st_size for path in self.archives)
        saved = Path(self.execution.runs_dir, "checkpoints").glob("*.ckpt")
        saved = [path for path in saved if path.stat().st_mtime >= self.began and path.stat().st_size <= LIMIT]
        for path in sorted(saved, key=lambda path: -path.stat().st_mtime)[: FILES - 1 - len(self.archives)]:
            if (size := path.stat().st_size) <= room:
                self.checkpoints.append(Path(shutil.copy2(path, self.out)))
                room -= size
        failed = [{"run": str(recipe), "why": why} for recipe, why in self.failed]
        left = [{"run": str(plan.recipe), "gpu_minutes": plan.gpu_minutes} for plan in self.remaining]
        told = {**self.facts, "done": [str(r.recipe) for r in self.done], "failed": failed, "remaining": left}
        replace_file(self.out.resolve() / "portion.json", (json.dumps(told, indent=1) + "\n").encode())


def portion(
    minutes: float, out: Path, execution: Execution, *, profile: str = "full", bench: bool = False,
    told: Callable[[str], None] = print, order=None,
) -> Portion:  # fmt: skip
    """Trains what is missing until `minutes` are up; archives, checkpoints and `portion.json` are left in `out`.

    `bench` first measures the nets against the plain loop. A run that fails is told and the next begun. Raises
    RecipeError where the device is not there.
    """
    from secondlook.training.checkpoint import stop_on_signals

    end = time.monotonic() + 60 * minutes - min(PACKING, 6 * minutes)
    execution.deadline, execution.device = end, execution.resolved_device()
    out.mkdir(parents=True, exist_ok=True)
    facts = machine(execution, bench, told)
    had = Portion(out, execution, facts, missing(profile, execution))
    possible = [plan for plan in had.missing if _readable(plan.recipe, facts["data"])]
    told(f"{len(had.missing)} records are missing; of {len(had.missing) - len(possible)} the data are not here")
    with stop_on_signals():
        for unit in units(possible, ORDER if order is None else order):
            part = fitting(unit, (end - time.monotonic()) / 60, execution.device)
            go_on = not part or _train(part, had, told)
            if part:
                had.carry()
            if not go_on or time.monotonic() >= end:
                break
    had.carry()
    _tell(had, told)
    return had


def missing(profile: str, execution: Execution) -> list[Plan]:
    """The plans of all reports that have no record; of equal recipes the one that keeps most."""
    store = Records(execution.records_dir, execution.runs_dir)
    found: dict[str, Plan] = {}
    for plan in without_record([plan for name in names() for plan in read(name).plans(profile=profile)], store):
        id_, rank = plan.recipe.id, KEEPS.index(plan.recipe.keep)
        if id_ not in found or rank > KEEPS.index(found[id_].recipe.keep):
            found[id_] = plan
    return list(found.values())


def machine(execution: Execution, bench: bool, told: Callable[[str], None]) -> dict:
    """What is here: data sets, device, ceilings and, with `bench`, the nets against the plain loop."""
    from secondlook.bench import rows, table
    from secondlook.data.sources import summary
    from secondlook.experiments.provenance import commit, device_name, versions
    from secondlook.training.ceilings import ceilings

    data = {row["name"]: row["state"] for row in summary(execution.data_dir)}
    for name, state in data.items():
        told(f"data: {name} {state}")
    facts = {"device": device_name(execution.device), "versions": versions(), **commit(), "data": data}
    facts["ceilings"] = ceilings(execution.device)
    told(f"{facts['device']}: " + ", ".join(f"{name} {value:.4g}" for name, value in facts["ceilings"].items()))
    facts["bench"] = []
    for report in ("alexnet", "optimizers", "vgg", "vae") if bench else ():
        try:
            facts["bench"] += rows(report, True, execution.data_dir, told)
        except Exception as error:  # a benchmark that fails must not cost the records
            told(f"benchmark of {report} failed: {type(error).__name__}: {error}")
    if facts["bench"]:
        told(table(facts["bench"]))
    return facts


def units(plans: list[Plan], order=ORDER) -> Iterator[list[Plan]]:
    """The plans in the order of value, each once, in the lists that the engine trains together."""
    left = dict(enumerate(plans))
    for how, pattern in order:
        found = [
            i for i, p in left.items() if fnmatchcase(f"{p.recipe.report}/{p.recipe.variant}/{p.recipe.run}", pattern)
        ]
        if how == "first":
            found = [i for i in found if left[i].recipe.seed == 0]
        seeds = sorted({left[i].recipe.seed for i in found}) if how == "in turn" else [None]
        for seed in seeds:
            chosen = [left[i] for i in found if seed in (None, left[i].recipe.seed)]
            yield from _grouped(chosen)
        for i in found:
            del left[i]


def _grouped(plans: list[Plan]) -> Iterator[list[Plan]]:
    by_id = {plan.recipe.id: plan for plan in plans}
    for kind in dict.fromkeys(plan.recipe.kind for plan in plans):
        groups = importlib.import_module(f"secondlook.experiments.{kind}").groups
        for group in groups([plan.recipe for plan in plans if plan.recipe.kind == kind]):
            yield [by_id[recipe.id] for recipe in group]


def fitting(unit: list[Plan], left: float, device: str) -> list[Plan]:
    """The longest beginning of a unit that ends within `left` minutes, or that can be carried home unfinished."""
    gpu = device.startswith("cuda")
    costs = [p.gpu_minutes if gpu else p.minutes for p in unit]
    sizes = [checkpoint_bytes(p.recipe) for p in unit]
    for count in range(len(unit), 0, -1):
        ends = None not in costs[:count] and sum(costs[:count]) <= left
        if ends or sum(sizes[:count]) < LIMIT:
            return unit[:count]
    return []


def checkpoint_bytes(recipe: Recipe) -> float:
    """What a checkpoint takes at most: the weights, two moments of each, and the best weights where they are kept."""
    import torch

    from secondlook import models
    from secondlook.data.images import DATA_SETS
    from secondlook.experiments.classifier import build

    settings, known = recipe.settings, DATA_SETS.get(recipe.data.name)
    if known is None or not hasattr(settings, "model"):
        return math.inf
    shape = (*known.shape, 1)
    classes = len(recipe.data.classes or known.class_names)
    task = SimpleNamespace(side=recipe.data.image_size or shape[0], channels=shape[2], classes=classes, recipe=recipe)
    with torch.device("meta"):
        weights = models.parameter_count(build(settings, task))
    return 4 * weights * (4 if getattr(settings, "restore_best", False) else 3)


def _train(unit: list[Plan], had: Portion, told: Callable[[str], None]) -> bool:
    """Trains a unit; a failure is told and remembered. False when the minutes are up, or a signal came."""
    from secondlook.training.checkpoint import Stopped

    recipe, execution, clock = unit[0].recipe, had.execution, time.monotonic()
    more = f" and {len(unit) - 1} more" if len(unit) > 1 else ""
    told(f"{(execution.deadline - clock) / 60:.1f} minutes left: {recipe}{more}")
    try:
        produce(unit, execution)
    except Stopped as stop:
        had.stopped_by = stop.signal
        return False
    except Exception as error:  # whatever is wrong with one run, the others have a claim to the minutes
        had.failed.append((recipe, f"{type(error).__name__}: {error}"))
        told(traceback.format_exc())
        told(f"failed: {recipe}{more}")
    else:
        told(f"done in {(time.monotonic() - clock) / 60:.1f} minutes: {recipe}{more}")
    gc.collect()
    if execution.device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
    return True


def _readable(recipe: Recipe, states: dict[str, str]) -> bool:
    """Whether the images that a recipe needs are here, or are drawn by code."""
    return recipe.data.source == "standin" or states.get(recipe.data.name, "verified") == "verified"


def _tell(had: Portion, told: Callable[[str], None]) -> None:
    told(f"{len(had.done)} records made, {len(had.failed)} runs failed, {len(had.remaining)} records remain")
    for recipe, why in had.failed:
        told(f"  failed: {recipe}: {why}")
    for report in dict.fromkeys(plan.recipe.report for plan in had.remaining):
        plans = [plan for plan in had.remaining if plan.recipe.report == report]
        minutes = sum(plan.gpu_minutes or 0 for plan in plans)
        told(f"  remain: {report:<11} {len(plans):>4} records, about {minutes:.0f} minutes on a GPU")
    for path in had.archives:
        told(f"secondlook records add {path}")
    for path in had.checkpoints:
        told(f"{path} goes on where it is put into runs/checkpoints")
