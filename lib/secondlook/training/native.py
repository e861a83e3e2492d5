"""A step of LeNet as machine code, for a CPU: at batch 4 a framework spends most of it between its operations.

`lenet.c` is compiled once for this processor and kept in the user's cache. Where there is no C compiler that can, the
step is executed as any other net's.
"""

import ctypes
import functools
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from secondlook.models.lenet import LeNet
from secondlook.recipe import Classifier

SOURCE = Path(__file__).with_name("lenet.c")
FLAGS = ("-std=gnu17", "-O3", "-fno-math-errno", "-march=native", "-shared", "-fPIC")
SHAPES = [(6, 3, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (0, 84), (0,)]  # 0: classes
CLASSES = 1024  # at most
REMEMBERED = {"sgd": ("momentum_buffer",), "adamw": ("exp_avg", "exp_avg_sq", "step")}


def fits(net: nn.Module, settings: Classifier) -> bool:
    """Whether `net` is the LeNet of full width and `settings` train it in float32, by cross-entropy, SGD or AdamW."""
    plain = settings.loss == "cross_entropy" and not (
        settings.label_smoothing or settings.penalty or settings.clip_norm
    )
    known = settings.optimizer.get("name") in REMEMBERED and not settings.optimizer.get("dampening")
    if type(net) is not LeNet or settings.precision != "float32" or not (plain and known):
        return False
    shapes, classes = [tuple(p.shape) for p in net.parameters() if p.requires_grad], net.output.out_features
    return classes <= CLASSES and shapes == [tuple(n or classes for n in shape) for shape in SHAPES]


def step(run):
    """A step of `run`, a loop.Training whose net and settings fit, as a function of rows.

    It works on the weights, the sums and what the optimiser remembers where they lie now, so make it after a restore.
    """
    group, loader, name = run.optimizer.param_groups[0], run.loader, run.settings.optimizer["name"]
    weights = [p.data for p in run.net.parameters()]
    gradients = [torch.zeros_like(w) for w in weights]
    remembered = {key: _remembered(run, key) for key in REMEMBERED[name] if name == "adamw" or group["momentum"]}
    first, second, steps = ([_pointers(t) for t in remembered.values()] + [None] * 3)[:3]
    rest = [*group["betas"], group["eps"]] if name == "adamw" else [group["momentum"], group["nesterov"]]
    levels = loader.levels
    stored = (_pointer(loader.x), _pointer(levels)) if levels is not None else (None, None)
    lists = _pointers(weights), _pointers(gradients), first, second, steps
    labels, sums, finite = map(_pointer, (loader.y, run.sums, run.finite))
    function, classes = compiled().lenet_step, run.net.output.out_features

    def one_step(rows: Tensor) -> None:
        x = None if levels is not None else loader.take(rows)[0].contiguous()
        images = *stored, None if x is None else _pointer(x), labels, _pointer(rows)
        how = (ctypes.c_double * 5)(group["lr"], group["weight_decay"], *rest)
        function(len(rows), classes, *images, *lists, how, sums, finite)

    one_step.holds = weights, gradients, remembered, levels  # as long as it is used
    return one_step


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The library of `lenet.c` for this processor, compiled if it is not in the cache; None where that fails."""
    command = [os.environ.get("CC", "cc"), *FLAGS]
    if platform.machine() in ("x86_64", "AMD64"):
        command.append("-mprefer-vector-width=512")
    digest = hashlib.sha256(b"\0".join([SOURCE.read_bytes(), " ".join(command).encode(), _processor()]))
    library = _cache() / f"lenet-{digest.hexdigest()[:16]}.so"
    try:
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=library.parent) as folder:
                made = Path(folder, library.name)
                subprocess.run(
                    [*command, str(SOURCE), "-o", str(made), "-lm"], check=True, capture_output=True, timeout=120
                )
                made.replace(library)
        return ctypes.CDLL(str(library))
    except (OSError, subprocess.SubprocessError):
        return None


def _remembered(run, key: str) -> list[Tensor]:
    """What the optimiser remembers of each weight under `key`, zeros before its first step."""
    states = [run.optimizer.state[p] for p in run.net.parameters()]
    for p, state in zip(run.net.parameters(), states):
        if state.get(key) is None:
            state[key] = torch.zeros(()) if key == "step" else torch.zeros_like(p)
    return [state[key] for state in states]


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _pointers(tensors: list[Tensor]):
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secondlook"


def _processor() -> bytes:
    """What tells processors with different instructions apart, so that a shared home serves each its own."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    return next((line for line in lines if line.startswith((b"flags", b"Features"))), platform.machine().encode())
