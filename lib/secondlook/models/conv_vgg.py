"""The VGG-19 with batch normalisation that the comparison of CNNs with a VAE uses, and the encoder its kin share."""

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Net, check_images, check_size, conv_block, dense_head, scaled
from .vgg import CHANNELS, CONVOLUTIONS


class Residual(nn.Module):
    """A convolution block plus a normalised 1×1 convolution around all of it; no ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, count: int):
        super().__init__()
        self.block = conv_block(inputs, outputs, count)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + self.shortcut(x)


class Encoder(nn.Module):
    """The five blocks of VGG-19-BN, plain or residual; gives the last map, pooled, and each block's map before that."""

    def __init__(self, in_channels: int, width: float, residual: bool):
        super().__init__()
        self.in_channels = in_channels
        self.channels = [scaled(c, width) for c in CHANNELS]
        block = Residual if residual else conv_block
        pairs = zip([in_channels, *self.channels[:-1]], self.channels, CONVOLUTIONS[19], strict=True)
        self.blocks = nn.ModuleList(block(a, b, count) for a, b, count in pairs)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for block in self.blocks:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        return x, skips

    def cam_layers(self) -> dict[str, nn.Module]:
        return {f"block{i}": block for i, block in enumerate(self.blocks, 1)}


class ConvVGG(Net):
    """VGG-19-BN with the three dense layers of VGG, for one-channel images of two classes.

    38,924,994 parameters at 32 pixels, 45,216,450 at 64. `image_size` is a multiple of 32. PyTorch's own
    initialisation. Class activation maps: block1 … block5, each before its pooling.
    """

    residual = False

    def __init__(
        self,
        *,
        image_size: int = 64,
        width: float = 1.0,
        num_classes: int = 2,
        in_channels: int = 1,
        dropout: float = 0.5,
    ):
        super().__init__()
        check_size("this net", image_size, multiple=32, least=32)
        self.image_size = image_size
        self.encoder = Encoder(in_channels, width, self.residual)
        hidden = scaled(4096, width)
        self.head = dense_head(self.encoder.channels[-1] * (image_size // 32) ** 2, hidden, dropout)
        self.output = nn.Linear(hidden, num_classes)

    def features(self, x: Tensor) -> Tensor:
        check_images(x, self.encoder.in_channels, self.image_size)
        return self.head(self.encoder(x)[0])

    def cam_layers(self) -> dict[str, nn.Module]:
        return self.encoder.cam_layers()
