"""Where right and wrong answers look, in a few numbers a seed: what claims about heat maps are judged on."""

from collections import Counter

import numpy as np
from scipy.stats import mannwhitneyu

from secondlook.insight.cam import MEASURES

EACH = 20  # right answers of each class that are measured
PAIRS = 2  # most frequent mistakes that are looked at by themselves
OF_A_PAIR = 30  # their images, and as many right ones of the same label
MANY = 10  # classes; with more of them none is looked at by itself
LEAST = 3  # images of a kind that are compared
BOX = (3 / 14, 11 / 14)  # the middle 8 × 8 of 14 × 14 cells


def rows_of_interest(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Rows of right answers of every class and of the most frequent mistakes with right ones of the same label."""
    right, found = labels == predictions, []
    if labels.max(initial=0) < MANY:
        found += [np.flatnonzero(right & (labels == c))[:EACH] for c in np.unique(labels)]
    for true, said in frequent_pairs(labels, predictions):
        found.append(np.flatnonzero((labels == true) & (predictions == said))[:OF_A_PAIR])
        found.append(np.flatnonzero(right & (labels == true))[:OF_A_PAIR])
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def frequent_pairs(labels: np.ndarray, predictions: np.ndarray) -> list[tuple[int, int]]:
    """The most frequent mistakes as (label, prediction); of equal ones the first classes."""
    wrong = labels != predictions
    count = Counter(zip(labels[wrong].tolist(), predictions[wrong].tolist()))
    return sorted(count, key=lambda pair: (-count[pair], pair))[:PAIRS]


def summary(focus: np.ndarray, labels: np.ndarray, predictions: np.ndarray, answered: tuple, layer: int) -> dict:
    """Metrics of one method's `cam.focus`, (n, layers, measures), of images with these labels and predictions.

    cam_effect: for entropy, area and centre at `layer`, how often a wrong answer's map measures higher than a right
    one's · cam_centre_right: the share of right answers' maps in the middle · cam_peak_centre, cam_agreement (lists
    over classes): of right answers the share whose peak is in the middle box, and the mean agreement of the earlier
    layers with the last · cam_pairs, cam_pair_effect: the most frequent mistakes of `answered` (labels, predictions)
    and their entropy against right answers of the same label. None where there are too few images.
    """
    right, own = labels == predictions, focus[:, layer]
    names = {name: k for k, name in enumerate(MEASURES)}
    found: dict = {
        "cam_effect": {m: _effect(own[:, names[m]], ~right, None) for m in ("entropy", "area", "centre")},
        "cam_centre_right": _mean(own[right, names["centre"]]),
    }
    pairs = frequent_pairs(*answered)
    found["cam_pairs"] = [list(pair) for pair in pairs]
    mistaken = [(labels == a) & (predictions == b) for a, b in pairs]
    found["cam_pair_effect"] = [
        _effect(own[:, names["entropy"]], m, m | (right & (labels == a))) for m, (a, _) in zip(mistaken, pairs)
    ]
    if labels.max(initial=0) < MANY:
        peaks = own[:, [names["peak_row"], names["peak_column"]]]
        inside = np.where(np.isfinite(peaks).all(1), ((peaks > BOX[0]) & (peaks < BOX[1])).all(1), np.nan)
        others = np.delete(focus[..., names["agreement"]], -1, axis=1)
        agreement = np.ma.masked_invalid(others).mean(1).filled(np.nan)
        classes = range(int(answered[0].max(initial=0)) + 1)
        found["cam_peak_centre"] = [_mean(inside[right & (labels == c)]) for c in classes]
        found["cam_agreement"] = [_mean(agreement[right & (labels == c)]) for c in classes]
    return found


def _effect(values: np.ndarray, wrong: np.ndarray, among: np.ndarray | None) -> float | None:
    kept = np.isfinite(values) & (True if among is None else among)
    wrong, values = wrong[kept], values[kept]
    if min(wrong.sum(), (~wrong).sum()) < LEAST:
        return None
    higher = mannwhitneyu(values[wrong], values[~wrong]).statistic
    return round(float(higher / (wrong.sum() * (~wrong).sum())), 5)


def _mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return round(float(values.mean()), 5) if len(values) else None
