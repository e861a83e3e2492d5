"""Where a net looks, in numbers that claims are judged on, and whether its heat maps deserve to be believed."""

import numpy as np
from torch import nn

from secondlook.insight import faithfulness
from secondlook.insight.activations import private_copy
from secondlook.insight.answers import Answers, measured_rows, picked, stacked, tried
from secondlook.insight.cam import METHODS, class_activation_maps, focus
from secondlook.insight.focusing import rows_of_interest, summary
from secondlook.insight.shuffling import shuffling


def attention(net: nn.Module, loader, answers: Answers, layers: list[str]) -> dict:
    """Metrics: what `focusing.summary` says of Grad-CAM, `cam_layer` it is read at, and `shuffled`, see `shuffling`."""
    metrics: dict = {"shuffled": shuffling(net, loader)}
    labels, predictions = answers.labels.numpy(), answers.predictions.numpy()
    rows = np.union1d(measured_rows(labels == predictions), rows_of_interest(labels, predictions))
    x = stacked(picked(loader, rows), rows)
    targets = answers.predictions[rows].to(x.device)
    maps = tried("cam", metrics, lambda: class_activation_maps(net, x, targets, layers, ("gradcam",)))
    if maps is not None:
        layer = faithfulness.deep_layer(private_copy(net), x[:1].float(), layers)
        metrics["cam_layer"] = layers[layer]
        metrics |= summary(focus(maps)[:, :, 0], labels[rows], predictions[rows], (labels, predictions), layer)
    return metrics


def faithful(net: nn.Module, answers: Answers, images: dict, rows: np.ndarray, layers: list[str]) -> tuple[dict, dict]:
    """Tests of the maps at `faith_layer`, of the first of `rows`.

    Metrics: faith_kinds, faith_orders and faith_areas (kinds × orders, means) · sanity_stages and sanity_likeness, see
    `faithfulness.randomised`. Arrays: faith_curves (float32, kinds × orders × points, means) and faith_areas (float16,
    images × kinds × orders).
    """
    rows = rows[: faithfulness.IMAGES]
    copied, x = private_copy(net), stacked(images, rows).float()
    targets = answers.predictions[rows].to(x.device)
    layer = layers[faithfulness.deep_layer(copied, x[:1], layers)]
    maps = class_activation_maps(copied, x, targets, [layer])[:, 0]
    curves = faithfulness.curves(copied, x, targets, maps)
    areas = faithfulness.areas(curves)
    stages, likeness = faithfulness.randomised(copied, x, targets, layer)
    alike = np.ma.masked_invalid(likeness).mean(1).tolist()
    metrics = {
        "faith_layer": layer, "faith_kinds": list(faithfulness.KINDS), "faith_orders": [*METHODS, "random"],
        "faith_areas": np.round(areas.mean(0), 5).tolist(), "faith_images": len(rows), "sanity_stages": stages,
        "sanity_likeness": [None if v is None else round(v, 4) for v in alike],
    }  # fmt: skip
    return metrics, {"faith_curves": curves.mean(0), "faith_areas": areas.astype(np.float16)}
