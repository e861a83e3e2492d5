"""What a recipe may do to a training image, drawn anew for each image and epoch.

The keys of a recipe's `augment` table are the fields of `Augment`; the ranges are torchvision's where it has them.
`draw` makes one row of parameters for every image, `apply` uses the rows of a batch.
"""

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from secondlook.checks import STRICT, checked, nearest
from secondlook.data import draws
from secondlook.data import transforms as T
from secondlook.recipe import Amount, Share

Parameters = dict[str, Tensor]


@dataclass(frozen=True, config=STRICT)
class Augment:
    """Off by default, applied in the order of the fields. Colours from outside the image are 0, on its scale."""

    flip: bool = False  # left to right, half of the images
    vertical_flip: bool = False
    crop: Annotated[int, Field(ge=0, le=1024)] = 0  # pixels of padding from which a window of the image's size is cut
    rotation: Annotated[float, Field(ge=0, le=180.0)] = 0.0  # degrees, either way
    translate: Share = 0.0  # share of the side, either way, in whole pixels
    scale: Annotated[float, Field(ge=0, le=0.99)] = 0.0  # share, either way
    shear: Annotated[float, Field(ge=0, le=89.0)] = 0.0  # degrees, either way, horizontal
    interpolation: Literal["nearest", "bilinear"] = "nearest"  # of the four above, which are one resampling
    perspective: Share = 0.0  # the share of half the side by which corners move in; half the images
    erasing: Share = 0.0  # share of images that lose a rectangle
    erasing_least: Share = 0.02  # its area, as a share of the image's
    erasing_most: Share = 0.33
    blur: Amount = 0.0  # greatest σ of a 5×5 Gaussian, in pixels; the least is 0.1
    sharpness: Amount = 1.0  # factor, 1 is off; half of the images
    noise: Amount = 0.0  # standard deviation of independent Gaussian noise

    @property
    def is_affine(self) -> bool:
        return any((self.rotation, self.translate, self.scale, self.shear))


# What the VAE report's public code does to a noisy MNIST, but for the noise
AS_CODED = Augment(
    flip=True,
    vertical_flip=True,
    rotation=30.0,
    translate=0.1,
    scale=0.1,
    shear=10.0,
    perspective=0.5,
    erasing=0.5,
    erasing_most=0.2,
    blur=2.0,
    sharpness=2.0,
)


def augmentation(table: dict, where: str = "augment") -> Augment:
    """The checked augmentation of a recipe's table. Raises RecipeError naming the key and the nearest valid one."""
    return checked(Augment, table, where)


def corruption(kind: str, std: float, side: int) -> tuple[Augment, Augment]:
    """What a recipe's `data.noise` does to an image of `side` pixels: before it is normalised, and after.

    `as_coded` transforms normalised images, so that what comes in from outside is mid-grey and sharpening loses every
    value below 0; `before_normalisation` mends both. `white_noise_crop` is the report's text, whose crop has no size:
    an eighth of the side is assumed. Noise of standard deviation `std` comes last. Raises ValueError for other kinds.
    """
    kinds = {
        "none": (Augment(), Augment()),
        "as_coded": (Augment(), replace(AS_CODED, noise=std)),
        "before_normalisation": (AS_CODED, Augment(noise=std)),
        "white_noise_crop": (Augment(crop=side // 8), Augment(noise=std)),
    }
    if kind not in kinds:
        raise ValueError(f"unknown noise {kind!r}{nearest(kind, kinds)}")
    return kinds[kind]


def draw(augment: Augment, seed: int, epoch: int, index: Tensor, size: tuple[int, int], stream: str) -> Parameters:
    """Parameters of every image, one row for each number in `index` (n,), on its device.

    They depend on (seed, epoch, number) and the words of `stream`, nothing else. `size` is (height, width).
    """
    chance = _Chance(seed, epoch, index, stream)
    height, width = size
    found = {}
    for name in ("flip", "vertical_flip"):
        if getattr(augment, name):
            found[name] = chance(name) < 0.5
    if augment.crop:
        side = 2 * augment.crop + 1
        found["crop"] = torch.stack([chance.whole("crop top", side), chance.whole("crop left", side)], -1)
    if augment.is_affine:
        found["affine"] = _affine(augment, chance, height, width)
    if augment.perspective:
        found["perspective_on"] = chance("perspective") < 0.5
        found["perspective"] = T.perspective_coefficients(_corners(augment, chance, height, width), height, width)
    if augment.erasing:
        box = _box(augment, seed, epoch, index, stream, size)
        found["erasing"] = torch.where((chance("erasing") < augment.erasing)[:, None], box, 0)
    if augment.blur:
        found["blur"] = chance.between("blur", min(0.1, augment.blur), augment.blur)
    if augment.sharpness != 1:
        found["sharpness_on"] = chance("sharpness") < 0.5
    if augment.noise:
        found["noise"] = draws.bits(seed, f"{stream} noise start", index, epoch)
    return found


def apply(augment: Augment, x: Tensor, rows: Parameters) -> Tensor:
    """The transformed images as floats: uint8 is divided by 255, after the transforms that only move pixels."""
    if augment.flip:
        x = T.flip(x, rows["flip"])
    if augment.vertical_flip:
        x = T.flip(x, rows["vertical_flip"], vertical=True)
    if augment.crop:
        x = T.crop(x, *rows["crop"].unbind(-1), augment.crop)
    x = unit(x)
    if augment.is_affine:
        x = T.affine(x, rows["affine"], augment.interpolation)
    if augment.perspective:
        x = T.only(rows["perspective_on"], T.perspective(x, rows["perspective"]), x)
    if augment.erasing:
        x = T.erase(x, rows["erasing"])
    if augment.blur:
        x = T.blur(x, rows["blur"])
    if augment.sharpness != 1:
        x = T.only(rows["sharpness_on"], T.sharpen(x, torch.full_like(x[:, 0, 0, 0], augment.sharpness)), x)
    if augment.noise:
        x = x + augment.noise * white_noise(rows["noise"], x)
    return x


def unit(x: Tensor) -> Tensor:
    """uint8 0–255 as float32 in [0, 1]; floats as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


def white_noise(start: Tensor, like: Tensor) -> Tensor:
    """Standard normal values of the shape of `like` (B, C, H, W).

    All noise is one endless stream; an image takes its values from its own hashed place `start` (B,) in it.
    """
    pixel = torch.arange(like.shape[1:].numel(), device=like.device)
    return draws.normal(0, "noise", start[:, None] + pixel).view_as(like)


class _Chance:
    """Uniform draws of every image by name."""

    def __init__(self, seed: int, epoch: int, index: Tensor, stream: str):
        self.of = lambda name: draws.uniform(seed, f"{stream} {name}", index, epoch)

    def __call__(self, name: str) -> Tensor:
        return self.of(name)

    def between(self, name: str, low: float, high: float) -> Tensor:
        return low + (high - low) * self.of(name)

    def whole(self, name: str, high: int) -> Tensor:
        """int64 in [0, high)."""
        return (self.of(name) * high).long()


def _affine(augment: Augment, chance: _Chance, height: int, width: int) -> Tensor:
    moves = [chance.between(f"translate {axis}", -1, 1) * augment.translate for axis in "xy"]
    shear = chance.between("shear", -augment.shear, augment.shear)
    return T.affine_matrices(
        chance.between("rotation", -augment.rotation, augment.rotation),
        torch.stack([(moves[0] * width).round(), (moves[1] * height).round()], -1),
        chance.between("scale", 1 - augment.scale, 1 + augment.scale),
        torch.stack([shear, torch.zeros_like(shear)], -1),
    )


def _corners(augment: Augment, chance: _Chance, height: int, width: int) -> Tensor:
    reach = [int(augment.perspective * (side // 2)) + 1 for side in (width, height)]
    inward = [[chance.whole(f"corner {k}{axis}", reach[axis]) for axis in range(2)] for k in range(4)]
    left, right = [inward[0], inward[3]], [inward[1], inward[2]]
    points = [(left[0][0], left[0][1]), (width - 1 - right[0][0], right[0][1])]
    points += [(width - 1 - right[1][0], height - 1 - right[1][1]), (left[1][0], height - 1 - left[1][1])]
    return torch.stack([torch.stack(point, -1) for point in points], 1)


def _box(augment: Augment, seed: int, epoch: int, index: Tensor, stream: str, size: tuple[int, int]) -> Tensor:
    """Top, left, height and width (n, 4) of rectangles that fit, each the first of ten tries that does, or none."""
    chance = _Chance(seed, epoch, index[:, None] * 10 + torch.arange(10, device=index.device), stream)
    area = chance.between("erasing area", augment.erasing_least, augment.erasing_most) * (size[0] * size[1])
    ratio = chance.between("erasing ratio", math.log(0.3), math.log(3.3)).exp()
    height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (height < size[0]) & (width < size[1])
    top = (chance("erasing top") * (size[0] - height + 1)).floor()
    left = (chance("erasing left") * (size[1] - width + 1)).floor()
    tries = torch.stack([top, left, height, width], -1) * fits[..., None]
    first = fits.int().argmax(1)[:, None, None].expand(-1, 1, 4)
    return tries.gather(1, first)[:, 0].long()
