"""A reader's own settings: what a chapter's parameters mean in a recipe, and whether such a run can be.

A chapter has flat parameters (`learning_rate`, `augment`), a recipe has tables. "" or -1 is as the report.
"""

from dataclasses import fields, replace

from secondlook.data import DATA_SETS
from secondlook.recipe import Recipe, RecipeError, nearest
from secondlook.reports import Report

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
    recipes = [_changed(replace(r, keep=k), values) for r, k in zip(own, keeps)]
    verify(recipes[0])
    return recipes


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
