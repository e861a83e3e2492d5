"""The loop a user would otherwise write: torchvision's transforms on PIL images, a DataLoader, eager float32."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from secondlook.data import draws
from secondlook.experiments.classifier import Task
from secondlook.recipe import VAE, Classifier
from secondlook.training import optimizers

WORKERS = 2


class Enough(Exception):
    """Leaves a loop when its steps have been timed."""


def loop(net: nn.Module, task: Task, settings: Classifier | VAE, steps: int, after_step: Callable[[], None]) -> float:
    """Trains `net`, where it is and in its type, for `steps` steps of the first epoch in the engine's order.

    Returns the mean loss of an image; ends early where `after_step` raises Enough.
    """
    device, cuda = task.device, task.device.startswith("cuda")
    order = draws.permutation(task.recipe.seed, 0, len(task.parts.train))[: steps * settings.batch_size].tolist()
    loader = DataLoader(Files(task), settings.batch_size, sampler=order, num_workers=WORKERS, pin_memory=cuda)
    optimizer, running = optimizers.build(settings.optimizer, net.parameters()), 0.0
    summed, kind = not isinstance(settings, Classifier), next(net.parameters()).dtype
    net.train()
    try:
        for images, labels in loader:
            images, labels = images.to(device, kind), labels.to(device)
            optimizer.zero_grad()
            loss = loss_of(net, settings, images, labels)
            loss.backward()
            if settings.clip_norm:
                nn.utils.clip_grad_norm_(net.parameters(), settings.clip_norm)
            optimizer.step()
            running += loss.item() * (1 if summed else len(labels))
            after_step()
    except Enough:
        pass
    return running / len(order)


def loss_of(net: nn.Module, settings: Classifier | VAE, images: Tensor, labels: Tensor) -> Tensor:
    """What a step minimises, as one would write it."""
    if isinstance(settings, Classifier):
        loss = nn.functional.cross_entropy(net(images), labels)
        strength = settings.penalty.get("l2_dense", 0.0)
        return loss + strength * net.dense.weight.square().sum() if strength else loss
    rebuilt, mu, log_var = net(images)
    divergence = -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum()
    return nn.functional.mse_loss(rebuilt, images, reduction="sum") + settings.beta * divergence


def without_chance(net: nn.Module) -> nn.Module:
    """`net` without dropout and, in a VAE, without draws: two loops draw alike only where one of them is ours."""
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if hasattr(net, "draw"):
        net.draw = _mean
    return net


def _mean(mu: Tensor, log_var: Tensor, noise: Tensor | None = None) -> Tensor:
    return mu


class Files(Dataset):
    """The training images one by one, as torchvision's own data sets give them."""

    def __init__(self, task: Task):
        from torchvision import transforms

        rows = task.parts.train
        self.x, self.y = task.images.x_train[rows], torch.as_tensor(task.parts.y_train).tolist()
        resize = [transforms.Resize(task.side)] if task.side != self.x.shape[1] else []
        end = [transforms.ToTensor(), transforms.Normalize(task.mean, task.std)]
        self.transform = transforms.Compose([*resize, *end])

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.x[i])), self.y[i]
