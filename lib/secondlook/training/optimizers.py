"""Optimisers by name, from a recipe's `optimizer` table: torch's own, Adam as some reports print it, Keras' RMSprop."""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.optim import SGD, Adam, Adamax, AdamW, NAdam, Optimizer, RMSprop

from secondlook.checks import STRICT, RecipeError, chosen
from secondlook.recipe import Amount, BelowOne


class ElementWise(Optimizer):
    """An optimiser that moves each weight by its gradient and its own running means, which begin at zero.

    Subclasses write `move(p, grad, group, **means)`, in place.
    """

    means: tuple[str, ...]

    def __init__(self, params: Iterable, **defaults):
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                if not self.state[p]:
                    self.state[p] = {name: torch.zeros_like(p) for name in self.means}
                self.move(p, p.grad, group, **self.state[p])


class UncorrectedAdam(ElementWise):
    """Adam without bias correction: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − η·m/(√v + ε).

    Kingma and Ba 2015, algorithm 1, without the two divisions by 1 − βᵗ.
    """

    means = ("mean", "square")

    def __init__(self, params: Iterable, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(params, lr=lr, betas=betas, eps=eps)

    @staticmethod
    def move(p: Tensor, grad: Tensor, group: dict, mean: Tensor, square: Tensor) -> None:
        first, second = group["betas"]
        mean.lerp_(grad, 1 - first)
        square.mul_(second).addcmul_(grad, grad, value=1 - second)
        p.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-group["lr"])


class InnerEpsRMSprop(ElementWise):
    """RMSprop with ε under the root, as Keras 2.11 and later have it: v ← αv + (1−α)g², w ← w − η·g/√(v + ε).

    torch and Tieleman and Hinton 2012 add ε outside. With ε = 1e-7 the least divisor is 3.2e-4 here and 1e-7 there, so
    weights with gradients below about 1e-3 move less.
    """

    means = ("square",)

    def __init__(self, params: Iterable, lr: float, alpha: float = 0.9, eps: float = 1e-7):
        super().__init__(params, lr=lr, alpha=alpha, eps=eps)

    @staticmethod
    def move(p: Tensor, grad: Tensor, group: dict, square: Tensor) -> None:
        square.mul_(group["alpha"]).addcmul_(grad, grad, value=1 - group["alpha"])
        p.addcdiv_(grad, square.add(group["eps"]).sqrt_(), value=-group["lr"])


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "amsgrad": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "rmsprop_inner_eps": InnerEpsRMSprop,
    "adamax": Adamax,
    "nadam": NAdam,
    "adam_uncorrected": UncorrectedAdam,
}
ADAM = ("learning_rate", "betas", "eps")
OPTIONS: dict[str, tuple[str, ...]] = {
    "sgd": ("learning_rate", "momentum", "nesterov", "dampening", "weight_decay"),
    "adam": (*ADAM, "weight_decay"),
    "amsgrad": (*ADAM, "weight_decay"),
    "adamw": (*ADAM, "weight_decay"),
    "rmsprop": ("learning_rate", "alpha", "eps", "momentum", "centered", "weight_decay"),
    "rmsprop_inner_eps": ("learning_rate", "alpha", "eps"),
    "adamax": (*ADAM, "weight_decay"),
    "nadam": (*ADAM, "momentum_decay", "weight_decay"),
    "adam_uncorrected": ADAM,
}
FUSED = (SGD, Adam, AdamW)  # which have one kernel for a whole step, on CPU and CUDA


@dataclass(frozen=True, config=STRICT)
class Options:
    """What a recipe's `optimizer` table may set; what it leaves out is as torch has it."""

    name: str
    learning_rate: Amount  # reports differ in it, so it has no default
    momentum: Amount = 0.0
    nesterov: bool = False
    dampening: Amount = 0.0
    weight_decay: Amount = 0.0
    betas: Annotated[tuple[BelowOne, BelowOne], Field(strict=False)] = (0.9, 0.999)
    eps: Amount = 1e-8
    alpha: Amount = 0.99
    centered: bool = False
    momentum_decay: Amount = 4e-3


def check(table: dict) -> dict:
    """The table's options but its name. Raises RecipeError where one is unknown, missing or bad, or `name` is."""
    own = chosen(Options, table, OPTIONS, "optimizer")
    if own.nesterov and (not own.momentum or own.dampening):
        raise RecipeError("optimizer 'sgd': nesterov needs a momentum above 0, for instance 0.9, and no dampening")
    return {key: getattr(own, key) for key in table if key != "name"}


def build(table: dict, parameters: Iterable[Tensor]) -> Optimizer:
    """The optimiser of a recipe's table over `parameters`; those without a gradient are left out.

    The table holds a name and the options OPTIONS[name], with torch's defaults. One kernel takes a whole step where
    torch has it; on CUDA step counts lie on the device, as a graph needs it. Raises RecipeError as `check` does.
    """
    options, kind = check(table), OPTIMIZERS[table["name"]]
    trained = [p for p in parameters if p.requires_grad]
    options["lr"] = options.pop("learning_rate")
    if table["name"] == "amsgrad":
        options["amsgrad"] = True
    if kind in FUSED:
        options["fused"] = True
    if kind not in (SGD, UncorrectedAdam, InnerEpsRMSprop) and any(p.is_cuda for p in trained):
        options["capturable"] = True
    return kind(trained, **options)
