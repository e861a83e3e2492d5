"""Refreshes what pages say of the records: the outputs that notebooks keep, and the table of README.md.

    python tools/refresh_outputs.py notebooks/linear.ipynb …

Cells tagged `keep_output` carry what they print, so that nbval has something to compare with; every other output is
stripped. The notebook runs on the committed records alone: training is forbidden while it does.
"""

import argparse
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from secondlook.claims.standing import standing
from secondlook.files import replace_file
from secondlook.record import Records
from secondlook.reports import ROOT, names, read

TIMEOUT = 120  # seconds a cell may take
BEGIN, END = "<!-- computed from the records by `make outputs` -->", "<!-- end -->"


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


def markdown(root: Path | None = None) -> str:
    """The table of all reports."""
    store = Records((root or ROOT) / "records")
    lines = ["| chapter | runs | in full | in part | reduced | not run yet |", "|---|---|---|---|---|---|"]
    for name in names(root):
        s = standing(read(name, root), store)
        lines.append(f"| {s.report} | {s.runs} | {s.full} | {s.partial} | {s.reduced} | {s.rest} |")
    return "\n".join(lines)


def refreshed(text: str, table: str) -> str:
    """The text with the table between the two marks. Raises ValueError where they are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text lacks the marks {BEGIN} and {END}, between which the table stands")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="none refreshes README.md alone")
    os.environ["SECONDLOOK_TRAIN"] = "never"
    for notebook in parser.parse_args().notebooks:
        print(f"{notebook}: {len(refresh(notebook))} cells keep their output")
    readme = ROOT / "README.md"
    replace_file(readme, refreshed(readme.read_text(encoding="utf-8"), markdown()).encode())


if __name__ == "__main__":
    main()
