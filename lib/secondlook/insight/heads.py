"""Classifiers that read latents: linear ones under a hinge loss, many side by side, scikit-learn's, and k-means."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from secondlook.evaluation.metrics import confusion

KMEANS_SEED = 42


@dataclass
class Heads:
    """K linear heads side by side: weights (K, L, C), biases (K, C). `coded` (K,) tells which share one target."""

    weights: Tensor
    biases: Tensor
    coded: Tensor
    history: dict[str, list] = field(default_factory=dict)  # an entry for each epoch, a list over heads in it
    seconds: float = 0.0

    def only(self, k: int) -> "Heads":
        """Head k by itself."""
        return Heads(*(t[k : k + 1].clone() for t in (self.weights, self.biases, self.coded)))

    def scores(self, z: Tensor) -> Tensor:
        """(K, n, C) of latents (n, L)."""
        return torch.baddbmm(self.biases[:, None], z.expand(len(self.weights), *z.shape), self.weights)


def hinge_loss(scores: Tensor, labels: Tensor, coded: Tensor) -> Tensor:
    """mean max(0, 1 − t·s) over images and outputs, (K,), of scores (K, n, C).

    t is 1 for the output of the label's class and −1 for the others; where `coded` is set, as in the published code,
    every output has the same target, 1 for class 1 and −1 for class 0, so that nothing tells the outputs apart.
    """
    own = 2.0 * torch.nn.functional.one_hot(labels, scores.shape[-1]) - 1
    shared = (2.0 * labels - 1)[:, None].expand_as(own)
    targets = torch.where(coded[:, None, None], shared, own).to(scores.dtype)
    return (1 - targets * scores).clamp(min=0).mean((1, 2))


def train_heads(
    heads: Heads, latents: Callable[[int], Tensor], labels: Tensor, order: Callable[[int], Tensor], *,
    learning_rate: float, batch_size: int, epochs: int, test: tuple[Tensor, Tensor], checkpoint=None,
    progress: Callable[[float], None] = lambda share: None,
) -> Heads:  # fmt: skip
    """The heads, trained in place by Adam for `epochs`: each as it would be alone, all on the same batches.

    latents(epoch) are (n, L), order(epoch) is a permutation of n; test is (latents, labels), looked at after each epoch
    and deciding nothing. The state is offered to `checkpoint` after each epoch; training goes on from the one found.
    """
    parameters = [heads.weights.requires_grad_(), heads.biases.requires_grad_()]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    first = _restore(heads, optimizer, checkpoint.load() if checkpoint else None)
    for epoch in range(first, epochs):
        since, z = time.perf_counter(), latents(epoch)
        total, right, norm, steps = 0.0, 0.0, 0.0, 0
        for rows in order(epoch).split(batch_size):
            scores = heads.scores(z[rows])
            loss = hinge_loss(scores, labels[rows], heads.coded)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
            with torch.no_grad():
                total = total + loss * len(rows)
                right = right + (scores.argmax(-1) == labels[rows]).sum(-1)
                norm = norm + heads.weights.grad.flatten(1).norm(dim=1) + heads.biases.grad.norm(dim=1)
                steps += 1
        heads.seconds += time.perf_counter() - since
        row = {"loss": total / len(labels), "train_accuracy": right / len(labels), "gradient_norm_sum": norm / steps,
               "test_accuracy": accuracies(heads, *test)}  # fmt: skip
        for name, values in row.items():
            heads.history.setdefault(name, []).append(values.tolist())
        progress((epoch + 1) / epochs)
        if checkpoint and epoch + 1 == epochs:
            checkpoint.save(_state(heads, optimizer, epochs))
        elif checkpoint:
            checkpoint.offer(lambda done=epoch + 1: _state(heads, optimizer, done))
    heads.weights.requires_grad_(False)
    heads.biases.requires_grad_(False)
    return heads


@torch.no_grad()
def accuracies(heads: Heads, z: Tensor, labels: Tensor) -> Tensor:
    """The accuracy of each head, (K,)."""
    return (heads.scores(z).argmax(-1) == labels).double().mean(-1)


def linear_svc(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (L, C) and biases (C,) of scikit-learn's linear support vector machine, for two classes one row each."""
    from sklearn.svm import LinearSVC

    fitted = LinearSVC(dual=False, max_iter=5000).fit(z, labels)
    weights, biases = fitted.coef_.T, fitted.intercept_
    if weights.shape[1] == 1:
        return np.c_[-weights, weights], np.r_[-biases, biases]
    return weights, biases


@dataclass(frozen=True)
class Clusters:
    """k-means, with the class each cluster stands for."""

    centres: np.ndarray  # (k, L), in the order of the classes

    def predict(self, z: np.ndarray) -> np.ndarray:
        """The class whose centre is nearest, (n,)."""
        return ((z[:, None] - self.centres) ** 2).sum(-1).argmin(1)


def kmeans(z: np.ndarray, labels: np.ndarray, classes: int) -> Clusters:
    """As many clusters as classes, found without labels (seed 42); the labels only tell which cluster is which class.

    Clusters and classes are paired so that most labels agree; with two classes that is to invert or not to.
    """
    from sklearn.cluster import KMeans

    found = KMeans(n_clusters=classes, random_state=KMEANS_SEED, n_init="auto").fit(z)
    return Clusters(found.cluster_centers_[_paired(labels, found.labels_, classes)].astype(np.float64))


def _paired(labels: np.ndarray, clusters: np.ndarray, classes: int) -> np.ndarray:
    """The cluster of each class, (classes,), so that as many as can be have the label of their cluster's class."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(-confusion(labels, clusters, classes))[1]


def one_label_accuracy(train: tuple, test: tuple, shares: np.ndarray) -> float:
    """Accuracy of clusters that are named by one labelled image of each class, the mean over several choices of them.

    train and test are (clusters, labels), each (n,) of whole numbers below the number of classes. `shares` in [0, 1),
    (choices, classes), tell how far down its class each labelled image stands. Clusters and classes are paired so that
    most of the labelled images agree; a class without images in train names none.
    """
    (clusters, labels), classes = train, shares.shape[1]
    held = confusion(test[1], test[0], classes)
    own = {c: np.flatnonzero(labels == c) for c in range(classes) if (labels == c).any()}
    right = []
    for choice in shares:
        named = [rows[int(choice[c] * len(rows))] for c, rows in own.items()]
        right.append(held[range(classes), _paired(labels[named], clusters[named], classes)].sum() / held.sum())
    return float(np.mean(right))


def _state(heads: Heads, optimizer, epoch: int) -> dict:
    return {"epoch": epoch, "weights": heads.weights.detach(), "biases": heads.biases.detach(),
            "optimizer": optimizer.state_dict(), "history": heads.history, "seconds": heads.seconds}  # fmt: skip


def _restore(heads: Heads, optimizer, state: dict | None) -> int:
    """The epoch to go on with."""
    if state is None:
        return 0
    with torch.no_grad():
        heads.weights.copy_(state["weights"])
        heads.biases.copy_(state["biases"])
    optimizer.load_state_dict(state["optimizer"])
    heads.history, heads.seconds = state["history"], state["seconds"]
    return state["epoch"]
