"""Damaged files: whatever a reader of somebody else's makes of them, what comes out is whole or a named error."""

import io
import struct
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook import models, reports, shelf, weights
from secondlook.data import DataError, load, sources
from secondlook.recipe import Data, Recipe, RecipeError
from secondlook.record import Record, RecordError, read_shelf, save
from secondlook.training import checkpoint

REPORT = """
title = "A sample"
[published]
best = { value = "81.6 %", where = "table 1" }
[base]
kind = "classifier"
data = { name = "cifar10", validation = 0.1, classes = [0, 1] }
optimizer = { name = "sgd", learning_rate = 0.01 }
[run.a]
grid = { batch_size = [1, 2], "optimizer.momentum" = [0.0, 0.9] }
variants = ["as_published", "as_coded"]
[variant.as_coded.run.a]
epochs = 4
[profile.quick]
seeds = [0, 1]
[claim.A1]
says = "a statement"
form = "value"
values = [{ run = "a", metric = "test_accuracy", published = "best" }]
[aim.higher]
says = "more"
run = "a"
variant = "as_coded"
least = "94 %"
beside = "best"
"""
ENVELOPE = {"report": "vgg", "run": "a", "variant": "as_published", "profile": "full", "kind": "classifier", "seed": 0}


def report(folder: Path):
    (folder / "reports").mkdir()
    (folder / "reports" / "sample.toml").write_text(REPORT)

    def read():
        reports.read.cache_clear()
        return [str(plan) for plan in reports.read("sample", folder).recipes()]

    return folder / "reports" / "sample.toml", read


def record(folder: Path):
    made = Record(Recipe.from_dict(ENVELOPE), "finished", {"a": 0.5, "b": [1, 2]}, {"loss": [2.0, 1.0]}, {}, {"x": "y"})
    (path,) = save([made], folder)
    return path, lambda: [(r.metrics, r.status, str(r.recipe)) for r in read_shelf(path).values()]


def arrays(folder: Path):
    made = Record(Recipe.from_dict(ENVELOPE), "finished", {}, {}, {"scores": np.arange(300, dtype=np.uint16)})
    (path,) = save([made], folder)
    (found,) = read_shelf(path).values()
    return path.with_suffix(".npz"), lambda: found.arrays["scores"].tolist()


def data(folder: Path):
    generator = np.random.default_rng(0)
    made = {f"x_{part}": generator.integers(0, 256, (3, 32, 32, 3), np.uint8) for part in ("train", "test")}
    np.savez_compressed(folder / "cifar10.npz", **made, y_train=np.zeros(3, np.uint8), y_test=np.zeros(3, np.uint8))
    return folder / "cifar10.npz", lambda: load(Data(), folder)


def official(folder: Path):
    place = folder / sources.OFFICIAL["mnist"]
    place.mkdir(parents=True)
    for part in ("train", "t10k"):
        (place / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, 2, 28, 28) + bytes(2 * 784))
        (place / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, 2) + bytes(2))
    return place / "train-images-idx3-ubyte", lambda: load(Data(name="mnist"), folder)


def saved(folder: Path):
    own = checkpoint.Checkpoint(folder / "run.ckpt", {"seed": 1})
    own.save({"step": 3, "net": {"w": torch.ones(5)}, "history": [1.0]})
    return own.path, lambda: str(checkpoint.read(own.path))


def trained(folder: Path):
    about = {"table": {"name": "lenet", "num_classes": 2}, "image_size": 32, "mean": [0.5], "std": [0.5],
             "class_names": ["a", "b"], "precision": "float32"}  # fmt: skip
    path = weights.save(folder / "net.safetensors", models.build("lenet", num_classes=2), about, torch.float16)
    return path, lambda: str(weights.load(path).model.state_dict())


READERS = {report: RecipeError, record: RecordError, arrays: RecordError, data: DataError, official: DataError,
           saved: checkpoint.CheckpointError, trained: RecordError}  # fmt: skip
CHANGED_MEANING = (report,)  # a person's text: another word in it is another report
NEVER_WHOLE = (data, official)  # made up here, so the pinned digest refuses it


@cache
def prepared(reader, folder: Path):
    path, read = reader(folder)
    return path, read, path.read_bytes(), None if reader in NEVER_WHOLE else read()


@pytest.mark.parametrize("reader", READERS)
@given(damage=st.data())
@settings(deadline=None, max_examples=120, derandomize=True)
def test_a_damaged_file_is_read_as_it_was_or_refused_by_name(reader, damage, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / reader.__name__
    folder.mkdir(exist_ok=True)
    path, read, whole, expected = prepared(reader, folder)
    content = bytearray(whole)
    end = len(content) - 1
    near = st.one_of(st.integers(0, min(400, end)), st.integers(max(0, end - 400), end), st.integers(0, end))
    for position in damage.draw(st.lists(near, max_size=4)):
        content[position] = damage.draw(st.integers(0, 255))
    cut = damage.draw(st.one_of(st.just(len(content)), near))
    path.write_bytes(content[:cut])
    try:
        found = read()
    except READERS[reader]:
        return
    assert found == expected or reader in CHANGED_MEANING


def lying(path: Path, name: str, shape: tuple, content: bytes) -> None:
    """An .npz with one array that states `shape`, and holds `content`."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", header.getvalue() + content)


@pytest.mark.parametrize(("shape", "content"), [((2**40,), b"few"), ((2, 3), b"more than six"), ((5000,), bytes(5000))])
def test_an_array_that_unpacks_to_more_than_it_may_is_not_read(shape, content, tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "LARGEST", 4000)
    monkeypatch.setattr(sources, "LARGEST", 4000)
    lying(tmp_path / "cifar10.npz", "x_train", shape, content)
    for key in ("y_train", "x_test", "y_test"):
        lying(tmp_path / "cifar10.npz", key, (1,), b"0")
    with pytest.raises(DataError, match=r"cifar10\.npz: not a readable \.npz file \(x_train states"):
        load(Data(), tmp_path)
    path, read = arrays(tmp_path)
    (digest,) = np.load(path).files
    path.unlink()
    lying(path, digest, shape, content)
    with pytest.raises(RecordError, match=r"array 'scores' cannot be read \(.* states \d+ bytes and holds \d+"):
        read()
