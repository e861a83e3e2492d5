"""What every notebook of the book keeps to, so that papermill, nbval and a reader can rely on it."""

import copy
import json
import re
from pathlib import Path

import nbformat
import pytest
from refresh_outputs import joined

from secondlook.execute import declared
from secondlook.parameters import ParameterError

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NONE_YET = [pytest.param(None, marks=pytest.mark.skip(reason="there is no notebook yet"))]
DECLARED = r"\w+ = \S.*  # \S"
LONGEST = 20  # lines of a code cell; the parameters cell is a list, one line a parameter


def faults(path: Path) -> list[str]:
    """What a notebook does against the contract, one sentence each."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = []
    tagged = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    found += [f"{len(tagged)} cells are tagged 'parameters': tag exactly one"] if len(tagged) != 1 else []
    lines = "".join(tagged[0]["source"]).splitlines() if tagged else []
    found += [f"{line!r} is no `name = value  # what it is`" for line in lines if not re.match(DECLARED, line)]
    try:
        declared(path)
    except ParameterError as error:
        found.append(str(error))
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel's name is not python3")
    for number, cell in enumerate((c for c in notebook["cells"] if c["cell_type"] == "code"), 1):
        found += [f"code cell {number} {fault}" for fault in _faults_of(cell)]
    return found


def _faults_of(cell: dict):
    source, tags, outputs = "".join(cell["source"]), cell["metadata"].get("tags", []), cell["outputs"]
    if "parameters" not in tags and len(source.splitlines()) > LONGEST:
        yield f"has {len(source.splitlines())} lines, more than {LONGEST}: move it to the library"
    if outputs and "keep_output" not in tags:
        yield "has a stored output without the tag keep_output: strip it"
    if "nbval-check-output" in tags and "keep_output" not in tags:
        yield "is tagged nbval-check-output without keep_output: its output would be stripped, and the check pass"
    if "nbval-check-output" in tags and not outputs:
        yield "is tagged nbval-check-output and has no stored output: nothing would be checked"


@pytest.mark.parametrize("path", NOTEBOOKS or NONE_YET, ids=lambda path: getattr(path, "stem", "none"))
def test_a_notebook_keeps_the_contract(path):
    assert faults(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_shows_how_its_model_is_trained(path):
    everything = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
    assert "optimizer.step()" in everything or "W -= settings.learning_rate" in everything
    assert "live_loss(" in everything
    for part in ("## The experiment in plain sight", "## Exercises", "## Summary", "## References"):
        assert part in everything


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
GOOD = {
    "nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": KERNEL},
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": "import torch"},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "outputs": [],
         "source": [f"p{i} = {i}  # number {i}\n" for i in range(20)]},
        {"cell_type": "code", "metadata": {"tags": ["keep_output", "nbval-check-output"]}, "source": "print(1)",
         "outputs": [{"output_type": "stream", "name": "stdout", "text": "1\n"}]},
        {"cell_type": "code", "metadata": {}, "source": "1\n" * 10, "outputs": []},
    ],
}  # fmt: skip


def _written(tmp_path, notebook):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(notebook))
    return path


def test_a_good_notebook_has_no_fault(tmp_path):
    assert faults(_written(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("cell", "change", "says"),
    [(1, {"metadata": {}}, "tag exactly one"), (1, {"source": "p = 1"}, "what it is"),
     (1, {"source": "p = [1]  # list"}, "must be text"), (3, {"source": "1\n" * 21}, "has 21 lines"),
     (3, {"outputs": [{}]}, "strip it"), (2, {"outputs": []}, "nothing would be checked"),
     (2, {"metadata": {"tags": ["nbval-check-output"]}}, "the check pass")],
)  # fmt: skip
def test_each_fault_is_found(tmp_path, cell, change, says):
    notebook = copy.deepcopy(GOOD)
    notebook["cells"][cell].update(change)
    assert any(says in fault for fault in faults(_written(tmp_path, notebook)))


def test_another_kernel_is_found(tmp_path):
    other = {"kernelspec": {**KERNEL, "name": "other"}}
    assert faults(_written(tmp_path, {**GOOD, "metadata": other})) == ["the kernel's name is not python3"]


def test_what_is_printed_in_parts_is_kept_as_one():
    printed = (("stdout", "a\n"), ("stdout", "b\n"), ("stderr", "c"))
    parts = [nbformat.v4.new_output("stream", name=n, text=t) for n, t in printed]
    told = [(o.name, o.text) for o in joined(parts)]
    assert told == [("stdout", "a\nb\n"), ("stderr", "c")]
