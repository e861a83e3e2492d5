"""What a run left behind: recipe, provenance, history, metrics, arrays.

Records lie in `records/REPORT/` (evidence) or `runs/REPORT/` (smoke, stand-ins, custom runs). Small runs of one variant
and profile share a shelf, `VARIANT.PROFILE.json` with `VARIANT.PROFILE.npz`; a record with evidence has one of its own.
The JSON holds numbers and, for every array, the digest under which the `.npz` keeps it, so equal arrays are stored
once, and an edited number or a damaged array is found out. Plain types only, no pickle.
"""

import fcntl
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from secondlook.recipe import KEEPS, Recipe, RecipeError

SCHEMA = 1


class RecordError(ValueError):
    """A record that cannot be trusted: names the file, what is wrong and the way out."""


@dataclass
class Record:
    """One finished run. `metrics` are plain numbers, texts and lists; `history` float32 curves; `arrays` anything else.

    `status` is `finished` or `diverged` (a result: `metrics` then says at which step and learning rate).
    """

    recipe: Recipe
    status: str
    metrics: dict
    history: Mapping[str, np.ndarray] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)
    path: Path | None = None

    @property
    def id(self) -> str:
        return self.recipe.id

    @property
    def is_standin(self) -> bool:
        return self.recipe.data.source == "standin"

    @property
    def data_name(self) -> str:
        """The data's name as captions say it; a stand-in is never passed off as the real thing."""
        real = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST", "gaussians": "Gaussians"}[
            self.recipe.data.name
        ]
        return f"stand-in for {real}" if self.is_standin else real

    def load_model(self, runs_dir: Path):
        """The run's trained model in evaluation mode with its preprocessing, a `weights.TrainedModel`.

        Its weights lie beside the record, for some small models, or where the run left them below `runs_dir`. Raises
        RecordError where they are missing, damaged or not this run's.
        """
        from secondlook import weights

        return weights.of_record(self, runs_dir)

    def shelf(self, folder: Path) -> Path:
        """The shelf's path without its ending."""
        r = self.recipe
        own = f".{r.run}.{r.seed}" if r.keep == "evidence" else ""
        return Path(folder) / r.report / f"{r.variant}.{r.profile}{own}"


class _Arrays(Mapping):
    """Arrays of one record, read and verified when asked for."""

    def __init__(self, shelf: Path, digests: dict[str, str]):
        self._shelf, self._digests = shelf, digests

    def __iter__(self):
        return iter(self._digests)

    def __len__(self):
        return len(self._digests)

    def __getitem__(self, name: str) -> np.ndarray:
        digest, path = self._digests[name], self._shelf.with_name(self._shelf.name + ".npz")
        return _read_arrays(path, [digest], name)[digest]


_WAY_OUT = "restore the .json and its .npz (`git checkout`), or delete both and train again"


def save(records: list[Record], folder: Path) -> list[Path]:
    """Files records under `folder`, each on its shelf, replacing records of the same id. Returns the JSON files.

    A shelf is written to a temporary file and renamed, arrays first: a reader, or a kill, meets the old or the new one.
    """
    by_shelf: dict[Path, list[Record]] = {}
    for record in records:
        by_shelf.setdefault(record.shelf(folder), []).append(record)
    written = []
    for shelf, group in by_shelf.items():
        shelf.parent.mkdir(parents=True, exist_ok=True)
        with _locked(shelf.parent):
            written.append(_write_shelf(shelf, group))
    return written


def read_shelf(path: Path) -> dict[str, Record]:
    """The records of one JSON file by id, every number verified. Raises RecordError naming file and record."""
    path = Path(path)
    entries = _entries(path)
    bundle = path.with_suffix(".npz")
    if any(isinstance(e, dict) and e.get("arrays") for e in entries.values()) and not bundle.exists():
        raise RecordError(f"{bundle}: the arrays of {path.name} are missing; {_WAY_OUT}")
    records = {}
    for id_, entry in entries.items():
        if not isinstance(entry, dict):
            raise RecordError(f"{path}: record {id_} is no table of its parts but {entry!r:.40}; {_WAY_OUT}")
        try:
            recipe = Recipe.from_dict(entry["recipe"], f"{path.name}, record {id_}")
            stated, actual = entry["digest"], _entry_digest(entry)
            split = {True: {}, False: {}}
            for name, digest in entry["arrays"].items():
                split[name.startswith("history.")][name.removeprefix("history.")] = digest
            record = Record(recipe, entry["status"], entry["metrics"], _Arrays(_stem(path), split[True]),
                            _Arrays(_stem(path), split[False]), entry["provenance"], path)  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"{path}: record {id_} lacks {error}; {_WAY_OUT}") from None
        except RecipeError as error:
            raise RecordError(f"{path}: {error}; {_WAY_OUT}") from None
        if stated != actual:
            raise RecordError(f"{path}: record {id_} ({recipe}) was changed after it was written; {_WAY_OUT}")
        if recipe.id != id_:
            raise RecordError(f"{path}: record {id_} holds a recipe whose id is {recipe.id}; {_WAY_OUT}")
        records[id_] = record
    return records


class Records:
    """All records below some folders, found by recipe; the earlier folder is asked first."""

    def __init__(self, *folders: Path):
        self.folders = [Path(f) for f in folders]
        self._shelves: dict[Path, tuple[tuple, dict[str, Record]]] = {}

    def of(self, report: str) -> dict[str, Record]:
        """Records of a report by id; of two of one id that of the earlier folder, and there the one that keeps more."""
        found: dict[str, Record] = {}
        for folder in self.folders:
            for shelf in self._shelves_of(report, folder):
                for id_, record in shelf.items():
                    other = found.get(id_)
                    same_folder = other is not None and folder in other.path.parents
                    if other is None or (same_folder and keeps(record) > keeps(other)):
                        found[id_] = record
        return found

    def get(self, recipe: Recipe) -> Record | None:
        """The record of this recipe, if there is one that keeps as much as the recipe asks for."""
        return self.each([recipe])[0]

    def each(self, recipes: Iterable[Recipe]) -> list[Record | None]:
        """What `get` says of each recipe; the files are looked at once for all of them."""
        recipes = list(recipes)
        reports = {recipe.report for recipe in recipes}
        shelves = {name: [list(self._shelves_of(name, folder)) for folder in self.folders] for name in reports}
        return [_enough(recipe, shelves[recipe.report]) for recipe in recipes]

    def _shelves_of(self, report: str, folder: Path) -> Iterator[dict[str, Record]]:
        """The records of each file, read again where the file has changed."""
        for path in sorted((folder / report).glob("*.json")):
            stamp = _stamp(path)
            if self._shelves.get(path, (None,))[0] != stamp:
                self._shelves[path] = (stamp, read_shelf(path))
            yield self._shelves[path][1]

    def find(self, recipes: list[Recipe]) -> list[Record]:
        """The records there are for these recipes, in their order."""
        by_report = {report: self.of(report) for report in {r.report for r in recipes}}
        return [by_report[r.report][r.id] for r in recipes if r.id in by_report[r.report]]


def _enough(recipe: Recipe, folders: list[list[dict[str, Record]]]) -> Record | None:
    for shelves in folders:
        found = [shelf[recipe.id] for shelf in shelves if recipe.id in shelf]
        best = max(found, key=keeps, default=None)
        if best is not None and keeps(best) >= KEEPS.index(recipe.keep):
            return best
    return None


def keeps(record: Record) -> int:
    """How much of its run a record keeps, as a rank."""
    return KEEPS.index(record.recipe.keep)


def folder_for(recipe: Recipe, records_dir: Path, runs_dir: Path) -> Path:
    """`records_dir` for evidence, `runs_dir` for smoke, stand-ins and custom runs."""
    return records_dir if recipe.is_evidence else runs_dir


def _write_shelf(shelf: Path, records: list[Record]) -> Path:
    target, bundle = shelf.with_name(shelf.name + ".json"), shelf.with_name(shelf.name + ".npz")
    entries = _entries(target) if target.exists() else {}
    # Arrays of replaced records stay until the next write: a kill between the two files leaves the old JSON whole.
    needed = {digest for entry in entries.values() for digest in entry["arrays"].values()}
    arrays: dict[str, np.ndarray] = {}
    for record in records:
        entries[record.id], own = _entry(record)
        arrays.update(own)
    arrays |= _read_arrays(bundle, needed - arrays.keys())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: arrays[name] for name in sorted(arrays)})
    lines = ",\n".join(f"{json.dumps(i)}: {_json(entries[i])}" for i in sorted(entries))
    if arrays:
        replace_file(bundle, buffer.getvalue())
    replace_file(target, f'{{"schema": {SCHEMA}, "records": {{\n{lines}\n}}}}\n'.encode())
    return target


def _read_arrays(path: Path, digests: Iterable[str], name: str = "") -> dict[str, np.ndarray]:
    """Arrays of a bundle by digest, verified; `name` is what the error calls one that cannot be read."""
    found: dict[str, np.ndarray] = {}
    digests = list(digests)
    if not digests:
        return found
    try:
        bundle = _bundle(path, _stamp(path), os.getpid())
        for digest in digests:
            found[digest] = bundle[digest]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error) as error:
        lost = name or digests[len(found)]
        raise RecordError(f"{path}: array {lost!r} cannot be read ({error}); {_WAY_OUT}") from None
    for digest, array in found.items():
        if _digest(array) != digest:
            raise RecordError(f"{path}: array {name or digest!r} was changed after it was written; {_WAY_OUT}")
    return found


@lru_cache(maxsize=16)
def _bundle(path: Path, stamp: tuple[int, int], process: int):
    """A bundle, open: its table of contents is read once. Processes do not share one, since they would its position."""
    return np.load(path, allow_pickle=False)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    told = path.stat()
    return told.st_mtime_ns, told.st_size


def replace_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path` so that the file is whole or absent, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _entry(record: Record) -> tuple[dict, dict[str, np.ndarray]]:
    named = {**{f"history.{k}": np.asarray(v, np.float32) for k, v in record.history.items()}, **record.arrays}
    digests, arrays = {}, {}
    for name, array in named.items():
        array = np.ascontiguousarray(array)
        if array.dtype.hasobject:
            raise RecordError(f"array {name!r} of {record.recipe} holds Python objects; only plain numbers are kept")
        digests[name] = _digest(array)
        arrays[digests[name]] = array
    entry = {
        "recipe": record.recipe.as_dict(), "status": record.status, "metrics": record.metrics,
        "arrays": digests, "provenance": record.provenance,
    }  # fmt: skip
    entry = json.loads(_json(entry), parse_constant=lambda word: None)  # JSON has no word for NaN or infinity
    entry["digest"] = _entry_digest(entry)
    return entry, arrays


def _entries(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise RecordError(f"{path}: schema {content['schema']}, this version reads {SCHEMA}; update the library")
        return dict(content["records"])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: not a file of records ({error}); {_WAY_OUT}") from None


def _json(value) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain type: keep it in arrays")


def _entry_digest(entry: dict) -> str:
    return hashlib.sha256(_json({k: v for k, v in entry.items() if k != "digest"}).encode()).hexdigest()[:24]


def _digest(array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()[:24]


def _stem(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".json"))


@contextmanager
def _locked(folder: Path):
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
