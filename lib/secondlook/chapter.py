"""What a chapter's notebook talks to: checked parameters in, records, images and verdicts out."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path

from secondlook.bar import Bar
from secondlook.claims.judge import judge
from secondlook.claims.standing import attempts, standing
from secondlook.data import DATA_SETS
from secondlook.figures.words import counted, joined, short
from secondlook.parameters import check_values, customised
from secondlook.parameters import given as given_settings
from secondlook.parameters import seeds as seed_list
from secondlook.publish.sprites import Pictures
from secondlook.recipe import Recipe
from secondlook.record import Record, Records
from secondlook.reports import ROOT, Report, read
from secondlook.runs import Execution, Runs, load_or_train
from secondlook.training import patient_threads
from secondlook.training.machine import side_by_side


@dataclass
class Chapter(Pictures):
    """A report at one profile, with what was asked of it. `records` gives what there is, `missing` what is not."""

    report: Report
    profile: str
    variant: str
    execution: Execution
    outcome: Runs
    custom: Runs = field(default_factory=Runs)
    overrides: dict = field(default_factory=dict)
    train: str = "missing"
    recipes: dict[str, list[Recipe]] = field(default_factory=dict)  # by profile, this page's own and the reduced ones
    _by_id: dict[str, Record] = field(default_factory=dict)

    def records(self, run: str, variant: str | None = None) -> list[Record]:
        """The records of a run (or of every point of its grid): at the page's profile, or reduced where full has none.

        Raises RecipeError for a run that is not there.
        """
        variant, found, known = variant or self.variant, {}, False
        for recipes in self.recipes.values():
            own = [r for r in recipes if r.variant == variant and run in (r.sweep, r.run)]
            known, points = known or bool(own), {}
            for recipe in own:
                if recipe.id in self._by_id:
                    points.setdefault(recipe.run, []).append(_asked(self._by_id[recipe.id], recipe))
            found = points | found
        return [r for own in found.values() for r in own] if known else self.report.recipes(run, variant, self.profile)

    def runs(self, names: list[str], variant: str | None = None) -> dict[str, list[Record]]:
        """Records by run, of the runs that have any."""
        return {name: own for name in names if (own := self.records(name, variant))}

    def beside(self, groups: dict[str, list[Record]]) -> dict[str, list[Record]]:
        """The groups that have records, the first label of equal ones, and a reader's own runs beside them."""
        kept = {label: own for label, own in (groups | self.yours).items() if own}
        first = {frozenset(r.id for r in own): label for label, own in reversed(kept.items())}
        return {label: own for label, own in kept.items() if label in first.values()}

    @property
    def yours(self) -> dict[str, list[Record]]:
        """The records of a reader's own settings under a name that says what differs; empty where there are none."""
        name = "yours: " + ", ".join(_setting(*item) for item in self.overrides.items())
        return {name: self.custom.records} if self.custom.records else {}

    def headline(self) -> list[Record]:
        """The records of the report's headline run."""
        own = (r for r in self.recipes[self.profile] if r.headline)
        return self.records(next(r.run for r in own if r.variant == self.variant))

    @property
    def missing(self) -> list[Recipe]:
        return self.outcome.missing + self.custom.missing

    @cached_property
    def images(self):
        """The data set the records were made from, in canonical order, or None where its pixels are not at hand.

        Raises DataError, naming the file, where they are damaged.
        """
        from secondlook.data import MissingDataError, load

        try:
            return load(self.data, self.execution.data_dir)
        except MissingDataError:
            return None

    @property
    def data(self):
        return self.report.recipes(profile=self.profile)[0].data

    @cached_property
    def judgements(self):
        """Every claim's verdict, from the full records on real data alone, whatever the profile shown here."""
        return judge(self.report.name, Records(self.execution.records_dir))

    @cached_property
    def attempts(self):
        """How far the records have come towards the report's aims, whatever the profile shown here."""
        return attempts(self.report, Records(self.execution.records_dir))

    @cached_property
    def standing(self):
        """Where the report's evidence stands, as one sentence, whatever the profile shown here."""
        return str(standing(self.report, Records(self.execution.records_dir)))

    def each(self, figure, records, **options) -> None:
        """Shows `figure(records)` and, where a reader has runs of their own, the same of theirs below it.

        `records` is a list or one record, as the figure takes it.
        """
        from IPython.display import display

        own = [theirs if isinstance(records, list) else theirs[0] for theirs in self.yours.values()]
        display(*(figure(shown, **options) for shown in (records, *own)))

    def provenance(self) -> str:
        """Where the numbers of this page come from, as text that changes only when they do."""
        kept = [*self._by_id.values(), *self.custom.records]
        real = [r for r in kept if r.recipe.data.name in DATA_SETS]  # a sample that is drawn has a digest of its own
        digests = sorted({r.provenance["data_digest"][:12] for r in real or kept[:1]})
        seeds = sorted({r.recipe.seed for r in kept})
        diverged = sum(r.status == "diverged" for r in kept)
        return "\n".join(
            [
                f"records   {len(kept)}, of them {diverged} diverged",
                f"seeds     {', '.join(map(str, seeds))}",
                f"data      {', '.join(sorted({r.data_name for r in kept}))}, digest {', '.join(digests)}",
                f"commit    {', '.join(sorted({str(r.provenance['commit'])[:12] for r in kept}))}",
                f"device    {', '.join(sorted({r.provenance['device'] for r in kept}))}",
                f"torch     {', '.join(sorted({r.provenance['versions']['torch'] for r in kept}))}",
            ]
        )

    def __repr__(self) -> str:
        return "\n".join([self._said(), *self._missing_lines()])

    def _repr_html_(self) -> str:
        told = "".join(f"<p>{escape(line)}</p>" for line in [self._said(), *self._missing_lines()])
        lines = re.sub(r"`([^`]+)`", r"<code>\1</code>", told)
        kind = "warning" if self.custom.missing else "note"
        return f'<div class="admonition {kind} sl-chapter"><p class="admonition-title">This page</p>{lines}</div>'

    def _said(self) -> str:
        kept = [*self._by_id.values(), *self.custom.records]
        counts = Counter(r.recipe.profile for r in self._by_id.values())
        told = joined(counted(counts[p], f"{p} record") for p in self.recipes if counts[p]) or "no records"
        own = f"; {joined(self.yours)}" if self.yours else ""
        names = joined(sorted({r.data_name for r in kept})) or "no data"
        return f"{self.report.short}, profile {self.profile}: {told}; {names}{own}. {self.standing}"

    def _missing_lines(self) -> list[str]:
        command = f"This makes them: `secondlook train {self.report.name} --profile {self.profile}`"
        own = "Your own settings train where this notebook is executed with train=missing and max_minutes enough"
        lines = []
        for outcome, made in ((self.outcome, command), (self.custom, own)):
            runs = {(r.sweep or r.run, r.variant) for r in outcome.missing}
            if runs:
                count = counted(len(outcome.missing), "record")
                lines.append(f"{count} of {counted(len(runs), 'run')} missing: {outcome.reason}. {made}")
        return lines


def open_chapter(
    name: str,
    *,
    profile: str,
    variant: str,
    seeds: str = "",
    train: str = "missing",
    max_minutes: float = 15.0,
    data_dir: str = "",
    records_dir: str = "",
    device: str = "auto",
    cam_method: str = "gradcam",
    **overrides,
) -> Chapter:
    """The chapter of report `name`: its records loaded, what is missing trained if it fits `max_minutes`.

    `seeds` is "" (as the report), "0-4" or "0,2"; an empty folder is the project's own; what is no evidence goes to the
    project's runs/, or to runs/ in `records_dir`. `cam_method`, which a figure may take, is only checked. Overrides
    that are "" or -1 are as the report; any other makes a `custom` run beside the report's. Raises RecipeError or
    ParameterError for a bad value.
    """
    patient_threads()
    report = read(name)
    given = {"profile": profile, "variant": variant, "seeds": seeds, "train": train, "device": device,
             "max_minutes": max_minutes, "cam_method": cam_method, "data_dir": data_dir,
             "records_dir": records_dir}  # fmt: skip
    check_values(given, report=name)
    execution = execution_for(profile, data_dir, records_dir, device)
    if device.startswith("cuda"):
        execution.resolved_device()
    execution.progress = Bar(every=0.5)
    changed = given_settings(overrides)
    recipes, own = asked(report, profile, variant, seeds, changed)
    how = {"train": train, "max_minutes": max_minutes}
    outcome = load_or_train(recipes, execution, **how)
    chapter = Chapter(report, profile, variant, execution, outcome, overrides=changed, train=train)
    if own:
        chapter.custom = load_or_train(own, execution, **how)
    reduced = report.recipes(profile="reduced") if profile == "full" else []
    chapter.recipes = {profile: recipes} | ({"reduced": reduced} if reduced else {})
    chapter._by_id = {r.id: r for r in Records(execution.records_dir).find(reduced) + chapter.outcome.records}
    return chapter


def execution_for(profile: str, data_dir: str = "", records_dir: str = "", device: str = "auto") -> Execution:
    """How a chapter trains, from its parameters."""
    records = Path(records_dir or ROOT / "records").absolute()
    execution = Execution(Path(data_dir or ROOT / "data").absolute(), records, device=device)
    execution.runs_dir = records / "runs" if records_dir else execution.runs_dir
    execution.processes = side_by_side(profile)
    return execution


def asked(report: Report, profile: str, variant: str, seeds: str, changed: dict) -> tuple[list[Recipe], list[Recipe]]:
    """The report's recipes that a chapter opens, and those of a reader's own settings."""
    chosen = seed_list(seeds)
    own = customised(report, variant, profile, chosen, changed) if changed else []
    return _recipes(report, profile, chosen), own


def _recipes(report: Report, profile: str, seeds: list[int] | None) -> list[Recipe]:
    """The report's recipes at these seeds; a run of a single seed, such as a sweep, keeps its own."""
    own = report.recipes(profile=profile)
    if seeds is None:
        return own
    count = Counter((r.run, r.variant) for r in own)
    chosen = report.recipes(profile=profile, seeds=seeds)
    single = [r for r in own if count[r.run, r.variant] == 1]
    return [r for r in chosen if count[r.run, r.variant] > 1] + single


def _asked(record: Record, recipe: Recipe) -> Record:
    """The record under the names it is asked for: where two variants or profiles agree they share one."""
    own = {name: getattr(recipe, name) for name in ("run", "variant", "profile")}
    return replace(record, recipe=replace(record.recipe, **own))


def _setting(name: str, value) -> str:
    told = short(value) if isinstance(value, float) else value
    return f"{value} px" if name == "image_size" else f"{name.replace('_', ' ')} {told}"
