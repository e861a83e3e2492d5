"""What a classifier minimises: a loss of logits and labels, and terms added to it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from secondlook.recipe import STRICT, Amount, Classifier, RecipeError, checked

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, config=STRICT)
class Penalty:
    """The strengths of the terms a recipe's `penalty` table may add to the loss."""

    l2_dense: Amount = 0.0


def check(settings: Classifier) -> None:
    """Raises RecipeError for an unknown penalty, a bad strength, or smoothing of a loss that has no probabilities."""
    checked(Penalty, settings.penalty, "penalty")
    if settings.label_smoothing and settings.loss == "hinge":
        raise RecipeError("label_smoothing is of the cross-entropy; with loss 'hinge' leave it at 0")


def criterion(settings: Classifier) -> Criterion:
    """The mean loss over a batch as a function of logits (B, C) and labels (B,).

    Cross-entropy, with smoothing as in Szegedy et al. 2016; or the multi-class hinge Σ_{j≠y} max(0, 1 + s_j − s_y)/C
    (Weston and Watkins 1999). Computed in float32 or better. Raises RecipeError as `check` does.
    """
    check(settings)
    if settings.loss == "hinge":
        return lambda logits, labels: F.multi_margin_loss(_wide(logits), labels)
    return lambda logits, labels: F.cross_entropy(_wide(logits), labels, label_smoothing=settings.label_smoothing)


def penalty(settings: Classifier, net: nn.Module) -> Callable[[], Tensor | float]:
    """The terms added to the loss, as a function that reads the net's current weights.

    l2_dense is λ·Σw² over the kernel of the net's layer `dense`, the way Keras regularises one layer: not weight decay,
    for its gradient 2λw goes through the optimiser; one for each of K nets side by side. Raises RecipeError for a net
    without such a layer.
    """
    check(settings)
    strength = settings.penalty.get("l2_dense", 0.0)
    if not strength:
        return lambda: 0.0
    weight = dict(net.named_weights() if hasattr(net, "members") else net.named_parameters()).get("dense.weight")
    if weight is None:
        raise RecipeError(f"penalty l2_dense needs a net with a layer 'dense'; {type(net).__name__} has none")
    return lambda: strength * weight.square().sum((-2, -1))


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
