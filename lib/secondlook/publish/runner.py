"""Executes a chapter's notebook through papermill, and says truly how it ended.

papermill's own metadata calls a killed kernel "completed". So a runner starts papermill in one subprocess, hears from
it over a pipe, and keeps a status file of its own beside the output notebook. Three processes: the runner (this one),
papermill, and the kernel; whichever dies, the status file says so.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import current_thread, main_thread

from secondlook import overrides, reports
from secondlook.experiments import Execution
from secondlook.publish.parameters import ParameterError, check_values, declared, parse, seeds
from secondlook.publish.status import SCHEMA, born, failure, read_status, versions, write
from secondlook.publish.worker import GRACE, kill
from secondlook.recipe import RecipeError, nearest


def command(
    names: list[str], all_: bool, parameters: list[str], out_dir: Path | None = None, timeout: float | None = None,
    root: Path | None = None,
) -> int:  # fmt: skip
    """Executes the notebooks of the reports `names` (or all) with texts `name=value`, and prints how it went.

    Exit codes: 0 all finished, 1 one failed, 2 refused before anything started, 130 and 143 interrupted.
    """
    try:
        if bool(names) == all_:
            raise ParameterError(f"name one or more reports, or pass --all: {', '.join(chapters(root)) or 'none yet'}")
        return execute_all(chapters(root) if all_ else names, parameters, out_dir, timeout, root)
    except (ParameterError, RecipeError) as error:
        print(f"secondlook execute: {error}", file=sys.stderr)
        return 2


def chapters(root: Path | None = None) -> list[str]:
    """Names of the reports that have a notebook, in the order of the book."""
    return [name for name in reports.names(root) if _notebook(name, root).is_file()]


def execute_all(names, parameters=(), out_dir=None, timeout=None, root=None) -> int:
    """Executes each report's notebook in turn, after a failure the next; returns the exit code `command` describes.

    Outputs are `OUT_DIR/REPORT-PROFILE.ipynb` and `.status.json` (runs/execute by default); other parameters than the
    profile put their digest in the name. Raises ParameterError, before anything starts, for an unknown report, a bad
    parameter or timeout, and an output that a living process is writing.
    """
    folder = Path(out_dir) if out_dir else (root or reports.ROOT) / "runs" / "execute"
    if timeout is not None and not timeout > 0:
        raise ParameterError(f"the timeout of a cell must be above 0 seconds, not {timeout}")
    jobs = [_job(name, list(parameters), folder, root) for name in dict.fromkeys(names)]
    if not jobs:
        raise ParameterError("there is no notebook yet; one stands in notebooks/REPORT.ipynb")
    codes = {}
    for name, notebook, values, stem in jobs:
        status_path = stem.with_name(stem.name + ".status.json")
        codes[name] = execute(notebook, values, stem.with_name(stem.name + ".ipynb"), status_path, timeout)
        _report(name, read_status(status_path), status_path)
        if codes[name] > 1:
            return codes[name]
    if len(jobs) > 1:
        print("\n".join(f"{name:<12} {'finished' if code == 0 else 'failed'}" for name, code in codes.items()))
    return max(codes.values())


def execute(notebook, parameters: dict, output, status_path, timeout_cell: float | None = None) -> int:
    """Executes one notebook in its own folder; returns 0 finished, 1 failed, 130 or 143 interrupted.

    `parameters` are checked values; `timeout_cell` is in seconds, None waits for ever. The status file is
    {schema, notebook, parameters, status, exit_code, pid, born, started, seconds, cells: {total, done}, error,
    versions}: status is running, finished, failed or interrupted; error is null or {type, message, traceback, cell},
    `cell` the number of the code cell from 1, where papermill's cell of passed parameters counts as one.
    """
    notebook, output, status_path = (Path(p).absolute() for p in (notebook, output, status_path))
    status_path.parent.mkdir(parents=True, exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    status = {
        "schema": SCHEMA, "notebook": str(notebook), "parameters": parameters, "status": "running", "exit_code": None,
        "pid": os.getpid(), "born": born(os.getpid()), "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": 0.0, "cells": {"total": 0, "done": 0}, "error": None, "versions": versions(),
    }  # fmt: skip
    task = {"input_path": str(notebook), "output_path": str(output), "parameters": parameters,
            "cwd": str(notebook.parent), "execution_timeout": timeout_cell}  # fmt: skip
    with _signals() as signals:
        write(status_path, status)
        _Execution(task, status, status_path, signals).run()
    return status["exit_code"]


class _Execution:
    """One papermill subprocess, followed over a pipe until it ends."""

    def __init__(self, task: dict, status: dict, path: Path, signals: list[int]):
        self.status, self.path, self.signals = status, path, signals
        self.task, self.kernel, self.cell, self.ended = task, None, None, False
        self.begun = time.monotonic()

    def run(self) -> None:
        """Follows the subprocess to its end, leaves none of its processes behind, and writes the final status."""
        events, write_end = os.pipe()
        worker = [sys.executable, "-P", "-m", "secondlook.publish.worker", str(write_end)]
        with tempfile.TemporaryFile() as noise, open(events, "rb", buffering=0) as self.events:
            process = subprocess.Popen(
                worker, stdin=subprocess.PIPE, stdout=noise, stderr=noise, pass_fds=(write_end,), start_new_session=True
            )
            os.close(write_end)
            try:
                with suppress(BrokenPipeError):  # it died at once: the end of the events says so
                    process.stdin.write(json.dumps(self.task).encode() + b"\n")
                    process.stdin.flush()
                self._follow(process)
            finally:
                kill(process.pid, signal.SIGKILL)
                kill(self.kernel, signal.SIGKILL)  # with all that a killed kernel had started
                process.wait()
                with suppress(BrokenPipeError):
                    process.stdin.close()
            noise.seek(0)
            self._conclude(process.returncode, noise.read()[-20_000:].decode(errors="replace"))

    def _follow(self, process) -> None:
        buffer, deadline = b"", None
        while True:
            self._progress()
            if self.signals and deadline is None:
                process.stdin.close()  # papermill's side ends the kernel, which may save, and then itself
                deadline = time.monotonic() + GRACE + 5
            if self.signals and (len(self.signals) > 1 or time.monotonic() > deadline):
                return
            if not select.select([self.events], [], [], 0.2)[0]:
                continue
            chunk = self.events.read(65536)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))

    def _hear(self, event: dict) -> None:
        self.kernel = event.get("kernel", self.kernel)
        self.cell = event.get("cell", self.cell)
        self.ended = event.get("ended", self.ended)
        self.status["cells"].update(event.get("cells", {}))
        if "error" in event:
            self.status["error"] = {**event["error"], "cell": self.cell}
        self.status["seconds"] = round(time.monotonic() - self.begun, 3)
        write(self.path, self.status)

    def _conclude(self, returncode: int, noise: str) -> None:
        status, cells = self.status, self.status["cells"]
        if self.signals:
            first = signal.Signals(self.signals[0])
            status.update(status="interrupted", exit_code=128 + first)
            status["error"] = failure(first.name, "stopped before its end; execute it again", cell=self.cell)
        elif self.ended and status["error"] is None and cells["done"] == cells["total"]:
            status.update(status="finished", exit_code=0)
        else:
            status.update(status="failed", exit_code=1)
            if status["error"] is None and self.ended:
                message = f"the notebook ended itself at code cell {self.cell} of {cells['total']}"
                status["error"] = failure("StoppedEarly", message, cell=self.cell)
            elif status["error"] is None:
                how = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
                status["error"] = failure("PapermillDied", f"the papermill process ended with {how}", noise, self.cell)
        status["seconds"] = round(time.monotonic() - self.begun, 3)
        write(self.path, status)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)

    def _progress(self) -> None:
        if sys.stderr.isatty():
            cells, name = self.status["cells"], Path(self.task["input_path"]).stem
            elapsed = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - self.begun))
            where = f"code cell {self.cell} of {cells['total']}" if self.cell else "starting"
            print(f"\r\033[K{name}: {where} · {elapsed}", end="", file=sys.stderr, flush=True)


def _job(name: str, assignments: list[str], folder: Path, root: Path | None) -> tuple[str, Path, dict, Path]:
    """Name, notebook, checked values and output without its ending, or a ParameterError."""
    notebook = _notebook(name, root)
    if not notebook.is_file():
        raise ParameterError(f"no notebook of a report {name!r}{nearest(name, chapters(root))}")
    known = declared(notebook)
    try:
        values = parse(assignments, known)
        everything = {**{p.name: p.default for p in known.values()}, **values}
        check_values(everything, name, root)
        _check_settings(reports.read(name, root), everything)
    except (ParameterError, RecipeError) as error:
        raise ParameterError(f"{name}: {error}") from None
    others = json.dumps({k: v for k, v in values.items() if k != "profile"}, sort_keys=True)
    profile = values.get("profile", known["profile"].default if "profile" in known else "")
    digest = "" if others == "{}" else sha256(others.encode()).hexdigest()[:6]
    stem = folder / "-".join(word for word in (name, profile, digest) if word)
    status_path, busy = stem.with_name(stem.name + ".status.json"), None
    with suppress(ValueError):  # none, or one that nobody is writing
        status = read_status(status_path)
        busy = status["pid"] if status["status"] == "running" else None
    if busy:
        raise ParameterError(f"{name}: process {busy} is executing it into {stem}.ipynb; wait for it or stop it")
    return name, notebook, values, stem


def _check_settings(report: reports.Report, values: dict) -> None:
    """Raises RecipeError where the chapter's cells would refuse the reader's own settings or the device."""
    if changed := overrides.known(report, values):
        overrides.customised(report, values["variant"], values["profile"], seeds(values.get("seeds", "")), changed)
    if values.get("device", "").startswith("cuda"):
        Execution(device=values["device"]).resolved_device()


def _notebook(name: str, root: Path | None) -> Path:
    return (root or reports.ROOT) / "notebooks" / f"{name}.ipynb"


def _report(name: str, status: dict, path: Path) -> None:
    cells = f"{status['cells']['done']} of {status['cells']['total']} code cells, {status['seconds']:.0f} s"
    print(f"{name}: {status['status']} ({cells}) → {path}", flush=True)
    if status["error"]:
        kind, message, cell = (status["error"][key] for key in ("type", "message", "cell"))
        print(f"{name}: {kind}{f' in code cell {cell}' if cell else ''}: {message}", file=sys.stderr)
        if status["status"] == "failed":
            print(f"{name}: the traceback is in {path.name}, the outputs in the notebook beside it", file=sys.stderr)


@contextmanager
def _signals():
    """A list that fills with SIGINT and SIGTERM as they come, instead of ending the process (in the main thread)."""
    came: list[int] = []
    mine = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    before = {s: signal.signal(s, lambda signum, _: came.append(signum)) for s in mine}
    try:
        yield came
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
