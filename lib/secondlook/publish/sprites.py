"""Pictures of test images for a page: tiles of one file that is made when a book is built, never committed."""

import base64
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from secondlook.data import DATA_SETS
from secondlook.figures.design import sample_grid
from secondlook.figures.marks import hover_sprite, sprite
from secondlook.figures.values import is_custom
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


class Pictures:
    """What a chapter shows of its data set: `images` are None where they are not at hand, and so are the pictures."""

    def samples(self, **options):
        """Some training images of every class, or a placeholder with the command that fetches them."""
        known, images = DATA_SETS[self.data.name], self.images
        pixels, labels = (images.x_train, images.y_train) if images else (None, None)
        name = images.title if images else known.title
        return sample_grid(pixels, labels, known.class_names, name, self.data.name, **options)

    def confusion_images(self, records: list[Record], most: int = 9, name: str = "confusion") -> dict | None:
        """The images behind the cells of a confusion matrix, at most `most` a cell, as a figure's `click_sprite`.

        None outside a book build, where the pixels are not at hand, or no record keeps its predictions.
        """
        kept = [r for r in records if "predictions" in r.arrays]
        if not kept or (index := self.test_index(kept[0])) is None:
            return None
        labels, predictions = (np.asarray(kept[0].arrays[k], int) for k in ("labels", "predictions"))
        cells: dict[str, list[int]] = {}
        for image, pair in zip(index.tolist(), zip(labels.tolist(), predictions.tolist())):
            cell = cells.setdefault(f"{pair[0]},{pair[1]}", [])
            if len(cell) < most:
                cell.append(image)
        order = sorted(cells, key=lambda c: [int(k) for k in c.split(",")])
        return self.click_images(kept[0], {c: cells[c] for c in order}, name)

    def test_index(self, record: Record) -> np.ndarray | None:
        """The canonical index of each test image, in the order of the record's labels; None without the data set."""
        found = pixels_of(self.images, record, [])
        return None if found is None else canonical_index(self.images, record)

    def pixels(self, record: Record, index=None) -> np.ndarray | None:
        """Test images uint8 (n, h, w[, 3]) by canonical index, or all of a record; None where not at hand."""
        return pixels_of(self.images, record, index)

    def hover_images(self, record: Record, index, name: str = "hover") -> dict | None:
        """A figure's `hover_sprite` whose tile i is the test image with canonical index `index[i]`.

        None outside a book build or where the pixels are not at hand. `name` tells the sprites of a page apart.
        """
        name = name.removesuffix("-yours") + "-yours" * is_custom(record)
        return filed(self.pixels(record, index), f"{self.report.name}-{name}")

    def click_images(self, record: Record, cells: dict[str, list[int]], name: str = "click") -> dict | None:
        """A figure's `click_sprite`: `cells` gives the canonical indices of the test images behind "row,column"."""
        chosen = [i for own in cells.values() for i in own]
        if (declared := self.hover_images(record, chosen, name)) is None:
            return None
        ends = np.cumsum([len(own) for own in cells.values()]).tolist()
        tiles = {cell: list(range(end - len(own), end)) for (cell, own), end in zip(cells.items(), ends)}
        return {**declared, "cells": tiles}

    def image_column(self, record: Record, index) -> str | None:
        """Test images by canonical index one below the other, as a data-URI to lay in a figure; None without them."""
        found = self.pixels(record, index)
        return None if found is None else sprite(found, 1)
