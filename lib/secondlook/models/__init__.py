"""All nets, one file per architecture: `build(name, **options)`."""

import difflib
import inspect

from torch import nn

from .alexnet import AlexNet, AlexNetCIFAR
from .conv_vgg import ConvVGG
from .counting import macs
from .keras_cnn import KerasCNN
from .lenet import LeNet
from .linear import LinearClassifier
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
    "linear": LinearClassifier,
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


def _nearest(word: str, known) -> str:
    close = difflib.get_close_matches(str(word), list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(known)}"
