"""LeNet's training step as one function that numba compiles for this processor (`lenet.step`)."""

import functools
import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from secondlook.models.lenet import LeNet
from secondlook.recipe import Classifier

SHAPES = [(6, 3, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (0, 84), (0,)]  # 0: classes
REMEMBERED = {"sgd": ("momentum_buffer",), "adamw": ("exp_avg", "exp_avg_sq", "step")}
TOLD = "compiling LeNet's training step for this processor; it is kept, and takes ten seconds of work once"


def fits(net: nn.Module, settings: Classifier) -> bool:
    """Whether `net` is the LeNet of full width and `settings` train it in float32, by cross-entropy, SGD or AdamW."""
    plain = settings.loss == "cross_entropy" and not (
        settings.label_smoothing or settings.penalty or settings.clip_norm
    )
    known = settings.optimizer.get("name") in REMEMBERED and not settings.optimizer.get("dampening")
    if type(net) is not LeNet or settings.precision != "float32" or not (plain and known):
        return False
    shapes, classes = [tuple(p.shape) for p in net.parameters() if p.requires_grad], net.output.out_features
    return shapes == [tuple(n or classes for n in shape) for shape in SHAPES]


def compiled(run, step=None) -> Callable[[Tensor], None]:
    """A step of a loop.Run whose net and settings fit, in place of the reference's.

    It works on the weights, the sums and what the optimiser remembers where they lie now, so make it after a restore.
    """
    group, loader, name = run.optimizer.param_groups[0], run.loader, run.settings.optimizer["name"]
    weights = tuple(_flat(p.data) for p in run.net.parameters())
    gradients, unused = (tuple(np.zeros_like(w) for w in weights) for _ in range(2))
    wanted = [key for key in REMEMBERED[name] if name == "adamw" or group["momentum"]]
    remembered = [_remembered(run, key) for key in wanted]
    first, second, steps = [*remembered, *(unused, unused, np.zeros(10, np.float32))[len(remembered) :]]
    rest = [*group["betas"], group["eps"]] if name == "adamw" else [group["momentum"], group["nesterov"], 0]
    how = np.array([name == "adamw", group["lr"], group["weight_decay"], *rest])
    stored, levels = np.empty((0, 3, 1024), np.uint8), np.empty((0, 256), np.float32)
    x = np.empty((0, 3, 1024), np.float32)
    reads_stored = loader.levels is not None
    if reads_stored:
        stored, levels = loader.x.flatten(2).numpy(), loader.levels.numpy()
    labels, sums, finite, function = loader.y.numpy(), run.sums.numpy(), _flat(run.finite), kernel()

    def compiled_step(rows: Tensor) -> None:
        images = x if reads_stored else loader.take(rows)[0].contiguous().flatten(2).numpy()
        how[1] = group["lr"]
        function(stored, levels, images, labels, rows.numpy(), weights, gradients, first, second, steps, how, sums,
                 finite)  # fmt: skip

    return compiled_step


@functools.cache
def kernel():
    """LeNet's step as machine code for this processor: from numba's cache, or compiled, which is said on stderr.

    What lies in the cache is used only if it is what was put there; without a folder that can be written, nothing is
    kept.
    """
    import numba

    from secondlook.training.fast import lenet

    try:
        function = numba.njit(cache=True, error_model="numpy")(lenet.step)
        folder = Path(function.stats.cache_path)
        seal = folder / "lenet.step.sha256"
        if not seal.exists() or seal.read_text() != _digest(folder):
            for path in _cached(folder):
                path.unlink(missing_ok=True)
    except (RuntimeError, OSError):  # numba's word for a cache that has no place
        function, seal = numba.njit(error_model="numpy")(lenet.step), None
    with _announced(), suppress(OSError):  # compiled, but not kept
        function.compile(_signature(numba.types))
    if seal is not None and function.stats.cache_misses:
        with suppress(OSError):
            seal.write_text(_digest(folder))
    return function


def _signature(types):
    f4, i8 = types.float32, types.int64
    ten = types.UniTuple(f4[::1], 10)
    return types.void(types.uint8[:, :, ::1], f4[:, ::1], f4[:, :, ::1], i8[::1], i8[::1], ten, ten, ten, ten, f4[::1],
                      types.float64[::1], types.float64[::1], i8[::1])  # fmt: skip


def _announced():
    from numba.core import event

    class Listener(event.Listener):
        begun = False

        def on_start(self, event) -> None:
            if not self.begun:
                print(TOLD, file=sys.stderr, flush=True)
            self.begun = True

        def on_end(self, event) -> None:
            pass

    return event.install_listener("numba:compile", Listener())


def _cached(folder: Path) -> list[Path]:
    return sorted(folder.glob("lenet.step-*.nb[ic]"))


def _digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in _cached(folder))).hexdigest()


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.view(-1).numpy()


def _remembered(run, key: str):
    """What the optimiser remembers of each weight under `key`, zeros before its first step; the steps in one array."""
    states = [run.optimizer.state[p] for p in run.net.parameters()]
    if key == "step":
        steps = torch.stack([state.get(key, torch.zeros(())) for state in states])
        for state, one in zip(states, steps, strict=True):
            state[key] = one
        return steps.numpy()
    for p, state in zip(run.net.parameters(), states, strict=True):
        if state.get(key) is None:
            state[key] = torch.zeros_like(p)
    return tuple(_flat(state[key]) for state in states)
