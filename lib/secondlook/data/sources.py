"""Where images come from: a `.npz` in the data folder, the official files, or stand-ins drawn by code.

Every real set is held against its pinned digest on load; a damaged or foreign file is refused by name.
"""

import hashlib
import io
import shutil
from pathlib import Path

import numpy as np

from secondlook.data import standins
from secondlook.data.folder import data_set, load_folder
from secondlook.data.images import DATA_SETS, KEYS, DataError, DataSet, Images, MissingDataError, canonical
from secondlook.files import check_writable, member, replace_file
from secondlook.recipe import Data

LARGEST = 2**28  # bytes of one array, more than any of the sets has
OFFICIAL = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "mnist": "MNIST/raw"}


def load(data: Data, data_dir: str | Path) -> Images:
    """The images that the recipe's `data` names, in canonical order.

    Source `official` takes NAME.npz where it is, else the official files as torchvision lays them out; `npz` takes
    only NAME.npz; `standin` needs no file. Raises DataError, naming the file, where they are damaged or another data
    set's, and MissingDataError, a DataError, where there is none.
    """
    if data.name == "folder":
        return load_folder(data)
    name, folder = _known(data.name), Path(data_dir)
    if data.source == "standin":
        return standins.draw(name)
    file = folder / f"{name}.npz"
    if file.exists():
        return verified(name, "npz", _read_npz(name, file), file)
    official = folder / OFFICIAL[name]
    if data.source == "official" and official.is_dir():
        return verified(name, "official", _read_official(name, folder), official)
    raise MissingDataError(
        f"{file}: no such file, and {DATA_SETS[name].title} is needed; run `secondlook data fetch {name}` "
        f"(or `make data` for every set), or put {name}.npz with {', '.join(KEYS)} into {folder}"
    )


def known(data: Data) -> DataSet:
    """Title, shape and classes of the images that the recipe's `data` names."""
    return data_set(data) if data.name == "folder" else DATA_SETS[_known(data.name)]


def fetch(name: str, data_dir: str | Path) -> Path:
    """The path of NAME.npz, made from the official files; they are downloaded, with a progress bar, where need be.

    The file is in canonical order, and whole or absent. Raises DataError where the download or a digest fails.
    """
    file, folder = Path(data_dir) / f"{_known(name)}.npz", Path(data_dir)
    if file.exists():
        verified(name, "npz", _read_npz(name, file), file)
        return file
    check_writable(folder, "--data-dir")
    downloads = folder / "download" / name
    root = folder if (folder / OFFICIAL[name]).is_dir() else downloads
    if root == downloads:
        _download(name, downloads, folder)
    _write_npz(verified(name, "official", _read_official(name, root), root / OFFICIAL[name]), file)
    shutil.rmtree(downloads, ignore_errors=True)
    return file


def summary(data_dir: str | Path) -> list[dict[str, str]]:
    """What is in the data folder: name, title, where, digest (twelve digits or '') and state, for each data set.

    The state is `verified`, `missing` or what is wrong, as a sentence. Every file found is read in full.
    """
    rows = []
    for name, its in DATA_SETS.items():
        row = {"name": name, "title": its.title, "where": "", "digest": "", "state": "missing"}
        for place in (Path(data_dir) / f"{name}.npz", Path(data_dir) / OFFICIAL[name]):
            if place.exists():
                row["where"] = str(place)
                try:
                    row |= {"digest": load(Data(name=name), data_dir).digest[:12], "state": "verified"}
                except DataError as error:
                    row["state"] = str(error)
                break
        rows.append(row)
    return rows


def _known(name: str) -> str:
    if name not in DATA_SETS:
        raise DataError(f"{name!r} is not a set of images; expected one of {', '.join(DATA_SETS)}")
    return name


def verified(name: str, source: str, arrays: dict[str, np.ndarray], place: Path) -> Images:
    way_out = f"delete it and run `secondlook data fetch {name}`"
    try:
        images = canonical(name, source, arrays)
    except DataError as error:
        raise DataError(f"{place}: {error}; {way_out}") from None
    its = DATA_SETS[name]
    if images.digest != its.digest:
        raise DataError(
            f"{place}: the pixels or labels are not {its.title}'s: digest {images.digest[:12]}, "
            f"expected {its.digest[:12]}; {way_out}"
        )
    return images


def _download(name: str, root: Path, folder: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    try:
        for train in (True, False):
            _torchvision(name)(str(root), train=train, download=True)
    except Exception as error:  # of the network, the archive or the disk: all are told, none is hidden
        raise DataError(
            f"{DATA_SETS[name].title} could not be downloaded ({error}); try again, or put {name}.npz "
            f"with {', '.join(KEYS)} into {folder}"
        ) from error


def _read_npz(name: str, file: Path) -> dict[str, np.ndarray]:
    way_out = f"delete it and run `secondlook data fetch {name}`"
    try:
        with np.load(file, allow_pickle=False) as archive:
            missing = [key for key in KEYS if key not in archive]
            arrays = {} if missing else {key: member(archive, key, LARGEST) for key in KEYS}
    except Exception as error:  # a damaged archive fails in a dozen ways: each is the same to the reader
        raise DataError(f"{file}: not a readable .npz file ({error}); {way_out}") from error
    if missing:
        raise DataError(f"{file}: no {', '.join(missing)} in it; expected {', '.join(KEYS)}; {way_out}")
    return arrays


def _read_official(name: str, folder: Path) -> dict[str, np.ndarray]:
    """The official files through torchvision, whose CIFAR reader unpickles: each file's digest is checked before."""
    reader, place = _torchvision(name), folder / OFFICIAL[name]
    for file, md5 in [*getattr(reader, "train_list", ()), *getattr(reader, "test_list", ())]:
        path = place / file
        if not path.is_file() or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
            what = "is not the official file" if path.is_file() else "is missing"
            raise DataError(f"{path} {what}; delete {place} and run `secondlook data fetch {name}`")
    try:
        splits = {"train": reader(str(folder), train=True), "test": reader(str(folder), train=False)}
    except Exception as error:
        raise DataError(f"{place}: not readable ({error}); delete it and run `secondlook data fetch {name}`") from error
    pixels = {f"x_{split}": np.asarray(images.data) for split, images in splits.items()}
    return pixels | {f"y_{split}": np.asarray(images.targets).astype(np.uint8) for split, images in splits.items()}


def _torchvision(name: str):
    from torchvision import datasets

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "mnist": datasets.MNIST}[name]


def _write_npz(images: Images, file: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **{key: getattr(images, key) for key in KEYS})
    replace_file(file, buffer.getbuffer())
