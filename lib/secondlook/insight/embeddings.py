"""Where images lie: features and latents on a plane, by PCA, t-SNE and UMAP; what a VAE's decoder draws there."""

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from secondlook.insight.maps import evaluating, sheet, shrunk

COMPONENTS = 50
VARIANCE = 0.99  # components beyond this share of the variance are not kept
SEED = 42
PERPLEXITY = 50.0
ACTIVE = 0.01  # nats from which a latent dimension counts as used
PLACED = 2500  # latents that are placed on a plane
PLANE = 100  # points of the hyperplane that are placed with them
REBUILT = 8  # images of a class whose reconstructions are kept
STEPS = 15  # frames a side of a latent walk
REACH = 2.5  # standard deviations that it goes either way


def pca(features: np.ndarray, components: int = COMPONENTS) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of features (n, d): scores float32 (n, k) and each one's share of the variance (k,).

    At most `components`, and no more than hold 99 % of the variance; at least two where there are as many. The largest
    weight of each is positive.
    """
    from sklearn.decomposition import PCA

    fitted = PCA(svd_solver="full")
    with np.errstate(invalid="ignore"):  # features that do not vary have no shares
        scores = fitted.fit_transform(features.astype(np.float64))
    shares = np.nan_to_num(fitted.explained_variance_ratio_)
    k = min(components, max(int(np.searchsorted(np.cumsum(shares), VARIANCE)) + 1, 2), len(shares))
    return scores[:, :k].astype(np.float32), shares[:k]


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


def places(name: str, scores: np.ndarray, also: np.ndarray | None = None) -> tuple[dict, list[str]]:
    """Arrays `name`_tsne and `name`_umap (float16, n × 2), and what is left out because its package is not installed.

    t-SNE has no map for new points: those of `also` are placed together with the others, in `name`_tsne_plane.
    """
    together = scores if also is None else np.concatenate([scores, also])
    placed = tsne(together).astype(np.float16)
    arrays = {f"{name}_tsne": placed[: len(scores)]}
    if also is not None:
        arrays[f"{name}_tsne_plane"] = placed[len(scores) :]
    try:
        return arrays | {f"{name}_umap": umap(scores).astype(np.float16)}, []
    except ImportError:
        return arrays, ["umap"]


# ------------------------------------------------------------------ latents of a VAE


@torch.no_grad()
def encode(vae: nn.Module, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Means and log-variances, float32 (n, L) on the CPU, of images in batches; in evaluation mode."""
    with evaluating(vae):
        pairs = [vae.encode(x) for x in batches]
    mu, log_var = (torch.cat(part).float().cpu() for part in zip(*pairs))
    return mu, log_var


def divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(q(z|x) ‖ N(0, 1)) of each image and dimension, (n, L), in nats: −½(1 + log σ² − μ² − σ²)."""
    return -0.5 * (1 + log_var - mu.square() - log_var.exp())


def latent_measures(mu: np.ndarray, log_var: np.ndarray, labels: np.ndarray) -> dict:
    """How much the latents say: KL of each dimension, how many are used, and the silhouette of the true classes."""
    from sklearn.metrics import silhouette_score

    kl = divergence(torch.from_numpy(mu).double(), torch.from_numpy(log_var).double()).mean(0).tolist()
    found = {"kl_by_dimension": [float(f"{v:.4g}") for v in kl], "active_dimensions": sum(v > ACTIVE for v in kl)}
    if 1 < len(np.unique(labels[:PLACED])) < len(labels[:PLACED]):
        found["silhouette"] = float(silhouette_score(mu[:PLACED], labels[:PLACED]))
    return found


def on_hyperplane(mu: np.ndarray, direction: np.ndarray, offset: float) -> np.ndarray:
    """The first 100 latents, moved onto the hyperplane z·direction + offset = 0 by the shortest way."""
    some = mu[:PLANE].astype(np.float64)
    distance = (some @ direction + offset) / max(float(direction @ direction), 1e-30)
    return (some - distance[:, None] * direction).astype(np.float32)


def placed(mu: np.ndarray, log_var: np.ndarray, plane: np.ndarray | None) -> tuple[dict, dict]:
    """Metrics and arrays: latents and log_variances (float16), and the first 2,500 on a plane by PCA, t-SNE and UMAP.

    `plane` are points of the hyperplane, which t-SNE places together with the images.
    """
    some = mu[:PLACED]
    arrays = {"latents": mu.astype(np.float16), "log_variances": log_var.astype(np.float16)}
    arrays["latent_pca"] = pca(some, 2)[0][:, :2].astype(np.float16)
    found, missing = places("latent", some, plane)
    return {"not_collected": missing} if missing else {}, arrays | found


def made(vae: nn.Module, mu: np.ndarray, rebuilt: Tensor, labels: np.ndarray) -> dict:
    """Arrays of what the decoder draws: `reconstructions`, WebP bytes with a row for each class and a column for each
    of its first images, whose rows in the test set are `reconstruction_rows`; and the latent walk.

    rebuilt (n, 1, S, S) are the reconstructions of all test images.
    """
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    count = min(REBUILT, *(len(r) for r in rows))
    rows = np.stack([r[:count] for r in rows])
    pictures = drawn(vae, rebuilt[torch.from_numpy(rows.ravel()).to(rebuilt.device)])
    arrays = {"reconstructions": sheet(pictures.reshape(*rows.shape, *pictures.shape[1:]))}
    return {**arrays, "reconstruction_rows": rows.astype(np.int32), **latent_walk(vae, mu)}


def walk_plane(means: np.ndarray) -> np.ndarray:
    """The plane of a walk, float32 (3, L): its centre, and its two axes, each one standard deviation long.

    means (n, L) are the latents' means; the axes are their first two principal directions.
    """
    centred = means.astype(np.float64) - means.mean(0, dtype=np.float64)
    scores = pca(means, 2)[0].astype(np.float64)
    scores = np.pad(scores, [(0, 0), (0, 2 - scores.shape[1])])  # one image has no second direction
    directions = (scores / np.maximum((scores**2).sum(0), 1e-30)).T @ centred  # of length 1, with the scores' signs
    return np.stack([means.mean(0), *(directions * scores.std(0)[:, None])]).astype(np.float32)


@torch.no_grad()
def latent_walk(vae: nn.Module, means: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays `walk`, WebP bytes of 15×15 frames, and `walk_plane` (3, L), see `walk_plane`.

    Frames to the right go along the first axis, frames down against the second, from −2.5 to 2.5 standard deviations.
    """
    axes = walk_plane(means)
    along = np.linspace(-REACH, REACH, STEPS, dtype=np.float32)
    z = axes[0] + along[None, :, None] * axes[1] + along[::-1, None, None] * axes[2]
    weight = next(vae.parameters())
    with evaluating(vae):
        frames = vae.decode(torch.from_numpy(z.reshape(STEPS**2, -1)).to(weight.device, weight.dtype))
    pictures = drawn(vae, frames)
    return {"walk": sheet(pictures.reshape(STEPS, STEPS, *pictures.shape[1:])), "walk_plane": axes}


def drawn(vae: nn.Module, images: torch.Tensor) -> np.ndarray:
    """Images (n, C, S, S) that a VAE made, as grey pictures (n, s, s) in [0, 1], s at most 32.

    They are in [−1, 1] where the decoder ends in tanh, otherwise in [0, 1].
    """
    images = shrunk(images.float().mean(1, keepdim=True))
    images = images if isinstance(vae.range, nn.Sigmoid) else (images + 1) / 2
    return images[:, 0].clamp(0, 1).cpu().numpy()
