"""Optimisers by name, from a recipe's `optimizer` table: torch's own, Adam as some reports print it, Keras' RMSprop."""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.optim import SGD, Adam, Adamax, AdamW, NAdam, Optimizer, RMSprop

from secondlook.recipe import STRICT, Amount, BelowOne, RecipeError, chosen


class ElementWise(Optimizer):
    """An optimiser that moves each weight by its gradient and by its own `memories`, which begin at zero.

    Subclasses write `move(group, params, grads, *memories)` with lists of tensors.
    """

    memories: tuple[str, ...]

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p] = {name: torch.zeros_like(p) for name in self.memories}
            remembered = ([self.state[p][name] for p in params] for name in self.memories)
            self.move(group, params, [p.grad for p in params], *remembered)


class UncorrectedAdam(ElementWise):
    """Adam without bias correction: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − η·m/(√v + ε).

    Kingma and Ba 2015, algorithm 1, without the two divisions by 1 − βᵗ.
    """

    memories = ("mean", "square")

    def __init__(
        self, params: Iterable, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @staticmethod
    def move(group: dict, params: list, grads: list, means: list, squares: list) -> None:
        first, second = group["betas"]
        torch._foreach_lerp_(means, grads, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, grads, grads, 1 - second)
        below = torch._foreach_sqrt(squares)
        torch._foreach_add_(below, group["eps"])
        torch._foreach_addcdiv_(params, means, below, -group["lr"])


class InnerEpsRMSprop(ElementWise):
    """RMSprop with ε under the root, as Keras 2.11 and later have it: v ← αv + (1−α)g², w ← w − η·g/√(v + ε).

    torch and Tieleman and Hinton 2012 add ε outside. With ε = 1e-7 the least divisor is 3.2e-4 here and 1e-7 there, so
    weights with gradients below about 1e-3 move less.
    """

    memories = ("square",)

    def __init__(self, params: Iterable, lr: float = 1e-3, alpha: float = 0.9, eps: float = 1e-7):
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps})

    @staticmethod
    def move(group: dict, params: list, grads: list, squares: list) -> None:
        torch._foreach_mul_(squares, group["alpha"])
        torch._foreach_addcmul_(squares, grads, grads, 1 - group["alpha"])
        below = torch._foreach_add(squares, group["eps"])
        torch._foreach_sqrt_(below)
        torch._foreach_addcdiv_(params, grads, below, -group["lr"])


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


def build(table: dict, parameters: Iterable[Tensor], *, fused: bool = False, capturable: bool = False) -> Optimizer:
    """The optimiser of a recipe's table over `parameters`; those without a gradient are left out.

    The table holds a name and the options OPTIONS[name], with torch's defaults. `fused` takes the fused
    kernel where there is one; `capturable` keeps step counts on the device, as a CUDA graph needs it. Raises
    RecipeError as `check` does.
    """
    options, name, kind = check(table), table["name"], OPTIMIZERS[table["name"]]
    if name == "amsgrad":
        options["amsgrad"] = True
    if fused and kind in FUSED:
        options["fused"] = True
    if capturable and kind is not SGD and not issubclass(kind, ElementWise):
        options["capturable"] = True
    trained = [p for p in parameters if p.requires_grad]
    return kind(trained, lr=options.pop("learning_rate"), **options)
