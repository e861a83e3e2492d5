"""The end of a run: its records on their shelves and read back, and only then nothing left of the way there."""

from collections.abc import Iterable

from secondlook.record import Record, folder_for, save


def filed(records: list[Record], execution, checkpoints: Iterable = ()) -> list[Record]:
    """The records, filed; then the checkpoints are removed. Raises RecordError, and removes none, where one is not."""
    by_folder: dict = {}
    for record in records:
        folder = folder_for(record.recipe, execution.records_dir, execution.runs_dir)
        by_folder.setdefault(folder, []).append(record)
    for folder, group in by_folder.items():
        save(group, folder)
    for checkpoint in checkpoints:
        checkpoint.remove()
    return records
