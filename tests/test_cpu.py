"""What a training on a CPU runs in: no denormal numbers, memory kept between steps; both end with it."""

import resource
import sys

import numpy as np
import pytest
import torch
from torch import nn

from secondlook.data import standins
from secondlook.data.loader import DeviceLoader
from secondlook.recipe import Classifier
from secondlook.training import optimizers
from secondlook.training.fast.cpu import denormals_flushed, is_flushed, memory_kept
from secondlook.training.loop import train

BLOCK = 64 * 2**20  # bytes
LEAST = torch.finfo(torch.float32).smallest_normal
ADAM = {"name": "adam", "learning_rate": 1e-3}
glibc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")


def denormals(state: dict) -> int:
    tensors = [t for kept in state["state"].values() for t in kept.values() if torch.is_tensor(t)]
    return sum(int(((t.float() != 0) & (t.float().abs() < LEAST)).sum()) for t in tensors)


def trained(steps: int) -> dict:
    """Adam's state of units that die after the first of `steps` steps."""
    p = nn.Parameter(torch.ones(64))
    optimizer = optimizers.build(ADAM, [p])
    for step in range(steps):
        p.grad = torch.full_like(p, 0.0 if step else 1.0)
        optimizer.step()
    return optimizer.state_dict()


def test_what_an_optimiser_remembers_of_dead_units_ends_as_denormals_outside():
    assert denormals(trained(1100)) > 0


def test_and_as_zero_inside(one_thread):
    with denormals_flushed():
        state = trained(1100)
    assert denormals(state) == 0


@pytest.mark.parametrize("before", [False, True])
def test_afterwards_all_is_as_before_even_after_an_error(before):
    torch.set_flush_denormal(before)
    try:
        with pytest.raises(ZeroDivisionError), denormals_flushed():
            1 / (not is_flushed())
        assert is_flushed() is before
    finally:
        torch.set_flush_denormal(False)


def test_a_training_runs_inside(monkeypatch):
    images = standins.draw("cifar10", train=32, test=32)
    loader = DeviceLoader(images.x_train, images.y_train, batch_size=16, seed=0)
    seen = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    settings = Classifier({"name": "lenet"}, ADAM, batch_size=16, epochs=1)
    train(net, loader, settings, 0, progress=lambda share: seen.append(is_flushed()))
    assert seen
    assert all(seen)
    assert not is_flushed()


def faults(times: int = 6) -> int:
    """Pages the system handed out while a large block was filled and freed so many times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(BLOCK // 8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_freed_blocks_are_used_again_inside_and_given_back_outside():
    outside = faults()
    with memory_kept():
        faults(1)
        inside = faults()
    after = faults()
    assert inside < outside / 10
    assert after > outside / 2


@glibc
def test_an_error_inside_restores_the_defaults():
    outside = faults()
    with pytest.raises(RuntimeError), memory_kept():
        raise RuntimeError
    assert faults() > outside / 2
