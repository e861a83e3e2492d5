"""What a classifier minimises: a loss of logits and labels, and terms added to it."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from secondlook.checks import STRICT, RecipeError, checked
from secondlook.recipe import Amount, Classifier


@dataclass(frozen=True, config=STRICT)
class Penalty:
    """The strengths of the terms a recipe's `penalty` table may add to the loss."""

    l2_dense: Amount = 0.0


def check(settings: Classifier) -> None:
    """Raises RecipeError for an unknown penalty, a bad strength, or smoothing of a loss that has no probabilities."""
    checked(Penalty, settings.penalty, "penalty")
    if settings.label_smoothing and settings.loss == "hinge":
        raise RecipeError("label_smoothing is of the cross-entropy; with loss 'hinge' leave it at 0")


class Classification:
    """The objective of a classifier: `(loss, sums) = objective(logits, labels)`, computed in float32 or better.

    The loss is the mean over a batch of the cross-entropy, with smoothing as in Szegedy et al. 2016, or of the
    multi-class hinge Σ_{j≠y} max(0, 1 + s_j − s_y)/C (Weston and Watkins 1999). The penalty l2_dense is λ·Σw² over the
    kernel of the net's layer `dense`, the way Keras regularises one layer: not weight decay, for its gradient 2λw goes
    through the optimiser. `sums` (…, 2) are the batch's loss and right answers. Logits (K, B, C) of K nets side by side
    have K losses. Raises RecipeError as `check` does, and for a net without such a layer.
    """

    names = ("train_loss", "train_accuracy")

    def __init__(self, settings: Classifier, net: nn.Module):
        check(settings)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        if settings.loss == "hinge":
            self.criterion = nn.MultiMarginLoss()
        if getattr(net, "members", ()):
            self.criterion = torch.func.vmap(self.criterion)
        self.strength, self.weight = settings.penalty.get("l2_dense", 0.0), None
        if self.strength:
            weights = net.named_weights() if hasattr(net, "members") else net.named_parameters()
            self.weight = dict(weights).get("dense.weight")
            if self.weight is None:
                raise RecipeError(f"penalty l2_dense needs a net with a layer 'dense'; {type(net).__name__} has none")

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        wide = logits if logits.dtype == torch.float64 else logits.float()
        loss = self.criterion(wide, labels)
        if self.weight is not None:
            loss = loss + self.strength * self.weight.square().sum((-2, -1))
        right = (logits.argmax(-1) == labels).sum(-1)
        return loss, torch.stack((loss.detach() * labels.shape[-1], right.to(loss.dtype)), -1)
