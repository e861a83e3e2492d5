"""The words of figures and tables: numbers as text, who is first and last, names, and the line under a title."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from secondlook.data.images import DATA_SETS
from secondlook.evaluation.statistics import LEAST_SEEDS
from secondlook.figures.values import SMALL, mean_interval, needed, share_interval
from secondlook.names import OPTIMIZERS as OPTIMIZERS
from secondlook.names import VARIANTS
from secondlook.names import name as name
from secondlook.recipe import RecipeError
from secondlook.record import Record
from secondlook.reports import read

PLURALS = {"reaches": "reach", "ends with": "end with", "ends": "end", "has": "have", "is": "are", "leads": "lead",
           "follows": "follow", "tells": "tell", "loses": "lose", "brings": "bring", "lies": "lie",
           "its": "their"}  # fmt: skip


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


def class_names(record: Record) -> tuple[str, ...]:
    """The classes of a record in the order of its labels, in words: spaces where the data set has underscores."""
    data = record.recipe.data
    sets = {name: known.class_names for name, known in DATA_SETS.items()}
    names = data.class_names or sets.get(data.name, ("first", "second"))
    return tuple(names[c].replace("_", " ") for c in data.classes or range(len(names)))


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
    """The labels, or how many there are where they are more than three or fill half a title."""
    told = joined(labels)
    return told if len(labels) < 2 or (len(labels) < 4 and len(told) < 45) else f"{len(labels)} {noun}"


def ranged(values: Mapping[str, float], told: Callable = percent, noun: str = "rows") -> str:
    """Numbers of two labels one by one, `39 % in A and 40 % in B`; of more the ends, `24 % (A) to 55 % (B)`."""
    if len(values) < 3:
        return joined(f"{told(v)} in {label}" for label, v in values.items())
    order = ends(values, told, lowest=True)
    low, high = (f"{end} ({who[0] if len(who) == 1 else f'{len(who)} {noun}'})"
                 for end, who in ((order.best, order.first), (order.worst, order.last)))  # fmt: skip
    return f"{order.best} in all {len(values)}" if order.tied else f"{low} to {high}"


def printed(published) -> str:
    """A published share in percent with as many digits as were printed: 84.74 % for 0.8474."""
    text = published.text
    return text if text.endswith("%") else percent(published.value, max(len(text.partition(".")[2]) - 2, 0))


def sentence(text: str) -> str:
    """The text with a capital letter at its start; the rest stays as it is."""
    return text[:1].upper() + text[1:]


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
    variants = dict.fromkeys(VARIANTS.get(r.recipe.variant, r.recipe.variant) for r in records)
    parts = [joined(dict.fromkeys(r.data_name for r in records)), joined(variants)]
    runs = dict.fromkeys(r.recipe.run for r in records)
    parts += [f"run {run}" for run in runs if len(runs) == 1]
    profiles = dict.fromkeys(r.recipe.profile for r in records)
    for profile in profiles:
        group = [r for r in records if r.recipe.profile == profile]
        seeds = sorted({r.recipe.seed for r in group})
        told = f"seed {seeds[0]}" if len(seeds) == 1 else _counted_seeds(group, len(seeds))
        if profile != "full" or len(profiles) > 1:
            told += f", {profile} profile"
        reduced = " / ".join(dict.fromkeys(filter(None, map(_reduced, group)))) if profile == "reduced" else ""
        parts.append(told if profile == "full" else f"{told}, {reduced}" if reduced else told + _size(group))
    line = Caption(" · ".join([*parts, *([more] if more else [])]))
    line.begins = "Small runs: " * any(r.recipe.profile in SMALL for r in records)
    line.begins += "Yours: " * all(r.recipe.variant == "custom" for r in records)
    return line


def _reduced(record: Record) -> str:
    """What was reduced in a run, in the words of its report's file."""
    r = record.recipe
    try:
        return read(r.report).recipes(r.run, r.variant, r.profile)[0].reduced
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
    spans = {name: (min(values), max(values)) for name, values in found.items()}
    told = [f"{low:,g}{f' to {high:,g}' * (high > low)} {name}" for name, (low, high) in spans.items() if low > 0]
    return f" ({', '.join(told)})" if told else ""
