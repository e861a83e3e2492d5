"""Batches from a data set that lies on the device as uint8, each a pure function of (seed, epoch, step).

Order, augmentation and noise come from `draws`, keyed by the image's canonical index: whatever the batch size, image i
of epoch e is drawn the same. Parameters are drawn once an epoch for all images, so that a step only gathers rows and
transforms pixels; nothing in a step waits for the device.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from secondlook.data import augment as A
from secondlook.data import draws
from secondlook.data import transforms as T

EVALUATION = -1  # stands where the epoch does: noise on images that are evaluated is drawn once
RESIZED_BYTES = 256 * 2**20  # up to here images are resized once, as float32, and not in every batch


class DeviceLoader:
    """Batches (x, y) of the images `x` and labels `y`: floats (B, C, S, S) and int64 (B,), on `device`.

    x is uint8 (n, H, W), (n, C, H, W) or (n, H, W, C). The pixels are divided by 255, augmented at their stored size,
    resized to `image_size` (0: not), normalised with `mean` and `std` (numbers, or one a channel) and cast to `dtype`.
    `noise` is what a recipe's `data.noise` says, and is part of evaluation too: drawn anew in each epoch, and
    once for evaluation. `index` is the canonical index of each row (None: the row); copies of an image draw apart.

    Raises ValueError for values that cannot be, RecipeError for an unknown key of `augment`.
    """

    def __init__(
        self,
        x,
        y,
        *,
        batch_size: int,
        seed: int,
        device="cpu",
        augment: dict | None = None,
        image_size: int = 0,
        mean=0.0,
        std=1.0,
        noise: str = "none",
        noise_std: float = 1.0,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
        index=None,
        drop_last: bool = False,
    ):
        own = A.augmentation(augment or {})
        images = _channels_first(torch.as_tensor(x))
        if len(images) != len(y) or len(images) == 0:
            raise ValueError(f"{len(images)} images and {len(y)} labels; expected as many of one as of the other")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least one image")
        if drop_last and len(images) < batch_size:
            raise ValueError(f"drop_last leaves no batch: {len(images)} images, batch_size {batch_size}")
        self.seed, self.device, self.batch_size, self.drop_last = seed, torch.device(device), batch_size, drop_last
        self.to = {"device": self.device, "dtype": dtype, "memory_format": memory_format}
        self.x = images.to(self.device).contiguous()
        self.y = torch.as_tensor(y).to(self.device, torch.int64)
        self.stored_size = tuple(self.x.shape[-2:])
        self.size = (image_size, image_size) if image_size else self.stored_size
        self.mean, self.std = (_per_channel(value, self.x) for value in (mean, std))
        before, after = A.corruption(noise, noise_std, self.size[0])
        self._stages = {"augment": (own, self.stored_size), "before": (before, self.size), "after": (after, self.size)}
        self._index = _keys(index, len(images)).to(self.device)
        self._order = torch.arange(len(images), device=self.device)
        self._epoch: int | None = None
        self._drawn: dict[str, A.Parameters] = {}
        self._fixed: dict[str, A.Parameters] = {}
        if own == A.Augment() and self.size != self.stored_size and self._resized_bytes <= RESIZED_BYTES:
            self.x = torch.cat([T.resize(A.unit(part), self.size[0]) for part in self.x.split(1000)])

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.y)

    @property
    def steps_per_epoch(self) -> int:
        return len(self) // self.batch_size if self.drop_last else -(-len(self) // self.batch_size)

    def count(self, step: int) -> int:
        """How many images a step has."""
        return min(self.batch_size, len(self) - step * self.batch_size)

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Images and labels of a step, counted from 0 in its epoch."""
        self.begin(epoch)
        return self.take(self.rows(step))

    def begin(self, epoch: int) -> None:
        """Draws an epoch's order and parameters, unless it is the current one.

        They are written where the last epoch's were, so that a CUDA graph that captured `take` goes on with them.
        """
        if epoch == self._epoch:
            return
        if epoch < 0:
            raise ValueError(f"epochs count from 0; {epoch} is none")
        self._order.copy_(draws.permutation(self.seed, epoch, len(self), device=self.device))
        drawn = {stage: self._draw(stage, epoch) for stage in self._stages}
        self._drawn = self._drawn or drawn
        for stage, parameters in drawn.items():
            for name, values in parameters.items():
                self._drawn[stage][name].copy_(values)
        self._epoch = epoch

    def rows(self, step: int) -> Tensor:
        """Rows of the data set in a step of the current epoch, int64."""
        if not 0 <= step < self.steps_per_epoch:
            raise ValueError(f"step {step} is not in an epoch of {self.steps_per_epoch} steps")
        start = step * self.batch_size
        return self._order[start : start + self.batch_size]

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images of `rows` (B,) as they are trained on in the current epoch, and their labels.

        Fixed work for a fixed number of rows: no host synchronisation, and a CUDA graph can hold it. Raises
        RuntimeError before the first `begin`.
        """
        if self._epoch is None:
            raise RuntimeError("no epoch has begun; call begin(epoch) before take(rows)")
        return self._images(rows, self._drawn), self.y[rows]

    @property
    def levels(self) -> Tensor | None:
        """What each of a stored pixel's 256 levels becomes, (C, 256), where images are only normalised; or None."""
        plain = all(augment == A.Augment() for augment, _ in self._stages.values())
        if not plain or self.x.dtype != torch.uint8 or self.size != self.stored_size:
            return None
        ramp = torch.arange(256, device=self.device).to(torch.uint8).expand(self.x.shape[1], 1, 256)
        return T.normalise(A.unit(ramp[None]), self.mean, self.std)[0, :, 0].to(self.to["dtype"]).contiguous()

    def evaluation_batches(self, batch_size: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in the order they came, not augmented, with the same noise each time."""
        self._fixed = self._fixed or {stage: self._draw(stage, EVALUATION) for stage in ("before", "after")}
        for rows in torch.arange(len(self), device=self.device).split(batch_size or self.batch_size):
            yield self._images(rows, self._fixed), self.y[rows]

    def _draw(self, stage: str, epoch: int) -> A.Parameters:
        augment, size = self._stages[stage]
        return A.draw(augment, self.seed, epoch, self._index, size, stage)

    def _images(self, rows: Tensor, drawn: dict[str, A.Parameters]) -> Tensor:
        def apply(stage: str, x: Tensor) -> Tensor:
            if stage not in drawn:
                return x
            return A.apply(self._stages[stage][0], x, {name: values[rows] for name, values in drawn[stage].items()})

        x = A.unit(apply("augment", self.x.index_select(0, rows)))
        x = apply("before", x if self.size == self.stored_size else T.resize(x, self.size[0]))
        x = apply("after", T.normalise(x, self.mean, self.std))
        return x.to(**self.to)

    @property
    def _resized_bytes(self) -> int:
        return len(self) * self.x.shape[1] * self.size[0] ** 2 * 4


def _channels_first(x: Tensor) -> Tensor:
    if x.dtype != torch.uint8 or x.ndim not in (3, 4):
        shape = tuple(x.shape)
        raise ValueError(f"images are {x.dtype} {shape}; expected uint8 (n, H, W), (n, C, H, W) or (n, H, W, C)")
    if x.ndim == 3:
        return x[:, None]
    return x.permute(0, 3, 1, 2) if x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3) else x


def _per_channel(value, x: Tensor) -> Tensor:
    values = torch.as_tensor(value, dtype=torch.float32, device=x.device).reshape(-1, 1, 1)
    if len(values) not in (1, x.shape[1]):
        raise ValueError(f"mean and std need one number, or one for each of {x.shape[1]} channels, not {len(values)}")
    return values


def _keys(index, count: int) -> Tensor:
    """What an image's draws are keyed by: its canonical index and, above bit 32, which copy of the image it is."""
    if index is None:
        return torch.arange(count)
    index = np.asarray(index, dtype=np.int64)
    if index.shape != (count,):
        raise ValueError(f"index has the shape {index.shape}; expected one number for each of {count} images")
    order = index.argsort(kind="stable")
    copies = np.empty(count, np.int64)
    copies[order] = np.arange(count) - np.searchsorted(index[order], index[order])
    return torch.from_numpy(index + (copies << 32))
