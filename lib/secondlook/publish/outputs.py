"""Refreshes the outputs a notebook keeps: `python -m secondlook.publish.outputs notebooks/linear.ipynb …`.

Cells tagged `keep_output` carry what they print, so that nbval has something to compare with; every other output is
stripped. The notebook runs on the committed records alone: training is forbidden while it does.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from secondlook.record import replace_file

TIMEOUT = 120  # seconds a cell may take


def refresh(path: Path) -> list[str]:
    """Executes the notebook in its folder and rewrites it; returns the ids of the cells that keep an output.

    Raises nbclient's CellExecutionError where a cell fails; the file is then as it was.
    """
    path = Path(path).resolve()
    notebook = nbformat.read(path, as_version=4)
    executed = NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(path.parent)}}).execute()
    kept = []
    for cell in executed.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if "keep_output" in cell.metadata.get("tags", []):
            cell.outputs = joined(cell.outputs)
            kept.append(cell.id)
        else:
            cell.outputs, cell.execution_count = [], None
    executed.metadata = {"kernelspec": executed.metadata["kernelspec"], "language_info": {"name": "python"}}
    replace_file(path, f"{nbformat.writes(executed)}\n".encode())
    return kept


def joined(outputs: list) -> list:
    """The outputs with what was printed in several parts, as chance in time has it, in one."""
    found = []
    for output in outputs:
        last = found[-1] if found else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            found.append(output)
    return found


def main(arguments: list[str]) -> int:
    """Refreshes every notebook named; returns the exit code."""
    os.environ["SECONDLOOK_TRAIN"] = "never"
    for argument in arguments:
        kept = refresh(Path(argument))
        print(f"{argument}: {len(kept)} cells keep their output")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
