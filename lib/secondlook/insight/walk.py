"""A walk through a latent space: what the decoder draws on a grid in the plane where the latents spread most."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from secondlook.insight.activations import evaluating
from secondlook.insight.embeddings import pca
from secondlook.insight.pictures import sheet

STEPS = 15
REACH = 2.5  # standard deviations either way
PIXELS = 32  # side of a frame as it is kept


def plane(means: np.ndarray) -> np.ndarray:
    """The plane of a walk, float32 (3, L): its centre, and its two axes, each one standard deviation long.

    means (n, L) are the latents' means; the axes are their first two principal directions.
    """
    centred = means.astype(np.float64) - means.mean(0, dtype=np.float64)
    scores = pca(means, 2)[0].astype(np.float64)
    scores = np.pad(scores, [(0, 0), (0, 2 - scores.shape[1])])  # one image has no second direction
    variance = np.maximum((scores**2).sum(0), 1e-30)
    directions = (scores / variance).T @ centred  # unit vectors, with the signs of the scores
    return np.stack([means.mean(0), *(directions * scores.std(0)[:, None])]).astype(np.float32)


@torch.no_grad()
def latent_walk(vae: nn.Module, means: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays `walk`, WebP bytes of 15×15 frames, and `walk_plane` (3, L), see `plane`.

    Frames to the right go along the first axis, frames down against the second, from −2.5 to 2.5 standard deviations.
    Frames larger than 32 pixels are shrunk. Images in [−1, 1] where the decoder ends in tanh, otherwise in [0, 1].
    """
    axes = plane(means)
    along = np.linspace(-REACH, REACH, STEPS, dtype=np.float32)
    z = axes[0] + along[None, :, None] * axes[1] + along[::-1, None, None] * axes[2]
    weight = next(vae.parameters())
    with evaluating(vae):
        frames = vae.decode(torch.from_numpy(z.reshape(STEPS**2, -1)).to(weight.device, weight.dtype))
    pictures = drawn(vae, frames)
    return {"walk": sheet(pictures.reshape(STEPS, STEPS, *pictures.shape[1:])), "walk_plane": axes}


def drawn(vae: nn.Module, images: torch.Tensor) -> np.ndarray:
    """Images (n, C, S, S) that a VAE made, as grey pictures (n, s, s) in [0, 1], s at most 32."""
    images = images.float().mean(1, keepdim=True)
    if images.shape[-1] > PIXELS:
        images = F.interpolate(images, (PIXELS, PIXELS), mode="bilinear", antialias=True)
    images = images if isinstance(vae.range, nn.Sigmoid) else (images + 1) / 2
    return images[:, 0].clamp(0, 1).cpu().numpy()
