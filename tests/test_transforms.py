"""Every batched transform against torchvision's, image by image, at equal parameters."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as V

from secondlook.data import transforms as T

B, SIDE = 12, 24


@pytest.fixture
def images():
    return torch.rand(B, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def between():
    source = torch.Generator().manual_seed(1)
    return lambda low, high, *shape: low + (high - low) * torch.rand(B, *shape, generator=source)


def whole(low, high, *shape):
    return torch.randint(low, high, (B, *shape), generator=torch.Generator().manual_seed(2))


def one_by_one(function, x, *parameters):
    return torch.stack([function(image, *(p[k].tolist() for p in parameters)) for k, image in enumerate(x)])


def assert_close(ours, theirs, differing=0.0):
    """Within 1e-5, but for a share of pixels whose nearest neighbour a rounding error decides."""
    assert ours.shape == theirs.shape
    assert ((ours - theirs).abs() > 1e-5).float().mean() <= differing


@pytest.mark.parametrize("vertical", [False, True])
def test_flip_mirrors_as_torchvision_where_asked_and_nowhere_else(images, vertical):
    apply = torch.arange(B) % 3 == 0
    flipped = T.flip(images, apply, vertical)
    reference = V.vertical_flip(images) if vertical else V.horizontal_flip(images)
    assert torch.equal(flipped[apply], reference[apply])
    assert torch.equal(flipped[~apply], images[~apply])


@pytest.mark.parametrize("fill", [0, 7])
def test_crop_cuts_torchvisions_window_and_keeps_uint8(images, fill):
    x, at = (images * 255).byte(), whole(0, 9, 2)
    ours = T.crop(x, at[:, 0], at[:, 1], 4, fill)
    theirs = one_by_one(lambda i, a: V.crop(V.pad(i, [4], fill=fill), *a, SIDE, SIDE), x, at)
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("fill", [0.0, 0.7])
def test_affine_follows_torchvisions_conventions(images, between, mode, fill):
    angle, scale, shear = between(-40, 40), between(0.7, 1.4), between(-20, 20, 2)
    translate = whole(-5, 6, 2)
    ours = T.affine(images, T.affine_matrices(angle, translate, scale, shear), mode, fill)
    theirs = one_by_one(
        lambda i, a, t, s, h: V.affine(i, a, t, s, h, interpolation=InterpolationMode(mode), fill=[fill]),
        images, angle, translate, scale, shear,
    )  # fmt: skip
    assert_close(ours, theirs, 1e-3)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_rotation_is_the_affine_map_turned_the_other_way_round_as_torchvision_counts_it(images, between, mode):
    angle, zero = between(-180, 180), torch.zeros(B, 2)
    ours = T.affine(images, T.affine_matrices(-angle, zero, torch.ones(B), zero), mode)
    theirs = one_by_one(lambda i, a: V.rotate(i, a, InterpolationMode(mode), fill=0), images, angle)
    assert_close(ours, theirs, 1e-3)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_perspective_follows_torchvisions_corners(images, mode):
    start = torch.tensor([[0, 0], [SIDE - 1, 0], [SIDE - 1, SIDE - 1], [0, SIDE - 1]])
    inward = whole(0, 7, 4, 2) * torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    ours = T.perspective(images, T.perspective_coefficients(start + inward, SIDE, SIDE), mode, 0.3)
    theirs = one_by_one(
        lambda i, end: V.perspective(i, start.tolist(), end, InterpolationMode(mode), fill=[0.3]),
        images,
        start + inward,
    )
    assert_close(ours, theirs, 1e-3)


def test_erase_fills_torchvisions_boxes_and_a_height_of_zero_erases_nothing(images):
    box = torch.cat([whole(0, 12, 2), whole(1, 10, 2)], 1)
    box[0, 2] = 0
    ours = T.erase(images, box, 0.5)
    theirs = one_by_one(lambda i, b: V.erase(i, *b, torch.tensor(0.5).expand(3, *b[2:])), images, box)
    assert torch.equal(ours, theirs)
    assert torch.equal(ours[0], images[0])


def test_blur_equals_torchvisions(images, between):
    sigma = between(0.1, 2.0)
    theirs = one_by_one(lambda i, s: V.gaussian_blur(i, [5, 5], [s, s]), images, sigma)
    assert_close(T.blur(images, sigma), theirs)


def test_sharpen_equals_torchvisions_on_unit_images(images, between):
    factor = between(0, 3)
    assert_close(T.sharpen(images, factor), one_by_one(V.adjust_sharpness, images, factor))


def test_sharpen_loses_what_is_below_zero_as_torchvision_does():
    x = torch.ones(2, 1, 8, 8)
    x[:, :, :4] = -1
    ours = T.sharpen(x, torch.tensor([2.0, 2.0]))
    assert torch.equal(ours, V.adjust_sharpness(x, 2.0))
    assert ours.min() == 0
    assert ours.max() == 1


@pytest.mark.parametrize("size", [16, 24, 56])
def test_resize_equals_torchvisions_antialiased_bilinear(images, size):
    assert_close(T.resize(images, size), V.resize(images, [size, size], antialias=True))


def test_normalise_equals_torchvisions_and_leaves_its_argument(images):
    mean, std, before = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25], images.clone()
    ours = T.normalise(images, *(torch.tensor(v)[:, None, None] for v in (mean, std)))
    assert_close(ours, V.normalize(images, mean, std))
    assert torch.equal(images, before)


def all_transforms(x, order):
    """Every transform in turn, with the parameters of the images in `order`."""
    source = torch.Generator().manual_seed(3)
    u = [torch.rand(B, generator=source)[order] for _ in range(10)]
    corners = torch.tensor([[0, 0], [SIDE - 1, 0], [SIDE - 1, SIDE - 1], [0, SIDE - 1]]) + u[0][:, None, None] * 5
    x = T.crop(T.flip(x, u[1] < 0.5), (u[2] * 9).long(), (u[3] * 9).long(), 4)
    pair = torch.stack([u[4], u[5]], -1)
    x = T.affine(x, T.affine_matrices(u[6] * 30, pair * 4, 1 + u[7] / 4, pair * 10), "bilinear")
    x = T.perspective(x, T.perspective_coefficients(corners, SIDE, SIDE))
    x = T.erase(x, (torch.stack([u[8], u[9], u[4], u[5]], -1) * 12).long())
    return T.sharpen(T.blur(x, 0.1 + u[6]), u[7] * 2)


def test_no_image_sees_another_images_parameters(images):
    order = torch.randperm(B, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(
        all_transforms(images[order], order), all_transforms(images, torch.arange(B))[order], atol=1e-6
    )


def test_identity_parameters_leave_the_images(images):
    one, zero, pairs = torch.ones(B), torch.zeros(B, dtype=torch.int64), torch.zeros(B, 2)
    corners = torch.tensor([[0, 0], [SIDE - 1, 0], [SIDE - 1, SIDE - 1], [0, SIDE - 1]]).expand(B, 4, 2)
    matrices = T.affine_matrices(0 * one, pairs, one, pairs)
    coefficients = T.perspective_coefficients(corners, SIDE, SIDE)
    for mode in ("nearest", "bilinear"):
        assert_close(T.affine(images, matrices, mode), images)
        assert_close(T.perspective(images, coefficients, mode), images)
    assert torch.equal(T.flip(images, one == 0), images)
    assert torch.equal(T.crop(images, zero + 4, zero + 4, 4), images)
    assert torch.equal(T.erase(images, torch.zeros(B, 4)), images)
    assert_close(T.blur(images, 0.05 * one), images)
    assert torch.equal(T.sharpen(images, one), images)
    assert T.resize(images, SIDE) is images


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=8, max_size=8), st.integers(12, 40), st.integers(12, 40))
def test_perspective_coefficients_take_the_new_corners_to_the_old(inward, height, width):
    old = torch.tensor([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=torch.float64)
    signs = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    new = old + torch.tensor(inward).view(4, 2) * signs
    a, b, c, d, e, f, g, h = T.perspective_coefficients(new[None], height, width)[0].double()
    x, y = new.unbind(-1)
    mapped = torch.stack([a * x + b * y + c, d * x + e * y + f], -1) / (g * x + h * y + 1)[:, None]
    assert torch.allclose(mapped, old, atol=1e-3)
