"""AlexNet (Krizhevsky et al. 2012) as torchvision shapes it (one tower, Krizhevsky 2014), and one for 32 pixels."""

from torch import Tensor, nn

from .layers import AdaptiveMean, Net, check_images, check_size, initialise, one_of, scaled

# channels, kernel, stride, padding, whether pooling follows
STEMS = {"11x11": (64, 11, 4, 5, True), "3x3": (64, 3, 1, 1, True)}
LATER = ((192, 5, 1, 2, True), (384, 3, 1, 1, False), (256, 3, 1, 1, False), (256, 3, 1, 1, True))


class FiveConvolutions(Net):
    """The convolutional part of both forms; the first convolution and the pooling's side differ.

    Subclasses add `head`, which reads the last map (`channels`, `side`, `side`), and `output`.
    """

    def __init__(
        self, in_channels: int, image_size: int, width: float, first: tuple, pool: int, batch_norm: bool = False
    ):
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_size
        self.convs, self.pools = nn.ModuleList(), nn.ModuleList()
        channels, side = in_channels, image_size
        for outputs, kernel, stride, padding, pooled in (first, *LATER):
            outputs = scaled(outputs, width)
            layers = [nn.Conv2d(channels, outputs, kernel, stride, padding)]
            layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
            self.convs.append(nn.Sequential(*layers, nn.ReLU()))
            self.pools.append(nn.MaxPool2d(pool, 2) if pooled else nn.Identity())
            channels, side = outputs, (side + 2 * padding - kernel) // stride + 1
            side = (side - pool) // 2 + 1 if pooled else side
        self.channels, self.side = channels, side

    def features(self, x: Tensor) -> Tensor:
        check_images(x, self.in_channels, self.image_size)
        for conv, pool in zip(self.convs, self.pools, strict=True):
            x = pool(conv(x))
        return self.head(x)

    def cam_layers(self) -> dict[str, nn.Module]:
        return {f"conv{i}": conv for i, conv in enumerate(self.convs, 1)}


class AlexNet(FiveConvolutions):
    """Five convolutions, max-pooling 3×3 with stride 2 after the first, second and last, three dense layers.

    57,413,540 parameters at 100 classes. `image_size` is at least 63: below that the last pooling has nothing left. At
    224 the last map is 6×6, elsewhere it is averaged to 6×6. `init`: "default" (PyTorch's) or "xavier" (zero biases).
    Class activation maps: conv1 … conv5, after their ReLU.
    """

    def __init__(
        self,
        *,
        image_size: int = 224,
        width: float = 1.0,
        num_classes: int = 100,
        in_channels: int = 3,
        dropout: float = 0.5,
        init: str = "default",
    ):
        check_size("alexnet", image_size, least=63)
        super().__init__(in_channels, image_size, width, first=(64, 11, 4, 2, True), pool=3)
        hidden = scaled(4096, width)
        self.head = nn.Sequential(AdaptiveMean(self.side, 6), _head(36 * self.channels, hidden, dropout))
        self.output = nn.Linear(hidden, num_classes)
        initialise(self, init)


class AlexNetCIFAR(FiveConvolutions):
    """AlexNet for 32-pixel images: the same five convolutions, the 11×11 padded by 5, pooling 2×2, a last map of 1×1.

    `dense` is 3 as in the paper, or 1: a single layer on 256 features, the common CIFAR form (2,495,396 parameters at
    100 classes). `stem` "3x3" keeps the first map at the image's side, so that the last one is 4×4; `batch_norm`
    normalises after every convolution: 36,422,820 parameters with both. `image_size` is a multiple of 32. `init` as in
    AlexNet.
    Class activation maps: conv1 (8×8 at 32 pixels), conv2 (4×4), conv3 … conv5 (2×2), after their ReLU; with the stem
    "3x3" 32×32, 16×16 and 8×8.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        width: float = 1.0,
        num_classes: int = 100,
        in_channels: int = 3,
        dense: int = 3,
        stem: str = "11x11",
        batch_norm: bool = False,
        dropout: float = 0.5,
        init: str = "default",
    ):
        check_size("alexnet_cifar", image_size, multiple=32, least=32)
        one_of("dense", dense, (1, 3))
        first = STEMS[one_of("stem", stem, tuple(STEMS))]
        super().__init__(in_channels, image_size, width, first, pool=2, batch_norm=batch_norm)
        inputs = self.channels * self.side**2
        hidden = scaled(4096, width) if dense == 3 else inputs
        self.head = _head(inputs, hidden, dropout) if dense == 3 else nn.Flatten()
        self.output = nn.Linear(hidden, num_classes)
        initialise(self, init)


def _head(inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    """Two hidden layers with dropout before each, not after as in VGG."""
    layers: list[nn.Module] = [nn.Flatten()]
    for size in (inputs, hidden):
        layers += [nn.Dropout(dropout), nn.Linear(size, hidden), nn.ReLU()]
    return nn.Sequential(*layers)
