"""The layers of a VGG by arithmetic, without building it: sizes, parameters and multiply-adds."""

from dataclasses import dataclass

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # in each block
CHANNELS = (64, 128, 256, 512, 512)
KINDS = ("convolution", "dense")


@dataclass(frozen=True)
class Layer:
    """A layer with weights: what comes in and goes out (channels or units), the side of its map, what it costs."""

    name: str
    kind: str
    block: int  # 1 … 5, and 6 for the dense layers
    inputs: int
    outputs: int
    side: int  # pixels a side of its output; 1 for a dense layer
    parameters: int
    macs: int


def vgg_layers(depth: int, image_size: int = 224, classes: int = 10, batch_norm: bool = False,
               hidden: int = 0) -> list[Layer]:  # fmt: skip
    """The layers of VGG `depth` (Simonyan and Zisserman 2015, table 1) in the order an image meets them.

    `hidden` units in the dense layers: 0 is 4,096 from 224 pixels on and 512 below. Batch normalisation counts with its
    convolution. Multiply-adds are of one image's forward pass.
    """
    layers, inputs, side = [], 3, image_size
    for block, (count, outputs) in enumerate(zip(CONVOLUTIONS[depth], CHANNELS), 1):
        for k in range(count):
            weights = 9 * inputs * outputs
            parameters = weights + outputs * (3 if batch_norm else 1)
            layers.append(Layer(f"conv {block}.{k + 1}", KINDS[0], block, inputs, outputs, side, parameters,
                                weights * side**2))  # fmt: skip
            inputs = outputs
        side //= 2
    hidden = hidden or (4096 if image_size >= 224 else 512)
    for k, (a, b) in enumerate(((inputs * side**2, hidden), (hidden, hidden), (hidden, classes)), 1):
        layers.append(Layer(f"dense {k}", KINDS[1], 6, a, b, 1, a * b + b, a * b))
    return layers


def total(layers: list[Layer], what: str, kind: str = "") -> int:
    """The sum of `parameters` or `macs` over layers, of one kind where it is given."""
    return sum(getattr(layer, what) for layer in layers if kind in ("", layer.kind))
