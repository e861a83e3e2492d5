"""Images of one's own: a folder that holds a folder of images for each class, as torchvision's ImageFolder takes it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from secondlook.checks import RecipeError
from secondlook.data.images import DataError, DataSet, Images, canonical, pixel_hashes
from secondlook.recipe import Data, Recipe

SIDE = 32  # pixels, where the recipe leaves images as they are stored
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MOST_CLASSES = 256
TEST_SHARE = 5  # one image in so many of each class, by hash, where the folder has no `train` and `test`


def with_images(recipe: Recipe, folder: str | Path) -> Recipe:
    """The recipe on the images of `folder`, as a reader's own run, which judges nothing.

    The id follows the images, not the path. Raises DataError for a folder that cannot be used, RecipeError for a recipe
    that is no classifier's.
    """
    if recipe.kind != "classifier":
        raise RecipeError(f"{recipe}: kind {recipe.kind} takes no folder of images; give a run of kind classifier")
    place, data = Path(folder).expanduser().absolute(), recipe.data
    own = Data(name="folder", folder=str(place), image_size=data.image_size or SIDE, validation=data.validation,
               split_seed=data.split_seed, normalise=data.normalise)  # fmt: skip
    arrays, names = _arrays(place, own.image_size)
    own = replace(own, class_names=names, train_limit=len(arrays["y_train"]), test_limit=len(arrays["y_test"]))
    own = replace(own, digest=_images(own, arrays).digest)
    return replace(recipe.customised(), data=own)


def load_folder(data: Data) -> Images:
    """The images a recipe was made of. Raises DataError where the folder's are others by now."""
    arrays, _ = _arrays(Path(data.folder), data.image_size)
    images = _images(data, arrays)
    if images.digest != data.digest:
        raise DataError(f"{data.folder}: its images are not those the recipe was made of; make the recipe again")
    return images


def data_set(data: Data) -> DataSet:
    """What is known of the images before their files are opened."""
    return DataSet(f"own images ({Path(data.folder).name})", (data.image_size, data.image_size, 3), data.class_names)


def square(image: Path | Image.Image, side: int, channels: int = 3) -> np.ndarray:
    """The middle square of an image or a file, uint8 (side, side, 3), or (side, side) of a digit, light on dark.

    Raises DataError for what is no image.
    """
    try:
        with image.copy() if isinstance(image, Image.Image) else Image.open(image) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB" if channels == 3 else "L")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{image}: not an image that can be read ({error}); give a PNG, JPEG or WebP file") from None
    pixels = np.array(ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS))
    return 255 - pixels if channels == 1 and np.median(pixels) > 127 else pixels


def _images(data: Data, arrays: dict[str, np.ndarray]) -> Images:
    return canonical("folder", "official", arrays, known=data_set(data))


def _arrays(place: Path, side: int) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """x_train, y_train, x_test, y_test of a folder, and the names of its classes in the order of their labels."""
    if not place.is_dir():
        raise DataError(f"{place}: there is no such folder; give one that holds a folder of images for each class")
    parts = {name: _folders(place / name) for name in ("train", "test") if (place / name).is_dir()}
    names = tuple(parts["train"] if len(parts) == 2 else _folders(place))
    if not 2 <= len(names) <= MOST_CLASSES:
        raise DataError(f"{place}: {len(names)} folders in it; expected one for each of 2 to {MOST_CLASSES} classes")
    if len(parts) == 2:
        if parts["train"] != parts["test"]:
            raise DataError(
                f"{place}: train and test have other classes ({', '.join(names)}; {', '.join(parts['test'])})"
            )
        divided = {part: [_read(place / part / name, side) for name in names] for part in parts}
    else:
        each = [_read(place / name, side) for name in names]
        ranks = [np.argsort(pixel_hashes(x)[:, :8].copy().view(">u8")[:, 0], kind="stable") for x in each]
        cuts = [max(1, len(x) // TEST_SHARE) for x in each]
        divided = {"train": [x[np.sort(r[cut:])] for x, r, cut in zip(each, ranks, cuts)],
                   "test": [x[np.sort(r[:cut])] for x, r, cut in zip(each, ranks, cuts)]}  # fmt: skip
    arrays = {}
    for part, classes in divided.items():
        if empty := [name for name, x in zip(names, classes) if not len(x)]:
            raise DataError(f"{place}: no image to {part} with in {', '.join(empty)}; a class needs two or more")
        arrays[f"x_{part}"] = np.concatenate(classes)
        arrays[f"y_{part}"] = np.repeat(np.arange(len(names), dtype=np.uint8), [len(x) for x in classes])
    return arrays, names


def _folders(place: Path) -> list[str]:
    return sorted(p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read(folder: Path, side: int) -> np.ndarray:
    """The images of one class, uint8 (n, side, side, 3); files in folders below count too."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS and not p.name.startswith("."))
    return np.stack([square(p, side) for p in files]) if files else np.empty((0, side, side, 3), np.uint8)
