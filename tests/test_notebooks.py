"""The chapters themselves: a smoke run through papermill, and what a page that only reads records costs."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from secondlook.cli import main
from secondlook.publish.render import MIME
from secondlook.reports import ROOT, chapters

CHAPTERS = chapters()
READ = """
import json, sys, time
cells = json.load(open(sys.argv[1]))["cells"]
scope = {}
for cell in cells:  # without those that show a model, its recipe, a training step, a method or a trial
    if cell["cell_type"] == "code" and not cell["id"].startswith(("plain-", "recipe", "method-", "try-")):
        exec("".join(cell["source"]), scope)
print(json.dumps([name for name in ("torch", "torchvision", "umap", "papermill") if name in sys.modules]))
"""


@pytest.mark.parametrize("name", CHAPTERS)
def test_drawing_and_judging_records_imports_no_torch(name):
    command = [sys.executable, "-c", READ, str(ROOT / "notebooks" / f"{name}.ipynb")]
    quiet = {**os.environ, "SECONDLOOK_TRAIN": "never"}
    for _ in range(2):  # what missing runs cost is counted with torch the first time, and then remembered
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "notebooks", env=quiet, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_smoke_run_trains_without_data(name, tmp_path):
    passed = f"-p profile=smoke -p train=always -p records_dir={tmp_path} -p data_dir={tmp_path}"
    assert main(["execute", name, *passed.split(), "--out-dir", str(tmp_path)]) == 0
    (output,) = tmp_path.glob("*.ipynb")
    outputs = [o["data"] for cell in nbformat.read(output, 4).cells for o in cell.get("outputs", ()) if "data" in o]
    figures = [data for data in outputs if MIME in data]
    assert figures
    assert all(data["text/plain"].strip() and "<figcaption>" in data["text/html"] for data in figures)
    shelves = list((tmp_path / "runs" / name).glob("*.json"))
    assert shelves
    assert not (tmp_path / "linear").exists()
    records = [r for p in shelves for r in json.loads(p.read_text())["records"].values()]
    sources = {(r["recipe"]["data"]["name"] == "gaussians", r["recipe"]["data"]["source"]) for r in records}
    assert sources - {(True, "official")} == {(False, "standin")}  # Gaussians are drawn by code: the real thing


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_stands_in_the_table_of_contents(name):
    assert f"file: notebooks/{name}" in (ROOT / "_toc.yml").read_text()
