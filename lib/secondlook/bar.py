"""The progress of training as one bar for each run or group of runs."""

import sys


class Bar:
    """A progress bar that starts anew with every label, on a terminal, in a log or, redrawn `every` second, a page."""

    def __init__(self, every: float | None = None):
        self._bar, self._label = None, None
        self._every = every or (0.5 if sys.stderr.isatty() else 10)

    def __call__(self, label: str, share: float) -> None:
        from tqdm import tqdm

        if label != self._label:
            self.close()
            self._label = label
            form = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
            # what a run that goes on has done already is no measure of speed, neither for the estimate nor for miniters
            every = {"mininterval": self._every, "miniters": 0}
            self._bar = tqdm(total=1.0, initial=share, desc=label, bar_format=form, **every)
        self._bar.update(share - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar, self._label = None, None
