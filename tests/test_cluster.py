"""Workers share out the work, are replaced when lost, tell what went wrong, and leave nothing running."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client, get_worker

from secondlook import cluster, worker
from secondlook.cluster import WorkerError, on_workers
from secondlook.data import DATA_SETS, DataError, standins
from secondlook.recipe import RecipeError
from secondlook.record import Records
from secondlook.reports import read
from secondlook.runs import Execution, produce
from secondlook.training.stopping import Stopped, asked_to_stop, stop_on_signals


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
    return [p for p in psutil.Process().children() if "secondlook.worker" in " ".join(p.cmdline())]


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
    for words in (
        "piece 2: on ",
        "Traceback",
        "in _fail_at_two",
        "no such net",
        "1 of 5 failed; what was finished is filed",
    ):
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


# ------------------------------------------------------------------ a scheduler and workers begun by somebody else


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The file of a scheduler with two workers, which run in a folder of their own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    file, log = str(folder / "scheduler.json"), (folder / "log").open("w")
    run = {"cwd": folder, "env": {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, "stdout": log, "stderr": log}
    where = ["--scheduler-file", file, "--host", "127.0.0.1", "--no-dashboard"]
    worker = ["worker", *where, "--nthreads", "1", "--no-nanny", "--death-timeout", "60"]
    commands = [["scheduler", *where, "--port", "0"], worker, [*worker, "--resources", "GPU=1", "--name", "with-a-gpu"]]
    running = [subprocess.Popen([sys.executable, "-m", "dask", *command], **run) for command in commands]
    try:
        with Client(_written(file)) as client:
            client.wait_for_workers(2)
        yield file
    finally:
        for process in running:
            process.kill()
            process.wait()


def _written(file: str) -> str:
    while True:
        with suppress(OSError, ValueError):
            return json.loads(Path(file).read_text())["address"]
        time.sleep(0.05)


def _recipes(count: int, **data) -> list:
    return [
        replace(r, data=replace(r.data, **data)) for r in read("linear").recipes("c4", None, "smoke", [*range(count)])
    ]


def test_runs_train_elsewhere_and_are_filed_here(elsewhere, tmp_path):
    execution = Execution(records_dir=tmp_path, runs_dir=tmp_path, device="cpu", cluster=elsewhere)
    recipes = _recipes(2)
    assert {record.id for record in produce(recipes, execution)} == {recipe.id for recipe in recipes}
    assert None not in Records(tmp_path).each(recipes)
    assert not list(tmp_path.rglob("*.ckpt*"))


def test_what_fails_elsewhere_says_where_and_why(elsewhere, execution):
    execution.cluster = elsewhere
    with pytest.raises(WorkerError, match=r"(?s)piece 2: on .* tcp://127.*no such net.*1 of 5 failed"):
        on_workers(_fail_at_two, _numbered(5), execution, 1)


def test_a_deadline_stops_those_elsewhere(elsewhere, execution, tmp_path):
    execution.deadline, execution.cluster = time.monotonic() + 1.0, elsewhere
    with pytest.raises(Stopped):
        on_workers(_wait, _numbered(3), execution, 1)
    assert len(list(tmp_path.glob("*.saved"))) == 2


def test_what_is_asked_of_those_elsewhere_ends_with_who_asked(elsewhere, tmp_path):
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\nfrom test_cluster import *\n"
        f"from test_cluster import _told_and_wait\n"
        f"on_workers(_told_and_wait, {{'a': 1}}, Execution(runs_dir=Path({str(tmp_path)!r}), cluster={elsewhere!r}), 1)"
    )
    asks = subprocess.Popen([sys.executable, "-c", script])
    while not (tmp_path / "1").exists():
        assert asks.poll() is None
        time.sleep(0.05)
    asks.kill()
    asks.wait()
    while not (tmp_path / "1.saved").exists():  # or the test ends by its time limit
        time.sleep(0.05)


def _told_and_wait(number: int, execution) -> None:
    (execution.runs_dir / f"{number}").touch()
    while not asked_to_stop():
        execution.progress("on its way", 0.5)
        time.sleep(0.05)
    (execution.runs_dir / f"{number}.saved").touch()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "tcp://127.0.0.1:9", "no-such-file.json", "nonsense://x"])
def test_a_scheduler_that_does_not_answer_is_named(execution, address):
    execution.cluster = address
    with pytest.raises(ConnectionError, match=f"--cluster {address}: no scheduler answers .*dask scheduler"):
        on_workers(_write, _numbered(1), execution, 1)


def test_workers_at_another_commit_are_named(elsewhere, execution, monkeypatch):
    monkeypatch.setenv("SECONDLOOK_COMMIT", "another")
    execution.cluster = elsewhere
    with pytest.raises(ConnectionError, match=r"worker tcp://127.*: commit .*, here another"):
        on_workers(_write, _numbered(1), execution, 1)


def test_a_worker_without_the_data_set_is_named_with_the_way_out(elsewhere, tmp_path):
    execution = Execution(tmp_path, tmp_path, tmp_path, "cpu", cluster=elsewhere)
    with pytest.raises(ConnectionError, match=r"worker tcp://127.*cifar10.npz: no such file.*secondlook data fetch"):
        produce(_recipes(1, source="official"), execution)


def test_data_sets_are_sent_to_workers_that_lack_them(elsewhere, tmp_path, monkeypatch):
    """Only to these, once; and a worker keeps none that is not the data set, which here is drawn by code."""
    images = standins.draw("cifar10", 300, 100)
    arrays = {name: getattr(images, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    pinned = replace(DATA_SETS["cifar10"], digest=images.digest)
    monkeypatch.setitem(DATA_SETS, "cifar10", pinned)
    theirs = tmp_path / "theirs"
    with Client(_written(elsewhere)) as client:
        before = next(iter(client.run(_pin, pinned).values()))
        needs = (replace(_recipes(1)[0].data, source="official"),)
        execution = Execution(data_dir=tmp_path, send_data=True)
        cluster._send(client, execution, Execution(data_dir=theirs), needs)
        assert np.array_equal(np.load(theirs / "cifar10.npz")["x_test"], images.x_test)
        written = (theirs / "cifar10.npz").stat().st_mtime_ns
        cluster._send(client, execution, Execution(data_dir=theirs), needs)
        assert (theirs / "cifar10.npz").stat().st_mtime_ns == written
        wrong = {**arrays, "y_test": arrays["y_test"][::-1]}
        with pytest.raises(DataError, match="digest"):
            client.run(worker.receive, Execution(data_dir=theirs), needs[0], wrong)
        client.run(_pin, before)
    assert (theirs / "cifar10.npz").stat().st_mtime_ns == written


def _pin(known):
    """Takes another data set for CIFAR-10; returns what was taken before."""
    before, DATA_SETS["cifar10"] = DATA_SETS["cifar10"], known
    return before


def test_what_wants_a_gpu_goes_to_a_worker_that_offers_one(elsewhere, tmp_path):
    results = []
    execution = Execution(runs_dir=tmp_path, device="cuda", cluster=elsewhere)
    on_workers(_where, _numbered(4), execution, 1, finished=results.append)
    assert results == [["with-a-gpu"]] * 4


def _where(number: int, execution) -> None:
    execution.results.append(get_worker().name)


def test_where_no_worker_offers_a_gpu_that_is_told(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(Client, "scheduler_info", lambda *_, **__: {"workers": {"one": {"resources": {}}}})
    execution = Execution(runs_dir=tmp_path, device="cuda", cluster=elsewhere)
    with pytest.raises(ConnectionError, match=r"no worker offers a GPU.*--resources GPU=1"):
        on_workers(_where, _numbered(1), execution, 1)
