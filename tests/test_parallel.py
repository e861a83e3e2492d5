"""Processes side by side share out the work, tell what went wrong, and leave nothing running."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from secondlook.recipe import RecipeError
from secondlook.runs import Execution
from secondlook.training.checkpoint import Stopped, asked_to_stop, stop_on_signals
from secondlook.training.machine import cores, memory, side_by_side
from secondlook.training.parallel import WorkerError, in_processes


@pytest.fixture
def execution(tmp_path):
    return Execution(runs_dir=tmp_path, progress=lambda *_: pytest.fail("a process has this one's progress"))


def _write(number: int, execution) -> None:
    execution.progress("half way", 0.5)
    if number == 0:  # the other process does all the rest meanwhile
        while len(list(execution.runs_dir.iterdir())) < 4:
            time.sleep(0.01)
    (execution.runs_dir / str(number)).write_text(str(os.getpid()))


def _fail_at_two(number: int, execution) -> None:
    if number == 2:
        raise RecipeError("no such net")
    _write(number + 10, execution)


def _wait(number: int, execution) -> None:
    (execution.runs_dir / f"{number}").touch()
    while not asked_to_stop():
        time.sleep(0.01)
    time.sleep(1.0)  # as long as saving may take
    (execution.runs_dir / f"{number}.saved").touch()
    raise Stopped(execution.runs_dir, asked_to_stop())


def _children() -> list:
    return [p for p in multiprocessing.active_children() if p.is_alive()]


def test_each_process_takes_the_next_piece_when_it_is_through_with_one(execution, tmp_path):
    told = []
    in_processes(_write, [0, 1, 2, 3, 4], execution, 2, lambda *words: told.append(words))
    by = {int(path.name): path.read_text() for path in tmp_path.iterdir()}
    assert sorted(by) == [0, 1, 2, 3, 4]
    assert len({by[n] for n in (1, 2, 3, 4)}) == 1
    assert by[0] != by[1]
    assert sorted(told) == sorted([(n, "half way", 0.5) for n in by] + [(n, "", 1.0) for n in by])


def test_what_a_process_fails_of_is_told_and_the_others_go_on(execution, tmp_path):
    with pytest.raises(WorkerError, match="RecipeError: no such net; what was finished is filed"):
        in_processes(_fail_at_two, [0, 1, 2, 3, 4], execution, 2)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [10, 11, 13, 14]


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
            in_processes(_wait, [0, 1, 2], execution, 2)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert stop.value.signal == number
    assert len(list(tmp_path.glob("*.saved"))) == 2
    assert not _children()


def test_an_exception_here_leaves_none_of_them_running(execution):
    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_processes(_write, [1, 2, 3], execution, 2, interrupted)
    assert not _children()


@pytest.mark.parametrize("from_stdin", [False, True])
def test_a_script_without_a_main_guard_runs_once(tmp_path, from_stdin):
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\nfrom secondlook.runs import Execution\n"
        "from secondlook.training.parallel import in_processes\n"
        "in_processes(operator.is_, [1, 2, 3], Execution(), 2)\nprint('done')\n"
    )
    command = [sys.executable, "-" if from_stdin else str(script)]
    done = subprocess.run(command, input=script.read_text(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def _stopped_alone(number: int, execution) -> None:
    if number == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        raise Stopped(execution.runs_dir, asked_to_stop())
    (execution.runs_dir / str(number)).touch()


def _killed(number: int, execution) -> None:
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    (execution.runs_dir / str(number)).touch()


def _out_of_time(number: int, execution) -> None:
    raise Stopped(execution.runs_dir, None)


@pytest.mark.parametrize(
    ("function", "raised", "signal_of_it"),
    [(_stopped_alone, Stopped, signal.SIGTERM), (_killed, WorkerError, None), (_out_of_time, Stopped, None)],
)
def test_work_left_undone_is_never_taken_for_done(execution, tmp_path, function, raised, signal_of_it):
    with pytest.raises(raised) as end:
        in_processes(function, [0, 1, 2, 3], execution, 2)
    assert getattr(end.value, "signal", None) == signal_of_it
    assert len(list(tmp_path.iterdir())) == (0 if function is _out_of_time else 3), "the others go on"


@pytest.mark.parametrize(
    ("profile", "many", "gib", "expected"),
    [("full", 4, 32, 4), ("quick", 16, 8, 4), ("quick", 2, 1, 1), ("smoke", 4, 32, 1)],
)
def test_as_many_run_at_a_time_as_there_are_cores_and_memory_for(monkeypatch, profile, many, gib, expected):
    monkeypatch.setattr("secondlook.training.machine.cores", lambda: many)
    monkeypatch.setattr("secondlook.training.machine.memory", lambda: gib * 2**30)
    assert side_by_side(profile) == expected


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/", {"cpu.max": "200000 100000", "memory.max": str(3 * 2**30)}, (2, 3)),
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000", "memory.max": "max"}, (1, 64)),
        ("0::/docker/of-the-host", {"cpu.max": "50000 100000", "memory.max": str(5 * 2**30)}, (1, 5)),
        (
            "4:memory:/x\n2:cpu,cpuacct:/x\n1:name=systemd:/x",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000",
             "memory/x/memory.limit_in_bytes": str(7 * 2**30), "memory/memory.limit_in_bytes": str(2**63)},
            (3, 7),
        ),
        ("2:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, (8, 64)),
        ("", {}, (8, 64)),
    ],
    ids=["v2", "v2 above", "v2 of a host", "v1", "v1 without", "none"],
)  # fmt: skip
def test_a_container_counts_the_cores_and_memory_it_was_given(monkeypatch, tmp_path, group, files, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * 2**18}.get)
    for name, text in {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n" * bool(text))
    assert (cores(tmp_path), memory(tmp_path) / 2**30) == expected
