"""Numbers that are cheap to lose, remembered in the user's cache from one process to the next."""

import json
import math
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

Numbers = dict[str, list[float]]
_here: dict[str, dict[str, Numbers]] = {}  # where nothing can be written they last as long as the process


def remembered(name: str, version: str, keys: Iterable[str], make: Callable[[str], Numbers]) -> dict[str, Numbers]:
    """What `make` gives for each key: lists of numbers, none negative, by name. What is known already is not made.

    The file `name` is emptied where it has another version. One that is damaged counts as empty, one that can be
    neither read nor written is done without.
    """
    known, keys = _here.setdefault(f"{name} {version}", {}), list(dict.fromkeys(keys))
    if any(key not in known for key in keys):
        known.update(_read(name, version))
    if new := {key: make(key) for key in keys if key not in known}:
        known.update(new)
        _write(name, {"version": version, "values": {**_read(name, version), **new}})
    return {key: known[key] for key in keys}


def folder() -> Path:
    """Where this project's files in the user's cache are. Raises RuntimeError for a user without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secondlook"


def _read(name: str, version: str) -> dict[str, Numbers]:
    with suppress(Exception):  # whatever is wrong with it, it is made again
        found = json.loads((folder() / f"{name}.json").read_text(encoding="utf-8"))
        if found["version"] == version and all(map(_sound, found["values"].values())):
            return found["values"]
    return {}


def _sound(numbers) -> bool:
    return all(type(n) in (int, float) and 0 <= n < math.inf for values in numbers.values() for n in values)


def _write(name: str, content: dict) -> None:
    with suppress(OSError, RuntimeError):
        folder().mkdir(parents=True, exist_ok=True)
        part = folder() / f"{name}.{os.getpid()}.part"
        try:
            part.write_text(json.dumps(content), encoding="utf-8")
            part.replace(folder() / f"{name}.json")
        finally:
            part.unlink(missing_ok=True)
