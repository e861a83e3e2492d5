"""What a linear classifier sees: raw pixels, whitened pixels, or activations of patches learned without labels.

Each function returns a `fetch(x)` that turns uint8 images (M, H, W[, 3]) into float32 features (M, D).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from secondlook.data import draws

Fetch = Callable[[Tensor], Tensor]


def pixels(train: Tensor) -> Fetch:
    """Pixels 0–255 flattened in (height, width, channel) order, less the training set's mean image."""
    mean = train.flatten(1).double().mean(0).float()
    return lambda x: x.flatten(1).float().sub_(mean)


def whitened(train: Tensor, count: int = 0, epsilon: float = 1e-3) -> Fetch:
    """The first `count` principal components of the pixels (0: all), each scaled to unit variance.

    epsilon is added to the eigenvalues, relative to the mean eigenvalue, so that noise is not blown up.
    """
    flat = train.flatten(1).float()
    mean = flat.mean(0)
    few = 0 < count < len(flat) < flat.shape[1]
    values, vectors, total = _components_of_few(flat - mean, count) if few else _components(flat, mean, count)
    matrix = (vectors * (values.clamp(min=0) + epsilon * total / flat.shape[1]).rsqrt()).float().flip(1)
    return lambda x: (x.flatten(1).float() - mean) @ matrix


def _components(flat: Tensor, mean: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """The `count` (0: all) largest eigenvalues of the covariance, ascending, their vectors (D, k), and its trace."""
    covariance = torch.zeros(flat.shape[1], flat.shape[1], dtype=torch.float64)
    for part in flat.split(5000):
        centred = part - mean
        covariance += (centred.T @ centred).double()
    covariance /= len(flat)
    return *_largest(covariance, count), float(covariance.trace())


def _components_of_few(centred: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """The same from the products of images with each other, where there are fewer images than pixels."""
    centred = centred.double()
    products = centred @ centred.T / len(centred)
    total = float(products.trace())
    values, vectors = _largest(products, count)
    return values, centred.T @ vectors / (len(centred) * values.clamp(min=1e-12 * total)).sqrt(), total


def _largest(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    from scipy.linalg import eigh

    size = len(matrix)
    values, vectors = eigh(matrix.numpy(), subset_by_index=[size - (count or size), size - 1])
    return torch.from_numpy(values), torch.from_numpy(vectors)


def patches(train: Tensor, count: int, size: int, seed: int) -> Fetch:
    """Soft k-means activations of all size×size patches, summed over the four quadrants: 4·count features.

    After Coates, Ng and Lee (2011): patches normalised for brightness and contrast, ZCA-whitened (ε = 0.1), k-means,
    and f_k = max(0, mean distance − distance to centroid k) at every position. No label is used.
    """
    from sklearn.cluster import MiniBatchKMeans

    side, samples = train.shape[1] - size + 1, min(200_000, 500 * count)
    index = torch.arange(samples)
    image = draws.integers(seed, "patch image", 0, samples, len(train), device="cpu")
    row = (draws.uniform(seed, "patch row", index) * side).long()
    column = (draws.uniform(seed, "patch column", index) * side).long()
    window = torch.arange(size)
    sample = train[image[:, None, None], (row[:, None] + window)[:, :, None], (column[:, None] + window)[:, None, :]]
    sample = _normalised(sample.flatten(1).float())
    mean = sample.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(sample.T).double())
    whitening = (vectors * (values + 0.1).rsqrt() @ vectors.T).float()
    kmeans = MiniBatchKMeans(count, batch_size=4096, n_init=1, max_iter=20, random_state=seed, init="random")
    kmeans.fit(np.ascontiguousarray((sample - mean) @ whitening))
    centroids = torch.from_numpy(kmeans.cluster_centers_.astype(np.float32))
    return lambda x: _activations(x, size, mean, whitening, centroids)


def _normalised(flat: Tensor) -> Tensor:
    """Each patch less its mean, over its standard deviation (10 added to the variance, on the 0–255 scale)."""
    flat = flat - flat.mean(-1, keepdim=True)
    return flat / (flat.square().mean(-1, keepdim=True) + 10).sqrt()


def _activations(x: Tensor, size: int, mean: Tensor, whitening: Tensor, centroids: Tensor, chunk: int = 2) -> Tensor:
    """The features of `patches`. One product gives the squared distances |z|² − 2 z·c + |c|², in a lasting buffer."""
    side = x.shape[1] - size + 1
    middle = (side + 1) // 2
    lookup = torch.cat([-2 * centroids.T, centroids.square().sum(1)[None], torch.ones(1, len(centroids))])
    buffer = torch.empty(chunk * side * side, len(centroids))
    out = torch.empty(len(x), 4 * len(centroids))
    for start in range(0, len(x), chunk):
        part = x[start : start + chunk].float().view(-1, *x.shape[1:3], x.shape[3] if x.ndim == 4 else 1)
        windows = part.unfold(1, size, 1).unfold(2, size, 1)  # (m, rows, columns, 3, size, size)
        flat = windows.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)  # in the order of the samples
        z = (_normalised(flat) - mean) @ whitening
        z = torch.cat([z, torch.ones(len(z), 1), z.square().sum(1, keepdim=True)], 1)
        distance = torch.mm(z, lookup, out=buffer[: len(z)]).clamp_(min=0).sqrt_()
        torch.sub(distance.mean(1, keepdim=True), distance, out=distance).clamp_(min=0)
        near = distance.view(-1, side, side, len(centroids))
        halves = (slice(middle), slice(middle, None))
        out[start : start + len(part)] = torch.cat([near[:, r, c].sum((1, 2)) for r in halves for c in halves], 1)
    return out
