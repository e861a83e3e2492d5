"""What the layers of a net answer to an image: activations, class activation maps, feature maps, first kernels.

Everything is read from a float32 copy, so that the net stays as it was.
"""

import copy
import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from secondlook import models
from secondlook.recipe import CAM_METHODS as METHODS

# What each method multiplies a layer's activations with, given the gradient of the class score by them, (n, c, h, w):
# Grad-CAM (Selvaraju et al. 2017), HiResCAM (Draelos and Carin 2020) and LayerCAM (Jiang et al. 2021)
WEIGHTS = {
    "gradcam": lambda gradient: gradient.mean((2, 3), keepdim=True),
    "hirescam": lambda gradient: gradient,
    "layercam": lambda gradient: gradient.clamp(min=0),
}
MEASURES = ("entropy", "area", "centre", "peak_row", "peak_column", "agreement")
SIDE = 14  # cells a side of a class activation map as it is kept
BATCH = 16
MOST_PIXELS = 32  # side of a feature map as it is kept
MOST_KERNELS = 64


def private_copy(net: nn.Module) -> nn.Module:
    """A float32 copy of `net` in evaluation mode, uncompiled, on its device, with a gradient through every layer."""
    copied = copy.deepcopy(getattr(net, "_orig_mod", net)).float().to(memory_format=torch.contiguous_format).eval()
    copied.zero_grad()
    return copied.requires_grad_(True)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Inside, `net` is in evaluation mode; afterwards each of its layers is in the mode it was in."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def activations(
    net: nn.Module, images: Tensor, targets: Tensor, layers: list[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What each layer of `private_copy`'s net gives, (n, channels, h, w), and the gradient of the targets' scores.

    images (n, C, S, S); targets (n,) are classes. Raises KeyError for a layer the net does not name.
    """
    modules, found = models.cam_layers(net), {}

    def keep(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            output.retain_grad()
            found[name] = output

        return hook

    hooks = [modules[name].register_forward_hook(keep(name)) for name in layers]
    try:
        with torch.enable_grad():
            net(images).gather(1, targets[:, None]).sum().backward()
    finally:
        for hook in hooks:
            hook.remove()
        net.zero_grad()
    return {k: v.detach() for k, v in found.items()}, {k: v.grad for k, v in found.items()}


# ------------------------------------------------------------------ class activation maps


@torch.inference_mode(False)  # a caller's inference has no gradients
def class_activation_maps(
    net: nn.Module, images: Tensor, targets: Tensor, layers: list[str], methods: tuple[str, ...] = METHODS
) -> np.ndarray:
    """Maps, float32 (n, layers, methods, 14, 14), each from 0 to its largest value 1, or all 0 where nothing speaks
    for the class.

    images (n, C, S, S) on the net's device; targets (n,) the classes asked about; layers names of `models.cam_layers`.
    """
    copied, found = private_copy(net), []
    for x, y in zip(images.float().clone().split(BATCH), targets.clone().split(BATCH), strict=True):
        values, gradients = activations(copied, x, y, layers)
        found.append(torch.stack([
            torch.stack([scaled((WEIGHTS[method](gradients[k]) * values[k]).sum(1)) for method in methods], 1)
            for k in layers
        ], 1))  # fmt: skip
    return torch.cat(found).cpu().numpy()


def scaled(maps: Tensor) -> Tensor:
    """Maps (n, h, w) as (n, 14, 14): what speaks against the class is cut off, the largest value is 1."""
    maps = F.interpolate(maps.clamp(min=0)[:, None], (SIDE, SIDE), mode="bilinear", antialias=True)[:, 0]
    highest = maps.amax((1, 2), keepdim=True)
    return torch.where(highest > 0, maps / highest.clamp(min=1e-30), 0)


def focus(maps: np.ndarray) -> np.ndarray:
    """MEASURES of maps (n, layers, methods, 14, 14), float32 (n, layers, methods, 6); NaN for an empty map.

    entropy of the map as a distribution over its cells, 1 when even · area, the share of cells at or above half of the
    maximum · centre, the share of its mass in the middle 8×8 cells, 0.33 when even · row and column of the peak, in
    (0, 1) · agreement, the correlation with the last layer's map of the same method.
    """
    cells = maps.reshape(*maps.shape[:-2], -1).astype(np.float64)
    total = cells.sum(-1, keepdims=True)
    share = np.divide(cells, total, out=np.full_like(cells, np.nan), where=total > 0)
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1.0)), -1) / np.log(SIDE**2)
    area = np.where(total[..., 0] > 0, (cells >= cells.max(-1, keepdims=True) / 2).mean(-1), np.nan)
    middle = slice((SIDE - 8) // 2, (SIDE + 8) // 2)
    centre = share.reshape(maps.shape)[..., middle, middle].sum((-2, -1))
    peak = np.where(total > 0, (np.stack(np.divmod(cells.argmax(-1), SIDE), -1) + 0.5) / SIDE, np.nan)
    agreement = correlation(cells, cells[:, -1:])
    return np.stack([entropy, area, centre, peak[..., 0], peak[..., 1], agreement], -1).astype(np.float32)


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the last axis; NaN where one of the two does not vary."""
    x, y = (v - v.mean(-1, keepdims=True) for v in (x, y))
    norms = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    return np.divide(np.sum(x * y, -1), norms, out=np.full_like(norms, np.nan), where=norms > 0)


# ------------------------------------------------------------------ feature maps, kernels, pictures


def feature_maps(
    net: nn.Module, images: Tensor, targets: Tensor, layers: list[str], count: int = 10
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """For each layer the maps of the `count` channels that speak most for the target, float32 (n, count, h, w) in
    [0, 1], each on its own scale; and those channels, int16 (layers, n, count), −1 where a layer has fewer.

    A channel's relevance is the sum over its map of gradient × activation of the target's score. Maps larger than
    32 pixels are shrunk.
    """
    values, gradients = activations(private_copy(net), images.float(), targets, layers)
    found, channels = {}, np.full((len(layers), len(images), count), -1, np.int16)
    for k, name in enumerate(layers):
        relevance = (values[name] * gradients[name]).sum((-2, -1))
        best = relevance.argsort(dim=1, descending=True, stable=True)[:, :count]
        channels[k, :, : best.shape[1]] = best.cpu().numpy()
        maps = shrunk(values[name].take_along_dim(best[:, :, None, None], 1)).cpu().numpy()
        low, high = maps.min((-2, -1), keepdims=True), maps.max((-2, -1), keepdims=True)
        found[name] = np.divide(maps - low, high - low, out=np.zeros_like(maps), where=high > low)
    return found, channels


def first_kernels(net: nn.Module) -> np.ndarray:
    """The weights of the net's first convolution, float16 (at most 64, in, side, side); size 0 where it has none."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            kernels = module.weight[:MOST_KERNELS].detach().float().clamp(-65504, 65504)
            return kernels.cpu().numpy().astype(np.float16)
    return np.zeros(0, np.float16)


def shrunk(images: Tensor) -> Tensor:
    """Images (n, c, S, S), those larger than 32 pixels made as large as that."""
    if max(images.shape[-2:]) <= MOST_PIXELS:
        return images
    return F.interpolate(images, (MOST_PIXELS, MOST_PIXELS), mode="bilinear", antialias=True)


def sheet(pictures: np.ndarray, quality: int = 80) -> np.ndarray:
    """WebP bytes, uint8 (length,), of grey pictures (rows, columns, h, w) in [0, 1], edge to edge."""
    rows, columns, height, width = pictures.shape
    flat = np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8).swapaxes(1, 2)
    buffer = io.BytesIO()
    Image.fromarray(flat.reshape(rows * height, columns * width)).save(buffer, "WEBP", quality=quality, method=6)
    return np.frombuffer(buffer.getvalue(), np.uint8)
