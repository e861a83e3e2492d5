"""What the first layer looks for."""

import numpy as np
from torch import nn

MOST = 64  # kernels kept


def first_kernels(net: nn.Module) -> np.ndarray:
    """The weights of the net's first convolution, float16 (at most 64, in, side, side); size 0 where it has none."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            return module.weight[:MOST].detach().float().clamp(-65504, 65504).cpu().numpy().astype(np.float16)
    return np.zeros(0, np.float16)


def as_pictures(kernels: np.ndarray) -> np.ndarray:
    """Kernels (n, in, side, side) as uint8 (n, side, side, in): 128 is 0, one scale for each kernel."""
    x = np.asarray(kernels, np.float32)
    largest = np.abs(x).max((1, 2, 3), keepdims=True)
    return np.rint(127.5 + 127.5 * x / np.where(largest > 0, largest, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
