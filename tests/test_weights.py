"""Trained weights: what a loaded model predicts is what its run predicted, and nothing else passes for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from secondlook import data, weights
from secondlook.experiments import classifier, linear, vae
from secondlook.models import parameter_count
from secondlook.recipe import Recipe
from secondlook.record import RecordError, Records
from secondlook.runs import Execution

SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}


def recipe(kind="classifier", seed=0, **settings) -> Recipe:
    images = {"name": "mnist", "classes": [0, 1], "train_limit": 60, "test_limit": 40, "image_size": 32}
    where = {"report": "test", "run": "one", "variant": "custom", "profile": "quick", "seed": seed}
    told = {"optimizer": SGD, "epochs": 1, "batch_size": 16, **settings}
    return Recipe.from_dict({**where, "kind": kind, "data": {**images, "source": "standin"}, "settings": told})


def trained(folder, own: Recipe):
    module = {"classifier": classifier, "vae": vae}[own.kind]
    module.produce([own], Execution(folder, folder, folder, "cpu"))
    return Records(folder).get(own)


@pytest.mark.parametrize("precision", ["float32", "bf16", "float64"])
@pytest.mark.parametrize("name", ["conv_vgg", "unet", "keras_cnn"])
def test_a_loaded_model_predicts_what_its_record_holds(tmp_path, name, precision):
    model = {"name": name, "width": 0.0625}
    record = trained(tmp_path, replace(recipe(model=model, precision=precision), keep="predictions"))
    model = record.load_model(tmp_path)
    test = data.split(data.load(record.recipe.data, tmp_path), record.recipe.data, 0).test
    found = model.probabilities(data.load(record.recipe.data, tmp_path).x_test[test]).argmax(1)
    assert np.array_equal(found, record.arrays["predictions"])
    assert not model.model.training
    assert model.class_names == ("0", "1")


@pytest.mark.parametrize("features", [{}, {"features": "whitened", "feature_count": 40}])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_linear_classifier_is_kept_as_one_map_of_the_pixels(tmp_path, name, features):
    images = {"name": name, "source": "standin", "train_limit": 300, "test_limit": 200}
    where = {"report": "test", "run": "one", "variant": "custom", "profile": "quick", "seed": 0, "keep": "evidence"}
    told = {"learning_rate": 1e-7 if not features else 1e-3, "strength": 1.0, "epochs": 3.0, "batch_size": 10}
    own = Recipe.from_dict({**where, "kind": "linear", "data": images, "settings": told | features})
    record = linear.produce([own], Execution(tmp_path, tmp_path, tmp_path, "cpu"))[0]
    model, loaded = record.load_model(tmp_path), data.load(own.data, tmp_path)
    test = data.split(loaded, own.data, 0).test
    found = model.probabilities(loaded.x_test[test]).argmax(1)
    assert (found == record.arrays["predictions"]).mean() > 0.99  # the same product in another order
    assert len(np.unique(found)) > 3
    assert parameter_count(model.model) == 10 * (loaded.x_test[0].size + 1)


def test_recipes_that_share_a_model_share_its_weights(tmp_path):
    own = recipe(
        "vae",
        model={"name": "mlp_vae", "width": 0.0625},
        svm_head="hinge",
        optimizer={"name": "adam", "learning_rate": 1e-3},
    )
    group = [own, own.customised(svm_head="linear_svc")]
    records = vae.produce(group, Execution(tmp_path, tmp_path, tmp_path, "cpu"))
    first, second = (r.load_model(tmp_path).model.state_dict() for r in records)
    assert weights.digest(first) == weights.digest(second) == records[0].provenance["weights"]


def test_another_runs_or_damaged_weights_are_refused(tmp_path):
    first, second = (trained(tmp_path, recipe(seed=s, model={"name": "lenet", "in_channels": 1})) for s in (0, 1))
    mine, other = (weights.runs_path(tmp_path, r.id) for r in (first, second))
    whole = mine.read_bytes()
    weights.share(other, mine)
    with pytest.raises(RecordError, match="not the weights"):
        first.load_model(tmp_path)
    for content in (whole[:-9], whole[:200] + b"x" + whole[201:], whole[:-40] + b"\1" + whole[-39:], b"", b"\xff" * 99):
        mine.unlink()
        mine.write_bytes(content)
        with pytest.raises(RecordError, match="damaged weights"):
            first.load_model(tmp_path)
    mine.unlink()
    with pytest.raises(RecordError, match="train the run again"):
        first.load_model(tmp_path)


def test_small_weights_beside_a_record_need_no_runs_folder(tmp_path):
    record = trained(tmp_path, replace(recipe(model={"name": "conv_vgg", "width": 0.0625}), keep="evidence"))
    run = record.load_model(tmp_path)
    shelf = record.shelf(tmp_path)
    about = {"table": {"name": "conv_vgg", "width": 0.0625, "image_size": 32, "num_classes": 2}, "image_size": 32,
             "mean": run.mean, "std": run.std, "class_names": run.class_names, "precision": "float32"}  # fmt: skip
    path = weights.save(shelf.with_name(f"{shelf.name}.safetensors"), run.model, about, torch.float16)
    assert path.stat().st_size < 0.6 * weights.runs_path(tmp_path, record.id).stat().st_size
    images = data.load(record.recipe.data, tmp_path).x_test[:20]
    small = record.load_model(tmp_path / "elsewhere").probabilities(images)
    assert np.allclose(small, run.probabilities(images), atol=5e-3)
