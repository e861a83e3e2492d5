"""What a linear classifier sees: whitening, and patch features against a plain reading of their definition."""

import pytest
import torch

from secondlook.experiments.linear import Images
from secondlook.reports import read
from secondlook.training import features

torch.manual_seed(0)
IMAGES = torch.randint(0, 256, (12, 10, 10, 3), dtype=torch.uint8)


def test_pixels_are_centred_on_the_training_set_alone():
    fetch = features.pixels(IMAGES)
    assert fetch(IMAGES).mean(0).abs().max() < 1e-4
    assert torch.allclose(fetch(IMAGES[:1] + 1) - fetch(IMAGES[:1]), torch.ones(1, 300)) or IMAGES[:1].max() == 255


@pytest.mark.parametrize("images", [40, 300])
def test_principal_components_are_those_of_the_covariance_whether_images_are_few_or_many(images):
    x = torch.randint(0, 256, (images, 8, 8, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = x.flatten(1).double()
    values, vectors = torch.linalg.eigh(torch.cov(flat.T, correction=0))
    scale = (values + 1e-3 * values.sum() / 64).rsqrt()
    expected = ((flat - flat.mean(0)) @ (vectors * scale)).flip(1)[:, :5]
    white = features.whitened(x, 5)(x).double()
    signs = (white * expected).sum(0).sign()  # an eigenvector's sign is nobody's choice
    torch.testing.assert_close(white * signs, expected, rtol=1e-3, atol=1e-3)


def test_whitened_pixels_are_uncorrelated_with_unit_variance():
    images = torch.randint(0, 256, (4000, 3, 3, 3), dtype=torch.uint8)
    images[:, 1:] = images[:, :1] // 2 + images[:, 1:] // 2
    white = features.whitened(images, 10)(images)
    covariance = torch.cov(white.T)
    assert white.shape == (4000, 10)
    assert (covariance - torch.eye(10)).abs().max() < 0.05


def test_patch_features_are_soft_kmeans_activations_summed_over_quadrants():
    mean, whitening, centroids = torch.randn(27), torch.randn(27, 27), torch.randn(5, 27)
    got = features._activations(IMAGES, 3, mean, whitening, centroids)
    side = 8
    for image, row in zip(IMAGES[:3], got):
        expected = torch.zeros(2, 2, 5)
        for r in range(side):
            for c in range(side):
                patch = image[r : r + 3, c : c + 3].float().flatten()
                patch = (patch - patch.mean()) / (patch.var(unbiased=False) + 10).sqrt()
                distance = (((patch - mean) @ whitening) - centroids).norm(dim=1)
                expected[r // 4, c // 4] += (distance.mean() - distance).clamp(min=0)
        assert torch.allclose(row, expected.flatten(), rtol=1e-3, atol=1e-2)


def test_patch_features_need_no_labels_and_repeat():
    images = torch.randint(0, 256, (60, 12, 12, 3), dtype=torch.uint8)
    first, again = (features.patches(images, 6, 4, seed)(images[:4]) for seed in (1, 1))
    other = features.patches(images, 6, 4, 2)(images[:4])
    assert first.shape == (4, 24)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_images_of_a_closed_test_set_are_not_even_looked_at():
    tested = next(p for p in read("linear").recipes("pixels", "further", profile="smoke"))
    opened, closed = (Images(tested, "", test=test) for test in (True, False))
    assert len(opened.x_test) == len(opened.y_test) > 0
    assert len(closed.x_test) == 0
    assert torch.equal(closed.x_val, opened.x_val)
