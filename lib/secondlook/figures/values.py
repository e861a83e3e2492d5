"""What figures and tables read from records: metrics by path, means with intervals, names and captions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from secondlook.data.images import DATA_SETS
from secondlook.evaluation.statistics import LEAST_SEEDS, summary
from secondlook.recipe import PROFILES, RecipeError
from secondlook.record import Record
from secondlook.reports import Published, read

VARIANT_WORDS = {"as_published": "as published", "as_coded": "as coded", "custom": "your own settings"}
OPTIMIZER_WORDS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "adamax": "Adamax", "nadam": "Nadam",
                   "amsgrad": "AMSGrad", "rmsprop": "RMSprop", "rmsprop_inner_eps": "RMSprop, ε inside the root",
                   "adam_uncorrected": "Adam without correction"}  # fmt: skip
SMALL = ("smoke", "quick")  # profiles that say nothing about a claim
PLURALS = {"reaches": "reach", "ends with": "end with", "ends": "end", "has": "have", "is": "are", "leads": "lead",
           "follows": "follow", "tells": "tell", "loses": "lose", "brings": "bring", "its": "their"}  # fmt: skip
METRIC_WORDS = {
    "gradient_noise_final": "noise of the gradient",
    "validation_accuracy": "validation accuracy",
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
    "test_top5_accuracy": "top-5 test accuracy",
    "test_accuracy_small": "test accuracy (draws of 1,000 images)",
    "validation_loss": "validation loss",
    "train_loss": "training loss",
    "svm_accuracy": "accuracy of the linear head",
    "linear_svc_accuracy": "accuracy of a linear SVC",
    "kmeans_accuracy": "accuracy of k-means",
    "train_limit": "training images",
    "train_kl": "KL divergence",
    "train_reconstruction": "reconstruction error",
}


class NothingToDraw(ValueError):
    """Records that hold nothing of what a figure shows, such as a run that diverged: a page says so in its place."""


def needed(records: Record | Iterable[Record], what: str) -> list[Record]:
    """The records as a list. Raises NothingToDraw saying `what` they are needed for where there are none."""
    records = [records] if isinstance(records, Record) else list(records)
    if not records:
        raise NothingToDraw(f"no records for {what}; `secondlook list --missing` names the command that makes them")
    return records


def answering(records: list[Record]) -> list[Record]:
    """The records that did not diverge: what a net without finite scores answers is nothing. NothingToDraw of none."""
    if kept := [r for r in records if r.status != "diverged"]:
        return kept
    raise NothingToDraw(f"{records[0].recipe} diverged: it has no answers to show")


def flat(groups: dict[str, Iterable[Record]], what: str) -> list[Record]:
    """All records of a dict of groups. Raises NothingToDraw where there are none, or a group is empty."""
    empty = [name for name, records in groups.items() if not list(records)]
    if empty or not groups:
        needed([], f"{what}: {', '.join(map(str, empty)) or 'no groups'}")
    return [r for records in groups.values() for r in records]


def is_small(record: Record) -> bool:
    """Whether the record is of a profile that is there for trying alone; a reader's own run counts as it is."""
    return record.recipe.profile in SMALL and record.recipe.variant != "custom"


def together(groups):
    """The records of a figure that may stand together, and what was left out, in words.

    Groups are a dict, by label, of records or lists of them, or one list; anything else is given back as it is. Small
    runs are left out beside full or reduced ones, and so are labels without records; a reader's own runs stay.
    """
    by_label = groups if isinstance(groups, dict) else {"": groups}
    if not all(_of_records(own) for own in by_label.values()):
        return groups, ""
    lists = {label: needed(own, label) for label, own in by_label.items() if own}
    records = [r for own in lists.values() for r in own]
    better = any(not is_small(r) and r.recipe.variant != "custom" for r in records)
    shown = {label: [r for r in own if not (better and is_small(r))] for label, own in lists.items()}
    kept = {label: own[0] if isinstance(by_label[label], Record) else own for label, own in shown.items() if own}
    left = [label for label in lists if label not in kept]
    told = joined(left) if len(left) < 3 else f"{len(left)} others"
    return (kept, told) if groups is by_label else (kept.get("", groups), "")


def at_best(groups: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """The groups of the best profile that any has, for what only equal runs may be compared in; a reader's own stay."""
    kept = together(dict(groups))[0]
    named = {k: {r.recipe.profile for r in own if r.recipe.variant != "custom"} for k, own in kept.items()}
    best = max(set().union(*named.values()), key=PROFILES.index, default=None)
    return {label: own for label, own in kept.items() if named[label] <= {best}}


def _of_records(value) -> bool:
    return value is None or isinstance(value, Record) or (isinstance(value, list) and all(map(_of_records, value)))


def labels(groups) -> dict[str, str]:
    """The labels of a dict of records as a figure shows them: with the profile, unless it is full, where two differ."""
    if not isinstance(groups, dict) or not all(map(_of_records, groups.values())):
        return {}
    found = {k: {r.recipe.profile for r in needed(own, k) if r.recipe.variant != "custom"} for k, own in groups.items()}
    mixed = len(set().union(*found.values())) > 1
    return {k: k + ", reduced" * (mixed and "reduced" in profiles) for k, profiles in found.items()}


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


def percent(share: float, digits: int = 1) -> str:
    """A share in [0, 1] as text, such as 37.3 %."""
    return f"{100 * share:.{digits}f} %"


def spread(half: float, digits: int = 1, sign: bool = True) -> str:
    """` ± 1.2 %` for half of an interval of shares, without its sign if so wanted; nothing where there is none."""
    return f" ± {100 * half:.{digits}f}{' %' * sign}" if half else ""


def told_mean(values: Sequence[float], digits: int = 1) -> str:
    """The mean of shares ± half its 95 % t-interval, or, where that leaves what a share can be, the range of seeds."""
    mean, half = share_interval(values)
    if not np.isfinite(mean):
        return "no finite number"
    if half == mean_interval(values)[1]:
        enough = int(np.isfinite(values).sum()) >= LEAST_SEEDS
        return percent(mean, digits) + (f" ± {percent(half, digits)}" if enough else "")
    return f"{percent(np.nanmin(values), digits)} to {percent(np.nanmax(values), digits)} from seed to seed"


def printed(published: Published | float) -> str:
    """A published number as it was printed."""
    return published.text if isinstance(published, Published) else percent(published)


def number_of(published: Published | float) -> float:
    """The value of a published number."""
    return published.value if isinstance(published, Published) else float(published)


def words(metric: str) -> str:
    """A metric's name in words."""
    last = metric.split(".")[-1]
    return METRIC_WORDS.get(last, last.replace("_", " "))


@dataclass(frozen=True)
class Ends:
    """The labels that share the first and the last place, and what is printed there; empty without a finite value."""

    first: list[str]
    best: str
    last: list[str]
    worst: str

    @property
    def tied(self) -> bool:
        """Whether all that have a value share one."""
        return self.best == self.worst


def ends(values: Mapping[str, float], told: Callable = percent, lowest: bool = False) -> Ends:
    """The ends of an order of labels by their finite values; values that are printed alike share a place."""
    finite = {label: float(v) for label, v in values.items() if np.isfinite(v)}
    if not finite:
        return Ends([], "", [], "")
    best, worst = (told(end(finite.values())) for end in ((min, max) if lowest else (max, min)))
    first, last = ([label for label, v in finite.items() if told(v) == end] for end in (best, worst))
    return Ends(first, best, last, worst)


def leads(values: Mapping[str, float], verb: str, what: str, told: Callable = percent, lowest: bool = False) -> str:
    """Who `reaches the highest accuracy, 3 %`: all that share the place, or what one alone has, or that nobody has."""
    found, finite = ends(values, told, lowest), int(np.isfinite([*values.values()]).sum())
    who, verb = few(found.first), agree(found.first, verb)
    if finite < 2:
        article = "an" if what[0] in "aeiou" else "a"
        return f"{who} {verb} {article} {what} of {found.best}" if finite else f"nobody has a finite {what}"
    if found.tied:
        return f"{who} {verb} the same {what}, {found.best}"
    degree = ("lower" if lowest else "higher") if finite == 2 else "lowest" if lowest else "highest"
    return f"{who} {verb} the {degree} {what}, {found.best}"


def agree(labels: Sequence, word: str) -> str:
    """A word as it stands with one label, such as `reaches`, or in its plural."""
    return word if len(labels) == 1 else PLURALS[word]


def few(labels: Sequence[str], noun: str = "rows") -> str:
    """The labels, or how many there are where they are more than three."""
    return joined(labels) if len(labels) < 4 else f"{len(labels)} {noun}"


def sentence(text: str) -> str:
    """The text with a capital letter at its start; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def class_names(record: Record) -> tuple[str, ...]:
    """The classes of a record in the order of its labels, in words: spaces where the data set has underscores."""
    data = record.recipe.data
    names = DATA_SETS[data.name].class_names if data.name in DATA_SETS else ("first", "second")
    return tuple(names[c].replace("_", " ") for c in data.classes or range(len(names)))


def digits(value: float) -> str:
    """Three digits, such as 3.00; whole numbers from a thousand on."""
    if 1e3 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def short(value: float) -> str:
    """A setting in as few characters as can be: 1e4, 3e-7, 0.5."""
    mantissa, exponent = f"{value:e}".split("e")
    return min(f"{value:g}", f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}", key=len)


def joined(items: Iterable) -> str:
    """The items with commas, and with `and` before the last."""
    items = [str(i) for i in items]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def counted(n: int, word: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


class Caption(str):
    """A line under a title that knows how the title begins: where runs are small, and where all are a reader's own."""

    begins = ""


def caption(records: Iterable[Record], more: str = "") -> Caption:
    """The line under a title: the data's name, variants, the run if it is one, seeds, the profile if it is not full.

    What a smaller profile trains on, and for how long, follows its name; records of several profiles are counted apart.
    """
    records = needed(records, "a caption")
    variants = dict.fromkeys(VARIANT_WORDS.get(r.recipe.variant, r.recipe.variant) for r in records)
    parts = [joined(dict.fromkeys(r.data_name for r in records)), joined(variants)]
    runs = dict.fromkeys(r.recipe.run for r in records)
    parts += [f"run {run}" for run in runs if len(runs) == 1]
    profiles = dict.fromkeys(r.recipe.profile for r in records)
    for profile in profiles:
        own = [r for r in records if r.recipe.profile == profile]
        seeds = sorted({r.recipe.seed for r in own})
        told = f"seed {seeds[0]}" if len(seeds) == 1 else _counted_seeds(own, len(seeds))
        if profile != "full" or len(profiles) > 1:
            told += f", {profile} profile"
        reduced = " / ".join(dict.fromkeys(filter(None, map(_reduced, own)))) if profile == "reduced" else ""
        parts.append(told if profile == "full" else f"{told}, {reduced}" if reduced else told + _size(own))
    line = Caption(" · ".join([*parts, *([more] if more else [])]))
    line.begins = "Small runs: " * any(r.recipe.profile in SMALL for r in records)
    line.begins += "Yours: " * all(r.recipe.variant == "custom" for r in records)
    return line


def _reduced(record: Record) -> str:
    """What was reduced in a run, in the words of its report's file."""
    r = record.recipe
    try:
        return read(r.report).plans(r.run, r.variant, r.profile)[0].reduced
    except RecipeError:  # a report of somebody else's
        return ""


def _counted_seeds(records: list[Record], count: int) -> str:
    """`8 seeds`, or `3 to 8 seeds` where some runs have fewer than others."""
    runs: dict[tuple[str, str], set[int]] = {}
    for r in records:
        runs.setdefault((r.recipe.run, r.recipe.variant), set()).add(r.recipe.seed)
    low, high = (f(map(len, runs.values())) for f in (min, max))
    return f"{low} to {high} seeds" if low < high else f"{count} seeds"


def _size(records: list[Record]) -> str:
    """What small runs are made of: epochs, images, pixels a side, width of the net; nothing for what is left open."""
    recipes = [r.recipe for r in records]
    found = {
        "epochs": [getattr(r.settings, "epochs", 0) for r in recipes],
        "images": [r.data.train_limit for r in recipes],
        "pixels": [r.data.image_size for r in recipes],
        "of the width": [getattr(r.settings, "model", {}).get("width", 0) for r in recipes],
    }
    told = []
    for name, values in found.items():
        low, high = min(values), max(values)
        if low > 0:
            told.append(f"{low:,g}{'' if low == high else f' to {high:,g}'} {name}")
    return f" ({', '.join(told)})" if told else ""
