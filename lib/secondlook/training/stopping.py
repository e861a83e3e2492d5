"""A clean way to stop: a signal asks, the run finishes its step, saves and says so."""

import signal
import threading
from contextlib import contextmanager
from pathlib import Path


class Stopped(Exception):
    """The run was asked to stop, by a signal or its deadline (`signal` is then None); everything is saved."""

    def __init__(self, path: Path, number: int | None):
        super().__init__(f"stopped and saved in {path}; the same command goes on from there")
        self.signal = number


_asked: list[int | None] = [None]


def asked_to_stop() -> int | None:
    """The signal that asked this process to stop, if one did."""
    return _asked[0]


def ask_to_stop(number: int | None) -> None:
    """Asks as that signal does where `stop_on_signals` holds; None takes it back."""
    _asked[0] = number


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
