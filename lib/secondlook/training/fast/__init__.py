"""Faster executions of the reference, `training.loop.train`; a test steps each of them beside it.

Two take the place of the loop's step (`best`), seeds of one small net train side by side, and `cpu` is what a whole
training runs in.
"""

from collections.abc import Callable

import torch
from torch import nn

from secondlook.recipe import Classifier


def described(net: nn.Module, settings: Classifier, device: str) -> dict:
    """How `net` is trained on `device`, for its record's provenance and for the circumstances of its checkpoints."""
    from secondlook.training.precision import placement

    step = getattr(best(net, settings, device), "__name__", "eager")
    layout = str(placement(net, settings, device)["memory_format"]).removeprefix("torch.")
    return {"precision": settings.precision, "memory_format": layout, "step": step}


def best(net: nn.Module, settings: Classifier, device: str) -> Callable | None:
    """The `accelerate` of `train` that is fastest for `net` on `device`; None where that is the reference itself.

    A graph holds the whole step, so it is for a learning rate that changes once an epoch at most.
    """
    from secondlook.training.fast import graph, numba_step
    from secondlook.training.precision import is_small

    if torch.device(device).type == "cuda":
        return graph.captured if is_small(net) and settings.schedule.get("name") != "one_cycle" else None
    return numba_step.compiled if numba_step.fits(net, settings) else None
