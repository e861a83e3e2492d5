"""The sections of a report's file: what it may say, every key known and every value of its type.

What a report published, claims and sets out to reach; the layers that recipes are made of are read in `reports`.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

import pydantic.dataclasses
from pydantic import Field

from secondlook.checks import STRICT, RecipeError, checked, nearest, shown
from secondlook.recipe import PROFILES, VARIANTS, Table

VERDICTS = (
    "reproduced",
    "direction reproduced",
    "not reproduced",
    "inconclusive",
    "contradicted",
    "not testable as stated",
    "underspecified",
    "not run",
)
RESTS_ON = ("measurement", "log", "code", "text", "arithmetic")  # what a verdict does
INDICATIONS = ("holds", "does not hold", "inconclusive", "too few seeds")  # of reduced runs: no verdicts
CLAIM_OPTIONS = ("values", "verdict", "published", "tolerance", "family", "rests_on")  # beside a claim's `options`
Tables = dict[str, dict[str, Any]]


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Sections:
    """The sections of a report's file."""

    title: str = ""
    short: str = ""
    letter: str = ""
    source: str = ""
    stated: dict[str, str] = field(default_factory=dict)
    published: Tables = field(default_factory=dict)
    claim: Tables = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    run: Tables = field(default_factory=dict)
    variant: Tables = field(default_factory=dict)
    profile: Tables = field(default_factory=dict)
    family: Tables = field(default_factory=dict)
    aim: Tables = field(default_factory=dict)


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Layer:
    """What a layer may say of a run beside its recipe."""

    says: str = ""
    grid: dict[str, Annotated[list, Field(min_length=1)]] = field(default_factory=dict)
    seeds: Any = 1
    variants: list[Literal[VARIANTS[:-1]]] = field(default_factory=lambda: ["as_published"])
    headline: bool = False
    reduced: str = ""
    run: Tables = field(default_factory=dict)


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class _Printed:
    value: Any = None
    where: str = ""
    says: str = ""


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Family:
    claims: list[str]


BESIDE_RECIPE = tuple(f.name for f in fields(Layer))


@dataclass(frozen=True)
class Published:
    """A number as it was printed. `value` is a fraction where the print says %, `half_unit` half its last digit."""

    id: str
    text: str
    value: float
    half_unit: float
    where: str = ""
    says: str = ""


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Claim:
    """A checkable statement. `options` are the arguments of its form (see `secondlook.claims`).

    `figure` is the id of the chapter's figure that shows it, "" where none does.
    """

    id: str
    says: str
    form: str
    where: str = ""
    figure: str = ""
    variant: Literal[VARIANTS] = "as_published"
    why: str = ""
    ours: bool = False
    options: Table = field(default_factory=dict)


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Aim:
    """What a run of `further` sets out to reach: at least `least` in `metric`, `beside` a number of the report."""

    id: str
    says: str
    run: str
    least: Published
    beside: Published | None = None
    variant: Literal[VARIANTS] = "further"
    metric: str = "test_accuracy"


def read_sections(text: str, where: str) -> Sections:
    """The sections of a file's text, checked. Raises RecipeError naming `where` and key."""
    try:
        raw = checked(Sections, tomllib.loads(text), where)
    except RecipeError:
        raise
    except Exception as error:  # whatever it is, the text is no TOML
        raise RecipeError(f"{where}: not valid TOML: {error}") from None
    _check_layers(raw, where)
    for name, family in raw.family.items():
        checked(Family, family, f"{where}: family.{name}")
    return raw


def _check_layers(raw: Sections, where: str) -> None:
    """Every layer's own keys, and that what it names is there."""
    layers = [("base", raw.base)]
    for group, allowed in (("run", raw.run), ("variant", VARIANTS[:-1]), ("profile", PROFILES)):
        check_keys(getattr(raw, group), allowed, f"{where}: {group}")
        layers += [(f"{group}.{name}", layer) for name, layer in getattr(raw, group).items()]
    for place, layer in layers:
        for run, own in read_layer(layer, f"{where}: {place}").run.items():
            check_keys([run], raw.run, f"{where}: {place}.run")
            read_layer(own, f"{where}: {place}.run.{run}")
            known = raw.run[run].get("variants", ("as_published",))
            for variant in own.get("variants", ()):
                check_known(variant, known, f"{where}: {place}.run.{run}.variants")


def read_layer(layer: dict, where: str) -> Layer:
    """What a layer, or all layers together, say of a run beside its recipe."""
    return checked(Layer, {key: layer[key] for key in BESIDE_RECIPE if key in layer}, where)


def read_published(name: str, entry: dict, where: str) -> Published:
    """A number from the text it was printed as, such as `81.6 %` or `1e-3`."""
    printed = checked(_Printed, entry, where)
    text = printed.value
    number = r"(-?\d{1,30}(?:\.(\d{1,30}))?(?:e(-?\d{1,2}))?)\s*(%)?\s*(.*)"
    match = re.fullmatch(number, text) if isinstance(text, str) else None
    if not match:
        raise RecipeError(f"{where}: value must be the number as printed, in quotes, not {shown(text)}")
    scale = 0.01 if match[4] else 1.0
    unit = 10.0 ** (int(match[3] or 0) - len(match[2] or ""))
    value = float(match[1]) * scale if not match[4] else round(float(match[1]) / 100, len(match[2] or "") + 2)
    return Published(name, text, value, unit * scale / 2, printed.where, printed.says)


def read_claim(name: str, entry: dict, where: str) -> Claim:
    """A claim from its table, whose keys CLAIM_OPTIONS are options of its form."""
    check_keys(entry, (*CLAIM_OPTIONS, *(f.name for f in fields(Claim))), where)
    own = {k: entry[k] for k in CLAIM_OPTIONS if k in entry}
    if "verdict" in own:
        check_known(own["verdict"], VERDICTS, f"{where}: verdict")
    plain = {"id": name, **{k: v for k, v in entry.items() if k not in own}}
    return checked(Claim, {**plain, "options": {**checked(Claim, plain, where).options, **own}}, where)


def read_aim(name: str, entry: dict, published: dict[str, Published], where: str) -> Aim:
    """An aim from its table; `published` are the numbers that it may stand beside."""
    own = {"id": name, **entry}
    if "least" in entry:
        own["least"] = read_published(name, {"value": entry["least"]}, f"{where}: least")
    if "beside" in entry:
        check_known(entry["beside"], published, f"{where}: beside")
        own["beside"] = published[entry["beside"]]
    return checked(Aim, own, where)


def check_keys(keys: Iterable[str], allowed, where: str) -> None:
    """Raises RecipeError for the first key that is not allowed, with the nearest that is."""
    for key in keys:
        if key not in allowed:
            raise RecipeError(f"{where}: unknown key {key!r}{nearest(key, allowed)}")


def check_known(word, allowed, where: str) -> None:
    """Raises RecipeError for a word that is not allowed, with the nearest that is."""
    if not isinstance(word, str) or word not in allowed:
        raise RecipeError(f"{where} {shown(word)} is unknown{nearest(word, allowed)}")
