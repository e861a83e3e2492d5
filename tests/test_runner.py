"""A notebook run is what its status file says: also after kills, stops and crashes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import pytest

from secondlook.publish import runner, worker
from secondlook.publish.status import read_status

PARAMETERS = 'profile = "full"  # smoke, quick or full\nepochs = -1  # -1 is as the report'


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for folder in ("reports", "notebooks"):
        (tmp_path / folder).mkdir()
    return tmp_path


def add(root, name, *sources):
    tagged = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell("# Tiny"), tagged, *map(nbformat.v4.new_code_cell, sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), root / "notebooks" / f"{name}.ipynb")
    (root / "reports" / f"{name}.toml").write_text("")


def run(root, *names, parameters=("profile=smoke",), all_=False, timeout=None):
    return runner.command(list(names), all_, list(parameters), None, timeout, root)


def status_of(root, name):
    return read_status(root / "runs" / "execute" / f"{name}.status.json")


def gone(pid, patience=10.0):
    """Whether a process ends by itself within a time; a zombie has ended."""
    for _ in range(int(patience * 20)):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_passing_notebook_is_finished_and_its_parameters_arrive(root, capsys):
    add(root, "alexnet", "import os; print(profile, epochs, os.getcwd())", "")
    assert run(root, "alexnet", parameters=["profile=smoke", "epochs=3"]) == 0
    (path,) = (root / "runs" / "execute").glob("alexnet-smoke-*.status.json")
    status = read_status(path)
    assert (status["status"], status["exit_code"], status["error"]) == ("finished", 0, None)
    assert status["parameters"] == {"profile": "smoke", "epochs": 3}
    assert status["cells"] == {"total": 3, "done": 3}  # the parameters, papermill's and one more; the empty one is none
    assert status["versions"]["papermill"]
    output = nbformat.read(path.with_name(path.name.replace(".status.json", ".ipynb")), 4)
    assert output.cells[-2].outputs[0].text.split() == ["smoke", "3", str(root / "notebooks")]
    assert str(path) in capsys.readouterr().out
    assert not list(path.parent.glob("*.part"))


def test_a_failing_cell_fails_the_run_and_its_traceback_is_kept(root, capsys):
    add(root, "alexnet", "def divide(): return 1 / 0", "divide()", "print('never')")
    assert run(root, "alexnet") == 1
    status = status_of(root, "alexnet-smoke")
    assert (status["status"], status["exit_code"]) == ("failed", 1)
    assert (status["error"]["type"], status["error"]["cell"]) == ("ZeroDivisionError", 4)
    assert "return 1 / 0" in status["error"]["traceback"]
    assert "\x1b" not in status["error"]["traceback"]
    assert status["cells"] == {"total": 5, "done": 3}
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_killed_kernel_is_a_failed_run_and_its_children_go_with_it(root):
    child = "import subprocess; child = subprocess.Popen(['sleep', '600']); open('child', 'w').write(str(child.pid))"
    add(root, "alexnet", f"print('before'); {child}", "import os; os.kill(os.getpid(), 9)")
    assert run(root, "alexnet") == 1
    status = status_of(root, "alexnet-smoke")
    assert (status["status"], status["error"]["type"], status["error"]["cell"]) == ("failed", "DeadKernelError", 4)
    (output,) = (root / "runs" / "execute").glob("alexnet-smoke*.ipynb")
    assert [cell.outputs[0].text for cell in nbformat.read(output, 4).cells if cell.get("outputs")] == ["before\n"]
    assert gone(int((root / "notebooks" / "child").read_text()))


def test_a_killed_papermill_is_a_failed_run_and_the_kernel_goes_with_it(root):
    kill = "import os, time; open('kernel', 'w').write(str(os.getpid())); os.kill(os.getppid(), 9); time.sleep(600)"
    add(root, "alexnet", kill)
    assert run(root, "alexnet") == 1
    status = status_of(root, "alexnet-smoke")
    assert (status["status"], status["error"]["type"]) == ("failed", "PapermillDied")
    assert "signal 9" in status["error"]["message"]
    assert gone(int((root / "notebooks" / "kernel").read_text()))


def test_the_output_is_written_at_the_start_and_again_once_some_time_has_passed(tmp_path, monkeypatch):
    output, code = tmp_path / "output.ipynb", nbformat.v4.new_code_cell("print(1)")
    notebook, reply = nbformat.v4.new_notebook(cells=[code]), {"content": {"status": "ok"}}
    process = worker.Worker(os.open(os.devnull, os.O_WRONLY))
    process.output = str(output)
    process._notebook_starts(notebook)
    assert nbformat.read(output, 4).cells[0].outputs == []
    code.outputs = [nbformat.v4.new_output("stream", text="1\n")]
    process._cell_ends(code, 0, reply)
    assert nbformat.read(output, 4).cells[0].outputs == []
    monkeypatch.setattr(worker, "SAVE_EVERY", 0.0)
    process._cell_ends(code, 0, reply)
    assert nbformat.read(output, 4).cells[0].outputs[0].text == "1\n"
    os.close(process.events)


def test_a_notebook_that_ends_itself_early_has_not_finished(root):
    add(root, "alexnet", "import sys; sys.exit(0)", "print('never')")
    assert run(root, "alexnet") == 1
    assert status_of(root, "alexnet-smoke")["error"]["type"] == "StoppedEarly"


def test_a_cell_over_its_time_fails_the_run(root):
    add(root, "alexnet", "import time; time.sleep(600)")
    assert run(root, "alexnet", timeout=1) == 1
    assert status_of(root, "alexnet-smoke")["error"]["type"] == "CellTimeoutError"


@pytest.mark.parametrize(
    ("names", "parameters", "says"),
    [(["linear"], ["profil=smoke"], "did you mean 'profile'"), (["linear"], ["epochs=many"], "of type int"),
     (["linear"], ["profile=smok"], "did you mean 'smoke'"), (["linaer"], [], "did you mean 'linear'"),
     (["alexnet", "linear"], ["epochs=many"], "of type int"), ([], [], "--all")],
)  # fmt: skip
def test_a_bad_parameter_or_name_is_refused_before_anything_starts(root, capsys, names, parameters, says):
    add(root, "alexnet")
    add(root, "linear")
    assert run(root, *names, parameters=parameters) == 2
    assert says in capsys.readouterr().err
    assert not (root / "runs").exists()


def test_a_timeout_of_nothing_is_refused(root):
    add(root, "linear")
    assert run(root, "linear", timeout=0) == 2


def test_all_goes_on_after_a_failure_and_says_so_at_the_end(root, capsys):
    add(root, "linear", "1 / 0")
    add(root, "alexnet", "1 + 1")
    assert run(root, all_=True) == 1
    assert [status_of(root, f"{name}-smoke")["status"] for name in ("linear", "alexnet")] == ["failed", "finished"]
    assert [line.split() for line in capsys.readouterr().out.splitlines()[-2:]] == [
        ["linear", "failed"],
        ["alexnet", "finished"],
    ]


def started(root, cell):
    """A runner in a process of its own, once its kernel has written the file `kernel`."""
    add(root, "alexnet", f"import os\nopen('kernel.part', 'w').write(str(os.getpid()))\n{cell}")
    code = "import sys; from pathlib import Path; from secondlook.publish import runner\n"
    code += f"sys.exit(runner.command(['alexnet'], False, ['profile=smoke'], root=Path({str(root)!r})))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(600):
        if (root / "notebooks" / "kernel").exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() is None, process.stderr.read().decode()
    return process, int((root / "notebooks" / "kernel").read_text())


SLEEP = "os.rename('kernel.part', 'kernel')\nimport time; time.sleep(600)"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_is_interrupted_and_leaves_no_process(root, signum):
    process, kernel = started(root, SLEEP)
    status = status_of(root, "alexnet-smoke")
    assert (status["status"], status["pid"], status["exit_code"]) == ("running", process.pid, None)
    assert run(root, "alexnet") == 2  # somebody is writing this output
    process.send_signal(signum)
    process.communicate()
    assert process.returncode == 128 + signum
    status = status_of(root, "alexnet-smoke")
    assert (status["status"], status["exit_code"]) == ("interrupted", 128 + signum)
    assert (status["error"]["type"], status["error"]["cell"]) == (signum.name, 3)
    assert gone(kernel)


def test_a_stopped_kernel_may_finish_what_it_saves(root):
    saves = """
    import signal
    def save(*_):
        open("saved", "w").close()
        os._exit(143)
    signal.signal(signal.SIGTERM, save)
    """
    process, _ = started(root, textwrap.dedent(saves) + SLEEP)
    process.terminate()
    process.communicate()
    assert (root / "notebooks" / "saved").exists()
    assert process.returncode == 143


def test_a_second_signal_does_not_wait_for_a_slow_kernel(root):
    slow = """
    import signal, time
    def save(*_):
        open("stopping", "w").close()
        time.sleep(4)
        open("saved", "w").close()
        os._exit(143)
    signal.signal(signal.SIGTERM, save)
    """
    process, kernel = started(root, textwrap.dedent(slow) + SLEEP)
    process.send_signal(signal.SIGINT)
    while not (root / "notebooks" / "stopping").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert not (root / "notebooks" / "saved").exists()
    assert process.returncode == 130
    assert status_of(root, "alexnet-smoke")["status"] == "interrupted"
    assert gone(kernel)


def test_a_killed_runner_is_read_as_failed_and_its_kernel_ends(root):
    process, kernel = started(root, SLEEP)
    process.kill()
    process.communicate()
    assert json.loads((root / "runs/execute/alexnet-smoke.status.json").read_text())["status"] == "running"
    status = status_of(root, "alexnet-smoke")
    assert (status["status"], status["exit_code"], status["error"]["type"]) == ("failed", 1, "RunnerDied")
    assert gone(kernel)
    add(root, "alexnet")
    assert run(root, "alexnet") == 0


def test_a_status_of_a_process_whose_number_is_used_again_is_failed(root):
    path = root / "a.status.json"
    path.write_text(json.dumps({"schema": 1, "status": "running", "pid": os.getpid(), "born": "long ago"}))
    assert read_status(path)["status"] == "failed"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_a_file_that_is_no_status_is_refused_by_name(tmp_path, text):
    (tmp_path / "a.status.json").write_text(text)
    for name in ("a.status.json", "absent.status.json"):
        with pytest.raises(ValueError, match=name):
            read_status(tmp_path / name)


@pytest.mark.parametrize(
    ("parameter", "says"), [("loss=bogus", "weston_watkins"), ("batch_size=0", "at least 1"), ("device=cuda:7", "CUDA")]
)
def test_a_setting_or_a_device_that_cannot_be_is_refused_before_anything_starts(tmp_path, capsys, parameter, says):
    assert runner.command(["linear"], False, ["profile=smoke", parameter], tmp_path / "out") == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
