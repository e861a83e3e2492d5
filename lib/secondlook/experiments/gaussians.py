"""Two Gaussian classes of images: samples of them, and batches for the loop."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from secondlook.data import draws
from secondlook.recipe import Risk


@dataclass(frozen=True)
class Sample:
    """Images x, float32 (n, 1, S, S), as they were drawn, and their labels y (n,)."""

    x: Tensor
    y: Tensor


def sample(settings: Risk, side: int, seed: int, name: str, count: int) -> Sample:
    """`count` images: class 0 or 1 by a fair coin, every pixel N(∓mean_gap, σ²).

    `name` (train, test, reference) tells samples of one seed apart.
    """
    y = (draws.uniform(seed, f"gaussians {name} labels", torch.arange(count)) < 0.5).long()
    noise = draws.normal(seed, f"gaussians {name}", torch.arange(count * side**2)).view(count, 1, side, side)
    centre = (2.0 * y - 1) * settings.mean_gap
    return Sample(centre.view(-1, 1, 1, 1) + deviation(settings) * noise, y)


def deviation(settings: Risk) -> float:
    """σ, of which `sigma` is the value or, with sigma_is = variance, the square."""
    return settings.sigma if settings.sigma_is == "std" else settings.sigma**0.5


class FloatLoader:
    """Batches of a sample, for the loop: as a DeviceLoader's, of images that are floats already. `to` is for `x.to`."""

    def __init__(self, images: Sample, batch_size: int, seed: int, normalise: bool, name: str, **to):
        x = 2 * images.x - 1 if normalise else images.x
        self.x, self.y, self.to = x.to(**to), images.y.to(to["device"]), to
        self.batch_size, self.seed, self.name = batch_size, seed, f"order {name}"
        self.device = self.x.device
        self._order = torch.arange(len(self.y), device=self.device)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self) // self.batch_size)

    def count(self, step: int) -> int:
        return min(self.batch_size, len(self) - step * self.batch_size)

    def begin(self, epoch: int) -> None:
        self._order.copy_(draws.permutation(self.seed, epoch, len(self), self.name, self.device))

    def rows(self, step: int) -> Tensor:
        return self._order[step * self.batch_size :][: self.batch_size]

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.x.index_select(0, rows), self.y[rows]

    def evaluation_batches(self, batch_size: int = 250) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.x.split(batch_size), self.y.split(batch_size))


def digest(samples: dict[str, Sample]) -> str:
    """sha256 of all names, pixels and labels, in hexadecimal."""
    total = hashlib.sha256()
    for name, images in samples.items():
        total.update(name.encode() + images.x.numpy().tobytes() + images.y.numpy().tobytes())
    return total.hexdigest()
