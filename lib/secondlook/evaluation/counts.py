"""Nets by arithmetic, without building them: weights, multiply-adds, the smallest image; what an update costs."""

from typing import NamedTuple


class Conv(NamedTuple):
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0


class Pool(NamedTuple):
    kernel: int
    stride: int = 2


class Dense(NamedTuple):
    inputs: int
    outputs: int


NETS = {  # of the public inference code, at 100 classes
    "LeNet": (Conv(3, 6, 5), Pool(2), Conv(6, 16, 5), Pool(2), Dense(400, 120), Dense(120, 84), Dense(84, 100)),
    "AlexNet": (Conv(3, 64, 11, 4, 2), Pool(3), Conv(64, 192, 5, 1, 2), Pool(3), Conv(192, 384, 3, 1, 1),
                Conv(384, 256, 3, 1, 1), Conv(256, 256, 3, 1, 1), Pool(3), Dense(9216, 4096), Dense(4096, 4096),
                Dense(4096, 100)),
}  # fmt: skip
# Operations on each weight in one step, with weight decay, and numbers kept for it between steps. SGD adds the decay
# and steps: 2 + 2. AdamW shrinks the weight (1), moves two averages (3 + 4), scales by a root (3) and steps (3).
UPDATES = {"sgd": (4, 0), "adamw": (14, 2)}


def parameters(layers: tuple) -> int:
    """The number of weights and biases of a net."""
    inputs = [layer.inputs * getattr(layer, "kernel", 1) ** 2 for layer in layers if not isinstance(layer, Pool)]
    outputs = [layer.outputs for layer in layers if not isinstance(layer, Pool)]
    return sum((i + 1) * o for i, o in zip(inputs, outputs))


def multiply_adds(layers: tuple, side: int) -> int:
    """Multiply-adds of one forward pass of an image of `side` pixels, without biases."""
    total = 0
    for layer in layers:
        if isinstance(layer, Dense):
            total += layer.inputs * layer.outputs
            continue
        side = (side + 2 * getattr(layer, "padding", 0) - layer.kernel) // layer.stride + 1
        total += side**2 * layer.inputs * layer.outputs * layer.kernel**2 if isinstance(layer, Conv) else 0
    return total


def smallest_image(layers: tuple) -> int:
    """The smallest side of an image, in pixels, of which convolutions and poolings leave anything."""
    side = 1
    for layer in reversed([layer for layer in layers if not isinstance(layer, Dense)]):
        side = (side - 1) * layer.stride + layer.kernel - 2 * getattr(layer, "padding", 0)
    return side


def share_of_step(net: str, side: int, batch_size: int) -> float:
    """AdamW's arithmetic beyond SGD's as a share of a step's forward and backward pass (three forward passes)."""
    extra = (UPDATES["adamw"][0] - UPDATES["sgd"][0]) * parameters(NETS[net])
    return extra / (6 * multiply_adds(NETS[net], side) * batch_size)
