"""Where a report stands: how many of its runs have full records, and how far its `further` runs reached their aims."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from secondlook.claims.evidence import PROFILE, REDUCED, counts
from secondlook.recipe import Recipe, RecipeError
from secondlook.record import Record, Records
from secondlook.reports import Aim, Report

REACHED, NOT_REACHED, OPEN = "reached", "not reached", "open"


@dataclass(frozen=True)
class Standing:
    """Counts of a report's runs, a grid being one: all records of the full protocol there, some, or only reduced ones.

    `told` are the words of the report's file for what the reduced ones reduce.
    """

    report: str
    runs: int
    full: int
    partial: int
    reduced: int
    told: tuple[str, ...]

    @property
    def rest(self) -> int:
        return self.runs - self.full - self.partial - self.reduced

    def __str__(self) -> str:
        if self.full == self.runs:
            return f"All {self.runs} runs of this report are there in full."
        counted = {
            "in full": self.full,
            "in part (some of their seeds or settings)": self.partial,
            f"reduced ({'; '.join(self.told)})": self.reduced,
            "not run yet": self.rest,
        }
        parts = [f"{count} {how}" for how, count in counted.items() if count]
        return f"Of the {self.runs} runs of this report there are {', '.join(parts)}."


def standing(report: Report, store: Records) -> Standing:
    """Where the evidence of this report stands in these records."""
    found, states, told = store.of(report.name), [], {}
    for (run, variant), plans in _runs(report, PROFILE).items():
        made = [p.id in found and counts(found[p.id]) for p in plans]
        small = _runs(report, REDUCED).get((run, variant), [])
        words = {p.reduced: None for p in small if p.id in found and counts(found[p.id], True)}
        state = "full" if all(made) else "partial" if any(made) else "reduced" if words else ""
        states.append(state)
        told |= words if state == "reduced" else {}
    count = Counter(states)
    return Standing(report.short, len(states), count["full"], count["partial"], count["reduced"], tuple(told))


def _runs(report: Report, profile: str) -> dict[tuple[str, str], list]:
    runs: dict[tuple[str, str], list] = {}
    for plan in report.recipes(profile=profile):
        runs.setdefault((plan.sweep, plan.variant), []).append(plan)
    return runs


@dataclass(frozen=True)
class Attempt:
    """An aim with its best records on real data: full, else reduced; `missing` are full plans.

    It is `open` until every seed planned has its record, then `reached` where their mean is at least the aim.
    """

    report: str
    aim: Aim
    records: list[Record]
    missing: list[Recipe]

    @property
    def profile(self) -> str:
        return self.records[0].recipe.profile if self.records else ""

    @property
    def values(self) -> np.ndarray:
        """The metric of every record, shape (seeds,); NaN where a diverged run left none."""
        found = [record.metrics.get(self.aim.metric) for record in self.records]
        return np.array([np.nan if v is None else v for v in found], float)

    @property
    def state(self) -> str:
        if self.missing or not self.records:
            return OPEN
        return REACHED if float(self.values.mean()) >= self.aim.least.value else NOT_REACHED


def attempts(report: Report, store: Records) -> list[Attempt]:
    """An attempt for every aim of the report, in the order of its file."""
    found = store.of(report.name)
    return [_attempt(report, aim, found) for aim in report.aims.values()]


def _attempt(report: Report, aim: Aim, found: dict[str, Record]) -> Attempt:
    plans = report.recipes(aim.run, aim.variant, PROFILE)
    full = [found[p.id] for p in plans if p.id in found and counts(found[p.id])]
    missing = [p for p in plans if p.id not in {r.id for r in full}]
    return Attempt(report.short, aim, full or _reduced(report, aim, found), missing)


def _reduced(report: Report, aim: Aim, found: dict[str, Record]) -> list[Record]:
    """The reduced records of an aim's run on real data; the profile may leave the run out."""
    recipes: list[Recipe] = []
    with suppress(RecipeError):
        recipes = report.recipes(aim.run, aim.variant, REDUCED)
    return [found[r.id] for r in recipes if r.id in found and not found[r.id].is_standin]
