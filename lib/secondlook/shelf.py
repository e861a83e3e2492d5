"""A shelf: some records' numbers in a JSON file and their arrays in the `.npz` beside it, found by their digests."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from secondlook.files import member

SCHEMA = 1
LARGEST = 64 * 2**20  # bytes of one array
WAY_OUT = "restore the .json and its .npz (`git checkout`), or delete both and train again"


class RecordError(ValueError):
    """A record that cannot be trusted: names the file, what is wrong and the way out."""


class Arrays(Mapping):
    """Arrays of the record `id_` in the file `path`, read and verified when asked for; `prefix` begins their names."""

    def __init__(self, path: Path, id_: str, digests: dict[str, str], prefix: str = ""):
        self._path, self._id, self._prefix, self.digests = path, id_, prefix, digests

    def __iter__(self):
        return (name.removeprefix(self._prefix) for name in self.digests)

    def __len__(self):
        return len(self.digests)

    def __getitem__(self, name: str) -> np.ndarray:
        digest = self.digests[self._prefix + name]
        try:
            return read_arrays(bundle_of(self._path), [digest], name)[digest]
        except RecordError:  # the record may have been replaced since its numbers were read
            now = arrays_of(read_entries(self._path).get(self._id)).get(self._prefix + name, digest)
            if now == digest:
                raise
            return read_arrays(bundle_of(self._path), [now], name)[now]


def read_entries(path: Path) -> dict[str, dict]:
    """What stands in the JSON file under each id, unchecked. Raises RecordError where it is no file of records."""
    try:
        content = _patient(path, lambda: json.loads(path.read_text(encoding="utf-8")))
        schema, entries = content["schema"], dict(content["records"])
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); see to its permissions or its disk") from None
    except Exception as error:  # whatever it is, these are no records
        raise RecordError(f"{path}: not a file of records ({error}); {WAY_OUT}") from None
    if schema != SCHEMA:
        raise RecordError(f"{path}: schema {schema}, this version reads {SCHEMA}; update the library")
    return entries


def read_arrays(path: Path, digests: Iterable[str], name: str = "") -> dict[str, np.ndarray]:
    """Arrays of a bundle by digest, verified; `name` is what the error calls one that cannot be read."""
    found: dict[str, np.ndarray] = {}
    for digest in digests:
        try:
            found[digest] = _patient(path, lambda d=digest: member(_bundle(path, stamp(path), os.getpid()), d, LARGEST))
        except Exception as error:  # a damaged file fails in a dozen ways: each is the same to the reader
            raise RecordError(f"{path}: array {name or digest!r} cannot be read ({error}); {WAY_OUT}") from None
        if digest_of(found[digest]) != digest:
            raise RecordError(f"{path}: array {name or digest!r} was changed after it was written; {WAY_OUT}")
    return found


def arrays_of(entry) -> dict[str, str]:
    """Digests of an entry's arrays by name; none where it is no entry."""
    arrays = entry.get("arrays") if isinstance(entry, dict) else None
    return arrays if isinstance(arrays, dict) else {}


def bundle_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".json") + ".npz")


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does."""
    told = path.stat()
    return told.st_mtime_ns, told.st_size, told.st_ino


def digest_of(array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()[:24]


def entry_digest(entry: dict) -> str:
    return hashlib.sha256(to_json({k: v for k, v in entry.items() if k != "digest"}).encode()).hexdigest()[:24]


def to_json(value) -> str:
    """The value as one line, numbers of numpy among it. Raises TypeError for what is no plain type."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _patient(path: Path, read: Callable):
    """What `read` gives; it tries once more where the file was replaced meanwhile."""
    before = stamp(path)
    try:
        return read()
    except Exception:
        if stamp(path) == before:
            raise
        return read()


@lru_cache(maxsize=16)
def _bundle(path: Path, stamp: tuple, process: int):
    """A bundle, open: its table of contents is read once. Processes do not share one, since they would its position."""
    return np.load(path, allow_pickle=False)


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain type: keep it in arrays")
