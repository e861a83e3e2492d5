"""What a classifier's predictions are worth: confusion, ROC, AUC with its interval, calibration; and the best there is
where the classes are Gaussians.

`labels` and `predictions` are whole numbers of shape (n,); `scores` are (n, classes), larger for likelier.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import log_ndtr

ROC_POINTS = 200


class Roc(NamedTuple):
    """A curve of at most ROC_POINTS points, from (0, 0) to (1, 1), and the AUC of all of them."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    threshold: np.ndarray
    auc: float


class Interval(NamedTuple):
    value: float
    low: float
    high: float


class Calibration(NamedTuple):
    """Per bin the images, their mean confidence and accuracy (NaN where empty); `ece` is the expected error."""

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float


def accuracy(labels, predictions) -> float:
    """The share of labels predicted, in [0, 1]."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def confusion(labels, predictions, classes: int) -> np.ndarray:
    """Counts, shape (classes, classes): rows are labels, columns predictions. Raises ValueError for a class beyond."""
    pairs = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    if np.min(pairs) < 0 or np.max(pairs) >= classes:
        raise ValueError(f"class {np.max(pairs)} in the data, expected 0 to {classes - 1}")
    return np.bincount(pairs[0] * classes + pairs[1], minlength=classes**2).reshape(classes, classes)


def macro(labels, predictions) -> tuple[float, float, float]:
    """Precision, recall and F1 averaged over the classes that occur, each counting the same; 0 for 0/0."""
    from sklearn.metrics import precision_recall_fscore_support

    found = precision_recall_fscore_support(labels, predictions, average="macro", zero_division=0)
    return tuple(map(float, found[:3]))


# ------------------------------------------------------------------ ROC


def auc_interval(positive, scores) -> Interval:
    """The AUC and its 95 % interval (DeLong, DeLong and Clarke-Pearson 1988), cut to [0, 1].

    The AUC is the chance that a positive scores above a negative, ties counting half. A perfect separation has variance
    0 and so an interval without width. Raises ValueError where there are no positives or no negatives.
    """
    above, below = _placements(positive, scores)
    variance = sum(v.var(ddof=1) / len(v) for v in (above, below) if len(v) > 1)
    return _interval(float(above.mean()), variance)


def macro_auc(labels, scores) -> Interval:
    """The mean one-versus-rest AUC over the classes, with its 95 % interval.

    The classes share their images, so DeLong's contributions are first averaged over classes, image by image.
    Raises ValueError for a class without images.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    classes = scores.shape[1]
    areas, share = np.empty(classes), np.zeros(len(labels))
    for c in range(classes):
        positive = labels == c
        above, below = _placements(positive, scores[:, c])
        areas[c] = above.mean()
        share[positive] += (above - areas[c]) / len(above) / classes
        share[~positive] += (below - areas[c]) / len(below) / classes
    return _interval(float(areas.mean()), float(np.sum(share**2)))


def roc(positive, scores, points: int = ROC_POINTS) -> Roc:
    """One class against the rest. Thinned evenly along the curve, so that steep and flat parts keep their shape."""
    from sklearn.metrics import roc_curve

    area = float(_placements(positive, scores)[0].mean())
    fpr, tpr, threshold = roc_curve(positive, np.asarray(scores, float), drop_intermediate=False)
    if len(tpr) > points:
        keep = np.unique(np.searchsorted(tpr + fpr, np.linspace(0.0, 2.0, points) - 1e-12))
        keep = np.union1d(keep[keep < len(tpr)], [0, len(tpr) - 1])
        keep = np.delete(keep, 1) if len(keep) > points else keep
        fpr, tpr, threshold = fpr[keep], tpr[keep], threshold[keep]
    return Roc(fpr, tpr, threshold, area)


def roc_one_vs_rest(labels, scores, points: int = ROC_POINTS) -> list[Roc]:
    """A curve a class, in the order of the classes."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    return [roc(labels == c, scores[:, c], points) for c in range(scores.shape[1])]


def pack_curves(curves: list[Roc]) -> np.ndarray:
    """Curves as float32 (classes, 3, points): false and true positive rate, threshold; short curves end in NaN."""
    packed = np.full((len(curves), 3, max(len(c.threshold) for c in curves)), np.nan, np.float32)
    for row, c in zip(packed, curves, strict=True):
        row[:, : len(c.threshold)] = c[:3]
    return packed


def unpack_curves(packed: np.ndarray, areas) -> list[Roc]:
    """The curves of `pack_curves`, with the AUC that was computed before thinning."""
    return [Roc(*(part[:, ~np.isnan(part[0])]), float(area)) for part, area in zip(packed, areas, strict=True)]


def _placements(positive, scores) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the share of negatives below it, for each negative the share of positives above it."""
    positive, scores = np.asarray(positive, bool), np.asarray(scores, float)
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        raise ValueError(f"an ROC needs images inside and outside the class, not {m} and {n}")
    ranks = stats.rankdata(scores)
    above = (ranks[positive] - stats.rankdata(scores[positive])) / n
    below = 1.0 - (ranks[~positive] - stats.rankdata(scores[~positive])) / m
    return above, below


def _interval(value: float, variance: float) -> Interval:
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    return Interval(value, max(0.0, float(value - half)), min(1.0, float(value + half)))


# ------------------------------------------------------------------ probabilities


def calibration(labels, probabilities, bins: int = 15) -> Calibration:
    """Confidence against accuracy in bins of equal width, and their mean gap weighted by images (Guo et al. 2017)."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count, *sums = (np.bincount(which, w, bins) for w in (None, confidence, right.astype(float)))
    ece = float(np.abs(sums[0] - sums[1]).sum() / len(labels))
    with np.errstate(invalid="ignore"):
        return Calibration(count, sums[0] / count, sums[1] / count, ece)


def encode_scores(probabilities) -> np.ndarray:
    """Probabilities as uint8 of 255·√p, the form records keep them in. Raises ValueError outside [0, 1]."""
    p = np.asarray(probabilities, float)
    if not np.all((p >= 0.0) & (p <= 1.0 + 1e-6)):
        raise ValueError("scores are kept as probabilities in [0, 1]; put raw scores through a softmax first")
    return np.rint(255.0 * np.sqrt(np.minimum(p, 1.0))).astype(np.uint8)


def decode_scores(encoded: np.ndarray) -> np.ndarray:
    """float32 probabilities within 0.004 of those encoded; their rows add up to 1 only about."""
    return np.square(np.asarray(encoded, np.float32) / np.float32(255.0))


# ------------------------------------------------------------------ two equally frequent Gaussians of one variance


def log_bayes_error(mean0, mean1, variance: float) -> float:
    """The natural logarithm of the Bayes error Φ(−‖Δμ‖/2σ); exact where the error is below the smallest float."""
    distance = np.linalg.norm(np.subtract(mean1, mean0)) / np.sqrt(variance)
    return float(log_ndtr(-distance / 2))


def bayes_rule(mean0, mean1, variance: float) -> Callable[[np.ndarray], np.ndarray]:
    """The Bayes rule as a function of x (n, d) that gives the class of each, int64 (n,).

    Class 0 where ‖x−μ₀‖²/σ² < ‖x−μ₁‖²/σ², equation 11 of the report on CNNs and a VAE; class 1 on the boundary.
    """

    def away(x: np.ndarray, mean) -> np.ndarray:
        return np.sum((x - np.asarray(mean)) ** 2 / variance, -1)

    return lambda x: (away(np.asarray(x, float), mean0) >= away(np.asarray(x, float), mean1)).astype(np.int64)
