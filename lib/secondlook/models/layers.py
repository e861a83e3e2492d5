"""What the architectures share: the contract of a net, convolution blocks, dense heads, initialisations, checks."""

import torch
from torch import Tensor, nn

INITS = ("default", "xavier", "glorot")


class Net(nn.Module):
    """A classifier: `output`, its last linear layer, reads `features(x)`.

    `forward(x)` takes images (batch, channels, side, side) and returns logits (batch, num_classes); there is never a
    softmax. Subclasses define `features`, `cam_layers` and `output`.
    """

    output: nn.Linear

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer's activations, (batch, output.in_features); what an embedding is drawn from."""
        raise NotImplementedError

    def cam_layers(self) -> dict[str, nn.Module]:
        """Layers worth a class activation map, from the image to the logits; each gives (batch, channels, h, w)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


def conv_block(inputs: int, outputs: int, count: int, batch_norm: bool = True) -> nn.Sequential:
    """`count` times 3×3 convolution, batch normalisation if wanted, ReLU (not in place: hooks read what went in)."""
    layers: list[nn.Module] = []
    for i in range(count):
        layers.append(nn.Conv2d(inputs if i == 0 else outputs, outputs, 3, padding=1))
        layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def dense_head(inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    """Two hidden layers with dropout after each, as in VGG; flattens first."""
    layers: list[nn.Module] = [nn.Flatten()]
    for size in (inputs, hidden):
        layers += [nn.Linear(size, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


class AdaptiveMean(nn.Module):
    """Adaptive average pooling of square maps of a known side, as two products with a fixed matrix.

    Gives what `nn.AdaptiveAvgPool2d(outputs)` gives; its backward pass raises on CUDA in deterministic mode, this one
    does not. An identity where the side is right already.
    """

    def __init__(self, side: int, outputs: int):
        super().__init__()
        self.side, self.outputs = side, outputs
        rows = torch.zeros(outputs, side)
        for i in range(outputs):
            first, last = i * side // outputs, -(-(i + 1) * side // outputs)
            rows[i, first:last] = 1.0
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.side == self.outputs:
            return x
        counts = self.rows.sum(1)  # sums of ones are exact in any precision, their reciprocals are not
        return self.rows @ x @ self.rows.T / torch.outer(counts, counts)


def scaled(channels: int, width: float) -> int:
    """`channels` times the width multiplier, at least 2."""
    if not width > 0:
        raise ValueError(f"width must be a positive multiplier, not {width!r}; 1 is the published net")
    return max(2, round(channels * width))


def one_of(name: str, value, allowed):
    """`value`, which must be one of `allowed`; raises ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def check_size(net: str, image_size: int, multiple: int = 1, least: int = 1) -> None:
    """Raises ValueError where images of side `image_size` pixels would leave the net without a map."""
    if image_size < least or image_size % multiple:
        what = f"a multiple of {multiple}" if multiple > 1 else f"at least {least}"
        raise ValueError(f"{net} needs an image side of {what} pixels, not {image_size}; resize with data.image_size")


def check_images(x: Tensor, channels: int, side: int) -> None:
    """Raises ValueError for images of another shape than the net was built for, before any layer does."""
    if x.shape[-3:] != (channels, side, side):
        raise ValueError(
            f"the net was built for images of shape {(channels, side, side)}, not {tuple(x.shape[-3:])}; "
            "build it with this image_size and in_channels, or resize with data.image_size"
        )


def initialise(model: nn.Module, init: str) -> None:
    """Fills weights and biases in place: "default" is PyTorch's own; "xavier" (the same as Keras' "glorot") is
    uniform with variance 2 / (fan_in + fan_out) and zero biases (Glorot & Bengio 2010, equation 16)."""
    if one_of("init", init, INITS) == "default":
        return
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def initialise_vgg(model: nn.Module, init: str) -> None:
    """Convolutions Kaiming normal by fan_out with zero bias (He et al. 2015), as torchvision does it; dense layers
    N(0, 0.01) for "torchvision", Kaiming normal by fan_in for "kaiming", which also trains at small sizes."""
    one_of("init", init, ("torchvision", "kaiming"))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and init == "torchvision":
            nn.init.normal_(module.weight, 0.0, 0.01)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
