"""Runs side by side: on Dask workers begun here, of one thread each, or on those of a scheduler somewhere else."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from secondlook import worker
from secondlook.training.stopping import Stopped, asked_to_stop

RETRIES = 3  # of a piece whose worker was lost; one that fails on its own is not tried again
SAVING = 60.0  # seconds in which a worker that was asked to stop must have saved
REACHED = 5.0  # seconds in which a scheduler must have answered
SERVE = "import sys; from secondlook.worker import serve; serve(*sys.argv[1:])"
SETTINGS = {"distributed.scheduler.allowed-failures": RETRIES, "distributed.scheduler.worker-saturation": 1.0,
            "distributed.scheduler.work-stealing": False}  # fmt: skip
BEGIN = ("begin one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`, both in the "
         "environment of requirements.txt and at this commit")  # fmt: skip


class WorkerError(RuntimeError):
    """Some pieces failed, or their workers were lost; what the others finished is filed."""


def on_workers(function: Callable, pieces: dict[str, object], execution, workers: int,
               progress: Callable[[str, float], None] = lambda *_: None,
               finished: Callable[[list], list[Path] | None] = lambda _: None, needs: tuple = ()) -> None:  # fmt: skip
    """Calls function(piece, execution) on workers, for the pieces by key, the first ones first.

    They are `workers` processes on this machine, which end with this one, and with an exception in it; or those of the
    scheduler at `execution.cluster`, each of which must have the images that `needs`, the `data` of recipes, name.
    What a call adds to `execution.results` is given to `finished` here, also where it then stops or fails; checkpoints
    that it returns are removed where they lie. `progress` is told the share of each key that is done. A piece whose
    worker is lost is given to another. Stopped is raised, once all have saved, where somebody asked to stop or the
    deadline passed, and WorkerError where pieces failed, with their tracebacks, after all others. Raises
    ConnectionError, before any work, for a scheduler that does not answer and workers that do not fit.
    """
    with _elsewhere(execution, needs) if execution.cluster else _here(workers) as (client, keep_alive):
        topic = uuid4().hex
        theirs = worker.away(execution) if execution.cluster else execution
        theirs = replace(theirs, progress=None, processes=1, deadline=None, results=[], cluster="")
        client.subscribe_topic(topic, lambda event: progress(*event[1]))
        waiting = _submitted(client, function, pieces, theirs, topic, bool(execution.cluster))
        failed, stopped = {}, []
        while waiting:
            late = execution.deadline is not None and time.monotonic() >= execution.deadline
            if asked_to_stop() or late:
                client.run(worker.stop, topic, asked_to_stop() or signal.SIGTERM, wait=False, on_error="ignore")
            keep_alive()
            for future in _done(waiting):
                if (outcome := _outcome(future)) is None:
                    continue
                how, results, told, where = outcome
                key = waiting.pop(future)
                if (left := finished(results)) and execution.cluster:
                    client.run(worker.forget, left, workers=[where], wait=False, on_error="ignore")
                if how == "failed":
                    failed[key] = told
                elif how == "stopped":
                    stopped.append(None if late else told)
                else:
                    progress(key, 1.0)
                future.release()
    if failed:
        told = [*(f"{key}: {text}" for key, text in failed.items()), f"{len(failed)} of {len(pieces)} failed; what was "
                "finished is filed, and the same command goes on from it"]  # fmt: skip
        raise WorkerError("\n".join(told))
    if stopped:
        raise Stopped(execution.runs_dir, asked_to_stop() or stopped[0])


def _submitted(client, function: Callable, pieces: dict, execution, topic: str, elsewhere: bool) -> dict:
    """The futures of the pieces, with their keys; on a GPU they go to workers that offer one."""
    wants = {"GPU": 1} if elsewhere and execution.device.startswith("cuda") else None
    found = {}
    for number, (key, piece) in enumerate(pieces.items()):
        given = (worker.work, function, piece, execution, topic, key)
        found[client.submit(*given, key=f"{key}-{topic}", pure=False, priority=-number, resources=wants)] = key
    return found


def _done(waiting: dict) -> list:
    from distributed import wait

    try:
        return list(wait(list(waiting), timeout=0.5, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return []
    except CancelledError:  # the scheduler has gone, with all it knew
        return list(waiting)


def _outcome(future) -> tuple[str, list, object, str] | None:
    """How a piece ended, its results, the signal or traceback that goes with it, and where; None if that was lost."""
    try:
        return future.result(timeout=5.0)
    except TimeoutError:  # another worker makes it again
        return None
    except Exception as error:  # Dask's own: its workers were lost, again and again, or its scheduler
        return "failed", [], f"{type(error).__name__}: {error}", ""


@contextmanager
def _elsewhere(execution, needs: tuple) -> Iterator:
    """A client of the scheduler at `execution.cluster`, an address or the file that a scheduler wrote."""
    from distributed import Client

    address = str(execution.cluster)
    file = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        client = Client(**file, timeout=REACHED)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"--cluster {address}: no scheduler answers ({error}); {BEGIN}") from None
    with client:
        theirs = worker.away(replace(execution, progress=None))
        if execution.send_data:
            _send(client, execution, theirs, needs)
        _check(client, address, theirs, needs)
        yield client, lambda: None


def _send(client, execution, theirs, needs: tuple) -> None:
    """Gives each worker the data sets that it lacks, from here. Raises DataError where they are not here either."""
    from secondlook.data import load

    for data in needs:
        told = client.run(worker.about, theirs, (data,), on_error="return")
        lacking = [where for where, there in told.items() if isinstance(there, dict) and there["lacks"]]
        if lacking:
            images = load(data, execution.data_dir)
            arrays = {name: getattr(images, name) for name in ("x_train", "y_train", "x_test", "y_test")}
            client.run(worker.receive, theirs, data, arrays, workers=lacking)


def _check(client, address: str, execution, needs: tuple) -> None:
    """Raises ConnectionError where the scheduler or a worker runs other versions than this, or lacks what it needs."""
    from distributed.versions import error_message

    found = client.get_versions()
    table = error_message(found["scheduler"], found["workers"], found["client"])["warning"]
    wrong, here = [table] if table else [], worker.about(execution, ())
    for where, there in {} if wrong else client.run(worker.about, execution, needs, on_error="return").items():
        if isinstance(there, Exception):
            there = {"lacks": f"{type(there).__name__}: {there}"}
        lacks = there.pop("lacks")
        differ = [f"{name} {value}, here {here.get(name)}" for name, value in there.items() if value != here.get(name)]
        wrong += [f"worker {where}: {text}" for text in (*differ, lacks) if text]
    offered = [there["resources"] for there in client.scheduler_info(n_workers=-1)["workers"].values()]
    if execution.device.startswith("cuda") and not any("GPU" in resources for resources in offered):
        wrong += ["no worker offers a GPU: begin those that have one with --resources GPU=1"]
    if wrong:
        raise ConnectionError("\n".join([f"--cluster {address} does not fit this process; {BEGIN}", *wrong]))


@contextmanager
def _here(workers: int) -> Iterator:
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
    command = [sys.executable, "-c", SERVE, address, scratch, str(os.getpid())]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL, process_group=0)


def _end(processes: list[subprocess.Popen]) -> None:
    """Ends the workers: one that still works is asked to save first."""
    until = time.monotonic() + SAVING
    while alive := [process for process in processes if process.poll() is None]:
        for process in alive:
            process.terminate() if time.monotonic() < until else process.kill()
        with suppress(subprocess.TimeoutExpired):
            alive[0].wait(0.2)
