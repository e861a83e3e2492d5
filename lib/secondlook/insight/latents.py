"""What a VAE makes of images: their latents, how the classes lie in them, and pictures rebuilt from them."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from secondlook.insight import embeddings
from secondlook.insight.activations import evaluating
from secondlook.insight.pictures import sheet
from secondlook.insight.walk import drawn, latent_walk

ACTIVE = 0.01  # nats from which a dimension counts as used
PLACED = 2500  # images that are placed on a plane
REBUILT = 8  # images of a class whose reconstructions are kept
PLANE = 100  # points of the hyperplane that are placed with the images


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


def measures(mu: np.ndarray, log_var: np.ndarray, labels: np.ndarray) -> dict:
    """How much the latents say: KL of each dimension, how many are used, and the silhouette of the true classes."""
    from sklearn.metrics import silhouette_score

    kl = divergence(torch.from_numpy(mu).double(), torch.from_numpy(log_var).double()).mean(0).tolist()
    found = {"kl_by_dimension": [float(f"{v:.4g}") for v in kl], "active_dimensions": sum(v > ACTIVE for v in kl)}
    some = slice(0, PLACED)
    if 1 < len(np.unique(labels[some])) < len(labels[some]):
        found["silhouette"] = float(silhouette_score(mu[some], labels[some]))
    return found


def on_hyperplane(mu: np.ndarray, direction: np.ndarray, offset: float) -> np.ndarray:
    """The first 100 latents, moved onto the hyperplane z·direction + offset = 0 by the shortest way."""
    some = mu[:PLANE].astype(np.float64)
    distance = (some @ direction + offset) / max(float(direction @ direction), 1e-30)
    return (some - distance[:, None] * direction).astype(np.float32)


def placed(mu: np.ndarray, log_var: np.ndarray, plane: np.ndarray | None) -> tuple[dict, dict]:
    """Metrics and arrays: latents and log_variances (float16), and the first 2,500 on a plane by PCA, t-SNE and UMAP.

    `plane` are points of the hyperplane: t-SNE has no map for new points, so they are placed together with the images
    and kept in latent_tsne_plane.
    """
    metrics: dict = {}
    some = mu[:PLACED]
    arrays = {"latents": mu.astype(np.float16), "log_variances": log_var.astype(np.float16)}
    arrays["latent_pca"] = embeddings.pca(some, 2)[0][:, :2].astype(np.float16)
    together = some if plane is None else np.concatenate([some, plane])
    places = embeddings.tsne(together).astype(np.float16)
    arrays["latent_tsne"] = places[: len(some)]
    if plane is not None:
        arrays["latent_tsne_plane"] = places[len(some) :]
    try:
        arrays["latent_umap"] = embeddings.umap(some).astype(np.float16)
    except ImportError:
        metrics["not_collected"] = ["umap"]
    return metrics, arrays


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
