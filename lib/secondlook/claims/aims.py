"""What the `further` runs set out to reach, and how far the records have come."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from secondlook.claims.evidence import PROFILE, counts
from secondlook.recipe import Recipe, RecipeError
from secondlook.record import Record, Records
from secondlook.reports import Aim, Report

REACHED, NOT_REACHED, OPEN = "reached", "not reached", "open"


@dataclass(frozen=True)
class Attempt:
    """An aim with its best records on real data: full, else reduced, else quick; `missing` are full plans.

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
    best = full or _of(report, aim, "reduced", found) or _of(report, aim, "quick", found)
    return Attempt(report.short, aim, best, missing)


def _of(report: Report, aim: Aim, profile: str, found: dict[str, Record]) -> list[Record]:
    """The records on real data of an aim's run in a smaller profile, which may leave the run out."""
    recipes: list[Recipe] = []
    with suppress(RecipeError):
        recipes = report.recipes(aim.run, aim.variant, profile)
    return [found[r.id] for r in recipes if r.id in found and not found[r.id].is_standin]
