"""For tests of claims: full records of the runs a claim needs, that satisfy it or break it; and of figures: titles."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from secondlook import reports
from secondlook.claims.judge import Judgement, judge
from secondlook.figures.tables import Notice
from secondlook.recipe import Recipe
from secondlook.record import Record, Records, save


def told(shown) -> str:
    """What a page says in the place of a figure that cannot be drawn."""
    assert isinstance(shown, Notice), shown
    return shown.text


def noise(seed: int, size: float, salt=0):
    """A normal number of spread `size` that is the same for a seed and a salt."""
    return size * np.random.default_rng([seed, salt]).normal()


def recipes(report: str, runs: dict[str, Iterable[str]], profile: str = "full") -> list[Recipe]:
    """The recipes of runs by variant."""
    own = reports.read(report)
    return [recipe for variant, names in runs.items() for run in names for recipe in own.recipes(run, variant, profile)]


def records_in(
    folder: Path, chosen: Iterable[Recipe], made_up: Callable, change=None, second="history", diverged=(), device=None
) -> Records:
    """Records in `folder`: `made_up(recipe)` gives metrics and what `second` names, `change` is told of all three.

    `device(recipe)` names the machine of a record.
    """
    made = []
    for recipe in chosen:
        metrics, more = made_up(recipe)
        if change:
            change(recipe, metrics, more)
        status = "diverged" if recipe.run in diverged else "finished"
        provenance = {"device": device(recipe)} if device else {}
        made.append(Record(recipe, status, metrics, **{second: more}, provenance=provenance))
    save(made, folder)
    return Records(folder)


def verdicts(report: str, records: Records, root: Path | None = None) -> dict[str, Judgement]:
    """Every claim's judgement by its id."""
    return {j.id: j for j in judge(report, records, root)}


def said(figure) -> str:
    """All that a figure says of itself, for those who do not see it: what it shows, and its title with every clause."""
    return figure.layout.meta["secondlook"]["alt"]


def title(figure) -> str:
    """A figure's title on one line."""
    return figure.layout.title.text.replace("<br>", " ")
