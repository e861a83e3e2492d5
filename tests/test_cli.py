"""The command line: what it prints, what it returns, what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from secondlook.arguments import seeds
from secondlook.bar import Bar
from secondlook.cli import main
from secondlook.reports import ROOT


def run(*words):
    return main([str(w) for w in words])


def folders(tmp_path):
    return ["--records-dir", tmp_path / "records", "--runs-dir", tmp_path / "runs"]


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--version")
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"secondlook {metadata.version('secondlook')}\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """What calls a copy of the package alone: words and a folder in, the finished process out."""
    site = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "lib" / "secondlook", site / "secondlook")

    def call(folder, *words, **environment):
        command = [sys.executable, "-m", "secondlook", *words]
        own = {**os.environ, "PYTHONPATH": str(site), **environment}
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=own, check=False)

    return call


@pytest.mark.parametrize(
    "words", ["list --missing", "list linear", "check", "check linear", "train linear", "execute --all"]
)
def test_a_copy_of_the_package_alone_says_that_it_has_no_reports(copy, tmp_path, words):
    done = copy(tmp_path, *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert f"there are no reports in {tmp_path}" in done.stderr


def test_a_copy_of_the_package_finds_the_project_it_is_used_in(copy):
    done = copy(ROOT / "notebooks", "check", "linear", "--json", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert any(row["records"] for row in json.loads(done.stdout))


def test_what_the_output_cannot_encode_is_replaced():
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "secondlook", "check", "linear"]
    done = subprocess.run(command, capture_output=True, text=True, env=ascii_only, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rate 3e-7, ? 1e4" in done.stdout


def test_a_user_without_a_home_is_given_one(monkeypatch, capsys):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert run("list", "linear") == 0
    assert Path.home().is_dir()


@pytest.mark.parametrize("command", ["", "list", "data", "train", "execute", "check"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*command.split(), "--help")
    assert stop.value.code == 0
    assert "usage: secondlook" in capsys.readouterr().out


def test_list_gives_stable_fields(tmp_path, capsys):
    assert run("list", "linear", "--json", *folders(tmp_path)) == 0
    rows = json.loads(capsys.readouterr().out)
    assert set(rows[0]) >= {"report", "run", "variant", "profile", "seed", "present", "minutes"}
    assert not any(row["present"] for row in rows)


def test_what_is_trained_is_no_longer_missing(tmp_path, capsys):
    train = ["train", "linear", "--run", "c4", "--variant", "as_coded", "--profile", "smoke", "--seeds", "0"]
    assert run(*train, "--data-dir", tmp_path, *folders(tmp_path)) == 0
    assert "2 records written" in capsys.readouterr().out
    assert run("list", "linear", "--profile", "smoke", "--missing", "--json", *folders(tmp_path)) == 0
    missing = {(r["run"], r["variant"], r["seed"]) for r in json.loads(capsys.readouterr().out)}
    assert ("c4-full", "as_coded", 0) not in missing
    assert ("c4-full", "as_coded", 1) in missing
    assert run(*train, "--data-dir", tmp_path, *folders(tmp_path)) == 0
    assert "0 to train" in capsys.readouterr().out


def test_a_dry_run_of_several_reports_tells_what_is_missing_and_trains_nothing(tmp_path, capsys):
    train = ["train", "--profile", "smoke", "--dry-run", *folders(tmp_path)]
    assert run(*train, "linear") == run(*train, "vae") == run(*train, "linear", "vae") == run(*train, "--all") == 0
    linear, vae, both, every = (int(line.split()[0]) for line in capsys.readouterr().out.splitlines())
    assert both == linear + vae < every
    assert not list(tmp_path.rglob("*.json"))


def test_a_run_that_fails_among_several_exits_1_with_its_traceback(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("secondlook.runs._produce", json.loads)  # which is given no text
    train = ["train", "linear", "--run", "c4", "--variant", "as_coded", "--profile", "smoke", "--seeds", "0-1"]
    assert run(*train, "--processes", "2", *folders(tmp_path)) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "2 of 2 failed" in told


def test_smoke_records_go_to_runs_and_never_to_records(tmp_path):
    run(
        "train",
        "linear",
        "--run",
        "c4",
        "--profile",
        "smoke",
        "--seeds",
        "0",
        "--data-dir",
        tmp_path,
        *folders(tmp_path),
    )
    assert list((tmp_path / "runs" / "linear").glob("*.json"))
    assert not (tmp_path / "linear").exists()


def test_a_deadline_stops_cleanly_and_the_same_command_goes_on(tmp_path, capsys):
    train = [
        "train",
        "linear",
        "--run",
        "c4",
        "--profile",
        "smoke",
        "--seeds",
        "0",
        "--data-dir",
        tmp_path,
        *folders(tmp_path),
    ]
    assert run(*train, "--max-minutes", "0") == 0
    assert "same command" in capsys.readouterr().out
    assert run(*train) == 0
    assert "4 records written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "liner"], "did you mean 'linear'"),
        (["train"], "name one or more reports, or pass --all"),
        (["train", "linear", "--all"], "name one or more reports, or pass --all"),
        (["train", "linear", "--run", "c44"], "did you mean 'c4'"),
        (["train", "linear", "--run", "l1", "--variant", "as_coded"], "does not belong to variant"),
        (["train", "linear", "--profile", "smoke", "--device", "cuda"], "no CUDA device"),
        (["check", "vg"], "unknown report"),
        (["data", "check", "cifar"], "unknown data set"),
    ],
)
def test_a_mistake_exits_2_and_says_what_to_do(words, message, capsys):
    assert run(*words) == 2
    assert message in capsys.readouterr().err


def test_training_without_data_names_the_way_out(tmp_path, capsys):
    assert run("train", "linear", "--run", "c4", "--seeds", "0", "--data-dir", tmp_path, *folders(tmp_path)) == 2
    assert "secondlook data fetch" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["train linear --profile smoke"])
def test_a_data_folder_that_is_not_there_is_refused(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*words.split(), "--data-dir", tmp_path / "nowhere")
    assert stop.value.code == 2
    assert f"there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err


def test_check_gives_stable_fields(capsys):
    assert run("check", "linear", "--json") == 0
    for row in json.loads(capsys.readouterr().out):
        assert list(row)[:8] == ["id", "report", "says", "verdict", "published", "measured", "interval", "seeds"]
        assert list(row)[8:11] == ["profile", "data", "records"]


@pytest.mark.parametrize("command", [["check", "linear"], ["list", "linear", "--json"]])
def test_a_damaged_file_of_records_is_told_and_the_rest_is_answered(command, tmp_path, capsys):
    folder = tmp_path / "records" / "linear"
    folder.mkdir(parents=True)
    (folder / "as_coded.full.json").write_text("{")
    (folder / "._as_coded.full.json").write_bytes(b"\x00\xff")
    assert run(*command, *folders(tmp_path)) == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) > 10
    assert "secondlook: left out: " in told.err
    assert "as_coded.full.json: not a file of records" in told.err
    assert "._as_coded" not in told.err


def test_seeds_read_spans_and_lists():
    assert seeds("0-2,7") == [0, 1, 2, 7]
    for bad in ("", "a", "3-1", "-1"):
        with pytest.raises(Exception, match="list of seeds"):
            seeds(bad)


def test_pages_that_only_read_records_import_no_torch():
    code = "import sys\nfrom secondlook import recipe, reports, record, claims, figures, cli\nfrom secondlook import chapter\nprint([m for m in sys.modules if m.split('.')[0] in ('torch', 'torchvision', 'sklearn')][:3])"  # noqa: E501
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("own", "spins"),
    [({}, "30000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_threads_soon_sleep_while_they_wait_unless_the_environment_says_otherwise(own, spins, monkeypatch, capsys):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, own.get(name, ""))
        if name not in own:
            monkeypatch.delenv(name)
    assert main(["list", "linear", "--json"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_a_run_that_goes_on_estimates_from_what_it_does_now(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    bar = Bar()
    for share in (0.5, 0.5625, 0.625):
        bar("run", share)
        now += 20.0
    assert [line.split("|")[-1].strip() for line in capsys.readouterr().err.split("\r") if line] == [
        "00:00 < ?", "00:20 < 02:20", "00:40 < 02:00",
    ]  # fmt: skip
    bar.close()
