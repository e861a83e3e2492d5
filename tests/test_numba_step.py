"""LeNet's step as one compiled function against torch's own, when it is taken, and what its cache survives."""

import copy
import importlib.util
import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from secondlook import models
from secondlook.data import standins
from secondlook.data.loader import DeviceLoader
from secondlook.recipe import Classifier
from secondlook.training import fast
from secondlook.training.checkpoint import Checkpoint
from secondlook.training.fast import lenet as kernels
from secondlook.training.fast import numba_step
from secondlook.training.loop import train
from secondlook.training.losses import Classification
from secondlook.training.run import Run
from secondlook.training.stopping import Stopped

SGD = {"name": "sgd", "learning_rate": 0.05}
NUMBA = {"accelerate": numba_step.compiled}


@pytest.fixture(scope="module")
def images():
    return standins.draw("cifar10", train=90, test=60)


def lenet(classes=10, seed=1, dtype=torch.float32):
    torch.manual_seed(seed)
    return models.build("lenet", num_classes=classes).to(dtype)


def loader(images, size=16, dtype=torch.float32, **more):
    return DeviceLoader(images.x_train, images.y_train, batch_size=size, seed=3, mean=0.5, std=0.5, dtype=dtype, **more)


def settings(**changes):
    return Classifier(**{"optimizer": SGD, "epochs": 1, "batch_size": 16, **changes})


class OneBatch:
    """A loader whose only batch is given."""

    steps_per_epoch, levels, device = 1, None, torch.device("cpu")

    def __init__(self, x, y):
        self.x, self.y, self.batch_size = x, y, len(y)

    def take(self, rows):
        return self.x[rows], self.y[rows]


def gradients(net, x, y):
    """What a step with rate 1 takes off the weights, and what it counts."""
    net = copy.deepcopy(net)
    before = [p.detach().clone() for p in net.parameters()]
    own = settings(optimizer={"name": "sgd", "learning_rate": 1.0})
    run = Run(net, OneBatch(x, y), own, Classification(own, net))
    numba_step.compiled(run)(torch.arange(len(y)))
    return [b - p.detach() for b, p in zip(before, net.parameters())], run


def autograd(net, x, y):
    net = copy.deepcopy(net).double()
    logits = net(x.double())
    loss = F.cross_entropy(logits, y)
    return torch.autograd.grad(loss, list(net.parameters())), loss.item(), (logits.argmax(1) == y).sum().item()


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 13), classes=st.integers(2, 130), seed=st.integers(0, 9), scale=st.sampled_from([0.1, 1, 30])
)
def test_gradients_loss_and_right_answers_are_those_of_autograd(batch, classes, seed, scale):
    net = lenet(classes, seed)
    x, y = scale * torch.randn(batch, 3, 32, 32), torch.randint(0, classes, (batch,))
    found, run = gradients(net, x, y)
    expected, loss, right = autograd(net, x, y)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=3e-6 * max(1.0, b.abs().max().item()))
    norms = [g.norm().item() for g in expected]
    assert run.sums.tolist() == pytest.approx([loss * batch, right, math.hypot(*norms), sum(norms)], rel=1e-4)
    assert run.finite.item() == 1


def test_of_equal_pixels_the_first_wins_its_pool_as_in_torch():
    net, x, y = lenet(), torch.zeros(4, 3, 32, 32), torch.arange(4)
    x[:, :, ::4, ::4] = 1.0  # whole pools of equal values between the dots
    found, _ = gradients(net, x, y)
    for a, b in zip(found, autograd(net, x, y)[0], strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "sgd", "learning_rate": 0.02, "weight_decay": 0.01},
        {"name": "sgd", "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.01},
        {"name": "sgd", "learning_rate": 0.02, "momentum": 0.9, "nesterov": True},
        {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05},
        {"name": "adamw", "learning_rate": 1e-3, "betas": [0.8, 0.99], "eps": 1e-4},
    ],
    ids=lambda table: "-".join(map(str, table.values())),
)
def test_its_steps_are_those_of_the_reference_in_float64(images, optimizer):
    flip = {"augment": {"flip": True}} if "nesterov" in optimizer else {}  # images as stored, or as a loader makes them
    words = settings(optimizer=optimizer, epochs=4, schedule={"name": "multi_step", "milestones": [1]}, log_every=2)
    run = train(lenet(), loader(images, **flip), words, 0, **NUMBA)
    other = train(lenet(dtype=torch.float64), loader(images, dtype=torch.float64, **flip), words, 0)
    for p, q in zip(run.net.parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(p.double(), q, rtol=1e-3, atol=1e-5)
    for name in ("train_loss", "step_loss", "gradient_norm", "gradient_norm_sum"):
        assert run.history[name] == pytest.approx(other.history[name], rel=1e-4), name
    assert run.history["train_accuracy"] == other.history["train_accuracy"]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_what_it_remembers_is_what_torch_remembers(images, name, tmp_path):
    """A run that stops under one of them goes on under the other."""
    table = {"name": name, "learning_rate": 1e-3, **({"momentum": 0.9} if name == "sgd" else {})}
    own = settings(optimizer=table, epochs=2)
    whole = train(lenet(), loader(images), own, 0)
    for first, then in (({}, NUMBA), (NUMBA, {})):
        path = tmp_path / f"{len(first)}.ckpt"
        for _ in range(3):
            with pytest.raises(Stopped):
                train(lenet(), loader(images), own, 0, checkpoint=Checkpoint(path, {}, deadline=0.0), **first)
        mixed = train(lenet(), loader(images), own, 0, checkpoint=Checkpoint(path, {}), **then)
        for p, q in zip(mixed.net.parameters(), whole.net.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_it_diverges_where_the_plain_loop_does(images):
    words = settings(optimizer={"name": "sgd", "learning_rate": 1e4}, epochs=2)
    run, other = (train(lenet(), loader(images), words, 0, **way) for way in (NUMBA, {}))
    assert run.status == other.status == "diverged"
    assert run.diverged == other.diverged


@pytest.mark.parametrize("schedule", [{"name": "one_cycle"}, {"name": "cosine"}], ids=lambda table: table["name"])
def test_a_schedule_of_torch_that_sees_no_step_warns_of_nothing(images, schedule):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(lenet(), loader(images), settings(schedule=schedule, epochs=2), 0, **NUMBA)


def test_it_is_chosen_for_the_net_and_the_settings_it_computes_and_no_others():
    def chosen(net, **changes):
        return fast.best(net, settings(**changes), "cpu") is numba_step.compiled

    assert chosen(lenet(100))
    assert chosen(lenet(100), optimizer={"name": "adamw", "learning_rate": 1e-3})
    others = {
        "label_smoothing": 0.1, "loss": "hinge", "clip_norm": 1.0, "precision": "bf16",
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
    }  # fmt: skip
    for key, value in others.items():
        assert not chosen(lenet(100), **{key: value}), key
    assert not chosen(lenet(100), optimizer={**SGD, "momentum": 0.9, "dampening": 0.5})
    assert not chosen(models.build("lenet", width=0.5))
    assert not chosen(models.build("lenet", in_channels=1))
    frozen = lenet(100)
    frozen.conv1.weight.requires_grad_(False)
    assert not chosen(frozen)


@pytest.fixture
def small_step(tmp_path, monkeypatch):
    """Stands in for LeNet's step, with a cache of its own: it compiles in less than a second."""
    source = f"def step({', '.join('abcdefghijklm')}):\n    m[0] += 7\n"
    (tmp_path / "lenet.py").write_text(source)
    spec = importlib.util.spec_from_file_location("lenet", tmp_path / "lenet.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    monkeypatch.setattr(kernels, "step", module.step)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    yield tmp_path / "__pycache__"
    numba_step.kernel.cache_clear()


def seven() -> int:
    """What the compiled stand-in adds, taken anew from its cache."""
    numba_step.kernel.cache_clear()
    f4, i8, ten = np.zeros(1, np.float32), np.zeros(1, np.int64), (np.zeros(1, np.float32),) * 10
    double, finite = np.zeros(1), np.zeros(1, np.int64)
    levels, x = np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    numba_step.kernel()(x.astype(np.uint8), levels, x, i8, i8, ten, ten, ten, ten, f4, double, double, finite)
    return finite.item()


def test_it_compiles_once_and_says_so(small_step, capsys):
    assert [seven(), seven()] == [7, 7]
    assert capsys.readouterr().err.count("compiling") == 1


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:-9] + b"?" + data[-8:]])
def test_a_damaged_cache_is_compiled_anew(small_step, capsys, ending, damage):
    seven()
    (path,) = small_step.glob(f"lenet.step-*.{ending}")
    path.write_bytes(damage(path.read_bytes()))
    assert [seven(), seven()] == [7, 7]
    assert capsys.readouterr().err.count("compiling") == 2


def test_without_a_folder_for_its_cache_it_still_trains(small_step, monkeypatch, tmp_path, capsys):
    small_step.touch()  # a file where the folder would be
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_step / "none"))
    assert [seven(), seven()] == [7, 7]
    assert capsys.readouterr().err.count("compiling") == 2


def test_every_part_of_the_step_is_compiled_into_it():
    """Called instead, what comes from the cache rounds unlike what was just compiled, and a resumed run differs."""
    parts = [part for part in vars(kernels).values() if hasattr(part, "targetoptions")]
    assert len(parts) > 10
    assert all(part.targetoptions.get("forceinline") for part in parts)
