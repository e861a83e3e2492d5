"""Numbers that are cheap to lose, remembered in the user's cache from one process to the next."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_here: dict[str, list[float]] = {}  # where nothing can be written they last as long as the process


def remembered(name: str, version: str, key: str, make: Callable[[], list[float]]) -> list[float]:
    """What `make` gives for a key, made once. The file `name` is emptied where it has another version.

    A file that is damaged counts as empty, one that can be neither read nor written is done without.
    """
    whole = f"{name} {version} {key}"
    if whole not in _here:
        _here.update({f"{name} {version} {k}": v for k, v in _read(name, version).items()})
    if whole not in _here:
        _here[whole] = [float(number) for number in make()]
        _write(name, {"version": version, "values": {**_read(name, version), key: _here[whole]}})
    return _here[whole]


def _path(name: str) -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secondlook" / f"{name}.json"


def _read(name: str, version: str) -> dict[str, list[float]]:
    with suppress(Exception):  # whatever is wrong with it, it is made again
        found = json.loads(_path(name).read_text(encoding="utf-8"))
        if found["version"] == version and all(n >= 0 for numbers in found["values"].values() for n in numbers):
            return found["values"]
    return {}


def _write(name: str, content: dict) -> None:
    with suppress(OSError, RuntimeError):
        path = _path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(path)
