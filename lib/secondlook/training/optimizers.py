"""Optimisers by name, from a recipe's `optimizer` table: torch's own, Adam as some reports print it, Keras' RMSprop."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Adamax, AdamW, NAdam, Optimizer, RMSprop

from secondlook.recipe import RecipeError, nearest


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
ADAM = ("betas", "eps")
OPTIONS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum", "nesterov", "dampening", "weight_decay"),
    "adam": (*ADAM, "weight_decay"),
    "amsgrad": (*ADAM, "weight_decay"),
    "adamw": (*ADAM, "weight_decay"),
    "rmsprop": ("alpha", "eps", "momentum", "centered", "weight_decay"),
    "rmsprop_inner_eps": ("alpha", "eps"),
    "adamax": (*ADAM, "weight_decay"),
    "nadam": (*ADAM, "momentum_decay", "weight_decay"),
    "adam_uncorrected": ADAM,
}
FUSED = (SGD, Adam, AdamW)  # which have one kernel for a whole step, on CPU and CUDA
SWITCHES = ("nesterov", "centered")


def check(table: dict) -> None:
    """Raises RecipeError where `table` names no optimiser, lacks a learning rate, or an option is unknown or bad."""
    name = table.get("name")
    if name not in OPTIMIZERS:
        raise RecipeError(f"optimizer: unknown name {name!r}{nearest(name, OPTIMIZERS)}")
    known = ("name", "learning_rate", *OPTIONS[name])
    for key, value in table.items():
        where = f"optimizer {name!r}: {key}"
        if key not in known:
            raise RecipeError(f"{where} is no option of it{nearest(key, known)}")
        if key == "betas":
            pair = isinstance(value, list | tuple) and len(value) == 2
            if not pair or not all(_is_number(v) and 0 <= v < 1 for v in value):
                raise RecipeError(f"{where} must be two numbers in [0, 1), not {value!r}")
        elif key in SWITCHES and not isinstance(value, bool):
            raise RecipeError(f"{where} must be true or false, not {value!r}")
        elif key not in ("name", *SWITCHES) and not (_is_number(value) and 0 <= value < float("inf")):
            raise RecipeError(f"{where} must be a finite number, at least 0, not {value!r}")
    if "learning_rate" not in table:
        raise RecipeError(f"optimizer {name!r}: learning_rate is missing; reports differ in it, so it has no default")
    if table.get("nesterov") and not table.get("momentum"):
        raise RecipeError("optimizer 'sgd': nesterov needs a momentum above 0; set momentum, for instance to 0.9")


def build(table: dict, parameters: Iterable[Tensor], *, fused: bool = False, capturable: bool = False) -> Optimizer:
    """The optimiser of a recipe's table over `parameters`; those without a gradient are left out.

    The table holds name, learning_rate and the options OPTIONS[name], with torch's defaults. `fused` takes the fused
    kernel where there is one; `capturable` keeps step counts on the device, as a CUDA graph needs it. Raises
    RecipeError as `check` does.
    """
    check(table)
    name, kind = table["name"], OPTIMIZERS[table["name"]]
    options = {key: value for key, value in table.items() if key not in ("name", "learning_rate")}
    if "betas" in options:
        options["betas"] = tuple(options["betas"])
    if name == "amsgrad":
        options["amsgrad"] = True
    if fused and kind in FUSED:
        options["fused"] = True
    if capturable and kind is not SGD and not issubclass(kind, ElementWise):
        options["capturable"] = True
    trained = [p for p in parameters if p.requires_grad]
    return kind(trained, lr=float(table["learning_rate"]), **options)


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
