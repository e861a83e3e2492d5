from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.data import DataError, canonical, duplicates, hash_draws, split, splits
from secondlook.recipe import Data


def images(train=400, test=200, copies=0, seed=0):
    """MNIST-shaped noise with uneven classes; the first `copies` training images come again, with the next label."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (train + test, 28, 28), dtype=np.uint8)
    y = np.minimum(rng.geometric(0.25, train + test) - 1, 9).astype(np.uint8)
    x[train - copies : train], y[train - copies : train] = x[:copies], (y[:copies] + 1) % 10
    arrays = {"x_train": x[:train], "y_train": y[:train], "x_test": x[train:], "y_test": y[train:]}
    return canonical("mnist", "npz", arrays)


IMAGES, COPIED = images(), images(copies=60)


def data(**fields) -> Data:
    return Data(name="mnist", **fields)


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 0.9), st.integers(0, 2**40), st.sampled_from([IMAGES, COPIED]))
def test_validation_is_exact_stratified_and_apart_from_training(share, seed, of):
    found = split(of, data(validation=share), seed)
    assert len(found.validation) == int(share * 400 + 0.5)
    assert sorted([*found.train, *found.validation]) == list(range(400))
    if of is IMAGES:
        wanted = np.bincount(of.y_train) * len(found.validation) / 400
        assert abs(np.bincount(found.y_validation, minlength=10) - wanted).max() < 1


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 339), st.integers(0, 2**40), st.sampled_from([0, 350]))
def test_copies_of_an_image_go_to_one_side(count, seed, limit):
    found = split(COPIED, data(validation=float(count), train_limit=limit), seed)
    train, validation = ({h.tobytes() for h in COPIED.hashes_train[i]} for i in (found.train, found.validation))
    assert not train & validation
    assert len(found.validation) == count


def test_copies_with_other_labels_are_there_to_be_split():
    assert len(duplicates(COPIED).train_conflicting) == 60


def test_a_split_does_not_depend_on_the_order_of_the_file():
    rng = np.random.default_rng(1)
    i, j = rng.permutation(400), rng.permutation(200)
    shuffled = canonical(
        "mnist",
        "npz",
        {
            "x_train": IMAGES.x_train[i],
            "y_train": IMAGES.y_train[i],
            "x_test": IMAGES.x_test[j],
            "y_test": IMAGES.y_test[j],
        },
    )
    one, other = (split(of, data(validation=0.2, train_limit=300, test_limit=50), 5) for of in (IMAGES, shuffled))
    for name in ("train", "validation", "test", "y_train", "y_validation", "y_test"):
        assert (getattr(one, name) == getattr(other, name)).all()


def test_another_seed_gives_another_split():
    one, other = (set(split(IMAGES, data(validation=0.5), seed).validation.tolist()) for seed in (0, 1))
    assert 60 < len(one & other) < 140


def test_whether_an_image_is_held_out_depends_on_its_own_pixels():
    """Images added elsewhere leave it where it was, but for the few at the border."""
    rows = slice(0, 300)
    fewer = replace(
        IMAGES,
        x_train=IMAGES.x_train[rows],
        y_train=IMAGES.y_train[rows],
        hashes_train=IMAGES.hashes_train[rows],
    )
    whole, part = (set(split(of, data(validation=0.5), 0).validation.tolist()) for of in (IMAGES, fewer))
    assert len({i for i in whole if i < 300} ^ part) < 30


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 400), st.integers(1, 200))
def test_limits_keep_so_many_stratified(train_limit, test_limit):
    found = split(IMAGES, data(train_limit=train_limit, test_limit=test_limit), 0)
    assert (len(found.train), len(found.test)) == (train_limit, test_limit)
    assert abs(np.bincount(found.y_test, minlength=10) - np.bincount(IMAGES.y_test) * test_limit / 200).max() < 1


def test_a_limit_above_what_there_is_keeps_everything():
    found = split(IMAGES, data(train_limit=10**6, test_limit=10**6), 0)
    assert (len(found.train), len(found.test)) == (400, 200)


def test_a_smaller_training_limit_keeps_a_part_of_a_larger_one():
    small, large = (set(split(IMAGES, data(train_limit=n), 0).train.tolist()) for n in (100, 300))
    assert len(small - large) == 0


def test_classes_are_chosen_and_renumbered_in_the_order_named():
    found = split(IMAGES, data(classes=(3, 1), validation=0.25), 0)
    for index, labels, of in (
        (found.train, found.y_train, IMAGES.y_train),
        (found.validation, found.y_validation, IMAGES.y_train),
        (found.test, found.y_test, IMAGES.y_test),
    ):
        assert set(of[index]) == {1, 3}
        assert (labels == (of[index] == 1)).all()
    assert found.class_names == ("3", "1")
    assert len(found.test) == np.isin(IMAGES.y_test, (1, 3)).sum()


@pytest.mark.parametrize("classes", [(0, 10), (1, 1)])
def test_unknown_or_repeated_classes_are_refused(classes):
    with pytest.raises(DataError, match="expected different labels of MNIST, 0 to 9"):
        split(IMAGES, data(classes=classes), 0)


@pytest.mark.parametrize("validation", [400.0, 1000.0, 10.5])
def test_a_validation_set_that_cannot_be_is_refused(validation):
    with pytest.raises(DataError, match="validation"):
        split(IMAGES, data(validation=validation), 0)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 1.0])
def test_imbalance_gives_the_largest_class_its_share_and_keeps_the_size(share):
    found = split(IMAGES, data(classes=(1, 0), imbalance=share, validation=0.1), 2)
    plain = split(IMAGES, data(classes=(1, 0), validation=0.1), 2)
    counts = np.bincount(found.y_train, minlength=2)
    assert counts[1] == int(share * len(plain.train))  # the digit 0 is the larger class here
    assert counts.sum() == len(plain.train)
    assert set(found.train) <= set(plain.train)
    assert (found.validation == plain.validation).all()
    assert (found.test == plain.test).all()


def test_duplicates_are_found_within_and_across_splits():
    of = images(train=100, test=50, copies=3)
    x_test = of.x_test.copy()
    x_test[0], x_test[1] = x_test[2], of.x_train[5]
    y_test = of.y_test.copy()
    arrays = {"x_train": of.x_train, "y_train": of.y_train, "x_test": x_test, "y_test": y_test}
    found = duplicates(canonical("mnist", "npz", arrays))
    assert [len(group) for group in found.train] == [2, 2, 2]
    assert found.train_conflicting == found.train
    assert [len(group) for group in found.test] == [2]
    assert len(found.both) >= 1
    assert all((of.x_train[i] == canonical("mnist", "npz", arrays).x_test[j]).all() for i, j in found.both)


def test_hash_draws_are_subsets_without_repeats_and_differ():
    found = hash_draws(20, 100, 1000)
    assert found.shape == (20, 100)
    assert all(len(set(row)) == 100 for row in found.tolist())
    assert len({tuple(row) for row in found.tolist()}) == 20
    assert (found == hash_draws(30, 100, 1000)[:20]).all()
    assert (found != hash_draws(20, 100, 1000, seed=1)).any()


def test_hash_draws_reach_every_image():
    assert len(np.unique(hash_draws(200, 100, 1000))) == 1000


def test_hash_draws_of_more_than_there_is_are_refused():
    with pytest.raises(ValueError, match="11 of 10"):
        hash_draws(1, 11, 10)


@given(st.integers(0, 500), st.lists(st.integers(0, 200), min_size=1, max_size=12).filter(any))
def test_proportional_shares_add_up_and_are_within_one(total, sizes):
    found = splits.proportional(total, sizes)
    assert found.sum() == total
    assert abs(found - np.array(sizes) * total / sum(sizes)).max() < 1
