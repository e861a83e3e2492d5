"""What figures and tables read from records: which there are, metrics by path, means with intervals."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from secondlook.evaluation.statistics import LEAST_SEEDS, summary
from secondlook.recipe import PROFILES
from secondlook.record import Record

SMALL = ("smoke", "quick")  # profiles that say nothing about a claim


class NothingToDraw(ValueError):
    """Records that hold nothing of what a figure shows, such as a run that diverged: a page says so in its place."""


def needed(records: Record | Iterable[Record], what: str) -> list[Record]:
    """The records as a list. Raises NothingToDraw saying `what` they are needed for where there are none."""
    records = [records] if isinstance(records, Record) else list(records or [])
    if not records:
        raise NothingToDraw(f"no records for {what}; `secondlook list --missing` names the command that makes them")
    return records


def flat(groups: Mapping[str, Iterable[Record]], what: str) -> list[Record]:
    """All records of a dict of groups. Raises NothingToDraw where there are none, or a group is empty."""
    empty = [name for name, records in groups.items() if not list(records)]
    if empty or not groups:
        needed([], f"{what}: {', '.join(map(str, empty))}" if empty else what)
    return [r for records in groups.values() for r in records]


def answering(records: list[Record]) -> list[Record]:
    """The records that did not diverge: what a net without finite scores answers is nothing. NothingToDraw of none."""
    if kept := [r for r in records if r.status != "diverged"]:
        return kept
    raise NothingToDraw(f"{records[0].recipe} diverged: it has no answers to show")


def kept(record: Record, name: str, what: str = "") -> np.ndarray:
    """An array of a record. Raises NothingToDraw, calling it `what`, where the record does not keep it."""
    if name not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no {what or name}; its run needs keep = 'evidence'")
    return np.asarray(record.arrays[name])


def first_with(records: list[Record], names: Sequence[str], what: str, keep: str = "evidence") -> Record:
    """The first record that did not diverge and keeps one of the arrays. Raises NothingToDraw where none does."""
    for record in answering(records):
        if any(name in record.arrays for name in names):
            return record
    raise NothingToDraw(f"no record of {records[0].recipe.run} keeps {what}; its run needs keep = '{keep}'")


def is_small(record: Record) -> bool:
    """Whether the record is of a profile that is there for trying alone; a reader's own run counts as it is."""
    return record.recipe.profile in SMALL and record.recipe.variant != "custom"


def is_custom(records) -> bool:
    """Whether a record, or all of a list of them, are of a reader's own settings."""
    own = [records] if isinstance(records, Record) else records if isinstance(records, list) else []
    return bool(own) and all(isinstance(r, Record) and r.recipe.variant == "custom" for r in own)


def present(groups):
    """The records of a figure that there are, and the labels that have none, in words.

    Groups are a dict, by label, of records or lists of them; anything else is given back as it is.
    """
    if not isinstance(groups, dict) or not all(map(_of_records, groups.values())):
        return groups, ""
    left = [str(label) for label, own in groups.items() if not own]
    told = " and ".join(left) if len(left) < 3 else f"{len(left)} others"
    return {label: own for label, own in groups.items() if own}, told


def at_best(groups: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """The groups of the best profile that any has, for what only equal runs may be compared in; a reader's own stay."""
    profiles = {label: _profiles(own) for label, own in groups.items() if own}
    best = max(set().union(*profiles.values()), key=PROFILES.index, default=None)
    return {label: groups[label] for label, own in profiles.items() if own <= {best}}


def labels(groups) -> dict[str, str]:
    """The labels of a dict of records as a figure shows them: with the profile, unless it is full, where two differ."""
    if not isinstance(groups, dict) or not all(map(_of_records, groups.values())):
        return {}
    found = {label: _profiles(needed(own, label)) for label, own in groups.items()}
    mixed = len(set().union(*found.values())) > 1
    return {label: label + ", reduced" * (mixed and "reduced" in profiles) for label, profiles in found.items()}


def _profiles(records: list[Record]) -> set[str]:
    return {r.recipe.profile for r in records if r.recipe.variant != "custom"}


def _of_records(value) -> bool:
    return value is None or isinstance(value, Record) or (isinstance(value, list) and all(map(_of_records, value)))


def reach(record: Record, path: str):
    """A metric, or a value of the recipe (`settings.strength`, `data.train_limit`, `seed`); a dot goes one level down.

    None where a diverged run left none. Raises ValueError for what the record does not hold.
    """
    first, *rest = path.split(".")
    value = record.metrics.get(first, getattr(record.recipe, first, None))
    for name in rest:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    if value is None and record.status != "diverged" and not (first in record.metrics and not rest):
        raise ValueError(f"the record of {record.recipe} has no {path!r}; it has {', '.join(sorted(record.metrics))}")
    return value


def numbers(records: Iterable[Record], path: str) -> np.ndarray:
    """One number a record as float64; NaN where a diverged run left none."""
    return np.array([np.nan if (v := reach(r, path)) is None else v for r in records], float)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean of the finite values and half their 95 % t-interval; 0 below `LEAST_SEEDS` values, NaN for none."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < LEAST_SEEDS:
        return (float(values.mean()), 0.0) if len(values) else (np.nan, np.nan)
    s = summary(values)
    return s.mean, s.high - s.mean


def share_interval(values: Sequence[float]) -> tuple[float, float]:
    """As `mean_interval`, with no interval where it would leave what a share can be: the seeds then speak alone."""
    mean, half = mean_interval(values)
    return mean, 0.0 if mean - half < 0 or mean + half > 1 else half
