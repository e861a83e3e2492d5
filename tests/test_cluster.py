"""Workers share out the work, are replaced when lost, tell what went wrong, and leave nothing running."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from secondlook.cluster import WorkerError, on_workers
from secondlook.recipe import RecipeError
from secondlook.runs import Execution
from secondlook.training.checkpoint import Stopped, asked_to_stop, stop_on_signals


@pytest.fixture
def execution(tmp_path):
    return Execution(runs_dir=tmp_path, progress=lambda *_: pytest.fail("a worker has this one's progress"))


def _numbered(count: int) -> dict:
    return {f"piece {number}": number for number in range(count)}


def _write(number: int, execution) -> None:
    execution.progress("half way", 0.5)
    if number == 0:  # the other worker does all the rest meanwhile
        while len(list(execution.runs_dir.iterdir())) < 4:
            time.sleep(0.01)
    (execution.runs_dir / str(number)).write_text(str(os.getpid()))
    execution.results.append(number)


def _fail_at_two(number: int, execution) -> None:
    execution.results.append(number)
    if number == 2:
        raise RecipeError("no such net")


def _wait(number: int, execution) -> None:
    (execution.runs_dir / f"{number}").touch()
    while not asked_to_stop():
        time.sleep(0.01)
    time.sleep(1.0)  # as long as saving may take
    (execution.runs_dir / f"{number}.saved").touch()
    raise Stopped(execution.runs_dir, asked_to_stop())


def _children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "secondlook.cluster" in " ".join(p.cmdline())]


def test_each_worker_takes_the_next_piece_when_it_is_through_with_one(execution, tmp_path):
    told, results = [], []
    on_workers(_write, _numbered(5), execution, 2, lambda *words: told.append(words), results.append)
    by = {int(path.name): path.read_text() for path in tmp_path.iterdir()}
    assert sorted(by) == [0, 1, 2, 3, 4]
    assert len({by[n] for n in (1, 2, 3, 4)}) == 1
    assert by[0] != by[1]
    assert sorted(results) == [[n] for n in range(5)]
    assert {key for key, share in told if share == 1.0} == set(_numbered(5))
    assert ("piece 0", 0.5) in told


def test_a_piece_that_fails_is_told_with_its_traceback_and_the_others_finish(execution):
    results = []
    with pytest.raises(WorkerError) as end:
        on_workers(_fail_at_two, _numbered(5), execution, 2, finished=results.append)
    for words in ("piece 2: Traceback", "in _fail_at_two", "no such net", "1 of 5 failed; what was finished is filed"):
        assert words in str(end.value)
    assert sorted(results) == [[n] for n in range(5)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_signal_stops_all_of_them_even_where_the_whole_group_has_it(execution, tmp_path, number, all_of_them):
    def ask(*_):
        if len(list(tmp_path.iterdir())) < 2:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            return
        for pid in [p.pid for p in _children() if all_of_them] + [os.getpid()]:
            os.kill(pid, number)

    before = signal.signal(signal.SIGALRM, ask)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with stop_on_signals(), pytest.raises(Stopped) as stop:
            on_workers(_wait, _numbered(3), execution, 2)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert stop.value.signal == number
    assert len(list(tmp_path.glob("*.saved"))) == 2
    assert not _children()


def test_a_deadline_stops_all_of_them_without_a_signal(execution, tmp_path):
    execution.deadline = time.monotonic()
    with pytest.raises(Stopped) as stop:
        on_workers(_wait, _numbered(3), execution, 2)
    assert stop.value.signal is None
    assert len(list(tmp_path.glob("*.saved"))) == len([p for p in tmp_path.iterdir() if not p.suffix])


def test_an_exception_here_leaves_none_of_them_running(execution):
    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_workers(_fail_at_two, _numbered(5), execution, 2, finished=interrupted)
    assert not _children()


@pytest.mark.parametrize("from_stdin", [False, True])
def test_a_script_without_a_main_guard_runs_once(tmp_path, from_stdin):
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\nfrom secondlook.runs import Execution\n"
        "from secondlook.cluster import on_workers\n"
        "on_workers(operator.is_, {'a': 1, 'b': 2, 'c': 3}, Execution(), 2)\nprint('done')\n"
    )
    command = [sys.executable, "-" if from_stdin else str(script)]
    done = subprocess.run(command, input=script.read_text(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_commands_notebooks_and_single_runs_begin_no_dask(tmp_path):
    script = (
        "import sys, secondlook.cli, secondlook.notebook, secondlook.chapter\n"
        "end = secondlook.cli.main(sys.argv[1:])\nsys.exit(end or 'distributed' in sys.modules)"
    )
    train = ["train", "linear", "--run", "c4", "--profile", "smoke", "--seeds", "0", "--processes", "2"]
    folders = ["--runs-dir", str(tmp_path), "--records-dir", str(tmp_path)]
    assert subprocess.run([sys.executable, "-c", script, *train, *folders], check=False).returncode == 0


def _stopped_alone(number: int, execution) -> None:
    if number == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        while not asked_to_stop():
            time.sleep(0.01)
        raise Stopped(execution.runs_dir, asked_to_stop())
    (execution.runs_dir / str(number)).touch()


def _killed_always(number: int, execution) -> None:
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    (execution.runs_dir / str(number)).touch()


def _killed_once(number: int, execution) -> None:
    if number == 0 and not (execution.runs_dir / "0").exists():
        (execution.runs_dir / "0").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (execution.runs_dir / str(number)).touch()


def _out_of_time(number: int, execution) -> None:
    raise Stopped(execution.runs_dir, None)


@pytest.mark.parametrize(
    ("function", "raised", "signal_of_it"),
    [(_stopped_alone, Stopped, signal.SIGTERM), (_killed_always, WorkerError, None), (_out_of_time, Stopped, None)],
)
def test_work_left_undone_is_never_taken_for_done(execution, tmp_path, function, raised, signal_of_it):
    with pytest.raises(raised) as end:
        on_workers(function, _numbered(4), execution, 2)
    assert getattr(end.value, "signal", None) == signal_of_it
    assert len(list(tmp_path.iterdir())) == (0 if function is _out_of_time else 3), "the others go on"


def test_the_piece_of_a_killed_worker_is_given_to_another(execution, tmp_path):
    on_workers(_killed_once, _numbered(4), execution, 2)
    assert len(list(tmp_path.iterdir())) == 4
