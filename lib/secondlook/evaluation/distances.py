"""How far two sets of images are apart: sliced Wasserstein distances, over whole images and over their rows.

SW₁(μ, ν) is the mean, over directions drawn evenly from the unit sphere, of the Wasserstein-1 distance of the two sets
projected on the direction (Rabin et al. 2011; Bonneel et al. 2015).
"""

import numpy as np
from scipy.stats import wasserstein_distance


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, directions: int = 500, seed: int = 0) -> float:
    """SW₁ between two sets of points (n, …) and (m, …), flattened to (n, d) and (m, d); exact on each direction."""
    x, y = (np.asarray(s, np.float32).reshape(len(s), -1) for s in (x, y))
    if x.shape[1] != y.shape[1] or not len(x) or not len(y):
        raise ValueError(f"two sets of points of one dimension are compared, not {x.shape} and {y.shape}")
    sphere = _directions(np.random.default_rng(seed), directions, x.shape[1])
    return float(np.mean([wasserstein_distance(a, b) for a, b in zip(sphere @ x.T, sphere @ y.T)]))


def row_repeats(
    x: np.ndarray, y: np.ndarray, seed: int = 0, directions: int = 100, quantiles: int = 100, repeats: int = 10
) -> np.ndarray:
    """SW₁ between the pooled rows of two sets of images (n, h, w) and (m, h, w), as the report's public code has it.

    (repeats,): each the mean distance, on directions drawn anew, of `quantiles` quantiles at random levels. The public
    code prints their mean; its standard error is what chance in directions and levels alone makes of that.
    """
    if x.ndim != 3 or x.shape[1:] != y.shape[1:]:
        raise ValueError(f"two sets of images (n, h, w) of one size are compared, not {x.shape} and {y.shape}")
    generator, found = np.random.default_rng(seed), []
    rows = [np.asarray(s, np.float32).reshape(-1, s.shape[-1]) for s in (x, y)]
    for _ in range(repeats):
        sphere = _directions(generator, directions, x.shape[-1])
        levels = generator.random(quantiles)
        a, b = (_quantiles(sphere @ r.T, levels) for r in rows)
        found.append(np.abs(a - b).mean())
    return np.array(found)


def rescaled(x: np.ndarray) -> np.ndarray:
    """Images (n, …) as float32, each stretched to [0, 1]; an image of one value is 0."""
    flat = np.asarray(x, np.float32).reshape(len(x), -1)
    low, high = flat.min(1, keepdims=True), flat.max(1, keepdims=True)
    return np.divide(flat - low, high - low, out=np.zeros_like(flat), where=high > low).reshape(x.shape)


def floor(distance, x: np.ndarray, seed: int = 0) -> float:
    """`distance` between two random halves of one set: what chance alone makes of no difference at all."""
    order = np.random.default_rng(seed).permutation(len(x))
    half = len(x) // 2
    return float(distance(x[order[:half]], x[order[half:]]))


def _directions(generator: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    drawn = generator.standard_normal((count, dimension)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _quantiles(projected: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """As np.quantile of each row at the same levels, in less time."""
    ordered = np.sort(projected, axis=1)
    place = levels * (ordered.shape[1] - 1)
    below = np.floor(place).astype(int)
    above, part = np.minimum(below + 1, ordered.shape[1] - 1), (place - below).astype(np.float32)
    return ordered[:, below] * (1 - part) + ordered[:, above] * part
