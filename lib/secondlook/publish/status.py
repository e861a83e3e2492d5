"""The status file of an executed notebook: what became of it, whatever papermill's own metadata says."""

import json
import os
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from secondlook.record import replace_file

SCHEMA = 1
PACKAGES = ("secondlook", "papermill", "nbclient", "ipykernel", "torch", "plotly")


def read_status(path: Path) -> dict:
    """What a status file says; one left over as "running" by a process that is gone is said to have failed.

    Raises ValueError where the file is missing, damaged or of another schema.
    """
    try:
        status = json.loads(Path(path).read_text(encoding="utf-8"))
        known = status["schema"] == SCHEMA and (status["status"], status["pid"], status["born"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no status file ({error!r}); execute the notebook again") from None
    if not known:
        raise ValueError(f"{path}: schema {status['schema']}, this version reads {SCHEMA}; execute the notebook again")
    if status["status"] == "running" and born(status["pid"]) != status["born"]:
        gone = failure("RunnerDied", f"process {status['pid']}, which executed the notebook, is gone")
        return {**status, "status": "failed", "exit_code": 1, "error": gone}
    return status


def write(path: Path, status: dict) -> None:
    """Writes the status so that a reader, or a kill, meets the old one or the new one."""
    replace_file(path, json.dumps(status, indent=1).encode() + b"\n")


def failure(kind: str, message: str, trace: str = "", cell: int | None = None) -> dict:
    """An error as the status file keeps it; `cell` is the number of the code cell, from 1."""
    return {"type": kind, "message": message, "traceback": trace, "cell": cell}


def versions() -> dict[str, str]:
    """The versions of Python and of what executes a notebook, without importing any."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def born(pid: int) -> str | None:
    """When a living process started, so that a number used again is not taken for it; None where it is dead."""
    try:
        if sys.platform != "linux":
            os.kill(pid, 0)
            return "alive"
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return rest[18] if state not in "ZX" else None
    except PermissionError:
        return "alive"
    except (OSError, ValueError):
        return None
