"""Killed, stopped or cut anywhere, the same command gives the same answer; the real command, where it is about it."""

import errno
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secondlook import cli, runs
from secondlook import record as records
from secondlook.experiments import filing
from secondlook.record import RecordError, Records
from secondlook.reports import parse
from secondlook.runs import Execution
from secondlook.training import checkpoint as checkpoints
from secondlook.training.checkpoint import CheckpointError
from secondlook.training.stopping import Stopped

ROOT = Path(__file__).resolve().parents[1]
REPORT = """
title = "A report for tests"
short = "Test"
letter = "T"
source = "none"
[base]
kind = "classifier"
data = { name = "cifar10", source = "standin", validation = 0.2, train_limit = 250, test_limit = 50 }
optimizer = { name = "sgd", learning_rate = 0.05, momentum = 0.9 }
batch_size = 4
epochs = 6
keep = "predictions"
[run.lenet]
says = "a LeNet"
variants = ["further"]
model = { name = "lenet" }
keep = "evidence"
[run.long]
says = "a LeNet that trains for some seconds"
variants = ["further"]
model = { name = "lenet" }
epochs = 150
[run.keras]
says = "a net with dropout and batch normalisation"
variants = ["further"]
model = { name = "keras_cnn", stage = 3, width = 0.125 }
[run.linear]
says = "a linear classifier"
variants = ["further"]
kind = "linear"
optimizer = "sgd"
learning_rate = 1e-6
strength = 10.0
batch_size = 20
keep = "evidence"
[run.vae]
says = "a VAE and what reads its latent space"
variants = ["further"]
kind = "vae"
data = { name = "mnist", source = "standin", classes = [0, 1], image_size = 32, train_limit = 60, test_limit = 40 }
model = { name = "mlp_vae", width = 0.03 }
optimizer = { name = "adam", learning_rate = 1e-3 }
keep = "evidence"
[run.risk]
says = "a net on two Gaussians"
variants = ["further"]
kind = "risk"
data = { name = "gaussians", image_size = 32 }
model = { name = "conv_vgg", width = 0.03 }
optimizer = { name = "adam", learning_rate = 1e-3 }
train_size = 40
test_size = 40
keep = "evidence"
[profile.smoke]
seeds = 1
"""
COMMAND = """
import sys
from pathlib import Path
import secondlook.cli as cli
from secondlook.reports import parse
from secondlook.experiments import filing
filing.SAVE_EVERY = 0.1
cli.read = lambda name: parse(Path({report!r}).read_text(), Path({report!r}))
sys.exit(cli.main(sys.argv[1:]))
"""
pytestmark = pytest.mark.usefixtures("one_thread")


class Command:
    """`secondlook train` on the report above, with its own folders and one thread."""

    def __init__(self, folder: Path, name: str):
        self.folder = folder / name
        self.folder.mkdir()
        (folder / "test.toml").write_text(REPORT)
        self.code = COMMAND.format(report=str(folder / "test.toml"))

    def start(self) -> subprocess.Popen:
        folders = [f"--{name}-dir={self.folder}" for name in ("records", "runs", "data")]
        words = ["train", "test", "--run", "long", "--profile", "smoke", "--device", "cpu", *folders]
        return subprocess.Popen(
            [sys.executable, "-c", self.code, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=ROOT,
        )  # fmt: skip

    def wait_for_a_checkpoint(self, child: subprocess.Popen) -> None:
        until = time.monotonic() + 60
        while not list(self.folder.glob("checkpoints/*.ckpt")):
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)

    def outcome(self) -> tuple:
        (record,) = Records(self.folder).of("test").values()
        return outcome(record)


def produce(run: str, folder: Path, deadline: float | None = None, **changes):
    """The record of a run, in this process."""
    (recipe,) = parse(REPORT, Path("test.toml")).recipes(run, profile="smoke")
    module = importlib.import_module(f"secondlook.experiments.{recipe.kind}")
    (record,) = module.produce([replace(recipe, **changes)], Execution(folder, folder, folder, "cpu", deadline))
    return record


def outcome(record) -> dict:
    """All that must be equal, down to the last bit: weights, metrics, curves and arrays."""
    untimed = {k: v for k, v in record.metrics.items() if "seconds" not in k}
    told = {"weights": record.provenance.get("weights"), "metrics": json.dumps(untimed, sort_keys=True)}
    curves = {k: np.asarray(v, np.float32) for k, v in record.history.items() if "seconds" not in k}
    return told | {k: (v.dtype.str, v.shape, v.tobytes()) for k, v in (curves | dict(record.arrays)).items()}


@pytest.mark.parametrize(
    ("run", "looks", "arrays"),
    [("lenet", 47, {"path_loss", "path_plane", "kernels"}), ("keras", 47, {"labels"}),
     ("linear", 9, {"templates", "roc"}), ("vae", 15, {"svm_predictions", "test_index"}), ("risk", 11, {"labels"})],
)  # fmt: skip
def test_stopped_by_the_deadline_again_and_again_equals_one_run(tmp_path, monkeypatch, run, looks, arrays):
    straight, stops = produce(run, tmp_path / "one"), 0
    assert arrays <= set(straight.arrays)
    clock = itertools.count()  # a second for each look at it: the deadline falls into every epoch somewhere else
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: next(clock))
    while stops < 100:
        try:
            record = produce(run, tmp_path / "cut", deadline=next(clock) + looks)
            break
        except Stopped:
            stops += 1
    assert stops > 5
    assert outcome(record) == outcome(straight)
    assert not os.listdir(tmp_path / "cut" / "checkpoints")


@pytest.mark.parametrize("run", ["keras", "linear", "vae", "risk"])
def test_a_record_that_cannot_be_filed_leaves_its_checkpoint_for_the_same_command(tmp_path, monkeypatch, run):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "replace_file", full)
        told = r"test: records cannot be filed \(No space left on device\); make room.* run the same command again"
        with pytest.raises(RecordError, match=told):
            produce(run, tmp_path, keep="metrics")
    assert list(tmp_path.glob("checkpoints/*.ckpt"))
    produce(run, tmp_path, deadline=0.0, keep="metrics")  # any step that was trained again would be the last
    assert not os.listdir(tmp_path / "checkpoints")


@pytest.mark.parametrize("place", ["records", "runs", "runs/checkpoints", "records/test", "records/test/.lock"])
def test_what_cannot_be_written_is_told_before_any_work(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    if place.endswith(".lock"):
        (tmp_path / place).mkdir()
    else:
        (tmp_path / place).write_text("a file where a folder is needed")
    (plan, *_) = parse(REPORT, Path("test.toml")).recipes("linear", profile="smoke")
    own = replace(plan, profile="quick", data=replace(plan.data, source="official"))
    execution = Execution(tmp_path / "no data", tmp_path / "records", tmp_path / "runs")
    with pytest.raises(OSError, match=place.split("/")[0]):
        runs.produce([own], execution)


def test_a_shelf_that_takes_nothing_is_told_before_any_work(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "further.smoke.json").write_text("{")
    plans = parse(REPORT, Path("test.toml")).recipes("keras", profile="smoke")
    with pytest.raises(RecordError, match=r"further\.smoke\.json: not a file of records"):
        runs.produce(plans, Execution(tmp_path / "no data", tmp_path, tmp_path))


def test_sigterm_saves_and_exits_143_and_the_same_command_goes_on(tmp_path):
    command = Command(tmp_path, "stopped")
    child = command.start()
    command.wait_for_a_checkpoint(child)
    child.send_signal(signal.SIGTERM)
    told = child.communicate()
    assert child.returncode == 143, told
    assert "stopped; everything is saved" in told[0]
    child = command.start()
    told = child.communicate()
    assert child.returncode == 0, told
    assert command.outcome() == outcome(produce("long", tmp_path / "straight"))


def test_a_checkpoint_that_cannot_be_written_ends_the_command_with_a_clear_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "checkpoints").write_text("a file where a folder is needed")
    monkeypatch.setattr(cli, "read", lambda name: parse(REPORT, Path("test.toml")))
    folders = [f"--{name}-dir={tmp_path}" for name in ("records", "runs", "data")]
    words = ["train", "test", "--run", "lenet", "--profile", "smoke", "--device", "cpu", "--max-minutes", "1", *folders]
    monkeypatch.setattr(filing, "SAVE_EVERY", 0.0)
    assert cli.main(words) == 2
    assert "cannot be written (File exists)" in capsys.readouterr().err


def test_another_recipe_does_not_go_on_from_this_checkpoint(tmp_path):
    for run in ("lenet", "keras"):
        with pytest.raises(Stopped):
            produce(run, tmp_path / run, deadline=0.0)
    (saved,), (other,) = (tmp_path.glob(f"{run}/checkpoints/*.ckpt") for run in ("lenet", "keras"))
    other.write_bytes(saved.read_bytes())
    with pytest.raises(CheckpointError, match=r"belongs to another run \(settings\.model: here .*keras_cnn"):
        produce("keras", tmp_path / "keras")


def test_killed_runs_continue_to_the_same_weights():
    """Some kills by the benchmark that does hundreds: at random moments and within a save."""
    command = [
        sys.executable,
        "benchmarks/kill.py",
        "--kills",
        "6",
        "--nets",
        "lenet",
        "frozen_unet",
        "mlp_vae",
        "linear",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("6 kills, 0 differences\n")
