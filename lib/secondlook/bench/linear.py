"""The linear protocol: eight combinations of one seed, against one combination at a time with autograd."""

import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from secondlook.bench import Case
from secondlook.data import draws
from secondlook.experiments.linear import Images
from secondlook.recipe import Linear
from secondlook.reports import read
from secondlook.training.linear import train

SEED = 0


def cases(report: str | None, quick: bool, data_dir: Path):
    """One case: the eight combinations as published, on CIFAR-10 where it is there, else on its stand-in."""
    if report not in (None, "linear"):
        return
    real = (data_dir / "cifar10.npz").exists()
    plans = read("linear").plans(variant="as_published", profile="full" if real else "smoke", seeds=[SEED])
    recipes = [p.recipe for p in plans if p.recipe.run.startswith("c") and not p.recipe.run.endswith("half")]
    images = Images(recipes[0], data_dir)
    settings = [r.settings for r in recipes]
    epochs = (0.25 if quick else 6.0) * 49_000 / len(images.y)
    yield Case(
        name=f"linear, eight combinations, {images.source.title}",
        unit="examples/s",
        ours=lambda: _ours(settings, images, epochs),
        plain=lambda: _plain(settings, images, 8 if quick else 60),
        losses=lambda: _losses(settings[-2], images),
        rounds=3,
    )


def _ours(settings: list[Linear], images: Images, epochs: float) -> tuple[int, float]:
    clock = time.perf_counter()
    shortened = [replace(s, epochs=epochs) for s in settings]
    train(shortened, images.fetch, images.y, (images.x_val, images.y_val), SEED, classes=images.classes, points=1)
    return int(len(settings) * epochs * len(images.y)), time.perf_counter() - clock


def _plain(settings: list[Linear], images: Images, steps: int) -> tuple[int, float]:
    """Each combination for `steps` steps; the workers' start and first batch are not counted against this side."""
    examples = sum((steps - 1) * s.batch_size for s in settings)
    return examples, sum(_plain_loop(s, images, steps)[1] for s in settings)


def _plain_loop(s: Linear, images: Images, steps: int) -> tuple[float, float]:
    """Loss of the last batch and the seconds since the first: what a careful user would write with torchvision."""
    from torchvision import transforms

    mean = (images.x.flatten(1).double().mean(0) / 255).float().view(images.x.shape[1:]).permute(2, 0, 1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Lambda(_Centre(mean))])
    order = draws.integers(SEED, "batch", 0, steps * s.batch_size, len(images.y)).tolist()
    loader = DataLoader(_Files(images, transform), s.batch_size, sampler=order, num_workers=2)
    start = draws.normal(SEED, "initial weights", torch.arange(images.x[0].numel() * images.classes)).view(
        -1, images.classes
    )
    weights = (start * s.initial_std).requires_grad_()
    bias = torch.zeros(images.classes, requires_grad=True)
    optimizer = torch.optim.SGD([weights, bias], lr=s.learning_rate)
    value, clock = torch.zeros(()), 0.0
    for x, y in loader:
        x = x.permute(0, 2, 3, 1).flatten(1) * 255
        scores = x @ weights + bias
        rival = scores.scatter(1, y[:, None], -torch.inf).max(1).values
        value = torch.clamp(1 + rival - scores.gather(1, y[:, None]).squeeze(1), min=0).mean()
        penalty = s.strength * (weights.square() if s.penalty == "l2" else weights.abs()).sum()
        optimizer.zero_grad()
        (value + penalty).backward()
        optimizer.step()
        clock = clock or time.perf_counter()
    return float(value.detach()), time.perf_counter() - clock


def _losses(s: Linear, images: Images) -> tuple[float, float]:
    """The hinge loss of the twentieth batch, ours and theirs."""
    twenty = replace(s, epochs=20 * s.batch_size / len(images.y))
    blocks = train(
        [twenty], images.fetch, images.y, (images.x_val, images.y_val), SEED, classes=images.classes, points=20
    )
    return blocks[0].history["train_loss"][-1], _plain_loop(s, images, 20)[0]


class _Centre:
    """Subtracts the mean image; a class, so that workers can be started by any method."""

    def __init__(self, mean: torch.Tensor):
        self.mean = mean

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x - self.mean


class _Files(Dataset):
    """The images one by one, as torchvision's own data sets give them."""

    def __init__(self, images: Images, transform):
        self.x, self.y, self.transform = images.x.numpy(), images.y.tolist(), transform

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int):
        from PIL import Image

        return self.transform(Image.fromarray(self.x[i])), self.y[i]
