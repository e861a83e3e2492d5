"""Checkpoints: whole or absent, verified before use, saved by time, and a clean way to stop.

A file is one line of JSON (schema, identity, circumstances, length of the body, sha256 of it all) and the body, written
by `torch.save` and read with `weights_only=True`. Two generations are kept: a damaged newest one is named and the one
before it is used.
"""

import hashlib
import io
import json
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from secondlook.files import left_behind, replace_file

SCHEMA = 1


class CheckpointError(ValueError):
    """A checkpoint that must not be used: names the file, what is wrong and the way out."""


class Stopped(Exception):
    """The run was asked to stop, by a signal or its deadline (`signal` is then None); everything is saved."""

    def __init__(self, path: Path, number: int | None):
        super().__init__(f"stopped and saved in {path}; the same command goes on from there")
        self.signal = number


class Checkpoint:
    """Where one run saves itself.

    identity says which run it is: another identity is refused, naming the keys that differ. circumstances (threads,
    versions) may differ: the run goes on, with a warning, and `resumed_from` tells. every is in seconds; deadline is
    in the seconds of `time.monotonic()`.
    """

    def __init__(
        self,
        path: Path,
        identity: dict,
        circumstances: dict | None = None,
        every: float = 60.0,
        deadline: float | None = None,
    ):
        self.path, self.identity, self.every, self.deadline = Path(path), _plain(identity), every, deadline
        self.circumstances = _plain(circumstances or {})
        self.resumed_from: dict | None = None
        self._last = time.monotonic()

    @property
    def previous(self) -> Path:
        return self.path.with_name(self.path.name + ".previous")

    @property
    def _fresh(self) -> Path:
        return self.path.with_name(self.path.name + ".new")

    def load(self) -> dict | None:
        """The newest whole state, or None where there never was one.

        Raises CheckpointError for another run's checkpoint, and where files exist but none is whole: a start from zero
        is never silent.
        """
        for part in left_behind(self._fresh):
            part.unlink(missing_ok=True)
        damaged = []
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            try:
                header, state = read(path)
            except CheckpointError as error:
                damaged.append(path)
                warnings.warn(f"{error}; trying the one before it", stacklevel=2)
                continue
            self._compare(path, header)
            return state
        if damaged:
            raise CheckpointError(f"{' and '.join(map(str, damaged))}: no whole checkpoint; delete to start from zero")
        return None

    def save(self, state: dict) -> None:
        """Writes `state` (tensors and plain types); the file before it stays as the previous generation."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        body = buffer.getvalue()
        header = {"schema": SCHEMA, "identity": self.identity, "circumstances": self.circumstances, "length": len(body)}
        content = _line({**header, "sha256": _digest(header, body)}) + b"\n" + body
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._fresh, content)
        except OSError as error:
            with suppress(OSError):
                self._fresh.unlink(missing_ok=True)
            raise CheckpointError(
                f"{self.path}: cannot be written ({error.strerror}); the one before it is intact: make room or choose "
                "another folder, and run the same command again"
            ) from error
        if self.path.exists():
            self.path.replace(self.previous)
        self._fresh.replace(self.path)
        self._last = time.monotonic()

    def due(self) -> tuple[str, int | None]:
        """What is due now: "" (nothing), "save", or "stop" with the signal that asked for it, None for the deadline."""
        if _asked[0] is not None:
            return "stop", _asked[0]
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            return "stop", None
        return ("save" if now - self._last >= self.every else ""), None

    def offer(self, state: Callable[[], dict]) -> None:
        """Saves when it is time, or when a stop was asked for or the deadline has passed; then raises Stopped."""
        due, signal_number = self.due()
        if due:
            self.save(state())
        if due == "stop":
            raise Stopped(self.path, signal_number)

    def remove(self) -> None:
        for path in (self.path, self.previous, self._fresh, *left_behind(self._fresh)):
            path.unlink(missing_ok=True)

    def _compare(self, path: Path, header: dict) -> None:
        differs = [
            k for k in {**self.identity, **header["identity"]} if self.identity.get(k) != header["identity"].get(k)
        ]
        if differs:
            told = "; ".join(
                f"{k}: here {self.identity.get(k)!r}, there {header['identity'].get(k)!r}" for k in sorted(differs)
            )
            raise CheckpointError(f"{path} belongs to another run ({told}); move it away or use its own settings")
        other = {k: v for k, v in header["circumstances"].items() if self.circumstances.get(k) != v}
        if other:
            warnings.warn(f"{path} was saved with {other}; it goes on, but not bit for bit", stacklevel=3)
            self.resumed_from = other


def read(path: Path) -> tuple[dict, dict]:
    """Header and state of a checkpoint. Raises CheckpointError where it is not whole."""
    try:
        line, _, body = Path(path).read_bytes().partition(b"\n")
        header = json.loads(line)
        stated = header.pop("sha256")
        if header["schema"] != SCHEMA:
            raise ValueError(f"schema {header['schema']}, this version reads {SCHEMA}")
        if stated != _digest(header, body) or _line({**header, "sha256": stated}) != line:
            raise ValueError("its digest does not match")
        return header, torch.load(io.BytesIO(body), weights_only=True)
    except Exception as error:  # whatever it is, this is no whole checkpoint
        raise CheckpointError(f"{path}: damaged checkpoint ({error})") from None


_asked: list[int | None] = [None]


def asked_to_stop() -> int | None:
    """The signal that asked this process to stop, if one did."""
    return _asked[0]


@contextmanager
def stop_on_signals():
    """Inside, SIGTERM and SIGINT ask the run to finish its step and save; a second one acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number, frame):
        _asked[0] = number
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    before = {n: signal.signal(n, ask) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        _asked[0] = None
        for number, handler in before.items():
            signal.signal(number, handler)


def _line(header: dict) -> bytes:
    return json.dumps(header, sort_keys=True).encode()


def _digest(header: dict, body: bytes) -> str:
    """Over all that is read back: a flipped bit in the header counts as one in the body."""
    digest = hashlib.sha256(_line(header) + b"\n")
    digest.update(body)
    return digest.hexdigest()


def _plain(value: dict) -> dict:
    return json.loads(json.dumps(value))
