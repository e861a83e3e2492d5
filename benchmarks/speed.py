"""Speed of training against the loop a user would otherwise write: torchvision transforms, a DataLoader, eager float32.

    python benchmarks/speed.py [--data-dir data] [--steps 100]

Images a second on one thread: ours, the plain loop's, and their ratio; of LeNet also numba's step beside torch's eager
one, on the same loader.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from secondlook.experiments.classifier import Task, build
from secondlook.recipe import Recipe
from secondlook.reports import ROOT, read
from secondlook.runs import Execution
from secondlook.training import fast, optimizers
from secondlook.training.loop import train
from secondlook.training.precision import flags, placement

# title, report, run, variant, steps of a full measurement in a hundred, changes
WORKS = (
    ("LeNet", "alexnet", "lenet-sgd", "as_coded", 100, {}),
    ("six-convolution CNN", "optimizers", "final-sgd", "as_coded", 20, {}),
    ("VGG16 at 224", "vgg", "vgg16", "as_published", 1, {"batch_size": 8}),
)


class Files(Dataset):
    """The training images one by one, as torchvision's own data sets give them."""

    def __init__(self, task: Task):
        rows = task.parts.train
        self.x, self.y = task.images.x_train[rows], torch.as_tensor(task.parts.y_train).tolist()
        resize = [transforms.Resize(task.side)] if task.side != self.x.shape[1] else []
        end = [transforms.ToTensor(), transforms.Normalize(task.mean, task.std)]
        self.transform = transforms.Compose([*resize, *end])

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int):
        return self.transform(Image.fromarray(self.x[i])), self.y[i]


def recipe_of(report: str, run: str, variant: str, steps: int, changes: dict, data_dir: Path) -> Recipe:
    """One epoch of so many steps, in float32, on a stand-in where the data set is not there."""
    (recipe,) = read(report).recipes(run, variant, seeds=[0])
    source = "official" if (data_dir / f"{recipe.data.name}.npz").exists() else "standin"
    size = changes.get("batch_size", recipe.settings.batch_size)
    cut = {"epochs": 1, "precision": "float32", "data.source": source, "data.train_limit": size * steps}
    return recipe.customised(**changes, **cut, **{"data.validation": 0.0, "schedule": {"name": "constant"},
                                                  "early_stopping": 0, "restore_best": False})  # fmt: skip


def ours(task: Task, reference: bool = False) -> Callable[[], None]:
    """An epoch by the library; as the reference, eager and without numba or a graph."""
    settings = task.recipe.settings
    net = build(settings, task)
    to = placement(net, settings, task.device)
    net, loader = net.to(**to), task.loader("train", settings, **to)
    accelerate = None if reference else fast.best(net, settings, task.device)
    return lambda: train(net, loader, replace(settings, epochs=1), 0, accelerate=accelerate)


def plain(task: Task) -> Callable[[], None]:
    """The same epoch, as one would write it with torch and torchvision."""
    settings, net = task.recipe.settings, build(task.recipe.settings, task).to(task.device)
    optimizer = optimizers.build(settings.optimizer, net.parameters())
    loader = DataLoader(Files(task), settings.batch_size, shuffle=True, num_workers=2, persistent_workers=True)

    def epoch() -> None:
        net.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images.to(task.device)), labels.to(task.device))
            loss.backward()
            optimizer.step()

    return epoch


def rate(epoch: Callable[[], None], images: int) -> float:
    """Images a second, by the median epoch of at least five seconds; one before it warms up."""
    epoch()
    return images / Timer("epoch()", globals={"epoch": epoch}).blocked_autorange(min_run_time=5.0).median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=ROOT / "data")
    parser.add_argument("--steps", type=int, default=100, help="of LeNet, in hundreds; others take fewer")
    arguments = parser.parse_args()
    execution = Execution(data_dir=arguments.data_dir)
    print("| work | images/s, ours | plain | ratio |\n|---|---|---|---|")
    for title, report, run, variant, share, changes in WORKS:
        steps = max(1, arguments.steps * share // 100)
        task = Task(recipe_of(report, run, variant, steps, changes, arguments.data_dir), execution)
        sides, count = {title: (ours(task), plain(task))}, len(task.parts.train)
        if title == "LeNet":
            sides["LeNet, numba beside eager steps"] = ours(task), ours(task, reference=True)
        for name, (mine, theirs) in sides.items():
            with flags("float32", task.device):
                first, second = rate(mine, count), rate(theirs, count)
            print(f"| {name}, batch {task.recipe.settings.batch_size} | {first:,.0f} | {second:,.0f} "
                  f"| {first / second:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
