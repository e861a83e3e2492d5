"""A checkpoint is whole or absent; a damaged one is named and never used; a wrong one is refused."""

import os
import random
import signal
import subprocess
import sys

import pytest
import torch

from secondlook import models
from secondlook.data import standins
from secondlook.data.loader import DeviceLoader
from secondlook.recipe import Classifier
from secondlook.training import checkpoint as checkpoints
from secondlook.training.checkpoint import Checkpoint, CheckpointError, read
from secondlook.training.losses import Classification
from secondlook.training.run import Run
from secondlook.training.stopping import Stopped, stop_on_signals

IDENTITY = {"seed": 1, "settings.batch_size": 4}


def lenet_state(seed=0):
    """The state of a LeNet in training: what a run of the AlexNet report saves."""
    images = standins.draw("cifar10", train=20, test=10)
    torch.manual_seed(seed)
    net = models.build("lenet", num_classes=100)
    settings = Classifier(optimizer={"name": "sgd", "learning_rate": 0.1, "momentum": 0.9})
    loader = DeviceLoader(images.x_train, images.y_train, batch_size=4, seed=0)
    run = Run(net, loader, settings, Classification(settings, net))
    for p in run.parameters:
        p.grad = torch.ones_like(p)
    run.optimizer.step()
    return run.state()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a LeNet's checkpoint."""
    saved = Checkpoint(tmp_path_factory.mktemp("whole") / "run.ckpt", IDENTITY)
    saved.save(lenet_state())
    return saved.path.read_bytes()


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    return len(a) == len(b) and all(map(equal, a, b)) if isinstance(a, list | tuple) else a == b


def test_what_was_saved_is_loaded(tmp_path):
    state = lenet_state()
    Checkpoint(tmp_path / "run.ckpt", IDENTITY).save(state)
    assert equal(Checkpoint(tmp_path / "run.ckpt", IDENTITY).load(), state)
    assert Checkpoint(tmp_path / "other.ckpt", IDENTITY).load() is None


def test_every_truncation_is_refused_by_name(tmp_path, whole):
    path = tmp_path / "run.ckpt"
    for size in [*range(0, len(whole), 1024), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"run\.ckpt: damaged"):
            read(path)


def test_every_flipped_byte_is_refused_by_name(tmp_path, whole):
    path, chance = tmp_path / "run.ckpt", random.Random(0)
    for position in [*range(100), *(chance.randrange(len(whole)) for _ in range(500))]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"run\.ckpt: damaged"):
            read(path)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path, damage):
    saved = Checkpoint(tmp_path / "run.ckpt", IDENTITY)
    saved.save({"step": 1})
    saved.save({"step": 2})
    content = bytearray(saved.path.read_bytes())
    content[-9] ^= 4
    saved.path.write_bytes({"truncated": content[:100], "flipped": content, "empty": b""}[damage])
    with pytest.warns(UserWarning, match=r"run\.ckpt: damaged.*trying the one before"):
        assert saved.load() == {"step": 1}


def test_without_a_whole_checkpoint_a_run_does_not_start_from_zero(tmp_path):
    saved = Checkpoint(tmp_path / "run.ckpt", IDENTITY)
    saved.save({"step": 1})
    saved.path.write_bytes(b"nothing")
    told = pytest.raises(CheckpointError, match=r"run\.ckpt: no whole checkpoint; delete")
    with pytest.warns(UserWarning, match="damaged"), told:
        saved.load()


def test_a_wrong_resume_is_refused_naming_the_keys_that_differ(tmp_path):
    Checkpoint(tmp_path / "run.ckpt", IDENTITY).save({"step": 1})
    other = Checkpoint(tmp_path / "run.ckpt", {"seed": 1, "settings.batch_size": 8, "settings.epochs": 3})
    with pytest.raises(
        CheckpointError, match=r"settings\.batch_size: here 8, there 4; settings\.epochs: here 3"
    ) as told:
        other.load()
    assert "seed" not in str(told.value)


def test_other_circumstances_are_told_and_the_run_goes_on(tmp_path):
    Checkpoint(tmp_path / "run.ckpt", IDENTITY, {"threads": 1}).save({"step": 1})
    here = Checkpoint(tmp_path / "run.ckpt", IDENTITY, {"threads": 2})
    with pytest.warns(UserWarning, match=r"saved with \{'threads': 1\}.*not bit for bit"):
        assert here.load() == {"step": 1}
    assert here.resumed_from == {"threads": 1}


def test_a_full_disk_is_told_and_the_last_checkpoint_is_intact(tmp_path):
    """RLIMIT_FSIZE stands in for the disk: the system refuses the write in the middle of the file."""
    code = f"""
import resource, signal, torch
from secondlook.training.checkpoint import Checkpoint, CheckpointError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
saved = Checkpoint({str(tmp_path / "run.ckpt")!r}, {IDENTITY!r})
saved.save({{"weights": torch.ones(1000)}})
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    saved.save({{"weights": torch.ones(100_000)}})
except CheckpointError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "run.ckpt: cannot be written (File too large); the one before it is intact: make room" in told
    assert torch.equal(Checkpoint(tmp_path / "run.ckpt", IDENTITY).load()["weights"], torch.ones(1000))
    assert os.listdir(tmp_path) == ["run.ckpt"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """A path below a file cannot be written by anybody; permissions would not stop root."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written \(Not a directory.*choose another folder"):
        Checkpoint(tmp_path / "file" / "runs" / "run.ckpt", IDENTITY).save({"step": 1})


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it is forbidden")
def test_a_read_only_folder_is_told_and_the_last_checkpoint_is_intact(tmp_path):
    saved = Checkpoint(tmp_path / "run.ckpt", IDENTITY)
    saved.save({"step": 1})
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match=r"cannot be written \(Permission denied"):
            saved.save({"step": 2})
    finally:
        tmp_path.chmod(0o700)
    assert saved.load() == {"step": 1}


def test_what_a_killed_save_left_behind_is_cleaned_away(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".run.ckpt.new.{dead.pid}.part").write_bytes(b"half")
    mine = tmp_path / f".run.ckpt.new.{os.getpid()}.part"
    mine.write_bytes(b"being written")
    Checkpoint(tmp_path / "run.ckpt", IDENTITY).load()
    assert os.listdir(tmp_path) == [mine.name]


def test_a_kill_between_the_two_renames_finds_the_one_before(tmp_path):
    saved = Checkpoint(tmp_path / "run.ckpt", IDENTITY)
    saved.save({"step": 1})
    saved.path.rename(saved.previous)
    assert saved.load() == {"step": 1}


def test_saved_by_time_and_stopped_by_the_deadline(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    saved = Checkpoint(tmp_path / "run.ckpt", IDENTITY, every=60, deadline=100)
    made = []
    for second in (0, 59, 60, 61, 119):
        now[0] = second if second < 119 else 99
        saved.offer(lambda second=second: made.append(second) or {"step": second})
    assert made == [60]
    now[0] = 100
    with pytest.raises(Stopped, match="same command goes on") as stop:
        saved.offer(lambda: {"step": 7})
    assert stop.value.signal is None
    assert saved.load() == {"step": 7}


def test_a_signal_lets_the_step_finish_and_a_second_one_acts_at_once(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with pytest.raises(Stopped) as stop:
            Checkpoint(tmp_path / "run.ckpt", IDENTITY).offer(lambda: {"step": 1})
    assert stop.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
