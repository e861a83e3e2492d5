"""What a net's passes come to, counted on tensors without memory: multiply-adds, numbers written, operations called."""

import json
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Passes(NamedTuple):
    """multiply-adds and values are of one image, calls of one batch."""

    macs: int
    values: float
    calls: int


class Counting(TorchDispatchMode):
    """Counts the operations executed inside: PyTorch's own formulas for products, and what every one of them writes."""

    def __init__(self):
        super().__init__()
        self.macs = self.values = self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.is_view:
            return out
        if formula := flop_registry.get(func._overloadpacket):
            self.macs += formula(*args, **(kwargs or {}), out_val=out) // 2
        written = out if isinstance(out, tuple | list) else (out,)
        self.values += sum(t.numel() for t in written if isinstance(t, torch.Tensor))
        self.calls += 1
        return out

    def of(self, images: int) -> Passes:
        return Passes(self.macs // images, self.values / images, self.calls)


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one forward pass of one image of `input_shape` (channels, side, side).

    Counts convolutions and linear layers, without biases; nothing is computed and the model is left as it was.
    """
    modes = [(m, m.training) for m in model.modules()]
    state = {name: t.to("meta") for name, t in [*model.named_parameters(), *model.named_buffers()]}
    image = torch.empty(1, *input_shape, device="meta", dtype=next(model.parameters()).dtype)
    try:
        with torch.no_grad(), Counting() as counted:
            torch.func.functional_call(model.eval(), state, (image,), tie_weights=False)
    finally:
        for module, mode in modes:
            module.training = mode
    return counted.macs


def following(model: dict, images) -> dict:
    """A recipe's `model` table with what follows from the `side`, `channels` and `classes` of its images, where the net
    has such an option."""
    from secondlook.models import OPTIONS

    follows = {"image_size": images.side, "in_channels": images.channels, "num_classes": images.classes}
    known = OPTIONS.get(model.get("name"), ())
    return {k: v for k, v in follows.items() if k in known} | model


@lru_cache(maxsize=1024)
def without_memory(model: str) -> nn.Module:
    """The net of a whole `model` table, given as JSON, on the meta device."""
    from secondlook.models import build

    options = json.loads(model)
    with torch.device("meta"):
        return build(options.pop("name", None), **options)


@lru_cache(maxsize=1024)
def passes(model: str, channels: int, side: int) -> tuple[Passes, Passes]:
    """What the net of a `model` table comes to in evaluation, and in training, forward and backward.

    Training is three times the forward pass, but for a net of which a part is frozen, whose backward pass is counted.
    """
    net, images = without_memory(model).eval(), 2  # batch normalisation takes no single one
    x = torch.empty(images, channels, side, side, device="meta")
    with torch.no_grad(), Counting() as forward:
        net(x)
    if all(p.requires_grad for p in net.parameters()):
        return forward.of(images), Passes(*(3 * n for n in forward.of(images)))
    with Counting() as both:
        net.train()(x).sum().backward()
    return forward.of(images), both.of(images)
