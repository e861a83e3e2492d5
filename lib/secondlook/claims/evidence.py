"""The records a claim may be judged on: all that the full protocol names, on real data, paired by seed.

An indication rests on those of the `reduced` profile instead: the seeds there are, and never the size of a difference.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from secondlook.checks import RecipeError, nearest
from secondlook.claims import forms
from secondlook.claims.forms import INCONCLUSIVE, NOT_RUN, TOO_FEW, Verdict
from secondlook.estimates import core_time
from secondlook.evaluation.statistics import LEAST_SEEDS
from secondlook.recipe import Recipe
from secondlook.record import Record
from secondlook.reports import Claim, Published, Report

PROFILE, REDUCED = "full", "reduced"


class Unjudged(Exception):
    """There is nothing to judge on; says which verdict that is, and why."""

    def __init__(self, word: str, why: str):
        super().__init__(why)
        self.word, self.why = word, why


class Protocol:
    """The plans of a report by variant and run, built once for all of its claims.

    The full ones, or, where `is_reduced`, those of the `reduced` profile and the full ones of what it leaves as it is.
    """

    def __init__(self, report: Report, is_reduced: bool = False):
        self.report, self.is_reduced = report, is_reduced
        self._runs: dict[str, dict[str, list[Recipe]]] = {}

    def runs(self, variant: str, where: str) -> dict[str, list[Recipe]]:
        """The plans of every run of a variant. Raises RecipeError naming `where` for an unknown one."""
        if variant not in self._runs:
            if variant not in self.report.variants():
                raise RecipeError(f"{where}: unknown variant {variant!r}{nearest(variant, self.report.variants())}")
            reduces = self.is_reduced and REDUCED in self.report.layers["profile"]
            small = self.report.recipes(variant=variant, profile=REDUCED) if reduces else []
            own, runs = {r.sweep for r in small}, {}
            full = self.report.recipes(variant=variant, profile=PROFILE)
            for recipe in small + [r for r in full if r.sweep not in own]:
                runs.setdefault(recipe.run, []).append(recipe)
            self._runs[variant] = runs
        return self._runs[variant]

    def printed(self, *names: str) -> list[float]:
        """The values of published numbers."""
        return [self.published(name).value for name in names]

    def recipes(self, run: str, variant: str, where: str) -> list[Recipe]:
        """The plans of one run in the order of their seeds. Raises RecipeError naming `where` for an unknown one, and
        Unjudged for a point of a grid that the reduced one leaves out."""
        runs = self.runs(variant, where)
        if run not in runs and self.is_reduced:
            raise Unjudged(NOT_RUN, f"{run} ({variant}) has no reduced runs")
        if run not in runs:
            raise RecipeError(f"{where}: variant {variant} has no run {run!r}{nearest(run, runs)}")
        return sorted(runs[run], key=lambda p: p.seed)


@dataclass
class Evidence:
    """What one claim is judged on. Remembers the recipes it asked for and the records it used.

    Of reduced runs fewer seeds than a test needs are given only where `few` allows it: for the value they show.
    """

    report: Report
    claim: Claim
    protocol: Protocol
    found: Mapping[str, Record]
    used: dict[str, Record] = field(default_factory=dict)
    asked: list[Recipe] = field(default_factory=list)
    few: bool = False

    @property
    def reduced(self) -> str:
        """What was reduced in the runs used, in the words of the report's file; of whole runs the seeds there are."""
        told: dict[str, None] = {}
        for run in dict.fromkeys((r.run, r.variant) for r in self.asked if r.id in self.used):
            plans = self.protocol.recipes(*run, self.where)
            made = sum(p.id in self.used for p in plans)
            told[plans[0].reduced or f"{made} of {len(plans)} seeds" * (made < len(plans))] = None
        return "; ".join(t or "others in full" for t in sorted(told, key=lambda t: not t)) if any(told) else ""

    @property
    def where(self) -> str:
        return f"{self.report.path.name}: claim.{self.claim.id}"

    @property
    def root(self) -> Path:
        """The folder with the report's logs, in reports/."""
        return self.report.path.parents[1]

    def published(self, name: str) -> Published:
        """A published number of the report. Raises RecipeError for one it does not have."""
        if name not in self.report.published:
            raise RecipeError(f"{self.where}: unknown published number {name!r}{nearest(name, self.report.published)}")
        return self.report.published[name]

    def printed(self, *names: str) -> list[float]:
        """The values of published numbers."""
        return [self.published(name).value for name in names]

    def recipes(self, run: str, variant: str | None = None) -> list[Recipe]:
        """The whole protocol of a run, without asking for its records."""
        return self.protocol.recipes(run, variant or self.claim.variant, self.where)

    def runs(self, *names: str) -> list[str]:
        """The claim's runs of these names, or points of their grids."""
        found = self.protocol.runs(self.claim.variant, self.where)
        return [n for n in found if any(n == name or n.startswith(f"{name}-") for name in names)]

    def gather(self, *runs: str | tuple[str, str], least: int = LEAST_SEEDS, first: int = 0) -> list[list[Record]]:
        """For each run, or (run, variant), its records on the seeds that all of them have, in the order of seeds.

        Raises Unjudged when a record of the protocol is missing (a claim is judged on all seeds planned, so that
        nobody stops at a lucky one) or when fewer than `least` seeds are shared. With `first`, the first so many seeds
        of a plan do until all are there; in between nothing changes. Reduced runs are taken as they are, with
        `least` seeds.
        """
        if not runs:
            raise Unjudged(NOT_RUN, "the report plans no such runs")
        wanted = [(run, self.claim.variant) if isinstance(run, str) else run for run in runs]
        by_seed, missing = [], []
        for run, variant in wanted:
            recipes = self._planned(run, variant, first)
            self.asked += recipes
            records = {r.seed: self.found[r.id] for r in recipes if self._has(r)}
            by_seed.append(records)
            if self.protocol.is_reduced and not records:
                raise Unjudged(NOT_RUN, f"{run} ({variant}) has no reduced records")
            if len(records) < len(recipes) and not self.protocol.is_reduced:
                lacking = [r.id for r in recipes if r.seed not in records]
                command, told = self._command(run, variant, lacking)
                missing.append(f"{len(lacking)} of {len(recipes)} by `{command}` ({told})")
        if missing:
            raise Unjudged(NOT_RUN, f"records are missing: {', '.join(missing)}")
        seeds = sorted(set.intersection(*(set(records) for records in by_seed)))
        if len(seeds) < least and self.protocol.is_reduced:
            if not self.few or not seeds:
                raise Unjudged(TOO_FEW, f"{len(seeds)} seeds in common, a test needs {least}")
            seeds = seeds * 2 if len(seeds) == 1 else seeds  # a mean of one: forms take no fewer than two
        elif len(seeds) < least:
            raise Unjudged(NOT_RUN, f"{len(seeds)} seeds in common, a verdict needs {least}: plan more in the report")
        groups = [[records[s] for s in seeds] for records in by_seed]
        self.used.update({record.id: record for group in groups for record in group})
        return groups

    def _has(self, recipe: Recipe) -> bool:
        return recipe.id in self.found and counts(self.found[recipe.id], self.protocol.is_reduced)

    def _planned(self, run: str, variant: str, first: int) -> list[Recipe]:
        """The recipes of a run, or its first ones where these have records and not all have."""
        recipes = self.recipes(run, variant)
        made = [self._has(r) for r in recipes]
        return recipes[:first] if first and all(made[:first]) and not all(made) else recipes

    def _command(self, run: str, variant: str, ids: list[str]) -> tuple[str, str]:
        """What makes the records of these recipes of a run, and how long that is expected to take."""
        plans = [p for p in self.report.recipes(run, variant, PROFILE) if p.id in ids]
        return plans[0].command(run), f"about {core_time(plans)}"

    def _anew(self, records: list[Record]) -> str:
        """The command that makes these records again, as the present version keeps them."""
        if self.protocol.is_reduced:
            return "It is older than the claim"
        recipe = records[0].recipe
        command, told = self._command(recipe.run, recipe.variant, [r.id for r in records])
        made = f"this makes its {len(records)} records anew: `{command} --again` ({told})"
        return f"Where it is older than the claim, {made}"

    def numbers(self, records: list[Record], metric: str) -> np.ndarray:
        """A metric of each record, shape (seeds, …); a dot reaches into a table (`small_draws.sd`).

        Raises Unjudged where a record lacks it or where a value is not finite (a diverged seed is never dropped).
        """
        values = []
        for record in records:
            try:
                values.append(_reach(record, metric))
            except KeyError as error:
                raise Unjudged(NOT_RUN, f"{error.args[0]}. {self._anew(records)}") from None
        return self.finite(records, values, metric)

    def one_machine(self, *groups: list[Record]) -> None:
        """Raises Unjudged where records whose seconds are compared were measured on different kinds of machine."""
        for own in zip(*groups):
            devices = sorted({str(record.provenance.get("device", "")) for record in own})
            if len(devices) > 1:
                why = f"seconds of seed {own[0].recipe.seed} were measured on different machines: {', '.join(devices)}"
                raise Unjudged(INCONCLUSIVE, why)

    def compare(
        self, records, published: str, metric: str, tolerance: float, images: int = 0, sampling="", of: int = 1,
        half_unit: float | None = None,
    ) -> Verdict:  # fmt: skip
        """A published number, the mean `of` so many runs, against a metric of the records.

        `sampling` names a metric, or `images` gives a count of images, for the standard error of a published number
        whose images are not those of the metric; leave both out where the seeds already differ in their images.
        `half_unit` is how exact a number is whose print, such as a bare 0, does not say so.
        """
        number, measured = self.published(published), self.numbers(records, metric)
        error = float(self.numbers(records, sampling).mean()) if sampling else 0.0
        if images:
            mean = float(measured.mean())
            error = math.sqrt(max(mean * (1.0 - mean), 0.0) / images)
        half_unit = number.half_unit if half_unit is None else half_unit
        return forms.value(measured, number.value, half_unit, tolerance, error, number.text.endswith("%"), of)

    def gap(self, differences, high: str, low: str, tolerance: float) -> Verdict:
        """The published gap, `high` less `low`, against ours; of reduced runs only the sign is asked: it is open."""
        a, b = self.published(high), self.published(low)
        size = forms.value(differences, a.value - b.value, a.half_unit + b.half_unit, tolerance)
        return replace(size, word=INCONCLUSIVE) if self.protocol.is_reduced else size

    def curves(self, records: list[Record], name: str) -> list[np.ndarray]:
        """A curve of each record's history. Raises Unjudged where a record lacks it; values may be non-finite."""
        for record in records:
            if name not in record.history:
                why = f"{record.recipe} keeps no curve {name!r}{nearest(name, record.history)}"
                raise Unjudged(NOT_RUN, f"{why}. {self._anew(records)}")
        return [np.asarray(record.history[name], float) for record in records]

    def measured(self, metric: str, *runs: str | tuple[str, str]) -> list[np.ndarray]:
        """The metric's `numbers` of each run, on the seeds that all of them have."""
        return [self.numbers(records, metric) for records in self.gather(*runs)]

    def drawn(self, name: str, *runs: str | tuple[str, str]) -> list[list[np.ndarray]]:
        """The `curves` of each run, on the seeds that all of them have."""
        return [self.curves(records, name) for records in self.gather(*runs)]

    def finite(self, records: list[Record], values: list, name: str) -> np.ndarray:
        """The values as an array. Raises Unjudged, naming the seeds, where one is missing or not finite."""
        odd = [r.recipe.seed for r, v in zip(records, values) if not np.all(np.isfinite(np.asarray(v, float)))]
        if odd:
            run = records[0].recipe.run
            raise Unjudged(INCONCLUSIVE, f"no finite {name} of {run} for seeds {', '.join(map(str, odd))}")
        return np.asarray(values, float)

    def diverged(self) -> str:
        """A sentence on the diverged seeds among the records used, empty if there are none."""
        runs: dict[str, list[int]] = {}
        for record in self.used.values():
            runs.setdefault(f"{record.recipe.run}, {record.recipe.variant}", []).append(record.status == "diverged")
        said = [f"{sum(flags)} of {len(flags)} seeds of {run}" for run, flags in runs.items() if any(flags)]
        return f"diverged: {', '.join(said)} (counted with the metrics their records give)" if said else ""


def counts(record: Record, is_reduced: bool = False) -> bool:
    """Whether a verdict may rest on this record; with `is_reduced`, whether an indication may."""
    known = (PROFILE, REDUCED) if is_reduced else (PROFILE,)
    return record.recipe.profile in known and not record.is_standin and record.recipe.variant != "custom"


def _reach(record: Record, metric: str):
    """A metric of a record; None where a diverged one lacks it. Raises KeyError where another does."""
    value = record.metrics
    for key in metric.split("."):
        if not isinstance(value, Mapping) or key not in value:
            if record.status == "diverged":
                return None
            known = value if isinstance(value, Mapping) else ()
            raise KeyError(f"{record.recipe} has no metric {metric!r}{nearest(key, known) if known else ''}")
        value = value[key]
    return value
