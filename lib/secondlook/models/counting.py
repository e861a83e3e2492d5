"""What a net's forward pass comes to, counted on tensors without memory: multiply-adds, numbers written, operations."""

import json
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


class Passes(NamedTuple):
    """One forward pass of one image in evaluation: what it multiplies, writes and calls; and the net's parameters."""

    macs: int
    values: int
    calls: int
    parameters: int = 0
    trainable: int = 0


class _Counting(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.values = self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.values += sum(t.numel() for t in (out if isinstance(out, tuple | list) else (out,)))
            self.calls += 1
        return out


def count(model: nn.Module, input_shape: tuple[int, ...]) -> Passes:
    """Passes of one image of `input_shape` (channels, side, side); nothing is computed, the model left as it was.

    Multiply-adds are those of convolutions and linear layers, without biases.
    """
    modes = [(m, m.training) for m in model.modules()]
    state = {name: t.to("meta") for name, t in [*model.named_parameters(), *model.named_buffers()]}
    image = torch.empty(1, *input_shape, device="meta", dtype=next(model.parameters()).dtype)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as flops, _Counting() as counted:
            torch.func.functional_call(model.eval(), state, (image,), tie_weights=False)
    finally:
        for module, mode in modes:
            module.training = mode
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    parameters, trainable = sum(n for n, _ in sizes), sum(n for n, changes in sizes if changes)
    return Passes(flops.get_total_flops() // 2, counted.values, counted.calls, parameters, trainable)


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one forward pass of one image of `input_shape` (channels, side, side)."""
    return count(model, input_shape).macs


def following(model: dict, images) -> dict:
    """A recipe's `model` table with what follows from the `side`, `channels` and `classes` of its images, where the net
    has such an option."""
    from secondlook.models import OPTIONS

    follows = {"image_size": images.side, "in_channels": images.channels, "num_classes": images.classes}
    known = OPTIONS.get(model.get("name"), ())
    return {k: v for k, v in follows.items() if k in known} | model


@lru_cache(maxsize=1024)
def passes(model: str, channels: int, side: int) -> Passes:
    """Of the net of a whole `model` table, given as JSON."""
    from secondlook.models import build

    options = json.loads(model)
    with torch.device("meta"):
        net = build(options.pop("name", None), **options)
    return count(net, (channels, side, side))
