"""What runs in a Dask worker, on this machine or another: one piece at a time, which can be asked to stop and save."""

import asyncio
import ctypes
import io
import logging
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np

from secondlook.training.stopping import Stopped, ask_to_stop, asked_to_stop

OWN = {"nthreads": 1, "host": "127.0.0.1", "memory_limit": None, "dashboard": False, "death_timeout": 60}  # begun here
FOLDERS = ("data_dir", "records_dir", "runs_dir")

_busy: list[str] = []  # the topic of the piece that this process works on
_over: dict[str, int] = {}  # the topics that were asked to stop, and by which signal


def serve(address: str, scratch: str, parent: str) -> None:
    """A worker of the scheduler at `address`, until that has gone or a signal comes while there is no work."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to be left behind by a killed parent
    if os.getppid() != int(parent):  # which has gone already
        return
    from distributed import Worker

    def ask(number, frame):
        if not _busy:
            os._exit(0)
        ask_to_stop(number)

    async def run() -> None:
        async with Worker(address, local_directory=scratch, **OWN) as worker:
            await worker.finished()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    asyncio.run(run())


def work(function, piece, execution, topic: str, key: str) -> tuple[str, list, object, str]:
    """How function(piece, execution) ended, its results, the signal or traceback that goes with it, and where."""
    from distributed import get_worker

    worker, last = get_worker(), [-1.0]
    task = worker.get_current_task()

    def progress(label: str, share: float) -> None:
        if time.monotonic() - last[0] >= 0.5:
            last[0] = time.monotonic()
            worker.log_event(topic, [key, share])
            if task not in worker.state.tasks or worker.state.tasks[task].state == "cancelled":  # who asked has gone
                ask_to_stop(signal.SIGTERM)

    execution = replace(_at_home(execution), progress=progress, results=[])
    _busy.append(topic)
    ask_to_stop(_over.get(topic))
    how, told = "finished", None
    try:
        if asked_to_stop():
            how, told = "stopped", asked_to_stop()
        else:
            function(piece, execution)
    except Stopped as stop:
        how, told = "stopped", stop.signal
    except Exception:
        how, told = "failed", f"on {socket.gethostname()}, {worker.address}\n{traceback.format_exc()}"
    finally:
        _busy.clear()
        ask_to_stop(None)
    return how, execution.results, told, worker.address


async def stop(topic: str, number: int) -> None:
    """Has the pieces of `topic` save and end."""
    _over[topic] = number  # Dask waits for a function that is no coroutine, and the worker may be lost
    if topic in _busy:
        ask_to_stop(number)


async def forget(checkpoints: list[Path]) -> None:
    """Removes the checkpoints of what has been filed."""
    from secondlook.training.checkpoint import Checkpoint

    for path in checkpoints:
        Checkpoint(path, {}).remove()


def away(execution):
    """The execution as workers elsewhere are told it: a folder that nobody chose is the worker's own."""
    own = type(execution)()
    return replace(execution, **{n: None for n in FOLDERS if getattr(execution, n) == getattr(own, n)})


def _at_home(execution):
    own = type(execution)()
    return replace(execution, **{n: getattr(own, n) for n in FOLDERS if getattr(execution, n) is None})


def receive(execution, data, arrays: dict) -> None:
    """Writes a data set that was sent to where this process looks for it. Raises DataError for another's images."""
    from secondlook.data.sources import verified
    from secondlook.files import replace_file

    path, buffer = _at_home(execution).data_dir / f"{data.name}.npz", io.BytesIO()
    verified(data.name, "npz", arrays, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(buffer, **arrays)
    replace_file(path, buffer.getvalue())


def about(execution, needs: tuple, dask_worker=None) -> dict[str, object]:
    """Threads, commit and versions of this process, and what it lacks of the images that `needs`, data, name."""
    from secondlook.data import DataError, load
    from secondlook.provenance import commit, versions

    lacks = []
    for data in needs:
        try:
            load(data, _at_home(execution).data_dir)
        except DataError as error:
            lacks.append(str(error))
    threads = dask_worker.state.nthreads if dask_worker else 1
    return {"threads": threads, "commit": commit()["commit"], **versions(), "lacks": "; ".join(lacks)}
