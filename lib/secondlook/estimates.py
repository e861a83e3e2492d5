"""How long recipes will take: their work, counted, at what its units cost on this machine, measured once.

Counts and costs are remembered in the user's cache; only what is not there imports torch.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from secondlook.cache import remembered
from secondlook.recipe import Recipe, RecipeError

UNITS = ("macs", "values", "calls", "graph_calls", "light_calls", "weights", "kernel", "seconds")
# Seconds of one core of a server's processor (AMD EPYC, AVX-512), rounded: what pages and claims count by, and what a
# multiply-add of other precision takes of that
REFERENCE = np.array([2e-11, 1.1e-9, 4e-5, 4e-5, 5e-6, 3.5e-9, 2.5e-11, 1.0])
OF_PRECISION = {"bf16": 0.5, "float64": 3.5}
TOGETHER = "seeds together: "  # how the name of a part of the work begins that seeds share where they train as one net
CODE = ("models", "data", "training", "experiments", "insight")  # what the counts come from


@dataclass(frozen=True)
class Estimate:
    """Minutes until something is trained on a device, so many runs at a time."""

    minutes: float
    device: str
    at_a_time: int = 1

    def __str__(self) -> str:
        together = f", {self.at_a_time} runs at a time" if self.at_a_time > 1 else ""
        return f"about {told(self.minutes)} on this machine's {'CPU' if self.device == 'cpu' else 'GPU'}{together}"


def estimate(recipes: Iterable[Recipe], device: str, processes: int = 1) -> Estimate:
    """How long training all of these recipes takes on `device` (cpu, cuda, cuda:1).

    On a CPU in so many processes side by side, of a core each. What several recipes share is counted once; a run that
    may stop early is counted to its last epoch. Raises RecipeError for a recipe whose net cannot be.
    """
    units = _seconds(recipes, device, _costs(device)).values()
    at_a_time = max(min(processes, len(units)), 1) if device == "cpu" else 1
    return Estimate(max(sum(units) / at_a_time, *units, 0.0) / 60, device, at_a_time)


def core_minutes(recipes: Iterable[Recipe]) -> float:
    """Minutes on one core as REFERENCE has it, the same wherever they are counted."""

    def reference(precision: str, kernel: bool) -> np.ndarray:
        return REFERENCE * np.where(np.array(UNITS) == "macs", OF_PRECISION.get(precision, 1.0), 1.0)

    return sum(_seconds(recipes, "cpu", reference).values()) / 60


def core_time(recipes: Iterable[Recipe]) -> str:
    """`core_minutes` in words: 3 core-minutes, 12 core-hours."""
    return told(core_minutes(recipes)).replace(" ", " core-")


def told(time: float) -> str:
    """Minutes as a person says them: 12 seconds, 45 minutes, 2.5 hours; two digits are all an estimate has."""
    amount, unit = (60 * time, "seconds") if time < 2 else (time, "minutes") if time < 120 else (time / 60, "hours")
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:,.0f} {unit}"


def _seconds(recipes: Iterable[Recipe], device: str, costs: Callable) -> dict[str, float]:
    """Seconds of what one process does, by name: a recipe, or recipes that have a part of their work in common."""
    recipes = {f"{r.id} {r.keep}": r for r in recipes}
    counted, done, units = _counted(recipes), set(), {}
    for key, recipe in recipes.items():
        parts = {f"{n} {key}" if device == "cpu" and n.startswith(TOGETHER) else n: w for n, w in counted[key].items()}
        own = np.sum([work for name, work in parts.items() if name not in done] or [np.zeros(len(UNITS))], 0)
        done |= set(parts)
        unit, precision = next(iter(parts)), getattr(recipe.settings, "precision", "float32")
        units[unit] = units.get(unit, 0.0) + float(own @ costs(precision, bool(own[UNITS.index("kernel")])))
    return units


def _counted(recipes: dict[str, Recipe]) -> dict[str, dict[str, list[float]]]:
    def count(key: str) -> dict[str, list[float]]:
        from secondlook.experiments.work import parts

        try:
            return {name: [float(f"{n:.6g}") for n in work] for name, work in parts(recipes[key]).items()}
        except (ValueError, TypeError, RuntimeError) as error:  # from a net that cannot be, or takes no such image
            raise RecipeError(f"{recipes[key]}: {error}") from None

    return remembered("work", _code(), recipes, count)


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted(Path(__file__).with_name(folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _costs(device: str) -> Callable[[str, bool], np.ndarray]:
    """Seconds of each unit by precision; the kernel's are measured where they are needed."""

    @cache
    def measured(precision: str, kernel: bool) -> np.ndarray:
        from secondlook.experiments import probe
        from secondlook.experiments.provenance import device_name, versions

        machine = f"{device_name(device)}, torch {versions()['torch']}"
        precision = "float32" if device == "cpu" and precision == "tf32" else precision
        wanted = {f"{machine}, {precision}": lambda: probe.unit_costs(device, precision)}
        if kernel:
            wanted[f"{machine}, kernel"] = lambda: probe.kernel_cost(device)
        found = remembered("unit-costs", " ".join(UNITS), wanted, lambda key: {"seconds": wanted[key]()})
        own = [values["seconds"] for values in found.values()]
        return np.array([*own[0], *(own[1] if kernel else [0.0]), 1.0])

    return measured
