"""Pictures of test images for a page: tiles of one file that is made when a book is built, never committed."""

import base64
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from secondlook.figures.images import hover_sprite
from secondlook.record import Record

FOLDER = "sprites"  # in $SECONDLOOK_ASSETS, and below the site's _static


def canonical_index(images, record: Record) -> np.ndarray:
    """The canonical index of each test image of a record, int64 (n,), in the order of its labels and predictions."""
    from secondlook.data import split

    data = replace(record.recipe.data, train_limit=0, validation=0.0, imbalance=0.0)  # which leave the test set alone
    return split(images, data, record.recipe.split_seed).test


def pixels_of(images, record: Record, index=None) -> np.ndarray | None:
    """Test images, uint8 (n, h, w[, 3]): those of canonical `index`, or all in the order of the record's labels.

    None where `images` is None or another data set than the record was made from.
    """
    if images is None or images.digest != record.provenance.get("data_digest"):
        return None
    return images.x_test[canonical_index(images, record) if index is None else np.asarray(index, np.int64)]


def filed(pixels: np.ndarray | None, name: str) -> dict | None:
    """Pixels as a figure's `hover_sprite`, its picture in a file `name` of the site.

    None without pixels, or outside a book build, where there is no site.
    """
    assets = os.environ.get("SECONDLOOK_ASSETS")
    if not assets or pixels is None or not len(pixels):
        return None
    target = Path(assets) / FOLDER / f"{name}.webp"
    target.parent.mkdir(parents=True, exist_ok=True)
    declared = hover_sprite(pixels)
    target.write_bytes(base64.b64decode(declared["src"].split(",", 1)[1]))
    return {**declared, "src": f"{FOLDER}/{target.name}"}
