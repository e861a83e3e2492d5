"""A net's inner values and their gradients, read from a copy so that the net stays as it was."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from secondlook import models


def private_copy(net: nn.Module) -> nn.Module:
    """A float32 copy of `net` in evaluation mode, uncompiled, on its device, with a gradient through every layer."""
    net = getattr(net, "_orig_mod", net)
    copied = copy.deepcopy(net).float().to(memory_format=torch.contiguous_format).eval()
    copied.zero_grad()
    return copied.requires_grad_(True)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Inside, `net` is in evaluation mode; afterwards each of its layers is in the mode it was in."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def spread(names: list[str], count: int) -> list[str]:
    """At most `count` of `names`, evenly spaced, the first and the last among them."""
    if len(names) <= count:
        return list(names)
    return [names[round(k * (len(names) - 1) / (count - 1))] for k in range(count)]


def activations(
    net: nn.Module, images: Tensor, targets: Tensor, layers: list[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What each layer of `private_copy`'s net gives, (n, channels, h, w), and the gradient of the targets' scores.

    images (n, C, S, S); targets (n,) are classes. Raises KeyError for a layer the net does not name.
    """
    modules, found = models.cam_layers(net), {}

    def keep(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            output.retain_grad()
            found[name] = output

        return hook

    hooks = [modules[name].register_forward_hook(keep(name)) for name in layers]
    try:
        with torch.enable_grad():
            net(images).gather(1, targets[:, None]).sum().backward()
    finally:
        for hook in hooks:
            hook.remove()
        net.zero_grad()
    return {k: v.detach() for k, v in found.items()}, {k: v.grad for k, v in found.items()}
