"""What a trained net shows of itself: activation maps, kernels, feature maps, embeddings, latent walks.

One small strategy a file; `collect` takes what a page will need of a classifier while its weights exist. What needs a
package that is not installed is left out and named in the metric `not_collected`.
"""

from collections.abc import Sequence

import numpy as np
from torch import nn

from secondlook import models
from secondlook.insight import embeddings
from secondlook.insight.activations import spread
from secondlook.insight.answers import SHOWN, Answers, answer, measured_rows, picked, shown_rows, stacked, tried
from secondlook.insight.cam import MEASURES, METHODS, class_activation_maps, focus
from secondlook.insight.kernels import first_kernels
from secondlook.insight.looking import attention, faithful
from secondlook.insight.maps import feature_maps, sheets

EMBEDDED = 2000  # test images whose features are kept
MAPPED = 12  # images whose feature maps are kept
LAYERS = 5

__all__ = ["LAYERS", "SHOWN", "Answers", "answer", "collect", "measure", "shown_rows"]


def collect(net: nn.Module, recipe, loader, index: Sequence[int]) -> tuple[dict, dict]:
    """Metrics and arrays of a trained classifier for its record; the net stays as it was.

    loader gives the test images in a fixed order (`evaluation_batches`); index (n,) are their canonical indices.

    Arrays: kernels · embedding_pca (float16), embedding_tsne, embedding_umap (float16, n × 2) and embedding_index of
    the first 2,000 images · cam_maps (uint8, images × layers × methods × 14 × 14) of the images with the canonical
    indices cam_index, with cam_labels and cam_predictions, whose class is asked about · cam_focus (float16, images ×
    layers × methods × measures) of cam_focus_index, cam_focus_labels, cam_focus_right · maps_LAYER (WebP bytes) and
    maps_channels of the first images of cam_index · faith_curves and faith_areas, see `looking.faithful`. Metrics
    name layers, methods and measures, and hold those of `measure`. Of a net whose answers are not finite only the
    kernels are kept.
    """
    answers, index = answer(net, loader, EMBEDDED), np.asarray(index)
    arrays = {"kernels": first_kernels(net)}
    if not (answers.features.isfinite().all() and answers.logits.isfinite().all()):
        return {}, arrays
    metrics, places = embedded(answers.features.numpy())
    arrays |= {**places, "embedding_index": index[: len(answers.labels)].astype(np.int32)}
    layers = spread(list(models.cam_layers(net)), LAYERS)
    if not layers:
        return metrics, arrays
    right = (answers.predictions == answers.labels).numpy()
    rows = measured_rows(right)
    shown = shown_rows(answers)
    images = picked(loader, np.union1d(rows, shown))
    more, maps = _cams(net, answers, images, rows, shown, layers)
    if "cam_focus" in maps:
        maps |= {"cam_focus_index": index[rows].astype(np.int32), "cam_focus_right": right[rows],
                 "cam_focus_labels": answers.labels.numpy()[rows].astype(np.uint8)}  # fmt: skip
    maps |= {"cam_index": index[shown].astype(np.int32), "cam_labels": answers.labels.numpy()[shown].astype(np.uint8),
             "cam_predictions": answers.predictions.numpy()[shown].astype(np.uint8)}  # fmt: skip
    if "cam_maps" in maps:
        tested, areas = faithful(net, answers, images, rows, layers)
        more, maps = more | tested, maps | areas
    more |= attention(net, loader, answers, layers)
    drawn = shown[:MAPPED]
    targets = answers.predictions[drawn].to(loader.device)
    found, channels = feature_maps(net, stacked(images, drawn), targets, [layers[0], layers[-1]])
    metrics["maps_layers"] = list(found)
    missing = metrics.pop("not_collected", []) + more.pop("not_collected", [])
    metrics |= more | ({"not_collected": missing} if missing else {})
    return metrics, {**arrays, **maps, **sheets(found), "maps_channels": channels}


def measure(net: nn.Module, recipe, loader) -> dict:
    """The metrics of `attention`, of seeds that keep no pictures; none where an answer is not finite."""
    answers = answer(net, loader, EMBEDDED)
    layers = spread(list(models.cam_layers(net)), LAYERS)
    if not layers or not answers.logits.isfinite().all():
        return {}
    return attention(net, loader, answers, layers)


def embedded(features: np.ndarray) -> tuple[dict, dict]:
    """Metrics and arrays `embedding_…` of features (n, d): PCA, and t-SNE and UMAP of it."""
    scores, shares = embeddings.pca(features)
    metrics: dict = {"embedding_variance": [round(float(s), 4) for s in shares[:10]]}
    arrays = {"embedding_pca": scores.astype(np.float16)}
    for name, place in (("tsne", embeddings.tsne), ("umap", embeddings.umap)):
        placed = tried(name, metrics, lambda place=place: place(scores))
        if placed is not None:
            arrays[f"embedding_{name}"] = placed.astype(np.float16)
    return metrics, arrays


def _cams(net, answers: Answers, images: dict, rows, shown, layers: list[str]) -> tuple[dict, dict]:
    metrics: dict = {"cam_layers": layers, "cam_methods": list(METHODS), "cam_measures": list(MEASURES)}
    both = np.union1d(rows, shown)
    x = stacked(images, both)
    targets = answers.predictions[both].to(x.device)
    maps = tried("cam", metrics, lambda: class_activation_maps(net, x, targets, layers))
    if maps is None:
        return metrics, {}
    measured = focus(maps[np.searchsorted(both, rows)])
    for k, measure in enumerate(MEASURES[:3]):
        own = np.ma.masked_invalid(measured[..., k]).mean(0)  # None where every map is empty
        metrics[f"cam_{measure}"] = [[None if v is None else round(v, 4) for v in row] for row in own.tolist()]
    kept = np.rint(maps[np.searchsorted(both, shown)] * 255).astype(np.uint8)
    return metrics, {"cam_maps": kept, "cam_focus": measured.astype(np.float16)}
