"""Runs side by side on this machine: a Dask scheduler here, on 127.0.0.1, and workers of one thread each."""

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import replace
from tempfile import TemporaryDirectory
from uuid import uuid4

from secondlook.training.checkpoint import Stopped, ask_to_stop, asked_to_stop

RETRIES = 3  # of a piece whose worker was lost; one that fails on its own is not tried again
SAVING = 60.0  # seconds in which a worker that was asked to stop must have saved
SERVE = "import sys; from secondlook.cluster import serve; serve(*sys.argv[1:])"
SETTINGS = {"distributed.scheduler.allowed-failures": RETRIES, "distributed.scheduler.worker-saturation": 1.0,
            "distributed.scheduler.work-stealing": False}  # fmt: skip


OWN = {"nthreads": 1, "host": "127.0.0.1", "memory_limit": None, "dashboard": False}  # of a worker


class WorkerError(RuntimeError):
    """Some pieces failed, or their workers were lost; what the others finished is filed."""


def on_workers(
    function: Callable,
    pieces: dict[str, object],
    execution,
    workers: int,
    progress: Callable[[str, float], None] = lambda *_: None,
    finished: Callable[[list], None] = lambda _: None,
) -> None:
    """Calls function(piece, execution) on `workers` workers, for the pieces by key, the first ones first.

    What a call adds to `execution.results` is given to `finished` here, also where it then stops or fails. `progress`
    is told the share of each key that is done. A piece whose worker is lost is given to another. Stopped is raised,
    once all have saved, where somebody asked to stop or the deadline passed, and WorkerError where pieces failed, with
    their tracebacks, after all others. The workers end with this process, and with an exception in it.
    """
    with _cluster(workers) as (client, keep_alive):
        topic, theirs = uuid4().hex, replace(execution, progress=None, processes=1, deadline=None, results=[])
        client.subscribe_topic(topic, lambda event: progress(*event[1]))
        waiting = {}
        for number, (key, piece) in enumerate(pieces.items()):
            given = (_piece, function, piece, theirs, topic, key)
            waiting[client.submit(*given, key=key, pure=False, priority=-number)] = key
        failed, stopped = {}, []
        while waiting:
            late = execution.deadline is not None and time.monotonic() >= execution.deadline
            if asked_to_stop() or late:
                client.run(_stop, topic, asked_to_stop() or signal.SIGTERM, wait=False, on_error="ignore")
            keep_alive()
            for future in _done(waiting):
                if (outcome := _outcome(future)) is None:
                    continue
                how, results, told = outcome
                key = waiting.pop(future)
                finished(results)
                if how == "failed":
                    failed[key] = told
                elif how == "stopped":
                    stopped.append(None if late else told)
                else:
                    progress(key, 1.0)
                future.release()
    if failed:
        told = "\n".join(f"{key}: {text}" for key, text in failed.items())
        raise WorkerError(f"{told}\n{len(failed)} of {len(pieces)} failed; what was finished is filed, and the same "
                          "command goes on from it")  # fmt: skip
    if stopped:
        raise Stopped(execution.runs_dir, asked_to_stop() or stopped[0])


def _done(waiting: dict) -> list:
    from distributed import wait

    with suppress(TimeoutError):
        return list(wait(list(waiting), timeout=0.5, return_when="FIRST_COMPLETED").done)
    return []


def _outcome(future) -> tuple[str, list, object] | None:
    """How a piece ended, its results, and the signal or the traceback that goes with it; None if its worker is lost."""
    try:
        return future.result(timeout=5.0)
    except TimeoutError:  # another worker makes it again
        return None
    except Exception as error:  # Dask's own: its workers were lost, again and again
        return "failed", [], f"{type(error).__name__}: {error}"


@contextmanager
def _cluster(workers: int):
    """A client, and a function that begins lost workers again; at the end none of them runs."""
    import dask
    from distributed import Client, LocalCluster

    processes: list[subprocess.Popen] = []
    quiet = logging.getLogger("distributed")
    level = quiet.level
    with TemporaryDirectory() as scratch, dask.config.set(SETTINGS), LocalCluster(
        n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
    ) as cluster, Client(cluster) as client:  # fmt: skip
        quiet.setLevel(logging.CRITICAL)

        def keep_alive() -> None:
            ended = [process for process in processes if process.poll() is not None]
            if broken := [process.returncode for process in ended if process.returncode > 0]:
                raise WorkerError(f"a worker ended with the code {broken[0]}; what was finished is filed")
            processes[:] = [process for process in processes if process not in ended]
            while len(processes) < workers:
                processes.append(_begin(cluster.scheduler_address, scratch))

        try:
            keep_alive()
            yield client, keep_alive
        finally:
            _end(processes)
            quiet.setLevel(level)


def _begin(address: str, scratch: str) -> subprocess.Popen:
    """In a group of its own: what a terminal sends to this process reaches it as a message, once it listens."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen([sys.executable, "-c", SERVE, address, scratch], env={**os.environ, "PYTHONPATH": path},
                            stdin=subprocess.DEVNULL, process_group=0)  # fmt: skip


def _end(processes: list[subprocess.Popen]) -> None:
    """Ends the workers: one that still works is asked to save first."""
    until = time.monotonic() + SAVING
    while alive := [process for process in processes if process.poll() is None]:
        for process in alive:
            process.terminate() if time.monotonic() < until else process.kill()
        with suppress(subprocess.TimeoutExpired):
            alive[0].wait(0.2)


# ------------------------------------------------------------------ in a worker

_busy: list[str] = []  # the topic of the piece that this process works on
_over: dict[str, int] = {}  # the topics that were asked to stop, and by which signal


def serve(address: str, scratch: str) -> None:
    """A worker of the scheduler at `address`, until that has gone or a signal comes while there is no work."""
    from distributed import Worker

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to be left behind by a killed parent

    def ask(number, frame):
        if not _busy:
            os._exit(0)
        ask_to_stop(number)

    async def work() -> None:
        async with Worker(address, local_directory=scratch, **OWN) as worker:
            await worker.finished()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    asyncio.run(work())


def _piece(function, piece, execution, topic: str, key: str) -> tuple[str, list, object]:
    from distributed import get_worker

    worker, last = get_worker(), [-1.0]

    def progress(label: str, share: float) -> None:
        if time.monotonic() - last[0] >= 0.5:
            last[0] = time.monotonic()
            worker.log_event(topic, [key, share])

    execution = replace(execution, progress=progress, results=[])
    _busy.append(topic)
    ask_to_stop(_over.get(topic))
    try:
        if asked_to_stop():
            return "stopped", [], asked_to_stop()
        function(piece, execution)
    except Stopped as stop:
        return "stopped", execution.results, stop.signal
    except Exception:
        return "failed", execution.results, traceback.format_exc()
    finally:
        _busy.clear()
        ask_to_stop(None)
    return "finished", execution.results, None


async def _stop(topic: str, number: int) -> None:
    _over[topic] = number  # Dask waits for a function that is no coroutine, and the worker may be lost
    if topic in _busy:
        ask_to_stop(number)
