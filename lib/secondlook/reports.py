"""Reads `reports/NAME.toml`: what a report published, claimed and ran; gives recipes.

Layers, each over the one before: `base` < `run` < `variant` < `variant.run` < `profile` < `profile.run`. A dotted key
sets one field of a table, a table replaces the table. `grid` is the only multiplication: every combination of its
values is a run of its own, named after them. There are no expressions, conditions or references.
"""

import csv
import itertools
import math
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from secondlook.recipe import NAME, NAME_RULE, PROFILES, VARIANTS, Recipe, RecipeError, nearest, shown
from secondlook.sections import (
    PLAN_KEYS,
    Aim,
    Claim,
    Published,
    check_known,
    read_aim,
    read_claim,
    read_planned,
    read_published,
    read_sections,
)


def _files(root: Path) -> list[Path]:
    return list((root / "reports").glob("[!.]*.toml"))


def _root() -> Path:
    """The project this file lies in; for a package installed alone the one it is used in, else the caller's folder."""
    own = Path(__file__).resolve().parents[2]
    return own if _files(own) else next((p for p in (Path.cwd(), *Path.cwd().parents) if _files(p)), Path.cwd())


ROOT = _root()
MOST = 10_000  # seeds of a run, or points of its grid
TAKEN = ("checkpoints", "execute", "logs", "runs", "weights")  # folders that are no report's


@dataclass(frozen=True)
class Plan:
    """A recipe, and what its report says of it.

    `run` is the run's name in the report's file, without the point of its grid; the command line takes either.
    `reduced` says in a few words what the profile `reduced` changes of the report's protocol, "" where it is whole.
    """

    recipe: Recipe
    says: str
    headline: bool
    run: str = ""
    reduced: str = ""

    def command(self, run: str = "") -> str:
        """What makes the records of the plan's run, all seeds; `run` names another, such as the whole grid's."""
        r = self.recipe
        return f"secondlook train {r.report} --run {run or r.run} --variant {r.variant} --profile {r.profile}"


@dataclass(frozen=True)
class Report:
    name: str
    title: str
    short: str
    letter: str
    source: str
    published: dict[str, Published]
    claims: dict[str, Claim]
    families: dict[str, dict]
    aims: dict[str, Aim]
    layers: dict
    path: Path

    def runs(self, variant: str = "as_published", profile: str = "full") -> list[str]:
        """Names of the runs of a variant, grids multiplied, in the order of the file."""
        return list(dict.fromkeys(plan.recipe.run for plan in self.plans(variant=variant, profile=profile)))

    def variants(self) -> list[str]:
        return [v for v in VARIANTS if any(v in self._belongs(run) for run in self.layers["run"])]

    def recipes(self, run=None, variant=None, profile="full", seeds=None) -> list[Recipe]:
        """The recipes of one run (or all), one variant (or all); `seeds` replaces the profile's own list."""
        return [plan.recipe for plan in self.plans(run, variant, profile, seeds)]

    def plans(self, run=None, variant=None, profile="full", seeds=None) -> list[Plan]:
        """As `recipes`, with what the report says of them.

        Raises RecipeError for a run, variant or profile the report does not have.
        """
        check_known(profile, PROFILES, f"{self.path.name}: profile")
        if variant is not None:
            check_known(variant, self.variants(), f"{self.path.name}: variant")
        found = []
        for name in self.layers["run"]:
            if run is None or f"{run}-".startswith(f"{name}-"):  # a point's name begins with its grid's
                for v in self._belongs(name, profile):
                    if variant in (None, v):
                        found += [p for p in self._plans(name, v, profile, seeds) if run in (None, p.recipe.run, name)]
        if run is not None and not found:
            known = dict.fromkeys([*self.layers["run"], *(n for v in self.variants() for n in self.runs(v, profile))])
            check_known(run, known, f"{self.path.name}: run")
            raise RecipeError(f"{self.path.name}: run {run!r} does not belong to variant {variant!r}")
        return found

    def _belongs(self, run: str, profile: str = "full") -> list[str]:
        """The variants of a run, of which a profile may leave some out."""
        own = self.layers["run"][run].get("variants", ["as_published"])
        kept = self.layers["profile"].get(profile, {}).get("run", {}).get(run, {}).get("variants", own)
        return [v for v in own if v in kept]

    def _plans(self, run: str, variant: str, profile: str, seeds) -> list[Plan]:
        where = f"{self.path.name}: run {run}, variant {variant}, profile {profile}"
        merged: dict = {}
        variants, profiles = self.layers["variant"].get(variant, {}), self.layers["profile"].get(profile, {})
        for layer in (self.layers["base"], self.layers["run"][run], variants, variants.get("run", {}).get(run, {}),
                      profiles, profiles.get("run", {}).get(run, {})):  # fmt: skip
            _merge(merged, {k: v for k, v in layer.items() if k not in ("run", "variants")}, where)
        grid = merged.pop("grid", {})
        if math.prod(map(len, grid.values())) > MOST:
            raise RecipeError(f"{where}: the grid has more than {MOST} points; leave some out")
        numbers = _seeds(merged.get("seeds", 1) if seeds is None else seeds, where)
        plans = []
        for point in itertools.product(*grid.values()):
            values = {k: dict(v) if isinstance(v, dict) else v for k, v in merged.items()}
            _merge(values, dict(zip(grid, point)), where)
            name = "-".join([run, *(_word(v) for v in point)])
            first = replace(_plan(values, self.name, name, variant, profile, numbers[0], where), run=run)
            if any(first.recipe.run == plan.recipe.run for plan in plans):
                raise RecipeError(f"{where}: two points of the grid are both called {name!r}; leave one out")
            plans += [first, *(_with_seed(first, seed) for seed in numbers[1:])]
        return plans


def names(root: Path | None = None) -> list[str]:
    """Names of the reports that have a file, in the order of the book. Raises RecipeError where there are none."""
    order = ["linear", "alexnet", "optimizers", "vgg", "vae"]
    found = [path.stem for path in _files(root or ROOT)]
    if not found:
        raise RecipeError(
            f"there are no reports in {(root or ROOT) / 'reports'}; a copy of the package alone has none: use it in a "
            "folder of the project, which has reports/, records/ and notebooks/"
        )
    return sorted(found, key=lambda n: (order.index(n) if n in order else len(order), n))


def chapters(root: Path | None = None) -> list[str]:
    """Names of the reports that have a notebook, in the order of the book."""
    return [name for name in names(root) if ((root or ROOT) / "notebooks" / f"{name}.ipynb").is_file()]


@cache
def read(name: str, root: Path | None = None) -> Report:
    """The report called `name`. Raises RecipeError naming file, key and nearest valid one."""
    path = (root or ROOT) / "reports" / f"{name}.toml"
    if name not in names(root):
        raise RecipeError(f"unknown report {name!r}{nearest(name, names(root))}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Report:
    """A report from the text of its file; every layer is tried, so a typo anywhere is an error now."""
    if not re.fullmatch(NAME, path.stem) or path.stem in TAKEN:
        raise RecipeError(f"{path.name}: {path.stem!r} cannot be a report's name; expected {NAME_RULE}")
    raw = read_sections(text, path.name)
    printed = {k: read_published(k, v, f"{path.name}: published.{k}") for k, v in raw.published.items()}
    report = Report(
        name=path.stem,
        title=raw.title or path.stem,
        short=raw.short or raw.title or path.stem,
        letter=raw.letter or path.stem[0].upper(),
        source=raw.source,
        published=printed,
        claims={k: read_claim(k, v, f"{path.name}: claim.{k}") for k, v in raw.claim.items()},
        families=raw.family,
        aims={k: read_aim(k, v, printed, f"{path.name}: aim.{k}") for k, v in raw.aim.items()},
        layers={k: getattr(raw, k) for k in ("base", "run", "variant", "profile")},
        path=path,
    )
    for variant, profile in itertools.product(report.variants(), PROFILES):
        report.plans(variant=variant, profile=profile)
    for aim in report.aims.values():
        report.plans(aim.run, aim.variant)
    return report


def log(name: str, root: Path | None = None) -> list[dict[str, str]]:
    """The rows of `reports/logs/NAME.csv`: a curve the authors logged. Raises RecipeError where it cannot be read."""
    path = (root or ROOT) / "reports" / "logs" / f"{name}.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecipeError(f"{path}: not a log that can be read ({error})") from None


def _merge(target: dict, layer: dict, where: str) -> None:
    for key, value in layer.items():
        if "." in key:
            table, name = key.split(".", 1)
            if not isinstance(target.get(table, {}), dict):
                raise RecipeError(f"{where}: {key!r} sets a field of {table!r}, which is not a table")
            target[table] = {**target.get(table, {}), name: value}
        else:
            target[key] = value


def _plan(values: dict, report, run, variant, profile, seed, where) -> Plan:
    plan = read_planned(values, where)
    if profile == "reduced" and not plan.reduced:
        profile = "full"  # nothing of this run is reduced: one recipe, one record
    recipe = Recipe.from_dict(
        {
            "report": report, "run": run, "variant": variant, "profile": profile, "seed": seed,
            "keep": values.get("keep", "metrics"), "kind": values.get("kind"), "data": values.get("data", {}),
            "settings": {k: v for k, v in values.items() if k not in (*PLAN_KEYS, "kind", "keep", "data")},
        },
        where,
    )  # fmt: skip
    return Plan(recipe, plan.says or run, plan.headline, reduced=plan.reduced)


def _with_seed(first: Plan, seed: int) -> Plan:
    """The plan for another seed; evidence is kept of the first one alone."""
    keep = "predictions" if first.recipe.keep == "evidence" else first.recipe.keep
    return replace(first, recipe=replace(first.recipe, seed=seed, keep=keep))


def _seeds(seeds, where: str) -> list[int]:
    numbers = list(range(min(seeds, MOST + 1))) if isinstance(seeds, int) else seeds
    fits = isinstance(numbers, list | tuple | range) and 0 < len(numbers) <= MOST
    if not fits or any(type(n) is not int or not 0 <= n < 2**31 for n in numbers):
        raise RecipeError(f"{where}: seeds must be a count or a list of whole numbers from 0, not {shown(seeds)}")
    return list(numbers)


def _word(value) -> str:
    return f"{value:g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)
