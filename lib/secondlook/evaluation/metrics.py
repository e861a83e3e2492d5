"""What a classifier's predictions are worth: accuracy, confusion, ROC, AUC with its interval, calibration.

`labels` and `predictions` are whole numbers of shape (n,); `scores` are (n, classes), larger for likelier.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

ROC_POINTS = 200


@dataclass(frozen=True)
class Roc:
    """A curve of at most ROC_POINTS points, from (0, 0) to (1, 1), and the AUC of all of them."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    threshold: np.ndarray
    auc: float


@dataclass(frozen=True)
class Interval:
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """Per bin the images, their mean confidence and accuracy (NaN where empty); `ece` is the expected error."""

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float


def accuracy(labels, predictions) -> float:
    """The share of labels predicted, in [0, 1]."""
    labels, predictions = _same(labels, predictions)
    return float(np.mean(labels == predictions))


def confusion(labels, predictions, classes: int) -> np.ndarray:
    """Counts, shape (classes, classes): rows are labels, columns predictions. Raises ValueError for a class beyond."""
    labels, predictions = _same(labels, predictions)
    top = max(labels.max(), predictions.max())
    if top >= classes or min(labels.min(), predictions.min()) < 0:
        raise ValueError(f"class {top} in the data, expected 0 to {classes - 1}")
    return np.bincount(labels.astype(np.int64) * classes + predictions, minlength=classes**2).reshape(classes, classes)


def precision_recall_f1(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class from a confusion matrix; 0 where a class is never predicted or met."""
    hits = np.diag(matrix).astype(float)
    predicted, actual = matrix.sum(0), matrix.sum(1)
    return _ratio(hits, predicted), _ratio(hits, actual), _ratio(2 * hits, predicted + actual)


def macro(matrix: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 averaged over the classes that occur, each class counting the same."""
    occurs = (matrix.sum(0) + matrix.sum(1)) > 0
    precision, recall, f1 = precision_recall_f1(matrix)
    return float(precision[occurs].mean()), float(recall[occurs].mean()), float(f1[occurs].mean())


def top_k(labels, scores, k: int) -> float:
    """The share of labels among the k largest scores; of equal scores the later class comes first."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k is {k}, expected 1 to {scores.shape[1]}")
    best = np.argsort(scores, axis=1, kind="stable")[:, -k:]
    return float(np.mean(np.any(best == labels[:, None], axis=1)))


def auc(positive, scores) -> float:
    """The chance that a positive scores above a negative, ties counting half. Raises ValueError where one is absent."""
    above, _ = _placements(positive, scores)
    return float(above.mean())


def auc_interval(positive, scores) -> Interval:
    """The AUC and its 95 % interval (DeLong, DeLong and Clarke-Pearson 1988), cut to [0, 1].

    A perfect separation has variance 0 and so an interval without width.
    """
    above, below = _placements(positive, scores)
    variance = _variance_of_mean(above) + _variance_of_mean(below)
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
    positive, scores = np.asarray(positive, bool), np.asarray(scores, float)
    area = auc(positive, scores)
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], positive[order]
    last = np.r_[np.flatnonzero(np.diff(ranked)), len(ranked) - 1]  # equal scores pass the threshold together
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    tpr, fpr = np.r_[0.0, true / true[-1]], np.r_[0.0, false / false[-1]]
    threshold = np.r_[np.inf, ranked[last]]
    if len(tpr) > points:
        keep = np.unique(np.searchsorted(tpr + fpr, np.linspace(0.0, 2.0, points) - 1e-12))
        keep = np.union1d(keep[keep < len(tpr)], [0, len(tpr) - 1])
        keep = np.delete(keep, 1) if len(keep) > points else keep
        tpr, fpr, threshold = tpr[keep], fpr[keep], threshold[keep]
    return Roc(fpr, tpr, threshold, area)


def roc_one_vs_rest(labels, scores, points: int = ROC_POINTS) -> list[Roc]:
    """A curve a class, in the order of the classes."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    return [roc(labels == c, scores[:, c], points) for c in range(scores.shape[1])]


def calibration(labels, probabilities, bins: int = 15) -> Calibration:
    """Confidence against accuracy in bins of equal width, and their mean gap weighted by images (Guo et al. 2017)."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    sums = [np.bincount(which, weights=w, minlength=bins) for w in (confidence, right.astype(float))]
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


def _same(labels, predictions) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must be one list each, not empty")
    return labels, predictions


def _ratio(part, whole) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _placements(positive, scores) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the share of negatives below it, for each negative the share of positives above it."""
    positive, scores = np.asarray(positive, bool), np.asarray(scores, float)
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0 or positive.shape != scores.shape:
        raise ValueError(f"an ROC needs images inside and outside the class, not {m} and {n}")
    ranks = stats.rankdata(scores)
    above = (ranks[positive] - stats.rankdata(scores[positive])) / n
    below = 1.0 - (ranks[~positive] - stats.rankdata(scores[~positive])) / m
    return above, below


def _variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0


def _interval(value: float, variance: float) -> Interval:
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    return Interval(value, max(0.0, float(value - half)), min(1.0, float(value + half)))


def pack_curves(curves: list[Roc]) -> np.ndarray:
    """Curves as float32 (classes, 3, points): false and true positive rate, threshold; short curves end in NaN."""
    packed = np.full((len(curves), 3, max(len(c.threshold) for c in curves)), np.nan, np.float32)
    for row, c in zip(packed, curves, strict=True):
        row[:, : len(c.threshold)] = c.false_positive_rate, c.true_positive_rate, c.threshold
    return packed


def unpack_curves(packed: np.ndarray, areas) -> list[Roc]:
    """The curves of `pack_curves`, with the AUC that was computed before thinning."""
    return [Roc(*(part[:, ~np.isnan(part[0])]), float(area)) for part, area in zip(packed, areas, strict=True)]
