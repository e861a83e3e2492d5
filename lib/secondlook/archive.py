"""Records in one file, to carry them from where they were made: a zip of shelves, JSON and `.npz`, no pickle.

What comes out of an archive is filed only after all of it has been verified, and by `record.save`, so that a kill
leaves the folder with old shelves or new ones.
"""

import re
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from secondlook.record import Record, RecordError, Records, read_shelf, replace_file, save
from secondlook.reports import names

LIMIT = 16 * 2**20 - 2**16  # bytes of an archive: what many ways of carrying a file still take
UNPACKED = 256 * 2**20  # bytes an archive may unpack to
MEMBER = re.compile(r"([a-z0-9_]+)/([A-Za-z0-9_.+-]+)\.(json|npz)")
WAY_OUT = "nothing was filed; carry the archive over again, or make it anew"


def pack(records: Sequence[Record], path: Path) -> Path:
    """Writes the records to one archive, whole or absent; returns its path. Equal records give equal bytes.

    Raises RecordError where there are none, or where one cannot be read.
    """
    if not records:
        raise RecordError(f"{path}: an archive needs at least one record")
    with tempfile.TemporaryDirectory() as folder:
        save(list(records), Path(folder))
        target = Path(folder, "archive")
        with zipfile.ZipFile(target, "w") as archive:
            for file in sorted(Path(folder).glob("*/[!.]*.*")):
                info = zipfile.ZipInfo(f"{file.parent.name}/{file.name}")
                kind = zipfile.ZIP_DEFLATED if file.suffix == ".json" else zipfile.ZIP_STORED
                archive.writestr(info, file.read_bytes(), compress_type=kind)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        replace_file(Path(path).resolve(), target.read_bytes())
    return Path(path)


def pack_all(records: Sequence[Record], folder: Path, limit: int = LIMIT) -> list[Path]:
    """Archives `records-1.zip` … in `folder` that hold all the records, in place of earlier ones, none above `limit`.

    A single record above the limit has an archive of its own.
    """
    made: list[Path] = []

    def divide(part: list[Record]) -> None:
        path = pack(part, Path(folder) / f"records-{len(made) + 1}.zip")
        if path.stat().st_size <= limit or len(part) == 1:
            made.append(path)
            return
        divide(part[: len(part) // 2])
        divide(part[len(part) // 2 :])

    if records:
        divide(sorted(records, key=lambda r: (r.recipe.report, r.recipe.variant, r.recipe.run, r.recipe.seed)))
    for path in set(Path(folder).glob("records-*.zip")) - set(made):
        path.unlink()
    return made


def add(path: Path, records_dir: Path) -> tuple[list[Record], list[Record]]:
    """Files the archive's records under `records_dir`; returns those filed and those that were there already.

    A record that is there and keeps as much is left as it is. Raises RecordError, naming the archive and what is wrong
    in it, before anything is filed: a damaged file or record, one that is no evidence (smoke, stand-in, custom), an
    unknown report, a file that belongs on no shelf.
    """
    path, store = Path(path), Records(records_dir)
    with tempfile.TemporaryDirectory() as folder:
        _unpack(path, Path(folder))
        records = [r for shelf in sorted(Path(folder).glob("*/*.json")) for r in _verified(path, shelf)]
        present = [store.get(r.recipe) for r in records]
        fresh = [r for r, there in zip(records, present) if there is None]
        save(fresh, Path(records_dir))
    return [store.get(r.recipe) for r in fresh], [there for there in present if there is not None]


def _unpack(path: Path, folder: Path) -> None:
    """The archive's files in `folder`, every name and checksum looked at first."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                _allowed(path, member.filename)
            stems = {kind: {m.filename[: -len(kind)] for m in members if m.filename.endswith(kind)}
                     for kind in (".json", ".npz")}  # fmt: skip
            if not members or stems[".npz"] - stems[".json"]:
                lonely = sorted(stems[".npz"] - stems[".json"])
                raise RecordError(f"{path}: {f'{lonely[0]}.npz has no JSON' if lonely else 'no records'}; {WAY_OUT}")
            if sum(member.file_size for member in members) > UNPACKED:
                raise RecordError(f"{path}: unpacks to more than {UNPACKED >> 20} MiB; {WAY_OUT}")
            for member in members:
                target = folder / member.filename
                target.parent.mkdir(exist_ok=True)
                try:
                    target.write_bytes(archive.read(member))
                except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                    raise RecordError(f"{path}: {member.filename} is damaged ({error}); {WAY_OUT}") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: not a whole archive ({error}); {WAY_OUT}") from None


def _allowed(path: Path, name: str) -> None:
    match = MEMBER.fullmatch(name)
    if not match or ".." in name:
        raise RecordError(f"{path}: holds {name!r}; expected REPORT/SHELF.json and .npz alone; {WAY_OUT}")
    if match[1] not in names():
        raise RecordError(f"{path}: {name} is of the unknown report {match[1]!r}; update the library; {WAY_OUT}")


def _verified(path: Path, shelf: Path) -> list[Record]:
    """The records of an unpacked shelf, every number and array read; raises RecordError naming archive and record."""
    name = f"{shelf.parent.name}/{shelf.name}"
    try:
        records = list(read_shelf(shelf).values())
        for record in records:
            recipe = record.recipe
            if not recipe.is_evidence:
                raise RecordError(f"{name}: {recipe} is no evidence: a smoke, stand-in or custom run; ")
            if record.shelf(shelf.parent.parent) != shelf.with_suffix(""):
                raise RecordError(f"{name}: {recipe} lies on a shelf that is not its own; ")
            for arrays in (record.history, record.arrays):
                dict(arrays)
    except RecordError as error:
        what = str(error).rpartition("; ")[0] or str(error)  # its own way out is for a file that stays
        raise RecordError(f"{path}, {what.replace(f'{shelf.parent.parent}/', '')}; {WAY_OUT}") from None
    return records
