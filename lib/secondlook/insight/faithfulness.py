"""Where a net looks, and whether its heat maps deserve to be believed.

Deletion and insertion curves, maps under random weights, answers when a part of the image is shuffled, and a few
numbers a seed about the maps of right and wrong answers, on which claims are judged.
"""

import math
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import mannwhitneyu, rankdata
from torch import Tensor, nn

from secondlook import models
from secondlook.insight.maps import MEASURES, SIDE, class_activation_maps, correlation, private_copy

TESTED = 48  # images whose curves are taken
STEPS = 10  # parts in which an image is taken away or put back
STAGES = 6  # at most: how far down the weights are random
LEAST_SIDE = 7  # cells a side that a map needs to say where
BATCH = 64
KINDS = ("deletion", "insertion")
SHUFFLED = 1000  # images whose parts are shuffled
FINE = 32  # cells a side that are shuffled, at least: about one pixel of a small image that was made larger
EACH = 20  # right answers of each class that are measured
PAIRS = 2  # most frequent mistakes that are looked at by themselves
OF_A_PAIR = 30  # their images, and as many right ones of the same label
MANY = 10  # classes; with more of them none is looked at by itself
LEAST = 3  # images of a kind that are compared
BOX = (3 / 14, 11 / 14)  # the middle 8 × 8 of 14 × 14 cells


def deep_layer(net: nn.Module, image: Tensor, layers: list[str]) -> int:
    """The position in `layers` of the last one whose map of `image` (1, C, S, S) has at least 7 cells a side.

    The one with the largest map where none has: at 32 pixels the last maps of a VGG have four cells.
    """
    sides, modules = {}, models.cam_layers(net)
    hooks = [modules[name].register_forward_hook(lambda m, i, out, name=name: sides.update({name: out.shape[-1]}))
             for name in layers]  # fmt: skip
    try:
        with torch.no_grad():
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
    found = [sides[name] for name in layers]
    wide = [k for k, side in enumerate(found) if side >= LEAST_SIDE]
    return wide[-1] if wide else int(np.argmax(found))


# ------------------------------------------------------------------ deletion, insertion, random weights


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
        for k, kept in enumerate((~gone, gone)):
            for m in range(methods + 1):
                if m and step in (0, STEPS):  # nothing or all of it: the same in every order
                    found[:, k, m, step] = found[:, k, 0, step]
                else:
                    found[:, k, m, step] = _probabilities(net, images, targets, kept[:, m].float())
    return found


def _probabilities(net: nn.Module, images: Tensor, targets: Tensor, kept: Tensor) -> np.ndarray:
    """The targets' probabilities of images (n, C, S, S) of which `kept` (n, 14, 14) is left."""
    shown = F.interpolate(kept[:, None], images.shape[-2:], mode="nearest").to(images.device)
    parts = zip(images.split(BATCH), shown.split(BATCH), targets.split(BATCH), strict=True)
    said = [net(x * m).softmax(1).gather(1, t[:, None])[:, 0] for x, m, t in parts]
    return torch.cat(said).float().cpu().numpy()


def areas(found: np.ndarray) -> np.ndarray:
    """The area under each curve of `curves`, (n, kinds, orders): low is good for deletion, high for insertion."""
    return np.trapezoid(found, dx=1 / (found.shape[-1] - 1), axis=-1)


def randomised(net: nn.Module, images: Tensor, targets: Tensor, layer: str) -> tuple[list[str], np.ndarray]:
    """How alike Grad-CAM stays while weights become random from the logits down (Adebayo et al. 2018).

    The names of the stages and the mean rank correlation of the maps at `layer` with the trained net's, (stages, n);
    the first stage is the trained net. Weights are drawn with each layer's own mean and spread. NaN for an empty map.
    """
    copied, generator = private_copy(net), torch.Generator().manual_seed(0)
    layers = [(name, m) for name, m in copied.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)][::-1]

    def ranks() -> np.ndarray:
        maps = class_activation_maps(copied, images, targets, [layer], ("gradcam",))
        return rankdata(maps.reshape(len(images), -1), axis=1)

    original = ranks()
    names, likeness = ["trained"], [correlation(original, original)]
    for part in np.array_split(np.arange(len(layers)), min(STAGES, len(layers))):
        for k in part:
            _redraw(layers[k][1], generator)
        names.append(layers[part[-1]][0])
        likeness.append(correlation(original, ranks()))
    return names, np.stack(likeness).astype(np.float32)


@torch.no_grad()
def _redraw(layer: nn.Module, generator: torch.Generator) -> None:
    weights = layer.weight
    drawn = torch.randn(weights.shape, generator=generator).to(weights)
    layer.weight.copy_(drawn * weights.std(correction=0) + weights.mean())
    if layer.bias is not None:
        layer.bias.zero_()


# ------------------------------------------------------------------ shuffled borders and centres


@torch.no_grad()
def shuffling(net: nn.Module, loader, count: int = SHUFFLED) -> dict:
    """A table of the first `count` images: accuracy as they are (`plain`), with `border` and with `centre` shuffled.

    `changed_border`, `changed_centre`: the share of wrong answers that change; `mended_…`: of those that become right
    (None where no answer is wrong); `border_share`: the border's share of the image, about half.
    """
    copied, answers, labels, seen = private_copy(net), {"plain": [], "border": [], "centre": []}, [], 0
    generator = torch.Generator().manual_seed(0)
    for x, y in loader.evaluation_batches():
        x, y = x[: count - seen].float(), y[: count - seen]
        for name, said in answers.items():
            said.append(copied(x if name == "plain" else shuffled(x, name, generator)).argmax(1).cpu())
        labels.append(y.cpu())
        seen += len(y)
        if seen >= count:
            break
    labels, answers = torch.cat(labels), {name: torch.cat(said) for name, said in answers.items()}
    border = 1 - _centre(cells(x.shape[-1])).double().mean()
    found = {"images": seen, "border_share": round(float(border), 4)}
    found |= {name: _share(said == labels) for name, said in answers.items()}
    wrong = answers["plain"] != labels
    for name in ("border", "centre"):
        said = answers[name][wrong]
        found[f"changed_{name}"] = _share(said != answers["plain"][wrong])
        found[f"mended_{name}"] = _share(said == labels[wrong])
    return found


def _share(happened: Tensor) -> float | None:
    return round(float(happened.double().mean()), 6) if len(happened) else None


def shuffled(x: Tensor, part: str, generator: torch.Generator) -> Tensor:
    """Images (n, C, S, S) whose `part` ("border" or "centre") has its cells in random order, another for each image."""
    n, channels, side = x.shape[:3]
    count = cells(side)
    size, own = side // count, torch.nonzero(_centre(count).flatten() == (part == "centre"))[:, 0]
    order = torch.arange(count**2).repeat(n, 1)
    order[:, own] = own[torch.rand((n, len(own)), generator=generator).argsort(1)]
    tiles = x.reshape(n, channels, count, size, count, size).permute(0, 2, 4, 1, 3, 5).reshape(n, count**2, -1)
    tiles = tiles.gather(1, order[:, :, None].expand_as(tiles).to(x.device))
    return tiles.reshape(n, count, count, channels, size, size).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


def cells(side: int) -> int:
    """Cells a side: the fewest that are at least 32 and divide the image evenly; its pixels where none are."""
    return next((count for count in range(FINE, side) if side % count == 0), side)


def _centre(count: int) -> Tensor:
    """Which of count × count cells are in a centred square of about half the area."""
    inside, edge = torch.zeros(count, count, dtype=torch.bool), round(count * (1 - math.sqrt(0.5)) / 2)
    inside[edge : count - edge, edge : count - edge] = True
    return inside


# ------------------------------------------------------------------ right and wrong answers in a few numbers


def rows_of_interest(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Rows of right answers of every class and of the most frequent mistakes with right ones of the same label."""
    right, found = labels == predictions, [np.zeros(0, np.int64)]
    if labels.max(initial=0) < MANY:
        found += [np.flatnonzero(right & (labels == c))[:EACH] for c in np.unique(labels)]
    for true, said in frequent_pairs(labels, predictions):
        found.append(np.flatnonzero((labels == true) & (predictions == said))[:OF_A_PAIR])
        found.append(np.flatnonzero(right & (labels == true))[:OF_A_PAIR])
    return np.unique(np.concatenate(found))


def frequent_pairs(labels: np.ndarray, predictions: np.ndarray) -> list[tuple[int, int]]:
    """The most frequent mistakes as (label, prediction); of equal ones the first classes."""
    wrong = labels != predictions
    count = Counter(zip(labels[wrong].tolist(), predictions[wrong].tolist()))
    return sorted(count, key=lambda pair: (-count[pair], pair))[:PAIRS]


def summary(focus: np.ndarray, labels: np.ndarray, predictions: np.ndarray, answered: tuple, layer: int) -> dict:
    """Metrics of one method's `maps.focus`, (n, layers, measures), of images with these labels and predictions.

    cam_effect: for entropy, area and centre at `layer`, how often a wrong answer's map measures higher than a right
    one's · cam_centre_right: the share of right answers' maps in the middle · cam_peak_centre, cam_agreement (lists
    over classes): of right answers the share whose peak is in the middle box, and the mean agreement of the earlier
    layers with the last · cam_pairs, cam_pair_effect: the most frequent mistakes of `answered` (labels, predictions)
    and their entropy against right answers of the same label. None where there are too few images.
    """
    right, pairs = labels == predictions, frequent_pairs(*answered)
    own = dict(zip(MEASURES, focus[:, layer].T))
    found: dict = {
        "cam_effect": {m: _effect(own[m], ~right, right) for m in ("entropy", "area", "centre")},
        "cam_centre_right": _mean(own["centre"][right]),
        "cam_pairs": [list(pair) for pair in pairs],
        "cam_pair_effect": [
            _effect(own["entropy"], (labels == a) & (predictions == b), right & (labels == a)) for a, b in pairs
        ],
    }
    if labels.max(initial=0) < MANY:
        peaks = np.stack([own["peak_row"], own["peak_column"]], 1)
        inside = np.where(np.isfinite(peaks).all(1), ((peaks > BOX[0]) & (peaks < BOX[1])).all(1), np.nan)
        others = np.delete(focus[..., MEASURES.index("agreement")], -1, axis=1)
        agreement = np.ma.masked_invalid(others).mean(1).filled(np.nan)
        of_classes = [right & (labels == c) for c in range(int(answered[0].max(initial=0)) + 1)]
        found["cam_peak_centre"] = [_mean(inside[rows]) for rows in of_classes]
        found["cam_agreement"] = [_mean(agreement[rows]) for rows in of_classes]
    return found


def _effect(values: np.ndarray, wrong: np.ndarray, right: np.ndarray) -> float | None:
    a, b = (values[rows & np.isfinite(values)] for rows in (wrong, right))
    return round(float(mannwhitneyu(a, b).statistic / (len(a) * len(b))), 5) if min(len(a), len(b)) >= LEAST else None


def _mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return round(float(values.mean()), 5) if len(values) else None
