"""Class activation maps: which places of an image a class score leans on, layer by layer; and how focused they are."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from secondlook import models
from secondlook.insight.activations import private_copy
from secondlook.recipe import CAM_METHODS as METHODS

MEASURES = ("entropy", "area", "centre", "peak_row", "peak_column", "agreement")
SIDE = 14  # cells a side of a map as it is kept
BATCH = 16


@torch.inference_mode(False)  # a caller's inference has no gradients
def class_activation_maps(
    net: nn.Module, images: Tensor, targets: Tensor, layers: list[str], methods: tuple[str, ...] = METHODS
) -> np.ndarray:
    """Maps, float32 (n, layers, methods, 14, 14), each from 0 to its largest value 1, or all 0 where nothing speaks
    for the class.

    images (n, C, S, S) on the net's device; targets (n,) the classes asked about; layers names of `models.cam_layers`.
    Grad-CAM (Selvaraju et al. 2017), HiResCAM (Draelos and Carin 2020) and LayerCAM (Jiang et al. 2021) by
    pytorch-grad-cam, on a float32 copy: the net's mode, weights and gradients stay as they are.
    """
    copied = private_copy(net)
    parts = zip(images.float().clone().split(BATCH), targets.clone().split(BATCH), strict=True)
    raw = [_maps(copied, x, y, layers, methods) for x, y in parts]
    return np.concatenate(raw)


def _maps(net: nn.Module, x: Tensor, targets: Tensor, layers: list[str], methods: tuple[str, ...]) -> np.ndarray:
    from pytorch_grad_cam import GradCAM, HiResCAM, LayerCAM

    kinds = dict(zip(METHODS, (GradCAM, HiResCAM, LayerCAM), strict=True))
    modules = [models.cam_layers(net)[name] for name in layers]
    recorder = GradCAM(model=net, target_layers=modules)
    try:  # not `with`: it would swallow an IndexError
        with torch.enable_grad():
            recorder.activations_and_grads(x).gather(1, targets[:, None]).sum().backward()
        seen = zip(recorder.activations_and_grads.activations, recorder.activations_and_grads.gradients, strict=True)
        found = np.zeros((len(x), len(layers), len(methods), SIDE, SIDE), np.float32)
        for k, (activation, gradient) in enumerate(seen):
            for m, method in enumerate(methods):
                # one pass serves all methods: they differ in how activations and gradients are weighed
                image = kinds[method].get_cam_image(
                    recorder, x, modules[k], None, activation.numpy(), gradient.numpy(), False
                )
                found[:, k, m] = scaled(image)
    finally:
        recorder.activations_and_grads.release()
        net.zero_grad()
    return found


def scaled(raw: np.ndarray) -> np.ndarray:
    """Maps (n, h, w) as (n, 14, 14): what speaks against the class is cut off, the largest value is 1."""
    maps = torch.from_numpy(np.maximum(raw, 0)).float()[:, None]
    maps = F.interpolate(maps, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)[:, 0]
    highest = maps.amax((1, 2), keepdim=True)
    return torch.where(highest > 0, maps / highest.clamp(min=1e-30), 0).numpy()


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
    return np.stack([entropy, area, centre, peak[..., 0], peak[..., 1], _agreement(cells)], -1).astype(np.float32)


def _agreement(cells: np.ndarray) -> np.ndarray:
    centred = cells - cells.mean(-1, keepdims=True)
    norms = np.linalg.norm(centred, axis=-1)
    product = norms * norms[:, -1:]
    return np.divide(np.sum(centred * centred[:, -1:], -1), product, out=np.full_like(norms, np.nan), where=product > 0)
