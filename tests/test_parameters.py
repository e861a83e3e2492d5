"""A reader's own settings: what they change in a recipe, and what is refused before any work."""

import pytest

from secondlook.parameters import customised, given, verify
from secondlook.recipe import RecipeError
from secondlook.reports import read


def own(report, variant, profile="smoke", **values):
    return customised(read(report), variant, profile, [0], values)[0]


def test_empty_values_and_minus_one_are_as_the_report():
    assert given({"epochs": -1, "learning_rate": -1.0, "schedule": "", "batch_norm": 0}) == {"batch_norm": 0}


def test_a_learning_rate_goes_where_the_recipe_has_it():
    assert own("alexnet", "as_coded", learning_rate=0.5).settings.optimizer["learning_rate"] == 0.5
    assert own("linear", "as_coded", learning_rate=0.5).settings.learning_rate == 0.5
    assert own("vae", "corrected", learning_rate=0.5).settings.optimizer["learning_rate"] == 0.5


def test_an_image_size_changes_the_data_and_the_net():
    recipe = own("vgg", "as_published", image_size=64, batch_norm=1, augment="flip_crop")
    assert (recipe.data.image_size, recipe.settings.model["image_size"]) == (64, 64)
    assert recipe.settings.model["batch_norm"] is True
    assert recipe.settings.augment == {"flip": True, "crop": 4}
    assert recipe.variant == "custom"


def test_another_optimizer_keeps_the_rate_and_drops_what_only_the_first_one_has():
    recipe = own("optimizers", "as_coded", optimizer="sgd", weight_decay=0.1)
    before = read("optimizers").recipes("initial-adam", "as_coded", "smoke", [0])[0].settings.optimizer
    assert recipe.settings.optimizer == {
        "name": "sgd", "learning_rate": before["learning_rate"], "weight_decay": 0.1,
    }  # fmt: skip


def test_settings_of_a_vae_are_its_own():
    recipe = own("vae", "corrected", noise="white_noise_crop", beta=2.0, latent="sample")
    assert (recipe.data.noise, recipe.settings.beta, recipe.settings.latent) == ("white_noise_crop", 2.0, "sample")


@pytest.mark.parametrize(
    ("report", "variant", "values", "message"),
    [
        ("optimizers", "as_coded", {"optimizer": "addam"}, "did you mean 'adam'"),
        ("optimizers", "as_coded", {"schedule": "cosin"}, "did you mean 'cosine'"),
        ("optimizers", "as_coded", {"schedule": "multi_step"}, "milestones"),
        ("optimizers", "as_coded", {"stage": 7}, "stage must be one of"),
        ("optimizers", "as_coded", {"batch_size": 0}, "batch_size"),
        ("vgg", "as_published", {"batch_norm": 7}, "batch_norm must be 1 with, 0 without"),
        ("optimizers", "as_coded", {"augment": "flop"}, "did you mean 'flip'"),
        ("alexnet", "as_coded", {"architecture": "alexnit"}, "did you mean 'alexnet'"),
        ("alexnet", "as_coded", {"architecture": "alexnet"}, "63"),
        ("vae", "corrected", {"decoder": "tan"}, "did you mean 'tanh'"),
        ("vae", "corrected", {"schedule": "cosine"}, "unknown key 'schedule'"),
        ("linear", "as_coded", {"loss": "hinge"}, "loss"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(report, variant, values, message):
    with pytest.raises(RecipeError, match=message):
        own(report, variant, **values)


def test_every_headline_run_of_every_report_passes():
    for name in ("vgg", "optimizers", "alexnet", "vae"):
        for plan in read(name).recipes(profile="full", seeds=[0]):
            verify(plan)
