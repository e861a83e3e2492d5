"""A data set in canonical order, and the digest that names it.

Each split is sorted by (sha256 of the pixels, label). Order, splits, augmentation and noise index that order only, so
equal recipes train equally from the official files and from a shuffled copy of them.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from secondlook.data import names

KEYS = ("x_train", "y_train", "x_test", "y_test")


class DataError(Exception):
    """Images that cannot be used: says which file, what is wrong with it and the way out."""


class MissingDataError(DataError):
    """Images that are not here at all; what reads records alone does without them."""


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set before its files are opened. `digest` is None where nothing is pinned."""

    title: str
    shape: tuple[int, ...]  # of one image
    class_names: tuple[str, ...]
    digest: str | None = None


DATA_SETS = {
    "cifar10": DataSet(
        "CIFAR-10", (32, 32, 3), names.CIFAR10, "6b6f76840396fca690819837835d52d000ac79e163bb4ea646a45974caf6473c"
    ),
    "cifar100": DataSet(
        "CIFAR-100", (32, 32, 3), names.CIFAR100, "35e7a08a7208368e5b14316cda28194ef09d58dbf915953a437672cc17df61a6"
    ),
    "mnist": DataSet(
        "MNIST", (28, 28), names.MNIST, "a5dae93ad88cc941d71a1241bfa27c4bab7a87c080978ea475e785d00928ddb7"
    ),
}


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in canonical order. Images are uint8 (n, side, side, 3) or (n, 28, 28), labels uint8 (n,)."""

    name: str  # cifar10, cifar100, mnist, folder
    source: str  # where the bytes came from: official, npz, standin
    x_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    hashes_train: np.ndarray = field(repr=False)  # sha256 of each image's pixels, uint8 (n, 32)
    hashes_test: np.ndarray = field(repr=False)
    digest: str  # sha256 of all shapes, types, pixels and labels, hexadecimal
    bayes_error: float | None = None  # stand-ins only: of all classes, before rounding to uint8
    bayes_error_se: float | None = None
    known: DataSet = None  # of DATA_SETS, or what a folder of own images tells

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.known.class_names

    @property
    def title(self) -> str:
        """The name for captions and tables, which never passes a stand-in off as the real thing."""
        return f"stand-in for {self.known.title}" if self.source == "standin" else self.known.title


def canonical(name: str, source: str, arrays: dict[str, np.ndarray], known: DataSet | None = None, **more) -> Images:
    """The images in canonical order, from x_train, y_train, x_test, y_test in any order.

    Raises DataError where an array's type or shape is not that of the data set `name`, or of what is `known` of it.
    """
    known = known or DATA_SETS[name]
    checked_arrays(known, arrays)
    ordered, hashes = {}, {}
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        digests = pixel_hashes(x)
        order = np.lexsort((y, *digests.view(">u8").T[::-1]))
        ordered[f"x_{split}"], ordered[f"y_{split}"], hashes[f"hashes_{split}"] = x[order], y[order], digests[order]
    return Images(name, source, **ordered, **hashes, digest=digest(ordered), known=known, **more)


def checked_arrays(known: DataSet, arrays: dict[str, np.ndarray]) -> None:
    """Raises DataError where an array's type, shape or a label is not that of the data set."""
    for key in KEYS:
        array, images = arrays[key], arrays[key.replace("y_", "x_")]
        shape = known.shape if key.startswith("x_") else ()
        expected = f"expected uint8 ({', '.join(map(str, ('n', *shape)))})"
        if array.dtype != np.uint8 or array.ndim == 0 or array.shape[1:] != shape or not len(array):
            raise DataError(f"{key} is {array.dtype} {array.shape}; {expected}")
        if len(array) != len(images):
            raise DataError(f"{key} has {len(array)} labels for {len(images)} images")
        if not shape and array.max() >= len(known.class_names):
            raise DataError(f"{key} has the label {array.max()}; {known.title} has 0 to {len(known.class_names) - 1}")


def pixel_hashes(x: np.ndarray) -> np.ndarray:
    """sha256 of each image's pixels, uint8 (n, 32)."""
    rows = np.ascontiguousarray(x).reshape(len(x), -1)
    return np.frombuffer(b"".join(hashlib.sha256(row).digest() for row in rows), np.uint8).reshape(-1, 32)


def digest(arrays: dict[str, np.ndarray]) -> str:
    """sha256 of the four arrays' names, types, shapes and bytes, as they are ordered, in hexadecimal."""
    total = hashlib.sha256()
    for key in KEYS:
        total.update(f"{key} {arrays[key].dtype} {arrays[key].shape}\n".encode())
        total.update(np.ascontiguousarray(arrays[key]))
    return total.hexdigest()
