"""What a run left behind: recipe, provenance, history, metrics, arrays.

Records lie in `records/REPORT/` (evidence) or `runs/REPORT/` (smoke, stand-ins, custom runs). Small runs of one variant
and profile share a shelf, `VARIANT.PROFILE.json` with `VARIANT.PROFILE.npz`; a record with evidence has one of its own.
The JSON holds numbers and, for every array, the digest under which the `.npz` keeps it, so equal arrays are stored
once, and an edited number or a damaged array is found out. Plain types only, no pickle.
"""

import io
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic.dataclasses

from secondlook.checks import STRICT, RecipeError, checked
from secondlook.files import lock, replace_file
from secondlook.recipe import KEEPS, Recipe
from secondlook.shelf import (
    SCHEMA,
    WAY_OUT,
    Arrays,
    RecordError,
    arrays_of,
    bundle_of,
    digest_of,
    entry_digest,
    read_arrays,
    read_entries,
    stamp,
    to_json,
)

CURVE = "history."  # begins the name of an array that is a curve


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
        real = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST", "gaussians": "Gaussians",
                "folder": f"own images ({Path(self.recipe.data.folder).name})"}  # fmt: skip
        name = real[self.recipe.data.name]
        return f"stand-in for {name}" if self.is_standin else name

    def load_model(self, runs_dir: Path):
        """The run's trained model in evaluation mode with its preprocessing, a `weights.TrainedModel`.

        Its weights lie beside the record, for some small models, or where the run left them below `runs_dir`. Raises
        RecordError where they are missing, damaged or not this run's.
        """
        from secondlook import weights

        return weights.of_record(self, runs_dir)

    def shelf(self, folder: Path) -> Path:
        """The shelf's path without its ending."""
        return shelf_of(self.recipe, folder).with_suffix("")


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class _Entry:
    """A record as its file holds it."""

    recipe: dict[str, Any]
    status: Literal["finished", "diverged"]
    metrics: dict[str, Any]
    arrays: dict[str, str]
    provenance: dict[str, Any]
    digest: str


def save(records: list[Record], folder: Path) -> list[Path]:
    """Files records under `folder`, each on its shelf, replacing records of the same id. Returns the JSON files.

    A shelf is written to a temporary file and renamed, arrays first: a reader, or a kill, meets the old or the new one.
    What was written is read back. Raises RecordError, naming the folder and the way out, where that cannot be done.
    """
    by_shelf: dict[Path, list[Record]] = {}
    for record in records:
        by_shelf.setdefault(shelf_of(record.recipe, folder), []).append(record)
    for path, group in by_shelf.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with lock(path.parent / ".lock"):
                _write_shelf(path, group)
        except OSError as error:
            raise RecordError(
                f"{path.parent}: records cannot be filed ({error.strerror or error}); make room, make the folder "
                "writable, or name another one, and run the same command again: what was trained is kept"
            ) from error
    return list(by_shelf)


def shelf_of(recipe: Recipe, folder: Path) -> Path:
    """The JSON file that the record of a recipe lies in."""
    own = f".{recipe.run}.{recipe.seed}" if recipe.keep == "evidence" else ""
    return Path(folder) / recipe.report / f"{recipe.variant}.{recipe.profile}{own}.json"


def contents(path: Path) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Entries by id and arrays by digest, of a JSON file and its bundle. Raises RecordError where they are damaged."""
    entries = read_entries(path) if path.exists() else {}
    return entries, read_arrays(bundle_of(path), {d for entry in entries.values() for d in arrays_of(entry).values()})


def read_shelf(path: Path) -> dict[str, Record]:
    """The records of one JSON file by id, every number verified. Raises RecordError naming file and record."""
    records = {}
    for id_, found in _each(Path(path)):
        if isinstance(found, RecordError):
            raise found
        records[id_] = found
    return records


def _each(path: Path) -> Iterator[tuple[str, Record | RecordError]]:
    """Every record of a JSON file by id, or what is wrong with it. Raises RecordError where there are none."""
    for id_, entry in read_entries(path).items():
        try:
            yield id_, _record(path, id_, entry)
        except RecordError as error:
            yield id_, error


def _record(path: Path, id_: str, entry: dict) -> Record:
    own, recipe = _checked(entry, f"{path}: record {id_}")
    if own.digest != entry_digest(entry):
        raise RecordError(f"{path}: record {id_} ({recipe}) was changed after it was written; {WAY_OUT}")
    if recipe.id != id_:
        raise RecordError(f"{path}: record {id_} holds a recipe whose id is {recipe.id}; {WAY_OUT}")
    if own.arrays and not bundle_of(path).exists():
        raise RecordError(f"{bundle_of(path)}: the arrays of {path.name} are missing; {WAY_OUT}")
    curves = {k: v for k, v in own.arrays.items() if k.startswith(CURVE)}
    arrays = {k: v for k, v in own.arrays.items() if k not in curves}
    history, arrays = Arrays(path, id_, curves, CURVE), Arrays(path, id_, arrays)
    return Record(recipe, own.status, own.metrics, history, arrays, own.provenance, path)


def _checked(entry: dict, where: str) -> tuple[_Entry, Recipe]:
    try:
        own = checked(_Entry, entry, where)
        return own, Recipe.from_dict(own.recipe, where)
    except RecipeError as error:
        raise RecordError(f"{error}; {WAY_OUT}") from None


class Records:
    """All records below some folders, found by recipe; the earlier folder is asked first.

    A file or a record that cannot be trusted is warned of, stands in `problems`, and is as if it were not there.
    """

    def __init__(self, *folders: Path):
        self.folders = [Path(f) for f in folders]
        self._shelves: dict[Path, tuple[tuple, dict[str, Record], list[str]]] = {}

    @property
    def problems(self) -> list[str]:
        """What was wrong with the files that were looked at."""
        return [problem for _, _, problems in self._shelves.values() for problem in problems]

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
        """The records of each file, read again where the file has changed; hidden files are somebody else's."""
        for path in sorted((folder / report).glob("[!.]*.json")):
            try:
                now = stamp(path)
            except FileNotFoundError:  # removed since it was listed
                continue
            if self._shelves.get(path, (None,))[0] != now:
                self._shelves[path] = (now, *_whole(path))
            yield self._shelves[path][1]

    def find(self, recipes: list[Recipe]) -> list[Record]:
        """The records there are for these recipes, in their order."""
        by_report = {report: self.of(report) for report in {r.report for r in recipes}}
        return [by_report[r.report][r.id] for r in recipes if r.id in by_report[r.report]]


def _whole(path: Path) -> tuple[dict[str, Record], list[str]]:
    """The records of a file that can be trusted, and what is wrong with the others."""
    try:
        found = dict(_each(path))
    except RecordError as error:
        found = {"": error}
    problems = [str(error) for error in found.values() if isinstance(error, RecordError)]
    for problem in problems:
        warnings.warn(f"left out: {problem}", stacklevel=2)
    return {id_: record for id_, record in found.items() if isinstance(record, Record)}, problems


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


def _write_shelf(path: Path, records: list[Record]) -> None:
    # Arrays of replaced records stay until the next write: a kill between the two files leaves the old JSON whole.
    entries, arrays = contents(path)
    for record in records:
        entries[record.id], own = _entry(record)
        arrays |= own
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: arrays[name] for name in sorted(arrays)})
    lines = ",\n".join(f"{json.dumps(i)}: {to_json(entries[i])}" for i in sorted(entries))
    if arrays:
        replace_file(bundle_of(path), buffer.getvalue())
    replace_file(path, f'{{"schema": {SCHEMA}, "records": {{\n{lines}\n}}}}\n'.encode())
    _read_back(path, records)


def _read_back(path: Path, records: list[Record]) -> None:
    """Reads what was just written of the records, every number and every array."""
    entries = read_entries(path)
    for record in records:
        found = _record(path, record.id, entries[record.id])
        read_arrays(bundle_of(path), [*found.history.digests.values(), *found.arrays.digests.values()])


def _entry(record: Record) -> tuple[dict, dict[str, np.ndarray]]:
    named = {**{CURVE + k: np.asarray(v, np.float32) for k, v in record.history.items()}, **record.arrays}
    digests, arrays = {}, {}
    for name, array in named.items():
        array = np.ascontiguousarray(array)
        if array.dtype.hasobject:
            raise RecordError(f"array {name!r} of {record.recipe} holds Python objects; only plain numbers are kept")
        digests[name] = digest_of(array)
        arrays[digests[name]] = array
    entry = {
        "recipe": record.recipe.as_dict(), "status": record.status, "metrics": record.metrics,
        "arrays": digests, "provenance": record.provenance,
    }  # fmt: skip
    entry = json.loads(to_json(entry), parse_constant=lambda word: None)  # JSON has no word for NaN or infinity
    entry["digest"] = entry_digest(entry)
    if _checked(entry, f"{record.recipe}: nothing was written")[1].id != record.id:
        raise RecordError(f"{record.recipe}: nothing was written: its file would hold another recipe")
    return entry, arrays
