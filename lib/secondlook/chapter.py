"""What a chapter's notebook talks to: checked parameters in, records, images and verdicts out."""

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np

from secondlook.claims.aims import attempts
from secondlook.claims.judge import judge
from secondlook.data import DATA_SETS
from secondlook.experiments import Execution, Outcome, load_or_produce
from secondlook.figures.images import sample_grid, sprite
from secondlook.figures.tables import notice
from secondlook.figures.values import NothingToDraw, counted, joined
from secondlook.overrides import customised
from secondlook.overrides import given as given_settings
from secondlook.parameters import check_values
from secondlook.parameters import seeds as seed_list
from secondlook.publish import sprites
from secondlook.recipe import Recipe, RecipeError
from secondlook.record import Record, Records
from secondlook.reports import ROOT, Plan, Report, read
from secondlook.training import patient_threads, side_by_side


@dataclass
class Chapter:
    """A report at one profile, with what was asked of it. `records` gives what there is, `missing` what is not."""

    report: Report
    profile: str
    variant: str
    execution: Execution
    outcome: Outcome
    custom: Outcome = field(default_factory=Outcome)
    overrides: dict = field(default_factory=dict)
    _by_id: dict[str, Record] = field(default_factory=dict)

    def records(self, run: str, variant: str | None = None) -> list[Record]:
        """The records of a run (or of every point of its grid), seeds in order; empty where there are none.

        Where full records are still missing, of a run or of a point of its grid, the quick ones on real data stand in
        for all of it; captions say that they are quick.
        """
        recipes = self.report.recipes(run, variant or self.variant, self.profile)
        own = self._kept(recipes)
        whole = {r.recipe.run for r in own} == {r.run for r in recipes}
        small = [] if whole or self.profile != "full" else self._kept(self._small(run, variant or self.variant))
        return small or own

    def runs(self, names: list[str], variant: str | None = None) -> dict[str, list[Record]]:
        """Records by run, for runs that have any, all of one profile."""
        return self.alike({name: self.records(name, variant) for name in names})

    def alike(self, groups: dict[str, list[Record] | None]) -> dict[str, list[Record]]:
        """The groups that have records, for a comparison: where some have quick ones only, the quick ones of all.

        A reader's own runs stay as they are.
        """
        groups = {label: list(records) for label, records in groups.items() if records}
        everything = [r for records in groups.values() for r in records if r.recipe.variant != "custom"]
        if len({r.recipe.profile for r in everything}) > 1:
            groups = {label: self._smaller(records) for label, records in groups.items()}
        return {label: records for label, records in groups.items() if records}

    def _smaller(self, records: list[Record]) -> list[Record]:
        """The quick records of the runs that these are of: of their points, or of a whole grid that has others."""
        own = [r for r in records if r.recipe.variant == "custom"]
        runs = list(dict.fromkeys((r.recipe.run, r.recipe.variant) for r in records if r.recipe.variant != "custom"))
        if any(not self._small(*run) for run in runs):
            grids = [(self.report.plans(run, variant, self.profile)[0].run, variant) for run, variant in runs]
            runs = list(dict.fromkeys(grids))
        return own + [r for run in runs for r in self._kept(self._small(*run))]

    def _kept(self, recipes: list[Recipe]) -> list[Record]:
        return [_asked(self._by_id[r.id], r) for r in recipes if r.id in self._by_id]

    def _small(self, run: str, variant: str) -> list[Recipe]:
        """The quick recipes of a run; none for a point of a grid that the quick profile leaves out."""
        with suppress(RecipeError):
            return self.report.recipes(run, variant, "quick")
        return []

    def headline(self) -> list[Record]:
        """The records of the report's headline run, or of the reader's own version of it."""
        if self.overrides:
            return self.custom.records
        plans = [p for p in self.report.plans(variant=self.variant, profile=self.profile) if p.headline]
        return self.records(plans[0].recipe.run)

    @property
    def missing(self) -> list[Plan]:
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

    def draw(self, figure, *arguments, records=None, **options):
        """What `figure(*arguments, **options)` draws, or a notice of what is missing where there are no records.

        `records` (a list, or a dictionary of lists) is what must not be empty: the first argument if not given.
        """
        if not (arguments[0] if records is None else records):
            return notice(" ".join(self._missing_lines()) or "There are no records of this run in this profile.")
        try:
            return figure(*arguments, **options)
        except NothingToDraw as error:
            return notice(str(error))

    def samples(self, **options):
        """Some training images of every class, or a placeholder with the command that fetches them."""
        known, images = DATA_SETS[self.data.name], self.images
        pixels, labels = (images.x_train, images.y_train) if images else (None, None)
        name = images.title if images else known.title
        return sample_grid(pixels, labels, known.class_names, name, self.data.name, **options)

    def confusion_images(self, records: list[Record], most: int = 9, name: str = "confusion") -> dict | None:
        """The images behind the cells of a confusion matrix, at most `most` a cell, as a figure's `click_sprite`.

        None outside a book build, where the pixels are not at hand, or no record keeps its predictions.
        """
        kept = [r for r in records if "predictions" in r.arrays]
        if not kept or (index := self.test_index(kept[0])) is None:
            return None
        labels, predictions = (np.asarray(kept[0].arrays[k], int) for k in ("labels", "predictions"))
        cells: dict[str, list[int]] = {}
        for image, pair in zip(index.tolist(), zip(labels.tolist(), predictions.tolist())):
            cell = cells.setdefault(f"{pair[0]},{pair[1]}", [])
            if len(cell) < most:
                cell.append(image)
        order = sorted(cells, key=lambda c: [int(k) for k in c.split(",")])
        return self.click_images(kept[0], {c: cells[c] for c in order}, name)

    def test_index(self, record: Record) -> np.ndarray | None:
        """The canonical index of each test image, in the order of the record's labels; None without the data set."""
        found = sprites.pixels_of(self.images, record, [])
        return None if found is None else sprites.canonical_index(self.images, record)

    def pixels(self, record: Record, index=None) -> np.ndarray | None:
        """Test images uint8 (n, h, w[, 3]) by canonical index, or all of a record; None where not at hand."""
        return sprites.pixels_of(self.images, record, index)

    def hover_images(self, record: Record, index, name: str = "hover") -> dict | None:
        """A figure's `hover_sprite` whose tile i is the test image with canonical index `index[i]`.

        None outside a book build or where the pixels are not at hand. `name` tells the sprites of a page apart.
        """
        return sprites.filed(self.pixels(record, index), f"{self.report.name}-{name}")

    def click_images(self, record: Record, cells: dict[str, list[int]], name: str = "click") -> dict | None:
        """A figure's `click_sprite`: `cells` gives the canonical indices of the test images behind "row,column"."""
        chosen = [i for own in cells.values() for i in own]
        if (declared := self.hover_images(record, chosen, name)) is None:
            return None
        ends = np.cumsum([len(own) for own in cells.values()]).tolist()
        tiles = {cell: list(range(end - len(own), end)) for (cell, own), end in zip(cells.items(), ends)}
        return {**declared, "cells": tiles}

    def image_column(self, record: Record, index) -> str | None:
        """Test images by canonical index one below the other, as a data-URI to lay in a figure; None without them."""
        found = self.pixels(record, index)
        return None if found is None else sprite(found, 1)

    def provenance(self) -> str:
        """Where the numbers of this page come from, as text that changes only when they do."""
        kept = list(self._by_id.values())
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
        kind = "warning" if self.missing else "note"
        return f'<div class="admonition {kind} sl-chapter"><p class="admonition-title">This page</p>{lines}</div>'

    def _said(self) -> str:
        kept = list(self._by_id.values())
        names, own_profile = sorted({r.data_name for r in kept}), [r for r in kept if r.recipe.profile == self.profile]
        count, others = counted(len(own_profile), "record"), len(kept) - len(own_profile)
        if others:
            count += f", and {counted(others, 'quick one')} to stand in where they are missing"
        own = (
            f"; your own settings: {', '.join(f'{k} {v}' for k, v in self.overrides.items())}" if self.overrides else ""
        )
        return f"{self.report.short}, profile {self.profile}: {count}; {joined(names) or 'no data'}{own}."

    def _missing_lines(self) -> list[str]:
        command = f"This makes them: `secondlook train {self.report.name} --profile {self.profile}`"
        own = "Your own settings train where this notebook is executed with train=missing and max_minutes enough"
        lines = []
        for outcome, made in ((self.outcome, command), (self.custom, own)):
            runs = sorted({f"{p.recipe.run} ({p.recipe.variant})" for p in outcome.missing})
            some = ", ".join(runs[:4]) + (f" and {len(runs) - 4} more" if len(runs) > 4 else "")
            if runs:
                lines.append(f"{counted(len(outcome.missing), 'record')} missing ({some}): {outcome.reason}. {made}")
        return lines


def open_chapter(
    name: str,
    *,
    profile: str,
    variant: str,
    seeds: str = "",
    train: str = "missing",
    max_minutes: float = 10.0,
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
    records = Path(records_dir or ROOT / "records").absolute()
    execution = Execution(Path(data_dir or ROOT / "data").absolute(), records, device=device)
    if device.startswith("cuda"):
        execution.resolved_device()
    if records_dir:
        execution.runs_dir = records / "runs"
    execution.progress = _progress()
    execution.processes = side_by_side(profile)
    plans = _plans(report, profile, seed_list(seeds))
    changed = given_settings(overrides)
    own = customised(report, variant, profile, seed_list(seeds), changed) if changed else []
    how = {"train": train, "max_minutes": max_minutes}
    chapter = Chapter(report, profile, variant, execution, load_or_produce(plans, execution, **how), overrides=changed)
    if own:
        chapter.custom = load_or_produce(own, execution, **how)
    small = [p.recipe for p in report.plans(profile="quick")] if profile == "full" else []
    chapter._by_id = {r.id: r for r in Records(records).find(small) + chapter.outcome.records}
    return chapter


def _plans(report: Report, profile: str, seeds: list[int] | None) -> list[Plan]:
    """The report's plans at these seeds; a run of a single seed, such as a sweep, keeps its own."""
    own = report.plans(profile=profile)
    if seeds is None:
        return own
    count = Counter((p.recipe.run, p.recipe.variant) for p in own)
    chosen = report.plans(profile=profile, seeds=seeds)
    single = [p for p in own if count[p.recipe.run, p.recipe.variant] == 1]
    return [p for p in chosen if count[p.recipe.run, p.recipe.variant] > 1] + single


def _asked(record: Record, recipe: Recipe) -> Record:
    """The record under the names it is asked for: where two variants agree they share one."""
    return replace(record, recipe=replace(record.recipe, run=recipe.run, variant=recipe.variant))


def _progress():
    """Text progress for a notebook, at most one line for every tenth of a group that takes its time."""
    import time

    state = {"label": None, "start": 0.0, "first": 0.0, "next": 5.0}

    def tell(label: str, share: float) -> None:
        now = time.monotonic()
        if label != state["label"]:
            state.update(label=label, start=now, first=share, next=5.0)
        spent, gained = now - state["start"], share - state["first"]
        if spent >= state["next"] and gained > 0.01:
            whole = spent / gained
            state["next"] = spent + max(5.0, whole / 10)
            print(f"{label}: {share:4.0%}, {spent:.0f} s, about {whole * (1 - share):.0f} s left", flush=True)

    return tell
