"""What a net answers to a loader's images, and which of them are looked at."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from secondlook.insight.activations import evaluating

SHOWN = 20  # images whose activation maps are kept
MEASURED = 200  # images whose activation maps are measured


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


def measured_rows(right: np.ndarray) -> np.ndarray:
    """Rows of up to 200 images, as many wrong ones as right ones while there are: the first of each, ascending."""
    wrong_rows, right_rows = np.flatnonzero(~right), np.flatnonzero(right)
    wrong = min(len(wrong_rows), max(MEASURED // 2, MEASURED - len(right_rows)))
    return np.sort(np.r_[wrong_rows[:wrong], right_rows[: MEASURED - wrong]])


def shown_rows(answers: Answers) -> np.ndarray:
    """Rows of up to 20 images, by turns the next class's first right answer and the next of `leading_errors`."""
    right = (answers.predictions == answers.labels).numpy()
    confidence, labels = answers.logits.softmax(1).amax(1).numpy(), answers.labels.numpy()
    turn = np.zeros(len(labels), np.int64)  # how many of its class came before
    for label in np.unique(labels[right]):
        turn[right & (labels == label)] = np.arange(np.sum(right & (labels == label)))
    order = np.lexsort((labels, turn))
    hits = order[right[order]]
    errors = leading_errors(labels, answers.predictions.numpy(), confidence)
    half = min(len(errors), len(hits), SHOWN // 2)
    mixed = [pair[k] for pair in zip(hits[:half], errors[:half]) for k in (0, 1)]
    return np.array([*mixed, *hits[half:], *errors[half:]][:SHOWN], np.int64)


def leading_errors(labels: np.ndarray, predictions: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Rows of wrong answers: first the most confident example of each class's most frequent mistake, then the rest.

    Both by falling confidence.
    """
    errors = np.flatnonzero(labels != predictions)
    errors = errors[np.argsort(-confidence[errors], kind="stable")]
    leading = []
    for label in np.unique(labels[errors]):
        said = predictions[errors[labels[errors] == label]]
        usual = np.bincount(said).argmax()
        leading.append(next(i for i in errors if (labels[i], predictions[i]) == (label, usual)))
    return np.array([*(i for i in errors if i in leading), *(i for i in errors if i not in leading)], np.int64)


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


def tried(name: str, metrics: dict, make: Callable):
    """`make()`, or None where a package it needs is not installed: `not_collected` of the metrics then has its name."""
    try:
        return make()
    except ImportError:
        metrics.setdefault("not_collected", []).append(name)
        return None
