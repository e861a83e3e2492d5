"""Where a net puts images: its features on a plane, by PCA, t-SNE and UMAP, computed once and stored."""

import warnings

import numpy as np
import torch

COMPONENTS = 50
VARIANCE = 0.99  # components beyond this share of the variance are not kept
SEED = 42
PERPLEXITY = 50.0


def pca(features: np.ndarray, components: int = COMPONENTS) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of features (n, d): scores float32 (n, k) and each one's share of the variance (k,).

    At most `components`, and no more than hold 99 % of the variance; at least two where there are as many. The largest
    weight of each is positive.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    u, s, v = np.linalg.svd(centred, full_matrices=False)
    shares = s**2 / max(np.sum(s**2), 1e-300)
    needed = int(np.searchsorted(np.cumsum(shares), VARIANCE)) + 1
    k = min(components, max(needed, 2), len(s))
    signs = np.sign(v[np.arange(k), np.abs(v[:k]).argmax(1)])
    return (u[:, :k] * s[:k] * signs).astype(np.float32), shares[:k]


def tsne(x: np.ndarray) -> np.ndarray:
    """Places on a plane, float32 (n, 2), each axis with mean 0 (van der Maaten and Hinton 2008); perplexity 50 as far
    as n allows, seed 42. All at the origin where x does not vary or has fewer than five rows."""
    from sklearn.manifold import TSNE

    if _pointless(x):
        return np.zeros((len(x), 2), np.float32)

    perplexity = min(PERPLEXITY, max(1.0, (len(x) - 1) / 3))
    placed = TSNE(perplexity=perplexity, random_state=SEED, init="pca").fit_transform(np.asarray(x, np.float32))
    return placed - placed.mean(0)


def umap(x: np.ndarray) -> np.ndarray:
    """Places on a plane, float32 (n, 2), each axis with mean 0 (McInnes, Healy and Melville 2018), seed 42.

    Repeats on one machine; others may differ, so the places are kept in the record. At the origin as in `tsne`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on threads, which a seed switches off
        from umap import UMAP

        if _pointless(x):
            return np.zeros((len(x), 2), np.float32)
        neighbours, threads = min(15, len(x) - 1), torch.get_num_threads()
        try:
            placed = UMAP(n_neighbors=neighbours, random_state=SEED, n_jobs=1).fit_transform(np.asarray(x, np.float32))
        finally:
            torch.set_num_threads(threads)  # which numba has set to all there are, for torch as well
    return (placed - placed.mean(0)).astype(np.float32)


def _pointless(x: np.ndarray) -> bool:
    return len(x) < 5 or not np.ptp(x, axis=0).any()
