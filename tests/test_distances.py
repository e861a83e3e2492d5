"""Distances between sets of images: against POT, against the definition, and what they must obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.evaluation import distances


def images(seed: int, count: int, shift: float = 0.0, side: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, side, side)).astype(np.float32)


@given(st.integers(0, 1000), st.integers(3, 30), st.integers(3, 30))
@settings(max_examples=10, deadline=None)
def test_whole_images_are_compared_as_pot_compares_them(seed, n, m):
    import ot

    x, y = images(seed, n), images(seed + 1, m, 0.5)
    flat = [s.reshape(len(s), -1).astype(np.float64) for s in (x, y)]
    theirs = ot.sliced_wasserstein_distance(*flat, n_projections=2000, p=1, seed=3)
    assert distances.sliced_wasserstein(x, y, 2000) == pytest.approx(theirs, rel=0.06)


@given(st.integers(0, 1000), st.floats(0.1, 5))
@settings(max_examples=15, deadline=None)
def test_a_shifted_set_is_as_far_as_its_shift_projects(seed, length):
    """On each direction θ the distance is |θ·shift|, whose mean over the sphere of R³ is half of the shift's length."""
    x = np.random.default_rng(seed).normal(size=(20, 3))
    shifted = x + length * np.array([0.6, 0.0, -0.8])
    assert distances.sliced_wasserstein(x, shifted, 4000) == pytest.approx(length / 2, rel=0.05)


def test_equal_sets_are_at_no_distance_and_order_does_not_matter():
    x, y = images(0, 12), images(1, 20)
    for distance in (distances.sliced_wasserstein, distances.row_sliced_wasserstein):
        assert distance(x, x[::-1]) == pytest.approx(0, abs=1e-6)
        assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-6)


def test_rows_as_coded_are_pooled_and_compared_by_quantiles():
    x, y = images(0, 7), images(1, 9, 1.0)
    generator, found = np.random.default_rng(5), []
    for _ in range(3):
        directions = generator.standard_normal((4, 5)).astype(np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        levels = generator.random(6)
        for direction in directions:
            a, b = (np.quantile(np.concatenate(list(s)) @ direction, levels) for s in (x, y))
            found.append(np.abs(a - b).mean())
    got = distances.row_sliced_wasserstein(x, y, directions=4, quantiles=6, repeats=3, seed=5)
    assert got == pytest.approx(np.mean(found), rel=1e-5)


def test_rows_do_not_see_what_whole_images_show():
    """The rows of each image in another order: the same rows, other images."""
    x = images(0, 40, side=8)
    shuffled = np.stack([image[np.random.default_rng(k).permutation(8)] for k, image in enumerate(x)])
    assert distances.row_sliced_wasserstein(x, shuffled) == pytest.approx(0, abs=1e-6)
    assert distances.sliced_wasserstein(x, shuffled) > 0.05


def test_every_image_is_stretched_by_itself():
    x = np.stack([np.linspace(-1, 3, 16).reshape(4, 4), np.full((4, 4), 7.0), np.linspace(0, 0.1, 16).reshape(4, 4)])
    y = distances.rescaled(x)
    assert y.min((1, 2)).tolist() == [0, 0, 0]
    assert y.max((1, 2)).tolist() == [1, 0, 1]


def test_the_floor_is_below_the_distance_of_different_sets():
    x, y = images(0, 200), images(1, 200, 1.0)
    floor = distances.floor(distances.sliced_wasserstein, x)
    assert 0 < floor < 0.3 * distances.sliced_wasserstein(x, y)


def test_sets_that_do_not_compare_are_refused():
    with pytest.raises(ValueError, match="one dimension"):
        distances.sliced_wasserstein(images(0, 3), images(0, 3, side=4))
    with pytest.raises(ValueError, match="of one size"):
        distances.row_sliced_wasserstein(images(0, 3)[:, 0], images(0, 3))


def test_the_repeats_of_one_seed_tell_how_far_seeds_differ():
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 12, 12)), rng.random((30, 12, 12)) ** 2
    how = {"directions": 10, "quantiles": 10}
    means = [distances.row_sliced_wasserstein(x, y, seed=s, **how) for s in range(60)]
    told = [distances.row_repeats(x, y, s, **how).std(ddof=1) / 10**0.5 for s in range(60)]
    assert np.mean(told) == pytest.approx(np.std(means, ddof=1), rel=0.3)
