"""Several single-threaded processes on a CPU, for nets too small to use its cores together."""

import copy
import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from secondlook.training.checkpoint import Stopped, asked_to_stop, stop_on_signals

STOPPED = 143


class WorkerError(RuntimeError):
    """A process ended without finishing its work; what the others finished is filed."""


def in_processes(function: Callable, arguments: Sequence[tuple], progress: Callable[[str, float], None]) -> None:
    """Calls function(recipes, execution) for each of `arguments` in a process of its own, with one thread each.

    They report to `progress`. A signal to stop is passed on, and a stop of any of them raises Stopped here once all
    have ended; one that fails raises WorkerError. They end with this process, however it ends.
    """
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    workers = []
    for recipes, execution in arguments:
        own = copy.copy(execution)
        own.progress = None  # it stays here; they have a pipe to it
        workers.append(context.Process(target=_work, args=(function, recipes, own, tell), daemon=True))
    for worker in workers:
        worker.start()
    tell.close()
    passed_on = None
    while alive := [worker.sentinel for worker in workers if worker.is_alive()]:
        if asked_to_stop() != passed_on:
            passed_on = asked_to_stop()
            for worker in workers:
                worker.terminate()
        wait([*alive, told], timeout=0.5)
        _listen(told, progress)
    codes = [worker.exitcode for worker in workers]
    if STOPPED in codes:
        raise Stopped(Path(arguments[0][1].runs_dir), asked_to_stop())
    if any(codes):
        raise WorkerError(f"processes ended with the codes {codes}; run the same command again to go on")


def _listen(told, progress) -> None:
    try:
        while told.poll():
            progress(*told.recv())
    except EOFError:
        return


def _work(function: Callable, recipes, execution, tell) -> None:
    import torch

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to be left behind by a killed parent
    torch.set_num_threads(1)
    execution.progress = lambda label, share: tell.send((label, share))
    try:
        with stop_on_signals():
            function(recipes, execution)
    except Stopped:
        sys.exit(STOPPED)
