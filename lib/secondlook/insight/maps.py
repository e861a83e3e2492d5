"""Feature maps: what the channels of a layer answer to an image, those first that matter for its class."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from secondlook.insight.activations import activations, private_copy
from secondlook.insight.pictures import sheet, stretched

COUNT = 10  # maps of an image and layer
MOST_PIXELS = 32  # side of a map as it is kept


def feature_maps(
    net: nn.Module, images: Tensor, targets: Tensor, layers: list[str], count: int = COUNT
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """For each layer the maps of the `count` channels that speak most for the target, float32 (n, count, h, w) in
    [0, 1], each on its own scale; and those channels, int16 (layers, n, count), −1 where a layer has fewer.

    A channel's relevance is the sum over its map of gradient × activation of the target's score. Maps larger than
    32 pixels are shrunk. The net is copied and stays as it is.
    """
    values, gradients = activations(private_copy(net), images.float(), targets, layers)
    found, channels = {}, np.full((len(layers), len(images), count), -1, np.int16)
    for k, name in enumerate(layers):
        relevance = (values[name] * gradients[name]).sum((-2, -1))
        best = relevance.argsort(dim=1, descending=True, stable=True)[:, :count]
        channels[k, :, : best.shape[1]] = best.cpu().numpy()
        maps = values[name].take_along_dim(best[:, :, None, None], 1)
        if max(maps.shape[-2:]) > MOST_PIXELS:
            maps = F.interpolate(maps, (MOST_PIXELS, MOST_PIXELS), mode="bilinear", antialias=True)
        found[name] = stretched(maps.cpu().numpy())
    return found, channels


def sheets(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`feature_maps` as WebP bytes by array name, `maps_LAYER`: a row for each image, a column for each channel."""
    return {f"maps_{name}": sheet(pictures, quality=60) for name, pictures in maps.items()}
