"""Where a run saves itself on its way, and its end: its records on their shelves, and only then nothing left behind."""

from collections.abc import Iterable

import torch

from secondlook.provenance import versions
from secondlook.record import Record, folder_for, save
from secondlook.training.checkpoint import Checkpoint

SAVE_EVERY = 60.0  # seconds between two checkpoints


def checkpoint_for(name: str, identity: dict, execution, **circumstances) -> Checkpoint:
    """Where a phase saves itself; beside `circumstances`, threads and versions are told."""
    told = {"threads": torch.get_num_threads(), "versions": versions(), **circumstances}
    path = execution.runs_dir / "checkpoints" / f"{name}.ckpt"
    return Checkpoint(path, identity, told, every=SAVE_EVERY, deadline=execution.deadline)


def filed(records: list[Record], execution, checkpoints: Iterable = ()) -> list[Record]:
    """The records, filed; then the checkpoints are removed. Raises RecordError, and removes none, where one is not.

    A worker files nothing: it leaves both to `execution.results`, for the process that asked for them.
    """
    if execution.results is not None:
        execution.results.append((records, [checkpoint.path for checkpoint in checkpoints]))
        return records
    by_folder: dict = {}
    for record in records:
        folder = folder_for(record.recipe, execution.records_dir, execution.runs_dir)
        by_folder.setdefault(folder, []).append(record)
    for folder, group in by_folder.items():
        save(group, folder)
    for checkpoint in checkpoints:
        checkpoint.remove()
    return records
