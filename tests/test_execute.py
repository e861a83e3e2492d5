"""Executing chapters: what is refused before any work, and that an exit code says how a notebook ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from secondlook import reports
from secondlook.cli import main
from secondlook.execute import declared
from secondlook.parameters import ParameterError, check_values, parse, seeds

PARAMETERS = 'profile = "full"  # smoke, quick or full\nepochs = -1  # -1 is as the report'
DEFAULTS = {"profile": "full", "epochs": -1, "learning_rate": -1.0, "augment": False}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project of its own, in a folder whose name papermill would format, and another one to call from."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    root, caller = tmp_path / "a {project}", tmp_path / "caller"
    for folder in (root / "reports", root / "notebooks", caller):
        folder.mkdir(parents=True)
    monkeypatch.setattr(reports, "ROOT", root)
    monkeypatch.chdir(caller)
    reports.read.cache_clear()  # of the real project's
    yield root
    reports.read.cache_clear()  # of this project's


def add(root, name, *sources, cell=PARAMETERS):
    tagged = nbformat.v4.new_code_cell(cell, metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell("# Tiny"), tagged, *map(nbformat.v4.new_code_cell, sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = root / "notebooks" / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    (root / "reports" / f"{name}.toml").write_text("")
    return path


def run(root, *words, parameters=("profile=smoke",)):
    passed = [word for text in parameters for word in ("-p", text)]
    return main(["execute", *words, *passed, "--out-dir", str(root / "out")])


def gone(pid):
    """Whether a process ends within a time; a zombie has ended."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_notebook_runs_whole_with_its_parameters_in_the_callers_folder(root, capsys):
    add(root, "alexnet", "import os; print(profile, epochs, os.getcwd())")
    assert run(root, "alexnet", parameters=["profile=smoke", "epochs=3"]) == 0
    (path,) = (root / "out").glob("alexnet-smoke-*.ipynb")
    assert nbformat.read(path, 4).cells[-1].outputs[0].text.split() == ["smoke", "3", os.getcwd()]
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "says"),
    [("1 / 0", "ZeroDivisionError in cell [3]: division by zero"), ("import sys; sys.exit(0)", "ended itself"),
     ("import os; os.kill(os.getpid(), 9)", "DeadKernelError"), ("import time; time.sleep(600)", "CellTimeoutError")],
)  # fmt: skip
def test_a_notebook_that_did_not_run_whole_fails_and_the_next_one_runs(root, capsys, source, says):
    add(root, "linear", source, "print('never')")
    add(root, "alexnet")
    assert run(root, "--all", "--timeout", "3") == 1
    told = capsys.readouterr()
    assert "linear: " in told.err
    assert says in told.err
    assert "alexnet: finished" in told.out


@pytest.mark.parametrize(
    ("words", "says"),
    [(["linear", "-p", "profil=smoke"], "did you mean 'profile'"), (["linear", "-p", "epochs=many"], "of type int"),
     (["linear", "-p", "profile=smok"], "did you mean 'smoke'"), (["linaer"], "did you mean 'linear'"),
     (["alexnet", "linear", "-p", "epochs=many"], "of type int"), ([], "--all"), (["linear", "--all"], "--all"),
     (["linear", "--timeout", "0"], "above 0 seconds"), (["linear", "-p", "data_dir=nowhere"], "caller/nowhere")],
)  # fmt: skip
def test_a_mistake_is_refused_before_anything_starts(root, capsys, words, says):
    add(root, "alexnet")
    add(root, "linear", cell=PARAMETERS + '\ndata_dir = ""  # "" is the project\'s')
    assert run(root, *words, parameters=()) == 2
    assert says in capsys.readouterr().err
    assert not (root / "out").exists()


@pytest.mark.parametrize(
    ("parameter", "says"),
    [("loss=bogus", "weston_watkins"), ("batch_size=0", "batch_size must be"), ("device=cuda:7", "CUDA"),
     ("records_dir=nowhere", "there is no folder")],
)  # fmt: skip
def test_what_the_chapter_would_refuse_is_refused_before_it_starts(tmp_path, capsys, parameter, says):
    assert run(tmp_path, "linear", parameters=["profile=smoke", parameter]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


SAVES = """import os, signal, time
def save(*_):
    open("saved", "w").close()
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, save)
open("kernel.part", "w").write(str(os.getpid()))
os.rename("kernel.part", "kernel")
time.sleep(600)"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_command_lets_the_kernel_save_and_leaves_no_process(root, capsys, signum):
    add(root, "alexnet", SAVES)
    code = f"from secondlook import reports; from pathlib import Path; reports.ROOT = Path({str(root)!r})\n"
    code += "from secondlook.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    words = ["execute", "alexnet", "-p", "profile=smoke", "--out-dir", str(root / "out")]
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    while not Path("kernel").exists() and process.poll() is None:
        time.sleep(0.05)
    assert run(root, "alexnet") == 2
    assert "another process is writing" in capsys.readouterr().err
    process.send_signal(signum)
    assert "the same command goes on" in process.communicate()[1]
    assert process.returncode == 128 + signum
    assert Path("saved").exists()
    assert gone(int(Path("kernel").read_text()))


@pytest.mark.parametrize("cell", ["a = (1, 2)", "a = None", "a = b", "a = ["])
def test_a_parameter_that_is_no_flat_scalar_is_refused_by_name(root, cell):
    with pytest.raises(ParameterError, match=r"alexnet\.ipynb"):
        declared(add(root, "alexnet", cell=f"{cell}  # of the reader's own"))


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "alexnet.ipynb: its parameters cannot be read"), ('{"cells": [', "alexnet.ipynb: its parameters cannot be"),
     ('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "there is none to choose from")],
)  # fmt: skip
def test_a_file_without_parameters_is_refused_by_name(root, content, says, capsys):
    add(root, "alexnet").write_text(content)
    assert run(root, "alexnet") == 2
    assert says in capsys.readouterr().err


def test_values_are_of_the_type_that_the_notebook_declares():
    found = parse(["epochs=3", "learning_rate=1", "augment=True", "profile=2024"], DEFAULTS)
    assert found == {"epochs": 3, "learning_rate": 1.0, "augment": True, "profile": "2024"}
    assert [type(value) for value in found.values()] == [int, float, bool, str]


@pytest.mark.parametrize(
    ("texts", "says"),
    [(["epochs=2.0"], "int"), (["epochs="], "int"), (["epochs=true"], "int"), (["epochs=" + "9" * 400], "int"),
     (["learning_rate=fast"], "float"), (["learning_rate=nan"], "float"), (["learning_rate=1e999"], "float"),
     (["augment=1"], "bool"), (["epochs"], "name=value"), (["epochs=1", "epochs=1"], "passed twice")],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_naming_the_type(texts, says):
    with pytest.raises(ParameterError, match=says):
        parse(texts, DEFAULTS)


def test_seeds_are_ranges_lists_or_the_reports_own():
    assert seeds("") is None
    assert seeds("0, 2,4-5") == [0, 2, 4, 5]
    for text in ("5-0", "a", "0,", "-1", "0-2,1", "1.5", "0-999999999", "0-9998,10000-10001", "٣"):
        with pytest.raises(ParameterError, match="seeds"):
            check_values({"seeds": text})


@pytest.mark.parametrize(
    ("values", "says"),
    [({"profile": "smok"}, "did you mean 'smoke'"), ({"profile": ""}, "unknown profile"), ({"train": "ever"}, "never"),
     ({"variant": "corected"}, "did you mean 'corrected'"), ({"variant": "custom"}, "unknown variant"),
     ({"device": "gpu"}, "cuda:0"), ({"device": "cuda:"}, "cuda:0"), ({"max_minutes": 0}, "above 0"),
     ({"max_minutes": float("nan")}, "above 0"), ({"max_minutes": 10**400}, "above 0"),
     ({"max_minutes": "10"}, "of type float"), ({"max_minutes": True}, "of type float"), ({"seeds": 3}, "-r seeds 3"),
     ({"data_dir": 2024}, "data_dir must be of type str, not 2024.*-r data_dir 2024"),
     ({"records_dir": None}, "records_dir must be of type str"), ({"data_dir": __file__}, "there is no folder"),
     ({"cam_method": "layercm"}, "did you mean 'layercam'"), ({"cam_method": 1}, "of type str")],
)  # fmt: skip
def test_a_bad_value_is_an_error_that_says_what_to_do(values, says):
    with pytest.raises(ParameterError, match=says):
        check_values(values)


def test_good_values_pass_and_unknown_names_are_left_alone(tmp_path):
    good = {"profile": "smoke", "variant": "", "train": "never", "seeds": "0-5", "max_minutes": 10, "device": "cuda:1",
            "cam_method": "hirescam", "data_dir": str(tmp_path), "other": object()}  # fmt: skip
    check_values(good)
    check_values({})


def test_a_variant_must_be_one_of_the_report(tmp_path):
    (tmp_path / "reports").mkdir()
    toml = '[base]\nkind = "linear"\n[run.first]\nvariants = ["as_published", "corrected"]\n'
    (tmp_path / "reports" / "tiny.toml").write_text(toml)
    check_values({"variant": "corrected"}, "tiny", tmp_path)
    check_values({"variant": "further"})
    with pytest.raises(ParameterError, match="unknown variant 'further'"):
        check_values({"variant": "further"}, "tiny", tmp_path)
