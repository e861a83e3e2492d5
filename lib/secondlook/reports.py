"""Reads `reports/NAME.toml`: what a report published, claimed and ran; gives recipes.

Layers, each over the one before: `base` < `run` < `variant` < `variant.run` < `profile` < `profile.run`. A dotted key
sets one field of a table, a table replaces the table. `grid` is the only multiplication: every combination of its
values is a run of its own, named after them. There are no expressions, conditions or references.
"""

import csv
import itertools
import math
import re
import sysconfig
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from secondlook.checks import NAME, NAME_RULE, RecipeError, nearest, shown
from secondlook.recipe import PROFILES, VARIANTS, Recipe
from secondlook.sections import (
    BESIDE_RECIPE,
    Aim,
    Claim,
    Published,
    check_known,
    read_aim,
    read_claim,
    read_layer,
    read_published,
    read_sections,
)


def _files(root: Path) -> list[Path]:
    return list((root / "reports").glob("[!.]*.toml"))


def _root() -> Path:
    """The project this file lies in; for an installed package the one it is used in, else the caller's folder."""
    own = Path(__file__).resolve().parents[2]
    return own if _files(own) else next((p for p in (Path.cwd(), *Path.cwd().parents) if _files(p)), Path.cwd())


ROOT = _root()  # where data, records and runs lie
SHIPPED = Path(sysconfig.get_path("data"), "share", "secondlook")  # an installed package's own reports and notebooks
MOST = 10_000  # seeds of a run, or points of its grid
TAKEN = ("checkpoints", "execute", "logs", "runs", "weights")  # folders that are no report's


@dataclass(frozen=True)
class Report:
    name: str
    title: str
    short: str
    letter: str
    source: str
    stated: dict[str, str]  # where a setting stands, by its dotted key; what is not here is this project's assumption
    published: dict[str, Published]
    claims: dict[str, Claim]
    families: dict[str, dict]
    aims: dict[str, Aim]
    layers: dict
    path: Path

    def runs(self, variant: str = "as_published", profile: str = "full") -> list[str]:
        """Names of the runs of a variant, grids multiplied, in the order of the file."""
        return list(dict.fromkeys(r.run for r in self.recipes(variant=variant, profile=profile)))

    def variants(self) -> list[str]:
        return [v for v in VARIANTS if any(v in self._variants_of(run) for run in self.layers["run"])]

    def recipes(self, run=None, variant=None, profile="full", seeds=None) -> list[Recipe]:
        """The recipes of one run (or all), one variant (or all); `seeds` replaces the profile's own list.

        Raises RecipeError for a run, variant or profile the report does not have.
        """
        check_known(profile, PROFILES, f"{self.path.name}: profile")
        if variant is not None:
            check_known(variant, self.variants(), f"{self.path.name}: variant")
        found = []
        for name in self.layers["run"]:
            if run is None or f"{run}-".startswith(f"{name}-"):  # a point's name begins with its grid's
                for v in self._variants_of(name, profile):
                    if variant in (None, v):
                        found += [r for r in self._sweep(name, v, profile, seeds) if run in (None, r.run, name)]
        if run is not None and not found:
            known = dict.fromkeys([*self.layers["run"], *(n for v in self.variants() for n in self.runs(v, profile))])
            check_known(run, known, f"{self.path.name}: run")
            raise RecipeError(f"{self.path.name}: run {run!r} does not belong to variant {variant!r}")
        return found

    def _variants_of(self, run: str, profile: str = "full") -> list[str]:
        """The variants of a run, of which a profile may leave some out."""
        own = self.layers["run"][run].get("variants", ["as_published"])
        kept = self.layers["profile"].get(profile, {}).get("run", {}).get(run, {}).get("variants", own)
        return [v for v in own if v in kept]

    def _sweep(self, run: str, variant: str, profile: str, seeds) -> list[Recipe]:
        """The recipes of a run of the file: every point of its grid, every seed; evidence is kept of the first one."""
        where = f"{self.path.name}: run {run}, variant {variant}, profile {profile}"
        merged = self._merged(run, variant, profile, where)
        grid = merged.pop("grid", {})
        if math.prod(map(len, grid.values())) > MOST:
            raise RecipeError(f"{where}: the grid has more than {MOST} points; leave some out")
        first_seed, *more = _seeds(merged.get("seeds", 1) if seeds is None else seeds, where)
        sweep: dict[str, list[Recipe]] = {}
        for point in itertools.product(*grid.values()):
            values = {k: dict(v) if isinstance(v, dict) else v for k, v in merged.items()}
            _merge(values, dict(zip(grid, point)), where)
            name = "-".join([run, *(_word(v) for v in point)])
            if name in sweep:
                raise RecipeError(f"{where}: two points of the grid are both called {name!r}; leave one out")
            envelope = {"report": self.name, "run": name, "variant": variant, "profile": profile, "seed": first_seed}
            first = _recipe(values, {**envelope, "sweep": run}, where)
            keep = "predictions" if first.keep == "evidence" else first.keep
            sweep[name] = [first, *(replace(first, seed=seed, keep=keep) for seed in more)]
        return [r for point in sweep.values() for r in point]

    def _merged(self, run: str, variant: str, profile: str, where: str) -> dict:
        """The layers of a run, one over the other."""
        merged: dict = {}
        variants, profiles = self.layers["variant"].get(variant, {}), self.layers["profile"].get(profile, {})
        for layer in (self.layers["base"], self.layers["run"][run], variants, variants.get("run", {}).get(run, {}),
                      profiles, profiles.get("run", {}).get(run, {})):  # fmt: skip
            _merge(merged, {k: v for k, v in layer.items() if k not in ("run", "variants")}, where)
        return merged


def home(root: Path | None = None) -> Path:
    """The folder with reports/ and notebooks/: `root` or the project, for a package used elsewhere its own."""
    return SHIPPED if root is None and not _files(ROOT) and _files(SHIPPED) else root or ROOT


def names(root: Path | None = None) -> list[str]:
    """Names of the reports that have a file, in the order of the book. Raises RecipeError where there are none."""
    order = ["linear", "alexnet", "optimizers", "vgg", "vae"]
    found = [path.stem for path in _files(home(root))]
    if not found:
        raise RecipeError(f"there are no reports in {home(root) / 'reports'}; use a folder of the project")
    return sorted(found, key=lambda n: (order.index(n) if n in order else len(order), n))


def chapters(root: Path | None = None) -> list[str]:
    """Names of the reports that have a notebook, in the order of the book."""
    return [name for name in names(root) if (home(root) / "notebooks" / f"{name}.ipynb").is_file()]


@cache
def read(name: str, root: Path | None = None) -> Report:
    """The report called `name`. Raises RecipeError naming file, key and nearest valid one."""
    path = home(root) / "reports" / f"{name}.toml"
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
        stated=raw.stated,
        published=printed,
        claims={k: read_claim(k, v, f"{path.name}: claim.{k}") for k, v in raw.claim.items()},
        families=raw.family,
        aims={k: read_aim(k, v, printed, f"{path.name}: aim.{k}") for k, v in raw.aim.items()},
        layers={k: getattr(raw, k) for k in ("base", "run", "variant", "profile")},
        path=path,
    )
    for variant, profile in itertools.product(report.variants(), PROFILES):
        report.recipes(variant=variant, profile=profile)
    for aim in report.aims.values():
        report.recipes(aim.run, aim.variant)
    return report


def log(name: str, root: Path | None = None) -> list[dict[str, str]]:
    """The rows of `reports/logs/NAME.csv`: a curve the authors logged. Raises RecipeError where it cannot be read."""
    path = home(root) / "reports" / "logs" / f"{name}.csv"
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


def _recipe(values: dict, envelope: dict, where: str) -> Recipe:
    """The recipe of merged layers; `envelope` has where it stands, and its seed."""
    layer = read_layer(values, where)
    if envelope["profile"] == "reduced" and not layer.reduced:
        envelope = {**envelope, "profile": "full"}  # nothing of this run is reduced: one recipe, one record
    own = {"kind": values.get("kind"), "data": values.get("data", {}), "keep": values.get("keep", "metrics")}
    settings = {k: v for k, v in values.items() if k not in (*BESIDE_RECIPE, *own)}
    told = {"says": layer.says or envelope["run"], "headline": layer.headline, "reduced": layer.reduced}
    return Recipe.from_dict({**envelope, **own, **told, "settings": settings}, where)


def _seeds(seeds, where: str) -> list[int]:
    numbers = list(range(min(seeds, MOST + 1))) if isinstance(seeds, int) else seeds
    fits = isinstance(numbers, list | tuple | range) and 0 < len(numbers) <= MOST
    if not fits or any(type(n) is not int or not 0 <= n < 2**31 for n in numbers):
        raise RecipeError(f"{where}: seeds must be a count or a list of whole numbers from 0, not {shown(seeds)}")
    return list(numbers)


def _word(value) -> str:
    return f"{value:g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)
