"""VGG, configurations A, B, D and E (Simonyan & Zisserman 2015, table 1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Net, check_images, check_size, conv_block, dense_head, initialise_vgg, one_of, scaled

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # in each block
CHANNELS = (64, 128, 256, 512, 512)


class VGG(Net):
    """Five blocks of 3×3 convolutions, each followed by 2×2 max-pooling, then three dense layers with dropout.

    `depth` counts the layers with weights: 11 (A), 13 (B), 16 (D) or 19 (E). `image_size` is a multiple of 32; the
    paper's 7×7 map at 224 needs no further pooling and other sides take what the blocks leave. `hidden` is the size of
    both hidden dense layers before `width`; 0 is the paper's 4096 from 224 pixels on and 512 below. `init`:
    "torchvision" or "kaiming", see `initialise_vgg`.
    Class activation maps: block1 … block5, each before its pooling; at 32 pixels block5 is 2×2, prefer block3.
    """

    def __init__(
        self,
        *,
        depth: int = 16,
        batch_norm: bool = False,
        width: float = 1.0,
        image_size: int = 224,
        num_classes: int = 10,
        in_channels: int = 3,
        hidden: int = 0,
        dropout: float = 0.5,
        init: str = "torchvision",
    ):
        super().__init__()
        one_of("depth", depth, tuple(CONVOLUTIONS))
        check_size("vgg", image_size, multiple=32, least=32)
        self.in_channels, self.image_size = in_channels, image_size
        channels = [in_channels, *(scaled(c, width) for c in CHANNELS)]
        self.blocks = nn.ModuleList(
            conv_block(a, b, count, batch_norm)
            for a, b, count in zip(channels[:-1], channels[1:], CONVOLUTIONS[depth], strict=True)
        )
        size = scaled(hidden or (4096 if image_size >= 224 else 512), width)
        self.head = dense_head(channels[-1] * (image_size // 32) ** 2, size, dropout)
        self.output = nn.Linear(size, num_classes)
        initialise_vgg(self, init)

    def features(self, x: Tensor) -> Tensor:
        check_images(x, self.in_channels, self.image_size)
        for block in self.blocks:
            x = F.max_pool2d(block(x), 2)
        return self.head(x)

    def cam_layers(self) -> dict[str, nn.Module]:
        return {f"block{i}": block for i, block in enumerate(self.blocks, 1)}
