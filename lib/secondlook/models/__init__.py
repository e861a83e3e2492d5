"""All nets, one file per architecture: `build(name, **options)`."""

import difflib
import inspect
import math

import torch
from torch import nn

from .alexnet import AlexNet, AlexNetCIFAR
from .conv_vgg import ConvVGG
from .keras_cnn import KerasCNN
from .lenet import LeNet
from .resnet import ResNet
from .resnet18 import ResNet18
from .unet import FrozenUNet, UNet
from .vae import MLPVAE, ConvVAE
from .vgg import VGG

MODELS: dict[str, type[nn.Module]] = {
    "vgg": VGG,
    "alexnet": AlexNet,
    "alexnet_cifar": AlexNetCIFAR,
    "lenet": LeNet,
    "keras_cnn": KerasCNN,
    "conv_vgg": ConvVGG,
    "resnet": ResNet,
    "unet": UNet,
    "frozen_unet": FrozenUNet,
    "mlp_vae": MLPVAE,
    "conv_vae": ConvVAE,
    "resnet18": ResNet18,
}
LARGEST = 4096  # of any number that is an option: what a machine can hold
OPTIONS: dict[str, tuple[str, ...]] = {name: tuple(inspect.signature(kind).parameters) for name, kind in MODELS.items()}

__all__ = ["MODELS", "OPTIONS", "build", "cam_layers", "macs", "parameter_count"]


def build(name: str, **options) -> nn.Module:
    """The net `name`, initialised from PyTorch's default generator; its options are `OPTIONS[name]`.

    Raises ValueError for an unknown name or option, with the nearest valid one, and for a value a net cannot take.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}{_nearest(name, MODELS)}")
    for option, value in options.items():
        if option not in OPTIONS[name]:
            raise ValueError(f"model {name!r} has no option {option!r}{_nearest(option, OPTIONS[name])}")
        if isinstance(value, int | float) and not abs(value) <= LARGEST:
            raise ValueError(f"model {name!r}: {option} must be a number up to {LARGEST}, not {value!r:.40}")
    return MODELS[name](**options)


def parameter_count(model: nn.Module, trainable: bool = False) -> int:
    """The number of parameters, or of those that a gradient changes; running statistics are not parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def cam_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a net that suit class activation maps, by name, from the image to the logits; {} if none does."""
    return model.cam_layers()


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Multiply-adds of one forward pass of one image of `input_shape` (channels, side, side), by layer name.

    Counts convolutions and linear layers, without biases; nothing is computed and the model is left as it was.
    """
    counts: dict[str, int] = {}

    def count(name: str):
        def hook(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            counts[name] = counts.get(name, 0) + _multiply_adds(layer, inputs[0], output)

        return hook

    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    hooks = [m.register_forward_hook(count(name)) for name, m in model.named_modules() if isinstance(m, kinds)]
    modes = [(m, m.training) for m in model.modules()]
    state = {name: t.to("meta") for name, t in [*model.named_parameters(), *model.named_buffers()]}
    image = torch.empty(1, *input_shape, device="meta", dtype=next(model.parameters()).dtype)
    try:
        with torch.no_grad():
            torch.func.functional_call(model.eval(), state, (image,), tie_weights=False)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return counts


def _multiply_adds(layer: nn.Module, x: torch.Tensor, y: torch.Tensor) -> int:
    if isinstance(layer, nn.Linear):
        return y.numel() * layer.in_features
    per_weight = x if isinstance(layer, nn.ConvTranspose2d) else y  # positions at which each kernel is applied
    return per_weight[:, 0].numel() * math.prod(layer.weight.shape)


def _nearest(word: str, known) -> str:
    close = difflib.get_close_matches(str(word), list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(known)}"
