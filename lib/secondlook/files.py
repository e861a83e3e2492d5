"""Files that are whole or absent, on any file system, and arrays that may not be what they state."""

import errno
import os
import tempfile
from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np

# What file systems answer that cannot sync a file or a folder (network, FUSE), or cannot lock.
UNABLE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOLCK}
PATIENCE = 120.0  # seconds for a lock: whoever holds one writes a few hundred kB


def replace_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path`: the file is whole or absent, even after a power cut where the system can promise it.

    Parts that killed writers left behind are removed. Raises OSError; the file is then as it was.
    """
    for part in left_behind(path):
        part.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    with suppress(OSError):  # where a folder cannot be opened or synced the file is there all the same
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def left_behind(path: Path) -> list[Path]:
    """Parts of `path` whose writing process is gone."""
    start, end = f".{path.name}.", ".part"
    names = os.listdir(path.parent) if path.parent.is_dir() else []
    parts = {name: name[len(start) : -len(end)] for name in names if name.startswith(start) and name.endswith(end)}
    return [path.with_name(name) for name, process in parts.items() if process.isdecimal() and not _alive(int(process))]


def check_writable(folder: Path, option: str) -> None:
    """Returns nothing where a file can be written in `folder`, which is made; `option` is what names another.

    Raises OSError with the folder, what the system says and the way out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
            file.flush()
            _sync(file.fileno())
    except OSError as error:
        raise OSError(
            f"{folder}: cannot be written ({error.strerror}), and nothing was begun; make it writable, make room, or "
            f"name another folder with {option}"
        ) from None


def lock(path: Path, patience: float = PATIENCE):
    """A lock that is held, to be used with `with`: one of the system, or a marker file where it has none.

    Raises TimeoutError where somebody else holds it for longer than `patience` seconds, OSError where none can be had.
    """
    from filelock import FileLock, SoftFileLock

    try:
        return FileLock(path).acquire(timeout=patience)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        return SoftFileLock(path.with_name(f"{path.name}.held")).acquire(timeout=patience)


def member(bundle, name: str, most: int) -> np.ndarray:
    """An array of an open .npz. What it states is looked at before it is read: type, shape and size.

    Raises whatever numpy and zipfile raise for a damaged file, and ValueError for one above `most` bytes.
    """
    info = bundle.zip.getinfo(f"{name}.npy")
    with bundle.zip.open(info) as file:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        stated, there = prod(shape) * dtype.itemsize, info.file_size - file.tell()
    if not dtype.hasobject and (stated != there or there > most):
        raise ValueError(f"{name} states {stated} bytes and holds {there}; expected the same, at most {most}")
    return bundle[name]


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNABLE:
            raise


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True
