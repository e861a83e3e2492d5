"""Where and in what numbers a network computes: device, type, memory format, bfloat16, TF32.

Precision is part of the recipe: float32, tf32, bf16 or float64. Under bf16 weights and images stay float32 and layers
cast (`torch.autocast`).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from secondlook.recipe import Classifier
from secondlook.training.fast import numba_step

SMALL = 5_000_000  # parameters; up to here a GPU waits for launches, not for arithmetic


def placement(net: nn.Module, settings: Classifier, device: str) -> dict:
    """What `net.to` and a loader take: `device`, `dtype`, `memory_format`.

    On a CPU channels last, where it is safe, was never slower, and up to a quarter faster; seeds side by side have no
    such format, and numba's step takes images as they lie.
    """
    last = channels_last_is_safe(net) and not getattr(net, "members", ())
    if torch.device(device).type == "cuda":
        last = last and not is_small(net) and settings.precision in ("bf16", "tf32")
    elif numba_step.fits(net, settings):
        last = False
    dtype = torch.float64 if settings.precision == "float64" else torch.float32
    layout = torch.channels_last if last else torch.contiguous_format
    return {"device": device, "dtype": dtype, "memory_format": layout}


def is_small(net: nn.Module) -> bool:
    """Whether a GPU computes a step of `net`, of each of its members, faster than a CPU can launch it."""
    return sum(p.numel() for p in net.parameters()) <= SMALL * math.prod(getattr(net, "members", ()))


def channels_last_is_safe(net: nn.Module) -> bool:
    """Whether no layer of `net` is a strided 1×1 convolution whose input channels are no multiple of 8.

    On a processor without AVX-512, the backward pass of such a layer with fewer than 8 channels writes past its buffers
    in oneDNN 3.13 (torch 2.15), and nowhere else: not with other kernels or strides, not in the contiguous format
    (tools/fuzz_models.py).
    """
    strided = (m for m in net.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) == 1 < max(m.stride))
    return all(m.in_channels // m.groups % 8 == 0 for m in strided)


def autocast(precision: str, device) -> torch.autocast:
    """Inside, layers that can compute in bfloat16 do so, if that is the precision."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def flags(precision: str, device) -> Iterator[None]:
    """Inside, TF32 is on for `tf32` and off for every other precision, in convolutions and products alike."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32, cudnn.benchmark
    cudnn.allow_tf32 = products.allow_tf32 = precision == "tf32"
    cudnn.benchmark = torch.device(device).type == "cuda"
    try:
        yield
    finally:
        cudnn.allow_tf32, products.allow_tf32, cudnn.benchmark = before


def seed_generators(number: int, device: torch.device) -> None:
    """Seeds the generators that dropout draws from; 1 µs on the CPU."""
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(number)
