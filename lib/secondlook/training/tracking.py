"""What is told of a training while it runs: a line of JSON an epoch, and TensorBoard for those who ask for it.

Nobody's training depends on it: a sink that fails is named once and told nothing more.
"""

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

Sink = Callable[[int, dict], None]


class Tracker:
    """`tracker(epoch, row)` hands the numbers of an epoch to every sink that still works.

    The lines are appended to `folder/NAME.jsonl`; a run that was killed may tell an epoch twice, alike both times.
    With the environment variable SECONDLOOK_TENSORBOARD, a folder, TensorBoard's files go to a folder NAME in it.
    """

    def __init__(self, folder: Path, name: str):
        self.sinks: dict[str, Sink] = {"JSON lines": _lines(Path(folder) / f"{name}.jsonl")}
        if board := os.environ.get("SECONDLOOK_TENSORBOARD"):
            self.sinks["TensorBoard"] = _board(Path(board) / name)

    def __call__(self, epoch: int, row: dict) -> None:
        for name, sink in list(self.sinks.items()):
            try:
                sink(epoch, row)
            except Exception as error:  # whatever it is, the training goes on
                del self.sinks[name]
                warnings.warn(f"tracking by {name} ends here, training does not: {error!r}", stacklevel=2)


def _lines(path: Path) -> Sink:
    def write(epoch: int, row: dict) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, **row}) + "\n")

    return write


def _board(folder: Path) -> Sink:
    """Of several seeds side by side each has a curve of its own."""
    opened = []

    def write(epoch: int, row: dict) -> None:
        if not opened:
            from tensorboardX import SummaryWriter  # an extra: `pip install secondlook[tracking]`

            opened.append(SummaryWriter(str(folder), flush_secs=1))
        for name, value in row.items():
            for member, number in enumerate(value if isinstance(value, list) else [value]):
                opened[0].add_scalar(f"{name}/{member}" if isinstance(value, list) else name, number, epoch)
        opened[0].flush()

    return write
