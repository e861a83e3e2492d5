"""Whether a heat map tells what a net looks at: deletion and insertion curves, and maps under random weights."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from secondlook import models
from secondlook.insight.activations import private_copy
from secondlook.insight.cam import METHODS, SIDE, class_activation_maps

IMAGES = 48  # images whose curves are taken
STEPS = 10  # parts in which an image is taken away or put back
STAGES = 6  # at most: how far down the weights are random
LEAST_SIDE = 7  # cells a side that a map needs to say where
BATCH = 64
KINDS = ("deletion", "insertion")
ORDERS = (*METHODS, "random")  # in which the places of an image come


def deep_layer(net: nn.Module, image: Tensor, layers: list[str]) -> int:
    """The position in `layers` of the last one whose map of `image` (1, C, S, S) has at least 7 cells a side.

    The one with the largest map where none has: at 32 pixels the last maps of a VGG have four cells.
    """
    sides = {}
    modules = models.cam_layers(net)
    hooks = [
        modules[name].register_forward_hook(lambda m, i, out, name=name: sides.update({name: out.shape[-1]}))
        for name in layers
    ]
    try:
        with torch.no_grad():
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
    found = [sides[name] for name in layers]
    wide = [k for k, side in enumerate(found) if side >= LEAST_SIDE]
    return wide[-1] if wide else int(np.argmax(found))


@torch.no_grad()
def curves(net: nn.Module, images: Tensor, targets: Tensor, maps: np.ndarray) -> np.ndarray:
    """The target's probability while an image is taken away or put back, float32 (n, 2 kinds, orders, 11 points).

    maps (n, methods, 14, 14). Deletion begins with the image and sets its places to 0 (the mean colour) in ten parts,
    the hottest first; insertion begins with nothing and puts them back (Petsiuk, Das and Saenko 2018). Equal places
    come in random order; the last order is random throughout, what a map has to beat. `net` is in evaluation mode.
    """
    n, methods = maps.shape[:2]
    chance = torch.rand((n, SIDE * SIDE), generator=torch.Generator().manual_seed(0))
    heat = torch.cat([torch.from_numpy(maps).reshape(n, methods, -1), torch.zeros(n, 1, SIDE * SIDE)], 1)
    # of equal heat the larger random number comes first
    by_chance = chance.argsort(1)[:, None].expand_as(heat)
    order = by_chance.gather(2, torch.sort(heat.gather(2, by_chance), dim=-1, descending=True, stable=True).indices)
    place = order.argsort(-1).reshape(n, methods + 1, SIDE, SIDE)  # when a place's turn comes, from 0
    found = np.zeros((n, len(KINDS), methods + 1, STEPS + 1), np.float32)
    for step in range(STEPS + 1):
        gone = place < round(step / STEPS * SIDE * SIDE)
        for k in range(len(KINDS)):
            kept = (~gone if k == 0 else gone).float()
            for m in range(methods + 1):
                if m and step in (0, STEPS):  # nothing or all of it: the same in every order
                    found[:, k, m, step] = found[:, k, 0, step]
                else:
                    found[:, k, m, step] = _probabilities(net, images, targets, kept[:, m])
    return found


def areas(found: np.ndarray) -> np.ndarray:
    """The area under each curve of `curves`, (n, kinds, orders): low is good for deletion, high for insertion."""
    return np.trapezoid(found, dx=1 / (found.shape[-1] - 1), axis=-1)


def randomised(net: nn.Module, images: Tensor, targets: Tensor, layer: str) -> tuple[list[str], np.ndarray]:
    """How alike Grad-CAM stays while weights become random from the logits down (Adebayo et al. 2018).

    The names of the stages and the mean rank correlation of the maps at `layer` with the trained net's, (stages, n);
    the first stage is the trained net. Weights are drawn with each layer's own mean and spread. NaN for an empty map.
    """
    copied = private_copy(net)
    original = class_activation_maps(copied, images, targets, [layer], ("gradcam",))[:, 0, 0]
    layers = [(name, m) for name, m in copied.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)][::-1]
    parts = np.array_split(np.arange(len(layers)), min(STAGES, len(layers)))
    names, likeness = ["trained"], [rank_correlation(original, original)]
    generator = torch.Generator().manual_seed(0)
    for part in parts:
        for k in part:
            _redraw(layers[k][1], generator)
        maps = class_activation_maps(copied, images, targets, [layer], ("gradcam",))[:, 0, 0]
        names.append(layers[part[-1]][0])
        likeness.append(rank_correlation(original, maps))
    return names, np.stack(likeness).astype(np.float32)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of maps (n, h, w), cell by cell, (n,); NaN where a map does not vary."""
    from scipy.stats import rankdata

    x, y = (rankdata(v.reshape(len(v), -1), axis=1) for v in (a, b))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.divide((x * y).sum(1), norms, out=np.full(len(x), np.nan), where=norms > 0)


def _probabilities(net: nn.Module, images: Tensor, targets: Tensor, kept: Tensor) -> np.ndarray:
    """The targets' probabilities of images (n, C, S, S) of which `kept` (n, 14, 14) is left."""
    shown = F.interpolate(kept[:, None], images.shape[-2:], mode="nearest").to(images.device)
    parts = zip(images.split(BATCH), shown.split(BATCH), targets.split(BATCH), strict=True)
    said = [net(x * m).softmax(1).gather(1, t[:, None])[:, 0] for x, m, t in parts]
    return torch.cat(said).float().cpu().numpy()


@torch.no_grad()
def _redraw(layer: nn.Module, generator: torch.Generator) -> None:
    weights = layer.weight
    drawn = torch.randn(weights.shape, generator=generator).to(weights)
    layer.weight.copy_(drawn * weights.std(correction=0) + weights.mean())
    if layer.bias is not None:
        layer.bias.zero_()
