"""The packages that are pinned by name are there because something shipped uses them."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from secondlook import reports

ROOT = Path(__file__).resolve().parents[1]
IMPORTED = {
    "torch": "torch", "torchvision": "torchvision", "papermill": "papermill", "plotly": "plotly",
    "umap-learn": "umap", "scikit-learn": "sklearn",
}  # fmt: skip
CHECKED = {"grad-cam": "pytorch_grad_cam"}  # what the tests hold ours against
RUN = {"jupyter-book": "$(BIN)/jupyter-book config", "nbval": "--nbval-lax"}  # by the Makefile


def imports(path: Path) -> set[str]:
    """The top packages that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
    return {name.split(".")[0] for name in found}


@pytest.mark.parametrize("package", IMPORTED)
def test_a_pinned_package_is_imported_by_the_library(package):
    users = [path for path in (ROOT / "lib").rglob("*.py") if IMPORTED[package] in imports(path)]
    assert users, f"nothing in lib/ imports {IMPORTED[package]}"


@pytest.mark.parametrize("package", CHECKED)
def test_a_package_that_ours_is_held_against_is_imported_by_a_test(package):
    assert [path for path in (ROOT / "tests").glob("test_*.py") if CHECKED[package] in imports(path)]


@pytest.mark.parametrize("package", RUN)
def test_a_pinned_tool_is_run_by_the_makefile(package):
    assert RUN[package] in (ROOT / "Makefile").read_text()


def test_nothing_is_installed_without_a_hash_or_built_with_fetched_tools(tmp_path):
    command = ["make", "--dry-run", f"VENV={tmp_path}/venv", f"{tmp_path}/venv/.ready"]
    steps = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.splitlines()
    tools, *others = [step for step in steps if " pip install " in step]
    assert "--require-hashes" in tools
    assert all("--no-build-isolation" in step for step in others)
    assert all("--require-hashes" in step or "--no-deps" in step for step in others)


@pytest.mark.parametrize("package", ["packaging", "setuptools", "wheel", *IMPORTED, *CHECKED, *RUN])
def test_it_is_pinned_and_hashed(package):
    pins = (ROOT / "requirements.txt").read_text()
    assert re.search(rf"^{package}==\S+ \\\n    --hash=sha256:[0-9a-f]{{64}}", pins, re.MULTILINE)


def test_a_wheel_brings_reports_logs_notebooks_and_the_mark_of_types(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("lib", "reports", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "wheels", "."]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    held = {name.split("/share/secondlook/")[-1] for name in zipfile.ZipFile(wheel).namelist()}
    ours = [*ROOT.glob("reports/*.toml"), *ROOT.glob("reports/logs/*.csv"), *ROOT.glob("notebooks/*.ipynb")]
    assert {"secondlook/py.typed", *(path.relative_to(ROOT).as_posix() for path in ours)} <= held


def test_a_package_used_outside_the_project_reads_the_reports_it_came_with(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "SHIPPED", reports.ROOT)
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    reports.read.cache_clear()
    assert reports.chapters() == ["linear", "alexnet", "optimizers", "vgg", "vae"]
    assert reports.read("vgg").recipes("vgg16")
    assert reports.log("optimizers_keras")
    reports.read.cache_clear()
