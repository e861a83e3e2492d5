"""ResNet-18 for 32-pixel images (He et al. 2016): a 3×3 stem without pooling."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Net, initialise_vgg, scaled


class BasicBlock(nn.Module):
    """Two normalised 3×3 convolutions and a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride)
        self.conv2 = _conv(outputs, outputs, 3, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class ResNet18(Net):
    """Four stages of two basic blocks, 64 to 512 channels, the mean of the last map, one dense layer.

    11,173,962 parameters at 10 classes; images of any size. Convolutions Kaiming normal by fan_out.
    Class activation maps: stage1 … stage4 (32×32, 16×16, 8×8, 4×4 at 32 pixels).
    """

    def __init__(self, *, width: float = 1.0, num_classes: int = 10, in_channels: int = 3):
        super().__init__()
        channels = [scaled(c, width) for c in (64, 64, 128, 256, 512)]
        self.stem = nn.Sequential(_conv(in_channels, channels[0], 3, 1), nn.ReLU())
        self.stages = nn.ModuleList(
            nn.Sequential(BasicBlock(a, b, 1 if i == 0 else 2), BasicBlock(b, b, 1))
            for i, (a, b) in enumerate(pairwise(channels))
        )
        self.output = nn.Linear(channels[-1], num_classes)
        initialise_vgg(self, "kaiming")

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x.mean((-2, -1))

    def cam_layers(self) -> dict[str, nn.Module]:
        return {f"stage{i}": stage for i, stage in enumerate(self.stages, 1)}


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))
