"""The LeNet-like net of PyTorch's first CIFAR-10 tutorial (after LeCun et al. 1998)."""

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Net, check_images, initialise, scaled


class LeNet(Net):
    """Two 5×5 convolutions (6, 16), each with ReLU and 2×2 max-pooling, then dense 120, 84 and the classes.

    For images of 32 pixels. 69,656 parameters at 100 classes, where it is called BuMuNet by its users. `init`:
    "default" (PyTorch's) or "xavier" (zero biases).
    Class activation maps: conv1 (28×28), conv2 (10×10), before their ReLU.
    """

    def __init__(self, *, width: float = 1.0, num_classes: int = 100, in_channels: int = 3, init: str = "default"):
        super().__init__()
        self.in_channels = in_channels
        c1, c2, d1, d2 = (scaled(size, width) for size in (6, 16, 120, 84))
        self.conv1 = nn.Conv2d(in_channels, c1, 5)
        self.conv2 = nn.Conv2d(c1, c2, 5)
        self.dense1 = nn.Linear(25 * c2, d1)
        self.dense2 = nn.Linear(d1, d2)
        self.output = nn.Linear(d2, num_classes)
        initialise(self, init)

    def features(self, x: Tensor) -> Tensor:
        check_images(x, self.in_channels, 32)
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.dense1(x.flatten(1)))
        return F.relu(self.dense2(x))

    def cam_layers(self) -> dict[str, nn.Module]:
        return {"conv1": self.conv1, "conv2": self.conv2}
