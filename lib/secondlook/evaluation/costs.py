"""Nets by arithmetic, without building them: layers, weights, multiply-adds, the smallest image; costs of an update."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Layer:
    """A layer with weights: what comes in and goes out (channels or units), the side of its map, what it costs."""

    name: str
    kind: str
    block: int  # one more after every pooling
    inputs: int
    outputs: int
    side: int  # pixels a side of its output; 1 for a dense layer
    parameters: int
    macs: int


KINDS = ("convolution", "dense")
NETS = {  # of the public inference code, at 100 classes
    "LeNet": (Conv(3, 6, 5), Pool(2), Conv(6, 16, 5), Pool(2), Dense(400, 120), Dense(120, 84), Dense(84, 100)),
    "AlexNet": (Conv(3, 64, 11, 4, 2), Pool(3), Conv(64, 192, 5, 1, 2), Pool(3), Conv(192, 384, 3, 1, 1),
                Conv(384, 256, 3, 1, 1), Conv(256, 256, 3, 1, 1), Pool(3), Dense(9216, 4096), Dense(4096, 4096),
                Dense(4096, 100)),
}  # fmt: skip
VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions in each block
# Operations on each weight in one step, with weight decay, and numbers kept for it between steps. SGD adds the decay
# and steps: 2 + 2. AdamW shrinks the weight (1), moves two averages (3 + 4), scales by a root (3) and steps (3).
UPDATES = {"sgd": (4, 0), "adamw": (14, 2)}


def layers(net: tuple, side: int = 224) -> list[Layer]:
    """The layers with weights in the order in which an image of `side` pixels meets them.

    Multiply-adds are of one image's forward pass, without biases.
    """
    found, block, number = [], 1, 0
    for part in net:
        number += 1
        if isinstance(part, Dense):
            name, kind, weights, side = f"dense {number}", KINDS[1], part.inputs * part.outputs, 1
        else:
            side = (side + 2 * getattr(part, "padding", 0) - part.kernel) // part.stride + 1
            if isinstance(part, Pool):
                block, number = block + 1, 0
                continue
            name, kind, weights = f"conv {block}.{number}", KINDS[0], part.inputs * part.outputs * part.kernel**2
        found.append(
            Layer(name, kind, block, part.inputs, part.outputs, side, weights + part.outputs, weights * side**2)
        )
    return found


def vgg_layers(depth: int, image_size: int = 224, classes: int = 10) -> list[Layer]:
    """The layers of VGG `depth` (Simonyan and Zisserman 2015, table 1).

    4,096 units in the dense layers from 224 pixels on, 512 below.
    """
    net, inputs, hidden = [], 3, 4096 if image_size >= 224 else 512
    for count, outputs in zip(VGG[depth], (64, 128, 256, 512, 512)):
        net += [Conv(inputs if k == 0 else outputs, outputs, 3, 1, 1) for k in range(count)] + [Pool(2)]
        inputs = outputs
    net += [Dense(inputs * (image_size // 32) ** 2, hidden), Dense(hidden, hidden), Dense(hidden, classes)]
    return layers(tuple(net), image_size)


def total(layers: list[Layer], what: str, kind: str = "") -> int:
    """The sum of `parameters` or `macs` over layers, of one kind where it is given."""
    return sum(getattr(layer, what) for layer in layers if kind in ("", layer.kind))


def smallest_image(net: tuple) -> int:
    """The smallest side of an image, in pixels, of which convolutions and poolings leave anything."""
    side = 1
    for part in reversed([part for part in net if not isinstance(part, Dense)]):
        side = (side - 1) * part.stride + part.kernel - 2 * getattr(part, "padding", 0)
    return side


def share_of_step(net: str, side: int, batch_size: int) -> float:
    """AdamW's arithmetic beyond SGD's as a share of a step's forward and backward pass (three forward passes)."""
    own = layers(NETS[net], side)
    extra = (UPDATES["adamw"][0] - UPDATES["sgd"][0]) * total(own, "parameters")
    return extra / (6 * total(own, "macs") * batch_size)
