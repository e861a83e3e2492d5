"""A chapter's parameters, from its notebook, papermill or a command line; and what a reader's own mean in a recipe.

They are flat (`learning_rate`, `augment`), a recipe has tables. "" or -1 is as the report.
"""

import math
import re
from dataclasses import fields, replace
from pathlib import Path

from secondlook import reports
from secondlook.checks import RecipeError, nearest
from secondlook.data import DATA_SETS, with_images
from secondlook.recipe import CAM_METHODS, PROFILES, VARIANTS, Recipe
from secondlook.reports import Report
from secondlook.runs import TRAIN

TYPES = {"profile": str, "variant": str, "train": str, "seeds": str, "device": str, "data_dir": str,
         "records_dir": str, "cam_method": str, "max_minutes": float}  # fmt: skip
MOST_SEEDS, MOST_MINUTES = 10_000, 1e7
AUGMENTATIONS = {"none": {}, "flip": {"flip": True}, "flip_crop": {"flip": True, "crop": 4}}
TABLES = {
    "learning_rate": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay",
    "batch_norm": "model.batch_norm",
    "stage": "model.stage",
    "architecture": "model.name",
    "optimizer": "optimizer.name",
    "schedule": "schedule.name",
    "noise": "data.noise",
    "noise_std": "data.noise_std",
}  # where a recipe of a net has these settings
KEPT = {"model": ("num_classes", "width"), "optimizer": ("learning_rate",), "schedule": ()}  # under another name


class ParameterError(ValueError):
    """A parameter that cannot be: says what was wrong, what was expected, what to do."""


def check_values(values: dict, report: str | None = None, root: Path | None = None) -> None:
    """Returns nothing when the parameters that every chapter has can be; names it does not know are left alone.

    `report` makes the variants those of that report. A chapter's opening cell calls it too, since plain papermill
    checks nothing. Raises ParameterError naming the parameter, its value, and what was expected.
    """
    for name, kind in TYPES.items():
        if name in values and not is_a(values[name], kind):
            way_out = f"; to pass it as text through papermill: -r {name} {values[name]}" if kind is str else ""
            raise ParameterError(f"{name} must be of type {kind.__name__}, not {values[name]!r}{way_out}")
    variants = reports.read(report, root).variants() if report and values.get("variant") else VARIANTS[:-1]
    choices = {"profile": PROFILES, "train": TRAIN, "variant": ("", *variants), "cam_method": ("", *CAM_METHODS)}
    for name, allowed in choices.items():
        value = values.get(name, allowed[0])
        if value not in allowed:
            hint = nearest(value, [word for word in allowed if word])
            raise ParameterError(f"unknown {name} {value!r}{hint}{' (or empty for all)' * (name == 'variant')}")
    seeds(values.get("seeds", ""))
    minutes = values.get("max_minutes", 1.0)
    if not 0 < minutes <= MOST_MINUTES:
        raise ParameterError(f"max_minutes must be above 0, not {minutes}; to train nothing pass train=never")
    device = values.get("device", "auto")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ParameterError(f"unknown device {device!r}; expected auto, cpu, cuda or cuda:N, for instance cuda:0")
    for name in ("data_dir", "records_dir"):
        if (folder := values.get(name)) and not Path(folder).is_dir():
            raise ParameterError(
                f"{name} {folder!r}: there is no folder {Path(folder).absolute()}; name one that exists, or leave it "
                "empty (a relative one begins where papermill or secondlook is called, in JupyterLab at the notebook)"
            )


def seeds(text: str) -> list[int] | None:
    """The seeds of a text such as "0-5" or "0,2,4", in its order; None for "", which is as the report."""
    if text == "":
        return None
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + MOST_SEEDS - len(found):
            raise ParameterError(f"seeds cannot be {text!r}; expected '0-5', '0,2,4' or nothing for the report's own")
        found += range(first, last + 1)
    if len(set(found)) != len(found):
        raise ParameterError(f"seeds {text!r} names a seed twice; name each once")
    return found


def parse(assignments: list[str], defaults: dict) -> dict:
    """The values of texts `name=value`, each of the type of its default; only those that were passed.

    Raises ParameterError for an unknown name (with the nearest), a value of another type, and a name passed twice.
    """
    values: dict = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"parameter {text!r} has no value; write it as name=value")
        if name not in defaults:
            raise ParameterError(f"unknown parameter {name!r}{nearest(name, defaults)}")
        if name in values:
            raise ParameterError(f"parameter {name!r} is passed twice, as {values[name]!r} and {value!r}; pass it once")
        values[name] = _typed(name, value, type(defaults[name]))
    return values


def is_a(value, kind: type) -> bool:
    """Whether a value is of a type; a whole number is a float too, true and false are neither number."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _typed(name: str, text: str, kind: type):
    if kind is str:
        return text
    try:
        value = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        if math.isfinite(value):
            return value
    except (ValueError, KeyError, OverflowError):  # the last of a whole number beyond every other
        pass
    expected = {int: "int, a whole number", float: "float, a number", bool: "bool, true or false"}[kind]
    raise ParameterError(f"parameter {name!r} must be of type {expected}, not {text[:50]!r}")


# ------------------------------------------------------------------ a reader's own settings


def given(values: dict) -> dict:
    """The parameters that are not as the report. Raises RecipeError for one that is neither text nor a number."""
    for name, value in values.items():
        if type(value) not in (str, int, float):
            raise RecipeError(f"{name} must be text or a number, not {value!r}")
    return {name: value for name, value in values.items() if value not in ("", -1)}


def known(report: Report, values: dict) -> dict:
    """Those of a notebook's parameters that change its runs, and are not as the report."""
    headline = [r.settings for r in report.recipes() if r.headline]
    names = {f.name for settings in headline[:1] for f in fields(settings)} | {*TABLES, "augment", "image_size"}
    names = names if headline else set()
    return given({name: value for name, value in values.items() if name in names})


def customised(report: Report, variant: str, profile: str, seeds: list[int] | None, values: dict) -> list[Recipe]:
    """Recipes of the report's first headline run of a variant with these settings.

    Raises RecipeError, before any work, for a setting the run does not have and for a value that cannot be.
    """
    headline = [r for r in report.recipes(None, variant, profile, seeds) if r.headline]
    own = [r for r in headline if r.run == headline[0].run]
    keeps = ["evidence"] + ["predictions"] * (len(own) - 1)  # whatever the profile: a reader sees every figure of it
    return [changed(replace(r, keep=k), **values) for r, k in zip(own, keeps)]


def verify(recipe: Recipe) -> None:
    """Raises RecipeError for an optimiser, a schedule, a loss or a net that cannot be built. Imports torch."""
    import torch

    from secondlook import models
    from secondlook.experiments.vae import as_classifier
    from secondlook.training.loop import check

    if recipe.kind not in ("classifier", "vae"):
        return
    own = as_classifier(recipe) if recipe.kind == "vae" else recipe
    check(own.settings, own.data.validation > 0)
    options = dict(own.settings.model)
    name = options.pop("name", None)
    known = models.OPTIONS.get(name, ())
    native = DATA_SETS[own.data.name].shape[0] if own.data.name in DATA_SETS else 0
    if (side := own.data.image_size or native) and "image_size" in known:
        options.setdefault("image_size", side)
    try:
        with torch.device("meta"):
            models.build(name, **options)
    except (TypeError, ValueError) as error:
        raise RecipeError(str(error)) from None


def changed(recipe: Recipe, folder: str | Path = "", **values) -> Recipe:
    """The recipe with a reader's own settings, by the names of a chapter's parameters, and images of a `folder`.

    The folder holds a folder of images for each class. Raises as `customised` and `data.with_images`.
    """
    own = _changed(recipe, values)
    own = with_images(own, folder) if folder else own
    verify(own)
    return own


def _changed(recipe: Recipe, values: dict) -> Recipe:
    own = recipe.settings
    tables = {f.name: dict(v) for f in fields(own) if isinstance(v := getattr(own, f.name), dict)}
    if not tables:
        return recipe.customised(**values)
    changes: dict = {}
    for name in sorted(values, key=lambda n: not TABLES.get(n, "").endswith(".name")):  # names begin a table anew
        value = values[name]
        table, _, key = TABLES.get(name, "").partition(".")
        if name == "batch_norm" and value not in (0, 1):
            raise RecipeError(f"batch_norm must be 1 with, 0 without, or -1 as the report, not {value!r}")
        if name == "augment":
            changes[name] = _augmentation(value)
        elif name == "image_size":
            changes["data.image_size"] = value
            tables["model"] |= {name: value} if name in tables["model"] else {}
        elif table == "data":
            changes[f"data.{key}"] = value
        elif table not in tables:
            changes[name] = value  # a setting of its own, or an error that names the nearest
        elif key == "name" and value != tables[table].get("name"):
            tables[table] = {"name": value, **{k: v for k, v in tables[table].items() if k in KEPT[table]}}
        else:
            tables[table][key] = bool(value) if name == "batch_norm" else value
    return recipe.customised(**{**tables, **changes})


def _augmentation(name: str) -> dict:
    if name not in AUGMENTATIONS:
        raise RecipeError(f"unknown augment {name!r}{nearest(name, AUGMENTATIONS)}")
    return AUGMENTATIONS[name]
