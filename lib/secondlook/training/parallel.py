"""Several processes on a processor, for nets too small to use its cores together."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from types import ModuleType

from secondlook.training import cores
from secondlook.training.checkpoint import Stopped, asked_to_stop, stop_on_signals

STOPPED = 143
# A terminal, or whoever ends a whole group, has sent them the same signal already, and a second one acts at once.
OTHER = {signal.SIGINT: signal.SIGTERM, signal.SIGTERM: signal.SIGINT}
WHOLE = 800  # characters of a message that a pipe surely takes in one piece, whoever else writes


class WorkerError(RuntimeError):
    """A process ended without finishing its work; what the others finished is filed."""


def in_processes(
    function: Callable,
    arguments: Sequence,
    execution,
    processes: int,
    progress: Callable[[int, str, float], None] = lambda *_: None,
) -> None:
    """Calls function(argument, execution) for each of `arguments` in `processes` processes, which share the cores.

    Each takes the next argument when it is through with one. They report to `progress` the number of the argument, and
    the label and share of `execution.progress`; a share of 1 and no label when it is done. A signal to stop is passed
    on, and a stop of any of them raises Stopped here once all have ended; one that fails raises WorkerError with what
    it said. They end with this process, and with an exception in it.
    """
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    following = context.Value("i", processes)
    own = replace(execution, progress=None, processes=1)  # the caller's stays here; they have a pipe to it
    common = (function, list(arguments), own, following, tell, processes)
    workers = [context.Process(target=_work, args=(k, *common), daemon=True) for k in range(processes)]
    errors: list[str] = []
    try:
        with _without_main():
            for worker in workers:
                worker.start()
        tell.close()
        passed_on = None
        while alive := [worker.sentinel for worker in workers if worker.is_alive()]:
            if asked_to_stop() != passed_on:
                passed_on = asked_to_stop()
                for worker in workers:
                    _ask(worker, OTHER[passed_on])
            wait([*alive, told], timeout=0.5)
            _listen(told, progress, errors)
        _listen(told, progress, errors)  # what the last of them said after that
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
                worker.join()
    codes = [worker.exitcode for worker in workers]
    stopped = any(codes) if asked_to_stop() else STOPPED in codes  # one that was still beginning ends otherwise
    if errors or (any(code not in (0, STOPPED) for code in codes) and not asked_to_stop()):
        said = "; ".join(errors) or f"they ended with the codes {codes}"
        raise WorkerError(f"processes failed: {said}; what was finished is filed, and the same command goes on from it")
    if stopped:
        raise Stopped(Path(execution.runs_dir), asked_to_stop())


@contextmanager
def _without_main():
    """Processes begun inside do not run the caller's script again, which may have no main guard, or be no file."""
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _ask(worker, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(worker.pid, number)


def _listen(told, progress, errors: list[str]) -> None:
    try:
        while told.poll():
            number, label, share = told.recv()
            errors.append(label) if number < 0 else progress(number, label, share)
    except EOFError:
        return


def _work(number, function, arguments, execution, following, tell, processes) -> None:
    import torch

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to be left behind by a killed parent
    torch.set_num_threads(max(1, cores() // processes))
    try:
        with stop_on_signals():
            while number < len(arguments):
                execution.progress = lambda label, share, own=number: tell.send((own, label, share))
                function(arguments[number], execution)
                tell.send((number, "", 1.0))
                with following.get_lock():
                    number, following.value = following.value, following.value + 1
    except Stopped:
        sys.exit(STOPPED)
    except Exception as error:
        tell.send((-1, f"{type(error).__name__}: {error}"[:WHOLE], 0.0))
        raise
