"""A folder of a reader's own images: read, divided, trained on, and refused where it cannot be used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from secondlook.checks import RecipeError
from secondlook.data import DataError, known, load, split
from secondlook.estimates import images
from secondlook.figures import confusion
from secondlook.figures.words import class_names
from secondlook.parameters import changed
from secondlook.record import Records
from secondlook.reports import read
from secondlook.runs import Execution, load_or_train

COLOURS = {"amber_light": (250, 180, 20), "blue": (30, 60, 220), "green": (40, 180, 60), "red": (210, 40, 40)}


def filled(folder: Path, each: int = 10) -> Path:
    """Forty small photographs of four colours, in four sizes and three kinds of file."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for k in range(each):
            pixels = np.clip(rng.normal(colour, 25, (40 + 7 * (k % 4), 50, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}{('.png', '.webp', '.jpg')[k % 3]}")
    return folder


def recipe(folder: Path, **more):
    return changed(read("vgg").recipes("vgg11", "as_published", "quick", [0])[0], folder=folder, **more)


def test_forty_images_in_four_classes_train_and_are_shown(tmp_path):
    own = recipe(filled(tmp_path / "colours"), epochs=2)
    execution = Execution(tmp_path / "none", tmp_path / "records", runs_dir=tmp_path / "runs", device="cpu")
    (record,) = load_or_train([own], execution).records
    assert not own.is_evidence
    assert record.path.is_relative_to(tmp_path / "runs")
    assert record.provenance["data_digest"] == own.data.digest
    assert record.data_name == "own images (colours)"
    assert class_names(record) == ("amber light", "blue", "green", "red")
    assert len(record.arrays["predictions"]) == 8
    assert "own images (colours)" in confusion([record]).layout.title.subtitle.text
    assert Records(execution.records_dir, execution.runs_dir).find([own])


def test_a_fifth_of_each_class_tests_and_is_the_same_in_any_order_and_place(tmp_path):
    one, other = recipe(filled(tmp_path / "one")), recipe(filled(tmp_path / "elsewhere"))
    assert one.id == other.id
    found = split(load(one.data, tmp_path), replace(one.data, validation=0.0), 0)
    assert (len(found.train), len(found.test)) == (32, 8)
    assert np.bincount(found.y_test).tolist() == [2] * 4
    assert (images(one.data).classes, known(one.data).shape) == (4, (32, 32, 3))


def test_other_images_are_another_recipe_and_no_old_one(tmp_path):
    before = recipe(filled(tmp_path / "one"))
    next((tmp_path / "one" / "red").glob("*.png")).unlink()
    assert recipe(tmp_path / "one").id != before.id
    with pytest.raises(DataError, match="not those the recipe was made of"):
        load(before.data, tmp_path)


def test_train_and_test_folders_are_taken_as_they_are(tmp_path):
    filled(tmp_path / "own" / "train", 5)
    filled(tmp_path / "own" / "test", 3)
    data = recipe(tmp_path / "own").data
    assert (data.train_limit, data.test_limit) == (20, 12)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda own: own.rename(own.parent / "moved"), "there is no such folder"),
        (lambda own: [p.rename(own.parent / p.name) for p in list(own.iterdir())[1:]], "1 folders in it"),
        (lambda own: [p.unlink() for p in list((own / "red").iterdir())[1:]], "no image to train with in red"),
        (lambda own: (own / "blue" / "0.png").write_bytes(b"not a picture"), "0.png: not an image"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_work(tmp_path, spoil, told):
    spoil(filled(tmp_path / "own"))
    with pytest.raises(DataError, match=told):
        recipe(tmp_path / "own")


def test_only_a_classifier_takes_a_folder(tmp_path):
    with pytest.raises(RecipeError, match="kind linear takes no folder"):
        changed(read("linear").recipes(profile="quick")[0], folder=filled(tmp_path / "own"))
