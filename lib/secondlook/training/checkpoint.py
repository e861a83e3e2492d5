"""Checkpoints: whole or absent, verified before use, saved by time, and a clean way to stop.

A file is the sha256 of its body, 64 digits, and the body, which `torch.save` writes and `weights_only=True` reads: one
file, so that no kill parts the two. A damaged newest one is named and the one before it is used.
"""

import hashlib
import io
import json
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from secondlook.files import left_behind, replace_file
from secondlook.training.stopping import Stopped, asked_to_stop

FORMAT = 2  # of files; another one is refused by name


class CheckpointError(ValueError):
    """A checkpoint that must not be used: names the file, what is wrong and the way out."""


class Checkpoint:
    """Where one run saves itself.

    identity says which run it is: another identity is refused, naming the keys that differ. circumstances (threads,
    versions) may differ: the run goes on, with a warning, and `resumed_from` tells. every is in seconds; deadline is
    in the seconds of `time.monotonic()`.
    """

    def __init__(self, path: Path, identity: dict, circumstances: dict | None = None, every: float = 60.0,
                 deadline: float | None = None):  # fmt: skip
        self.path, self.every, self.deadline = Path(path), every, deadline
        self.previous, self._fresh = (self.path.with_name(self.path.name + end) for end in (".previous", ".new"))
        self.identity, self.circumstances = {**identity, "format": FORMAT}, circumstances or {}
        self.resumed_from: dict | None = None
        self._last = time.monotonic()

    def load(self) -> dict | None:
        """The newest whole state, or None where there never was one.

        Raises CheckpointError for another run's checkpoint, and where files exist but none is whole: a start from zero
        is never silent.
        """
        for part in left_behind(self._fresh):
            part.unlink(missing_ok=True)
        saved = [path for path in (self.path, self.previous) if path.exists()]
        for path in saved:
            try:
                content = read(path)
            except CheckpointError as error:
                warnings.warn(f"{error}; trying the one before it", stacklevel=2)
                continue
            self._compare(path, content)
            return content["state"]
        if saved:
            raise CheckpointError(f"{' and '.join(map(str, saved))}: no whole checkpoint; delete to start from zero")
        return None

    def save(self, state: dict) -> None:
        """Writes `state` (tensors and plain types); the file before it stays as the previous generation."""
        buffer = io.BytesIO()
        content = {"identity": _plain(self.identity), "circumstances": _plain(self.circumstances), "state": state}
        torch.save(content, buffer)
        body = buffer.getvalue()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._fresh, hashlib.sha256(body).hexdigest().encode() + body)
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

    def offer(self, state: Callable[[], dict]) -> None:
        """Saves when it is time, or when a stop was asked for or the deadline has passed; then raises Stopped."""
        now = time.monotonic()
        stop = asked_to_stop() is not None or (self.deadline is not None and now >= self.deadline)
        if stop or now - self._last >= self.every:
            self.save(state())
        if stop:
            raise Stopped(self.path, asked_to_stop())

    def remove(self) -> None:
        for path in (self.path, self.previous, self._fresh, *left_behind(self._fresh)):
            path.unlink(missing_ok=True)

    def _compare(self, path: Path, content: dict) -> None:
        here, there = _plain(self.identity), content["identity"]
        if differs := sorted(k for k in {**here, **there} if here.get(k) != there.get(k)):
            told = "; ".join(f"{k}: here {here.get(k)!r}, there {there.get(k)!r}" for k in differs)
            raise CheckpointError(f"{path} belongs to another run ({told}); move it away or use its own settings")
        now = _plain(self.circumstances)
        if other := {k: v for k, v in content["circumstances"].items() if now.get(k) != v}:
            warnings.warn(f"{path} was saved with {other}; it goes on, but not bit for bit", stacklevel=3)
            self.resumed_from = other


def read(path: Path) -> dict:
    """identity, circumstances and state of a checkpoint. Raises CheckpointError where it is not whole."""
    try:
        content = Path(path).read_bytes()
        stated, body = content[:64], content[64:]
        if stated != hashlib.sha256(body).hexdigest().encode():
            raise ValueError("its digest does not match")
        return torch.load(io.BytesIO(body), weights_only=True)
    except Exception as error:  # whatever it is, this is no whole checkpoint
        raise CheckpointError(f"{path}: damaged checkpoint ({error})") from None


def _plain(value: dict) -> dict:
    return json.loads(json.dumps(value))
