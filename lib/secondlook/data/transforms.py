"""Image transforms on whole batches, in which every image has its own parameters.

Images are (B, C, H, W), uint8 or float32, on any device; parameters are tensors (B, …) on the same device. Nothing here
draws, loops over images, waits for the device or multiplies matrices (TF32 would bend a grid), so that a CUDA graph
can hold every function and a test can compare each with torchvision's at equal parameters. Geometry, interpolation
and fill follow torchvision.transforms.v2 on tensors, its treatment of edges included.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def flip(x: Tensor, apply: Tensor, vertical: bool = False) -> Tensor:
    """The images, mirrored left to right (or top to bottom) where `apply` (B,) is true."""
    return only(apply, x.flip(-2 if vertical else -1), x)


def crop(x: Tensor, top: Tensor, left: Tensor, padding: int, fill: float = 0) -> Tensor:
    """Windows of the images' own size, cut at (top, left) from the images padded on all sides with `fill`.

    top and left are int64 (B,) in [0, 2·padding]; at `padding` an image is unchanged. `fill` is on the images' scale.
    """
    size = x.shape[-2:]
    windows = F.pad(x, (padding,) * 4, value=fill).unfold(2, size[0], 1).unfold(3, size[1], 1)
    return windows[torch.arange(len(x), device=x.device), :, top, left]


def affine_matrices(angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Rows (B, 6) of the matrices that take a point of the result to a point of the image, both from its centre.

    angle (B,) in degrees, clockwise on the screen; translate (B, 2) in pixels to the right and down; scale (B,) > 0;
    shear (B, 2) in degrees. The result is the image scaled, sheared, rotated, then moved.
    """
    rotation, (shear_x, shear_y) = angle.deg2rad(), shear.deg2rad().unbind(-1)
    a = (rotation - shear_y).cos() / shear_y.cos()
    b = -a * shear_x.tan() - rotation.sin()
    c = (rotation - shear_y).sin() / shear_y.cos()
    d = -c * shear_x.tan() + rotation.cos()  # ad − bc = 1
    x, y = translate.unbind(-1)
    rows = torch.stack([d, -b, b * y - d * x, -c, a, c * x - a * y], -1)
    return rows / scale[:, None]


def affine(x: Tensor, matrices: Tensor, mode: str = "nearest", fill: float = 0.0) -> Tensor:
    """Float images under `affine_matrices` (B, 6); mode is nearest or bilinear, `fill` comes in from outside."""
    height, width = x.shape[-2:]
    across, down = _pixels(width, (1 - width) / 2, x), _pixels(height, (1 - height) / 2, x)[:, None]
    a, b, c, d, e, f = _columns(matrices)
    grid = torch.stack([(across * a + down * b + c) * (2 / width), (across * d + down * e + f) * (2 / height)], -1)
    return _sample(x, grid, mode, fill)


def perspective_coefficients(corners: Tensor, height: int, width: int) -> Tensor:
    """Coefficients (B, 8) of the maps that put the images' corners at `corners`.

    corners (B, 4, 2) are (x, y) in pixels, from the top left clockwise, as (0, 0), (width − 1, 0), … leave the images
    as they are. Closed form: the map of the unit square to the quadrilateral (Heckbert, 1989), inverted, in float64.
    """
    (x0, x1, x2, x3), (y0, y1, y2, y3) = (side.unbind(-1) for side in corners.double().unbind(-1))
    determinant = (x1 - x2) * (y3 - y2) - (x3 - x2) * (y1 - y2)
    skew_x, skew_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    g = (skew_x * (y3 - y2) - (x3 - x2) * skew_y) / determinant
    h = ((x1 - x2) * skew_y - skew_x * (y1 - y2)) / determinant
    a, b, d, e = x1 - x0 + g * x1, x3 - x0 + h * x3, y1 - y0 + g * y1, y3 - y0 + h * y3
    right, down = width - 1, height - 1
    rows = [right * (e - y0 * h), right * (x0 * h - b), right * (b * y0 - x0 * e)]
    rows += [down * (y0 * g - d), down * (a - x0 * g), down * (x0 * d - a * y0)]
    rows += [d * h - e * g, b * g - a * h]
    return (torch.stack(rows, -1) / (a * e - b * d)[:, None]).float()


def perspective(x: Tensor, coefficients: Tensor, mode: str = "bilinear", fill: float = 0.0) -> Tensor:
    """Float images under `perspective_coefficients` (B, 8), with mode and fill as in `affine`."""
    height, width = x.shape[-2:]
    across, down = _pixels(width, 0.5, x), _pixels(height, 0.5, x)[:, None]
    a, b, c, d, e, f, g, h = _columns(coefficients)
    depth = across * g + down * h + 1
    points = [(across * a + down * b + c) / depth * (2 / width), (across * d + down * e + f) / depth * (2 / height)]
    return _sample(x, torch.stack(points, -1) - 1, mode, fill)


def erase(x: Tensor, box: Tensor, value: float = 0.0) -> Tensor:
    """The images with `value` in the boxes (B, 4): top, left, height, width in pixels; a height of 0 erases nothing."""
    top, left, height, width = _columns(box)
    down = torch.arange(x.shape[-2], device=x.device)[:, None]
    across = torch.arange(x.shape[-1], device=x.device)
    inside = (down >= top) & (down < top + height) & (across >= left) & (across < left + width)
    return x.masked_fill(inside[:, None], value)


def blur(x: Tensor, sigma: Tensor, size: int = 5) -> Tensor:
    """Float images under Gaussian kernels of `size` pixels a side and standard deviation sigma (B,) > 0, in pixels.

    The edges are mirrored without repeating the outermost pixel.
    """
    half = size // 2
    taps = torch.arange(-half, size - half, device=x.device) / math.sqrt(2)
    kernels = (-((taps / sigma[:, None]) ** 2)).softmax(-1)
    for axis, padding in ((-1, (half, half, 0, 0)), (-2, (0, 0, half, half))):
        padded, length = F.pad(x, padding, mode="reflect"), x.shape[axis]
        x = sum(padded.narrow(axis, k, length) * kernels[:, k, None, None, None] for k in range(size))
    return x


def sharpen(x: Tensor, factor: Tensor) -> Tensor:
    """Float images whose difference from a 3×3 smoothing is multiplied by factor (B,): 0 smooths, 1 keeps, 2 sharpens.

    The outermost pixels stay. As in torchvision, the result is clamped to [0, 1], whatever the images' range.
    """
    inner = x[..., 1:-1, 1:-1]
    smooth = (F.avg_pool2d(x, 3, 1) * 9 + inner * 4) / 13
    change = (smooth - inner) * (1 - factor)[:, None, None, None]
    return (x + F.pad(change, (1, 1, 1, 1))).clamp(0, 1)


def resize(x: Tensor, size: int) -> Tensor:
    """Float images of size×size pixels: bilinear, antialiased where they shrink."""
    return x if x.shape[-2:] == (size, size) else F.interpolate(x, (size, size), mode="bilinear", antialias=True)


def normalise(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(x − mean)/std for float images; mean and std are (C, 1, 1) or scalars."""
    return (x - mean).div_(std)


def only(apply: Tensor, changed: Tensor, x: Tensor) -> Tensor:
    """`changed` for the images where `apply` (B,) is true, x for the others."""
    return torch.where(apply[:, None, None, None], changed, x)


def _sample(x: Tensor, grid: Tensor, mode: str, fill: float) -> Tensor:
    covered = F.grid_sample(torch.cat([x, torch.ones_like(x[:, :1])], 1), grid, mode, "zeros", align_corners=False)
    image, mask = covered[:, :-1], covered[:, -1:]
    if mode == "nearest":
        return torch.where(mask < 0.5, fill, image)
    return (image - fill) * mask + fill  # image has mask in it already: torchvision darkens edges twice, and so do we


def _pixels(count: int, first: float, x: Tensor) -> Tensor:
    return torch.arange(count, device=x.device, dtype=x.dtype) + first


def _columns(values: Tensor) -> tuple[Tensor, ...]:
    """The last dimension apart, each (B, 1, 1), to meet rows and columns of pixels."""
    return values[:, :, None, None].unbind(1)
