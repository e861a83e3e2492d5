"""Tracking: a line an epoch, and no sink that can stop a training."""

import json
import sys
import time

import pytest

from secondlook.experiments import classifier
from secondlook.reports import read
from secondlook.runs import Execution
from secondlook.training.tracking import Tracker


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_epoch_is_a_line_of_json(tmp_path):
    tracker = Tracker(tmp_path / "logs", "run")
    for epoch in (1, 2):
        tracker(epoch, {"train_loss": 1 / epoch})
    assert lines(tmp_path / "logs" / "run.jsonl") == [{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": 0.5}]


def test_a_sink_that_fails_is_named_once_and_left_out(tmp_path):
    (tmp_path / "logs").write_text("a file where a folder is needed")
    tracker = Tracker(tmp_path / "logs", "run")
    with pytest.warns(UserWarning, match="JSON lines"):
        tracker(1, {"train_loss": 1.0})
    tracker(2, {"train_loss": 0.5})
    assert not tracker.sinks


def test_tensorboard_without_its_package_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SECONDLOOK_TENSORBOARD", str(tmp_path / "board"))
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    tracker = Tracker(tmp_path, "run")
    with pytest.warns(UserWarning, match="TensorBoard"):
        tracker(1, {"train_loss": [1.0, 2.0]})
    assert lines(tmp_path / "run.jsonl") == [{"epoch": 1, "train_loss": [1.0, 2.0]}]


def test_tensorboard_writes_a_curve_for_each_seed_side_by_side(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    monkeypatch.setenv("SECONDLOOK_TENSORBOARD", str(tmp_path / "board"))
    Tracker(tmp_path, "run")(1, {"train_loss": [1.0, 2.0], "seconds": 3.0})
    (file,) = (tmp_path / "board" / "run").iterdir()
    until = time.monotonic() + 20  # a thread of its own writes
    while not all(name in file.read_bytes() for name in (b"train_loss/1", b"seconds")):
        assert time.monotonic() < until, file.read_bytes()
        time.sleep(0.05)


def test_a_training_tells_its_epochs_and_survives_a_broken_sink(tmp_path):
    (recipe,) = read("optimizers").recipes("initial-sgd", "as_coded", "smoke", [0])
    (whole,) = classifier.produce([recipe], Execution(tmp_path, tmp_path / "a", tmp_path / "a", "cpu"))
    (told,) = (tmp_path / "a" / "logs").glob("*.jsonl")
    assert [row["epoch"] for row in lines(told)] == [1, 2]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "logs").write_text("in the way")
    with pytest.warns(UserWarning, match="training does not"):
        (same,) = classifier.produce([recipe], Execution(tmp_path, tmp_path / "b", tmp_path / "b", "cpu"))
    assert same.provenance["weights"] == whole.provenance["weights"]
