"""What a trained net shows of itself: activation maps, kernels, feature maps, embeddings, latent walks.

`collect` takes what a page will need of a classifier while its weights exist, `measure` the numbers that claims are
judged on. What needs a package that is not installed is left out and named in the metric `not_collected`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from secondlook import models
from secondlook.insight import embeddings, faithfulness
from secondlook.insight.maps import (
    MEASURES,
    METHODS,
    class_activation_maps,
    evaluating,
    feature_maps,
    first_kernels,
    focus,
    private_copy,
    sheet,
)

EMBEDDED = 2000  # test images whose features are kept
MEASURED = 200  # images whose activation maps are measured
SHOWN = 20  # images whose activation maps are kept
MAPPED = 12  # images whose feature maps are kept
LAYERS = 5


@dataclass(frozen=True)
class Answers:
    """What a net says of a loader's first images: features (n, d), logits (n, classes), labels (n,), on the CPU."""

    features: Tensor
    logits: Tensor
    labels: Tensor

    @property
    def predictions(self) -> Tensor:
        return self.logits.argmax(1)


@torch.no_grad()
def answer(net: nn.Module, loader, limit: int) -> Answers:
    """What `net` says of the first `limit` images of a loader, in evaluation mode."""
    found, count = [], 0
    with evaluating(net):
        for x, y in loader.evaluation_batches():
            features = net.features(x)
            found.append((features.float().cpu(), net.output(features).float().cpu(), y.cpu()))
            count += len(y)
            if count >= limit:
                break
    return Answers(*(torch.cat(part)[:limit] for part in zip(*found)))


def collect(net: nn.Module, loader, index: Sequence[int]) -> tuple[dict, dict]:
    """Metrics and arrays of a trained classifier for its record; the net stays as it was.

    loader gives the test images in a fixed order (`evaluation_batches`); index (n,) are their canonical indices.

    Arrays: kernels · embedding_pca (float16), embedding_tsne, embedding_umap (float16, n × 2) and embedding_index of
    the first 2,000 images · cam_maps (uint8, images × layers × methods × 14 × 14) of the images with the canonical
    indices cam_index, with cam_labels and cam_predictions, whose class is asked about · cam_focus (float16, images ×
    layers × methods × measures) of cam_focus_index, cam_focus_labels, cam_focus_right · maps_LAYER (WebP bytes, a row
    for each image, a column for each channel) and maps_channels of the first images of cam_index · faith_curves and
    faith_areas, see `faithful`. Metrics name layers, methods and measures, and hold those of `measure`. Of a net whose
    answers are not finite only the kernels are kept.
    """
    answers, index = answer(net, loader, EMBEDDED), np.asarray(index)
    arrays = {"kernels": first_kernels(net)}
    if not (answers.features.isfinite().all() and answers.logits.isfinite().all()):
        return {}, arrays
    scores, shares = embeddings.pca(answers.features.numpy())
    metrics: dict = {"embedding_variance": [round(float(s), 4) for s in shares[:10]]}
    placed, missing = embeddings.places("embedding", scores)
    metrics |= {"not_collected": missing} if missing else {}
    arrays |= {"embedding_pca": scores.astype(np.float16), **placed}
    arrays["embedding_index"] = index[: len(answers.labels)].astype(np.int32)
    layers = spread(list(models.cam_layers(net)), LAYERS)
    if not layers:
        return metrics, arrays
    right, labels, said = (t.numpy() for t in (answers.predictions == answers.labels, answers.labels,
                                               answers.predictions))  # fmt: skip
    rows, shown = measured_rows(right), shown_rows(answers)
    images = picked(loader, np.union1d(rows, shown))
    measured, maps = _cams(net, answers, images, rows, shown, layers)
    tested, areas = faithful(net, answers, images, rows, layers)
    drawn = shown[:MAPPED]
    targets = answers.predictions[drawn].to(loader.device)
    found, channels = feature_maps(net, stacked(images, drawn), targets, [layers[0], layers[-1]])
    metrics |= {"maps_layers": list(found), **measured, **tested, **attention(net, loader, answers, layers)}
    arrays |= {**maps, **areas, "maps_channels": channels, **{f"maps_{k}": sheet(v, 60) for k, v in found.items()}}
    arrays |= {"cam_index": index[shown].astype(np.int32), "cam_labels": labels[shown].astype(np.uint8),
               "cam_predictions": said[shown].astype(np.uint8), "cam_focus_index": index[rows].astype(np.int32),
               "cam_focus_right": right[rows], "cam_focus_labels": labels[rows].astype(np.uint8)}  # fmt: skip
    return metrics, arrays


def measure(net: nn.Module, loader) -> dict:
    """The metrics of `attention`, of seeds that keep no pictures; none where an answer is not finite."""
    answers = answer(net, loader, EMBEDDED)
    layers = spread(list(models.cam_layers(net)), LAYERS)
    return attention(net, loader, answers, layers) if layers and answers.logits.isfinite().all() else {}


def attention(net: nn.Module, loader, answers: Answers, layers: list[str]) -> dict:
    """Metrics: what `faithfulness.summary` says of Grad-CAM, `cam_layer` it is read at, and `shuffled`."""
    labels, predictions = answers.labels.numpy(), answers.predictions.numpy()
    rows = np.union1d(measured_rows(labels == predictions), faithfulness.rows_of_interest(labels, predictions))
    x = stacked(picked(loader, rows), rows)
    maps = class_activation_maps(net, x, answers.predictions[rows].to(x.device), layers, ("gradcam",))
    layer = faithfulness.deep_layer(private_copy(net), x[:1].float(), layers)
    told = faithfulness.summary(focus(maps)[:, :, 0], labels[rows], predictions[rows], (labels, predictions), layer)
    return {"shuffled": faithfulness.shuffling(net, loader), "cam_layer": layers[layer], **told}


def faithful(net: nn.Module, answers: Answers, images: dict, rows: np.ndarray, layers: list[str]) -> tuple[dict, dict]:
    """Tests of the maps at `faith_layer`, of the first of `rows`.

    Metrics: faith_kinds, faith_orders and faith_areas (kinds × orders, means) · sanity_stages and sanity_likeness, see
    `faithfulness.randomised`. Arrays: faith_curves (float32, kinds × orders × points, means) and faith_areas (float16,
    images × kinds × orders).
    """
    rows = rows[: faithfulness.TESTED]
    copied, x = private_copy(net), stacked(images, rows).float()
    targets = answers.predictions[rows].to(x.device)
    layer = layers[faithfulness.deep_layer(copied, x[:1], layers)]
    curves = faithfulness.curves(copied, x, targets, class_activation_maps(copied, x, targets, [layer])[:, 0])
    areas = faithfulness.areas(curves)
    stages, likeness = faithfulness.randomised(copied, x, targets, layer)
    metrics = {
        "faith_layer": layer, "faith_kinds": list(faithfulness.KINDS), "faith_orders": [*METHODS, "random"],
        "faith_areas": np.round(areas.mean(0), 5).tolist(), "faith_images": len(rows), "sanity_stages": stages,
        "sanity_likeness": _means(likeness.T),
    }  # fmt: skip
    return metrics, {"faith_curves": curves.mean(0), "faith_areas": areas.astype(np.float16)}


def _cams(net, answers: Answers, images: dict, rows, shown, layers: list[str]) -> tuple[dict, dict]:
    both = np.union1d(rows, shown)
    x = stacked(images, both)
    maps = class_activation_maps(net, x, answers.predictions[both].to(x.device), layers)
    measured = focus(maps[np.searchsorted(both, rows)])
    metrics: dict = {"cam_layers": layers, "cam_methods": list(METHODS), "cam_measures": list(MEASURES)}
    metrics |= {f"cam_{name}": [_means(column) for column in measured[..., k].swapaxes(0, 1)]
                for k, name in enumerate(MEASURES[:3])}  # fmt: skip
    kept = np.rint(maps[np.searchsorted(both, shown)] * 255).astype(np.uint8)
    return metrics, {"cam_maps": kept, "cam_focus": measured.astype(np.float16)}


def _means(values: np.ndarray) -> list[float | None]:
    """The mean of each column over what is a number in it; None where nothing is."""
    means = np.ma.masked_invalid(values).mean(0).tolist()
    return [None if v is None else round(v, 4) for v in means]


# ------------------------------------------------------------------ which images are looked at


def spread(names: list[str], count: int) -> list[str]:
    """At most `count` of `names`, evenly spaced, the first and the last among them."""
    if len(names) <= count:
        return list(names)
    return [names[round(k * (len(names) - 1) / (count - 1))] for k in range(count)]


def measured_rows(right: np.ndarray) -> np.ndarray:
    """Rows of up to 200 images, as many wrong ones as right ones while there are: the first of each, ascending."""
    wrong_rows, right_rows = np.flatnonzero(~right), np.flatnonzero(right)
    wrong = min(len(wrong_rows), max(MEASURED // 2, MEASURED - len(right_rows)))
    return np.sort(np.r_[wrong_rows[:wrong], right_rows[: MEASURED - wrong]])


def shown_rows(answers: Answers) -> np.ndarray:
    """Rows of up to 20 images, by turns the next class's first right answer and the next of `leading_errors`."""
    labels, said = answers.labels.numpy(), answers.predictions.numpy()
    turn = np.zeros(len(labels), np.int64)  # how many right answers of its class came before
    for label in np.unique(labels):
        own = (said == labels) & (labels == label)
        turn[own] = np.arange(own.sum())
    order = np.lexsort((labels, turn))
    hits = order[(said == labels)[order]]
    errors = leading_errors(labels, said, answers.logits.softmax(1).amax(1).numpy())
    half = min(len(errors), len(hits), SHOWN // 2)
    mixed = np.stack([hits[:half], errors[:half]], 1).ravel()
    return np.r_[mixed, hits[half:], errors[half:]][:SHOWN]


def leading_errors(labels: np.ndarray, predictions: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Rows of wrong answers: first the most confident example of each class's most frequent mistake, then the rest.

    Both by falling confidence.
    """
    errors = np.flatnonzero(labels != predictions)
    errors = errors[np.argsort(-confidence[errors], kind="stable")]
    leading = []
    for label in np.unique(labels[errors]):
        usual = np.bincount(predictions[errors[labels[errors] == label]]).argmax()
        leading.append(next(i for i in errors if (labels[i], predictions[i]) == (label, usual)))
    first = np.isin(errors, leading)
    return np.r_[errors[first], errors[~first]]


def picked(loader, rows: np.ndarray) -> dict[int, Tensor]:
    """Images of a loader by row, as they are evaluated."""
    found, start = {}, 0
    for x, _ in loader.evaluation_batches():
        found |= {int(row): x[row - start] for row in rows[(rows >= start) & (rows < start + len(x))]}
        start += len(x)
        if len(found) == len(rows):
            break
    return found


def stacked(images: dict[int, Tensor], rows: np.ndarray) -> Tensor:
    """The images of `rows`, (n, C, S, S)."""
    return torch.stack([images[int(row)] for row in rows])
