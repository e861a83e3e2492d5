"""Which recipes are cheaper together: they share images, a step, or a VAE."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace

from secondlook.recipe import Recipe

READ = ("latent", "svm_head", "head_learning_rate")  # settings that come after the VAE


def groups(recipes: list[Recipe]) -> list[list[Recipe]]:
    """The recipes, those together that one call of their kind's `produce` is to make."""
    found: dict[str, list[Recipe]] = {}
    for recipe in recipes:
        found.setdefault(f"{recipe.kind} {SHARED[recipe.kind](recipe) or recipe.id}", []).append(recipe)
    nested = []
    for group in found.values():
        largest = max(r.settings.batch_size for r in group)
        fits = [r for r in group if largest % r.settings.batch_size == 0]  # others cannot read one stream
        nested += [fits, *([r] for r in group if r not in fits)]
    return nested


def seeds_together(recipe: Recipe) -> str:
    """Equal for seeds of one net and equal settings; "" for a recipe whose length is decided on the way."""
    s = recipe.settings
    decides = s.early_stopping or s.restore_best or s.schedule.get("name") == "plateau" or s.first
    return "" if decides else str(replace(recipe, seed=0, keep="metrics").as_dict())


def stream(recipe: Recipe) -> tuple:
    """What linear recipes have in common that can share one stream of images, if their batch sizes nest."""
    s = recipe.settings
    return recipe.data, recipe.seed, s.features, s.feature_count, s.patch_size, s.augment, s.epochs


def vae_training(recipe: Recipe) -> dict:
    """What a VAE depends on, and not what is done with it afterwards."""
    data, settings = asdict(recipe.data), asdict(recipe.settings)
    if recipe.data.noise_on == "test":
        data["noise"] = "none"
    if data["noise"] == "none":
        data["noise_std"] = settings["denoising"] = None
    kept = {k: v for k, v in data.items() if k not in ("test_limit", "noise_on", "source")}
    source = "standin" if recipe.data.source == "standin" else "official"
    kept |= {k: v for k, v in settings.items() if k not in READ}
    return {"kind": "vae", "seed": recipe.seed, "split_seed": recipe.split_seed, **kept, "source": source}


SHARED: dict[str, Callable[[Recipe], object]] = {
    "classifier": seeds_together,
    "linear": stream,
    "vae": lambda recipe: json.dumps(vae_training(recipe), sort_keys=True),
    "risk": lambda recipe: recipe.id,
}
