"""Which images a run sees: classes, limits, validation and imbalance, all decided by the images' own hashes.

Images are ranked within a class by sha256(split seed ‖ pixels). Training keeps the first ranks, validation takes the
last of them, so neither depends on the order of a file. Copies of one image have one rank and go to one side.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from secondlook.data import draws
from secondlook.data.images import DataError, Images
from secondlook.recipe import Data


@dataclass(frozen=True, eq=False)
class Split:
    """Canonical indices, int64, of `x_train` (train, validation) and `x_test` (test), and their labels 0 … k − 1.

    Indices ascend; with `imbalance` those of train repeat.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    y_train: np.ndarray  # int64, of the classes kept, in the order the recipe names them
    y_validation: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Copies by canonical index: groups in a split, those of train whose labels differ, (train, test) pairs."""

    train: tuple[tuple[int, ...], ...]
    train_conflicting: tuple[tuple[int, ...], ...]
    test: tuple[tuple[int, ...], ...]
    both: tuple[tuple[int, int], ...]


@lru_cache(maxsize=4)
def split(images: Images, data: Data, split_seed: int) -> Split:
    """The division of `images` that `data` asks for: classes, then limits, then validation, then imbalance.

    Every choice is stratified: a class's share is its share of what is divided, as far as copies allow; totals are
    exact while there are images without a copy. The limits are of training with validation, and of test; one above
    what there is keeps everything. The last few divisions are remembered, so nobody may write into one.
    Raises DataError for an unknown class or a validation set that leaves nothing to train on.
    """
    classes = _classes(images, data)
    label = np.full(len(images.class_names), -1)
    label[list(classes)] = np.arange(len(classes))
    y_train, y_test = label[images.y_train], label[images.y_test]
    train = _kept(images.x_train, images.hashes_train, y_train, data.train_limit, split_seed)
    test = _kept(images.x_test, images.hashes_test, y_test, data.test_limit, split_seed)
    count = _validation_count(data.validation, len(train))
    ranks = ~_ranks(images.x_train[train], split_seed) if count else None
    held = _first(ranks, images.hashes_train[train], y_train[train], count) if count else np.zeros(len(train), bool)
    train, validation = train[~held], train[held]
    if data.imbalance:
        train = train[_imbalanced(y_train[train], data.imbalance, split_seed)]
    names = tuple(images.class_names[c] for c in classes)
    return Split(train, validation, test, y_train[train], y_train[validation], y_test[test], names)


def duplicates(images: Images) -> Duplicates:
    """Every image that is there more than once, pixel for pixel; nothing is removed."""
    groups = {name: _groups(getattr(images, f"hashes_{name}")) for name in ("train", "test")}
    copies = {name: tuple(g for g in found.values() if len(g) > 1) for name, found in groups.items()}
    shared = groups["train"].keys() & groups["test"].keys()
    both = sorted((i, j) for key in shared for i in groups["train"][key] for j in groups["test"][key])
    conflicting = tuple(g for g in copies["train"] if len(set(images.y_train[list(g)].tolist())) > 1)
    return Duplicates(copies["train"], conflicting, copies["test"], tuple(both))


@lru_cache(maxsize=8)
def hash_draws(count: int, size: int, n: int, seed: int = 0) -> np.ndarray:
    """`count` draws of `size` of n canonical indices, each without replacement: int64 (count, size), rows ascending.

    What stands in for "the first 1,000 images" where the official order is not known. Raises ValueError for size > n.
    """
    if not 0 <= size <= n:
        raise ValueError(f"cannot draw {size} of {n} images without replacement")
    found = np.stack([np.sort(draws.permutation(seed, d, n, stream="subset")[:size]) for d in range(count)])
    found.flags.writeable = False  # everybody is given the same array
    return found


def proportional(total: int, sizes: Iterable[int]) -> np.ndarray:
    """`total` divided in proportion to `sizes` into whole numbers of that sum; largest remainders first, then order."""
    sizes = np.asarray(sizes, np.int64)
    whole, rest = np.divmod(sizes * total, sizes.sum())
    whole[np.argsort(-rest, kind="stable")[: total - whole.sum()]] += 1
    return whole


def _classes(images: Images, data: Data) -> tuple[int, ...]:
    classes, known = data.classes or tuple(range(len(images.class_names))), len(images.class_names)
    if len(set(classes)) < len(classes) or not all(0 <= c < known for c in classes):
        raise DataError(f"classes {list(classes)}: expected different labels of {images.title}, 0 to {known - 1}")
    return classes


def _validation_count(validation: float, n: int) -> int:
    count = int(validation * n + 0.5) if validation < 1 else int(validation)
    if count >= n or (validation >= 1 and count != validation):
        raise DataError(f"validation {validation:g}: expected a share below 1, or a whole number below {n} images")
    return count


def _kept(x, hashes, labels, limit: int, seed: int) -> np.ndarray:
    """Indices of the labelled images (label ≥ 0), at most `limit` of them where it is not 0."""
    kept = np.flatnonzero(labels >= 0)
    if not limit or limit >= len(kept):
        return kept
    return kept[_first(_ranks(x[kept], seed), hashes[kept], labels[kept], limit)]


def _ranks(x: np.ndarray, seed: int) -> np.ndarray:
    """The first 64 bits of sha256(seed ‖ pixels), uint64 (n,); the seed as eight bytes."""
    start = hashlib.sha256(int(seed).to_bytes(8, "big", signed=True))
    ranks = np.empty(len(x), np.uint64)
    for i, row in enumerate(np.ascontiguousarray(x).reshape(len(x), -1)):
        hashed = start.copy()
        hashed.update(row)
        ranks[i] = int.from_bytes(hashed.digest()[:8], "big")
    return ranks


def _first(ranks, hashes, labels, count: int) -> np.ndarray:
    """A mask of `count` images, the first ranks of each class, where copies are all in or all out.

    A group of copies is in when each of them ranks within its class's share; single images fill what is left, those
    of other classes where a class has too few.
    """
    quota = proportional(count, np.bincount(labels))
    within = _positions(ranks, labels) < quota[labels]
    copies = np.zeros(len(labels), bool)
    for group in (list(g) for g in _groups(hashes).values() if len(g) > 1):
        copies[group], within[group] = True, within[group].all()
    left = quota - np.bincount(labels[within & copies], minlength=len(quota))
    single = np.flatnonzero(~copies)
    within[single] = _positions(ranks[single], labels[single]) < left[labels[single]]
    spare = single[~within[single]]
    within[spare[np.argsort(ranks[spare], kind="stable")[: count - within.sum()]]] = True
    return within


def _positions(ranks, labels) -> np.ndarray:
    """Each image's place, from 0, among those of its class; equal ranks in canonical order."""
    order = np.lexsort((ranks, labels))
    starts = np.searchsorted(labels[order], labels[order])
    positions = np.empty(len(labels), np.int64)
    positions[order] = np.arange(len(labels)) - starts
    return positions


def _imbalanced(labels, share: float, seed: int) -> np.ndarray:
    """Positions drawn with replacement, as many as there are, of which the largest class has `share` (rounded down)."""
    sizes = np.bincount(labels)
    largest = int(sizes.argmax())
    counts = np.zeros(len(sizes), np.int64)
    counts[largest] = total = int(share * len(labels))
    others = np.where(np.arange(len(sizes)) == largest, 0, sizes)
    if others.any():
        counts += proportional(len(labels) - total, others)
    drawn = []
    for label in np.flatnonzero(counts):
        members = np.flatnonzero(labels == label)
        drawn.append(members[draws.integers(seed, f"imbalance {label}", 0, int(counts[label]), len(members))])
    return np.sort(np.concatenate(drawn))


def _groups(hashes: np.ndarray) -> dict[bytes, tuple[int, ...]]:
    """Indices by pixel hash."""
    found: dict[bytes, list[int]] = {}
    for i, key in enumerate(np.ascontiguousarray(hashes).view("V32").ravel().tolist()):
        found.setdefault(key, []).append(i)
    return {key: tuple(group) for key, group in found.items()}
