"""What the teaching cells of the notebooks use."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from secondlook.chapter import open_chapter
from secondlook.data import DATA_SETS, standins
from secondlook.figures import Notice, comparison
from secondlook.notebook import (
    few_images,
    layer_table,
    live_loss,
    prediction,
    recipe_table,
    small_recipe,
    source,
    train_beside,
)
from secondlook.parameters import changed
from secondlook.predict import predict
from secondlook.recipe import Data
from secondlook.reports import read


def chapter(name, images=None, classes=()):
    return SimpleNamespace(images=images, data=Data(name=name, classes=classes))


@pytest.mark.parametrize(("name", "shape"), [("cifar10", (3, 32, 32)), ("mnist", (1, 28, 28))])
def test_few_images_are_tensors_of_the_data_set_or_its_named_stand_in(name, shape):
    images = standins.draw(name, 40, 20)
    x, y, title = few_images(chapter(name, images), 30)
    assert x.shape == (30, *shape)
    assert x.dtype == torch.float32
    assert x.min() >= 0
    assert x.max() <= 1
    pixels = x[3].permute(1, 2, 0).squeeze(-1).numpy() * 255
    assert np.array_equal(pixels.round(), images.x_train[3])
    assert y[3] == images.y_train[3]
    assert "stand-in" in title
    assert "stand-in" in few_images(chapter(name), 30, test=True)[2]


def test_labels_are_places_among_the_classes_of_the_recipe():
    images = standins.draw("mnist", 100, 20)
    x, y, _ = few_images(chapter("mnist", images, (3, 7)), 15)
    assert set(y.tolist()) == {0, 1}
    assert len(x) == len(y) == 15
    there = images.y_train[np.isin(images.y_train, (3, 7))][:15]
    assert ((there == 7) == (y.numpy() == 1)).all()


def test_a_layer_table_has_every_layer_with_weights_in_order():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).train()
    table = layer_table(model, (3, 8, 8), "A model")
    assert [row[0].split()[1] for row in table.rows] == ["Conv2d", "Linear"]
    assert table.rows[0][1:] == ("4 × 6 × 6", "112")
    assert model.training
    assert f"{112 + 725:,} parameters" in table.caption
    assert str(table).startswith("A model")


def test_the_live_loss_curve_states_where_it_begins_and_ends():
    figure = live_loss({"SGD": [3.0] * 10 + [1.0] * 10}, "stand-in · 20 images", chance=2.0)
    assert "SGD from 3.00 to 1.00" in figure.layout.title.text
    assert "stand-in" in figure.layout.title.subtitle.text


def test_source_is_highlighted_code_of_what_is_asked():
    assert source(few_images, chapter).data.startswith("```python\ndef few_images(")
    assert "def chapter(" in source(few_images, chapter).data


@pytest.mark.parametrize("name", ["linear", "alexnet", "optimizers", "vgg", "vae"])
def test_every_stated_setting_is_one_and_the_others_are_called_assumed(name):
    report = read(name)
    own = [recipe for recipe in report.recipes() if recipe.report == name and recipe.profile == "full"]
    shown = {row[0]: row[2] for recipe in own for row in recipe_table(recipe, report.stated).rows}
    for key in report.stated:
        assert key.replace("_", " ").replace(".", ": ") in shown, key
    first = recipe_table(own[0], {"batch_size": "text"})
    assert {row[0]: row[2] for row in first.rows}["batch size"] == "text"
    assert {row[2] for row in first.rows} == {"text", "we assume"}


@pytest.fixture
def linear(tmp_path):
    folders = {"data_dir": str(tmp_path), "records_dir": str(tmp_path)}
    chapter = open_chapter("linear", profile="full", variant="as_coded", train="never", **folders)
    chapter.train = "missing"
    return chapter


def test_a_trial_without_images_trains_both_runs_on_stand_ins_beside_each_other(linear, capsys):
    as_report = small_recipe(linear, "c4-full")
    tried = train_beside(linear, {"report": as_report, "yours": changed(as_report, learning_rate=1e-7)})
    assert {label: own[0].recipe.settings.learning_rate for label, own in tried.items()}["yours"] == 1e-7
    assert {own[0].recipe.data.source for own in tried.values()} == {"standin"}
    assert "Training takes about" in capsys.readouterr().out
    assert comparison(tried).layout.yaxis.ticktext == ("report", "yours")


def test_a_trial_on_real_images_stays_out_of_the_records_and_is_found_again(linear, tmp_path, monkeypatch, capsys):
    images = standins.draw("cifar10")
    monkeypatch.setitem(DATA_SETS, "cifar10", replace(DATA_SETS["cifar10"], digest=images.digest))
    arrays = {name: getattr(images, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    recipe = linear.report.recipes("c4-full", "as_coded", "quick")[0]
    recipe = replace(recipe, data=replace(recipe.data, source="npz"))
    first = train_beside(linear, {"mine": recipe})["mine"][0]
    assert not list((tmp_path / "linear").glob("*"))
    assert list((tmp_path / "runs" / "linear").glob("*.npz"))
    again = train_beside(linear, {"mine": recipe})["mine"][0]
    assert again.metrics == first.metrics
    assert "Trained before" in capsys.readouterr().out


def test_a_page_told_never_to_train_does_not_train_a_trial(linear):
    linear.train = "never"
    assert 'train="never"' in train_beside(linear, {"report": small_recipe(linear, "c4-full")}).reason


def test_in_a_build_of_the_book_a_trial_says_what_it_would_take(linear, monkeypatch):
    monkeypatch.setenv("SECONDLOOK_TRAIN", "never")
    as_report = small_recipe(linear, "c4-full")
    shown = comparison(train_beside(linear, {"report": as_report}))
    assert isinstance(shown, Notice)
    assert "Training takes about" in str(shown)
    assert "the book is built without training" in str(shown)


def test_the_weights_of_the_project_answer_a_drawing_with_its_heat_map():
    drawn = Image.new("L", (60, 60))
    drawn.paste(255, (28, 10, 33, 50))  # a one
    figure = prediction(predict("vae/vgg-noisy", drawn))
    assert figure.layout.title.text.startswith("1, ")
    assert figure.layout.images[0].source.startswith("data:image/webp")
