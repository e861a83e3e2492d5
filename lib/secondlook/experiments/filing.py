"""The end of a run: its records on their shelves and read back, and only then nothing left of the way there."""

from collections.abc import Iterable

from secondlook.files import check_writable, lock
from secondlook.recipe import Recipe
from secondlook.record import Record, check_shelf, folder_for, save, shelf_of


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


def check_folders(recipes: Iterable[Recipe], execution) -> None:
    """Returns nothing where all that training the recipes will write can be written, and raises before any work if not.

    Raises OSError for a folder, RecordError for a shelf to which nothing can be added; both say the way out.
    """
    for name in ("checkpoints", "weights"):
        check_writable(execution.runs_dir / name, "--runs-dir")
    shelves: dict = {}
    for recipe in recipes:
        path = shelf_of(recipe, folder_for(recipe, execution.records_dir, execution.runs_dir))
        shelves.setdefault((path.parent, "--records-dir" if recipe.is_evidence else "--runs-dir"), set()).add(path)
    for (folder, option), paths in shelves.items():
        check_writable(folder, option)
        with lock(folder / ".lock"):
            for path in sorted(paths):
                check_shelf(path)
