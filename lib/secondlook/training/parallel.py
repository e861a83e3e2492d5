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

from secondlook.training.checkpoint import Stopped, asked_to_stop, stop_on_signals
from secondlook.training.machine import few_threads

DEADLINE = 75  # the exit code of a process whose time is up
# A terminal, or whoever ends a whole group, has sent them the same signal already, and a second one acts at once.
OTHER = {signal.SIGINT: signal.SIGTERM, signal.SIGTERM: signal.SIGINT}
SAVING = 60.0  # seconds in which a process that was asked to stop must have saved
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
    """Calls function(argument, execution) for each of `arguments` in `processes` processes of one thread each.

    Each is given the next argument when it is through with one. They report to `progress` the number of the argument,
    and the label and share of `execution.progress`; a share of 1 and no label when it is done. A signal to stop is
    passed on, and a stop of any of them raises Stopped here once all have ended; one that fails raises WorkerError with
    what it said. They end with this process, and with an exception in it.
    """
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    own = replace(execution, progress=None, processes=1)  # the caller's stays here; they have a pipe to it
    numbers, finished, errors = iter(range(len(arguments))), set(), []
    takes, gives = zip(*(context.Pipe(duplex=False) for _ in range(processes)), strict=True)
    workers = [context.Process(target=_work, args=(k, function, list(arguments), own, takes[k], tell), daemon=True)
               for k in range(processes)]  # fmt: skip

    def give(k: int) -> None:
        with suppress(OSError):  # it has ended
            gives[k].send(None if asked_to_stop() else next(numbers, None))

    def through(k: int, number: int) -> None:
        finished.add(number)
        give(k)

    try:
        with _without_main():
            for k, worker in enumerate(workers):
                worker.start()
                give(k)
        tell.close()
        passed_on = None
        while alive := [worker.sentinel for worker in workers if worker.is_alive()]:
            if asked_to_stop() != passed_on:
                passed_on = asked_to_stop()
                for worker in workers:
                    _ask(worker, OTHER[passed_on])
            wait([*alive, told], timeout=0.5)
            _listen(told, progress, errors, through)
        _listen(told, progress, errors, through)  # what the last of them said after that
    finally:
        for end in gives:  # or one that waits for its next piece would wait for ever
            end.close()
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
                worker.join(SAVING)
                worker.kill()
                worker.join()
    _judge([worker.exitcode for worker in workers], len(finished) == len(arguments), errors, Path(execution.runs_dir))


def _listen(told, progress, errors: list[str], through: Callable[[int, int], None]) -> None:
    with suppress(EOFError):
        while told.poll():
            k, number, label, share = told.recv()
            if number < 0:
                errors.append(label)
                continue
            progress(number, label, share)
            if not label and share == 1.0:
                through(k, number)


def _judge(codes: list[int], complete: bool, errors: list[str], runs_dir: Path) -> None:
    """Raises what the processes' end amounts to; nothing only where all is done."""
    signals = [code - 128 for code in codes if code - 128 in OTHER]  # somebody stopped one of them alone
    expected = all(code in (0, DEADLINE) or code - 128 in OTHER for code in codes)
    if errors or not (expected or asked_to_stop()):  # one that was still beginning ends otherwise
        said = "; ".join(errors) or f"they ended with the codes {codes}"
        raise WorkerError(f"processes failed: {said}; what was finished is filed, and the same command goes on from it")
    if not complete:
        raise Stopped(runs_dir, asked_to_stop() or (signals[0] if signals else None))


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


def _next(take) -> int | None:
    """The number of the next piece; None where there is no more, or the process that gives them has done with it."""
    try:
        return take.recv()
    except EOFError:
        return None


def _work(k: int, function, arguments, execution, take, tell) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to be left behind by a killed parent
    try:
        with stop_on_signals(), few_threads():
            while (number := _next(take)) is not None:
                execution.progress = lambda label, share, own=number: tell.send((k, own, label, share))
                function(arguments[number], execution)
                tell.send((k, number, "", 1.0))
    except Stopped as stop:
        sys.exit(128 + stop.signal if stop.signal else DEADLINE)
    except Exception as error:
        tell.send((k, -1, f"{type(error).__name__}: {error}"[:WHOLE], 0.0))
        raise
