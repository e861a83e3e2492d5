"""One command for a machine with a GPU for some minutes: measures it, trains missing records in the order of value,
and packs them to be carried home.

Nothing is fetched, and nothing but the training side's packages is imported. Whatever ends the minutes, every record
that was finished lies in an archive, and long runs whose checkpoint is small enough to carry go on another time.
"""

import gc
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace

from secondlook.archive import LIMIT, pack_all
from secondlook.experiments import Execution, produce
from secondlook.recipe import Recipe
from secondlook.record import Records, replace_file
from secondlook.reports import Plan, names, read

# What is worth most first. A pattern is REPORT/VARIANT/RUN. `first` takes the first seed of each run, `in turn` one seed
# of every run after another, `together` all seeds of a run at once, which share a GPU where the net is small.
ORDER: tuple[tuple[str, str], ...] = (
    ("first", "vgg/as_published/vgg1[16]"),
    ("first", "vae/as_coded/*"),
    ("first", "vae/*/*"),
    ("together", "alexnet/as_coded/lenet-*"),
    ("together", "alexnet/corrected/lenet-*"),
    ("together", "optimizers/as_coded/*"),
    ("together", "optimizers/as_published/*"),
    ("in turn", "v*/as_*/*"),
    ("in turn", "vae/*/*"),
    ("first", "alexnet/*/alexnet*"),
    ("together", "alexnet/*/*"),
    ("together", "*/*/*"),
)
FILES, CARRIED = 8, 60 * 2**20  # what can be carried home: how many files, and bytes in all
PACKING = 20.0  # seconds kept for the last archive


@dataclass
class Portion:
    """What became of the minutes."""

    done: list[Recipe] = field(default_factory=list)
    failed: list[tuple[Recipe, str]] = field(default_factory=list)
    remaining: list[Plan] = field(default_factory=list)
    archives: list[Path] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)
    stopped_by: int | None = None


def portion(
    minutes: float, out: Path, execution: Execution, *, profile: str = "full", bench: bool = False,
    told: Callable[[str], None] = print, order=ORDER,
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
    store, had = Records(execution.records_dir, execution.runs_dir), Portion()
    wanted = [plan for name in names() for plan in read(name).plans(profile=profile)]
    missing = [plan for plan in wanted if store.get(plan.recipe) is None]
    readable = [plan for plan in missing if plan.recipe.data.source == "standin" or _there(plan.recipe, facts)]
    told(f"{len(missing)} of {len(wanted)} records are missing; {len(missing) - len(readable)} of them have no data here")
    began = time.time()
    with stop_on_signals():
        for unit in units(readable, order):
            fitting = fits(unit, (end - time.monotonic()) / 60, execution.device)
            if fitting and not _train(fitting, execution, had, told):
                break
            if fitting:
                _carry(missing, store, out, execution, began, had, facts)
    _carry(missing, store, out, execution, began, had, facts)
    _summary(had, out, told)
    return had


def machine(execution: Execution, bench: bool, told: Callable[[str], None]) -> dict:
    """What is here: data sets, device, ceilings and, with `bench`, the nets against the plain loop."""
    from secondlook.bench import rows, table
    from secondlook.bench.ceilings import ceilings
    from secondlook.data.sources import summary
    from secondlook.experiments.provenance import commit, device_name, versions

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
    """The plans in the order of value, each once, in lists that are trained together."""
    left = dict.fromkeys(range(len(plans)))
    for how, pattern in order:
        matching = [i for i in left if fnmatchcase(_name(plans[i].recipe), pattern)]
        runs: dict[str, list[int]] = {}
        for i in matching:
            runs.setdefault(_name(plans[i].recipe), []).append(i)
        chosen = list(runs.values())
        if how == "first":
            first = {n: min(p.recipe.seed for p in plans_of) for n, plans_of in _by_run(plans[0].recipe.profile).items()}
            chosen = [[i] for own in runs.values() for i in own if plans[i].recipe.seed == first[_name(plans[i].recipe)]]
        elif how == "in turn":
            chosen = [[i] for i in sorted(matching, key=lambda i: plans[i].recipe.seed)]
        for unit in chosen:
            for i in unit:
                del left[i]
            yield [plans[i] for i in unit]
