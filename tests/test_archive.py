"""Records carried in an archive: all of them arrive, or the archive is refused by name."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from secondlook import archive
from secondlook.archive import add, pack, pack_all
from secondlook.record import Record, RecordError, Records
from secondlook.reports import read


def record(seed=0, run="c4-full", of="as_published", **changes):
    recipe = read("linear").recipes(run, of, seeds=[seed])[0]
    chance = np.random.default_rng(seed)
    return Record(
        replace(recipe, **changes), "finished", {"test_accuracy": 0.3 + seed / 100},
        {"train_loss": chance.normal(size=20)}, {"scores": chance.integers(0, 255, (500, 10)).astype(np.uint8)},
        {"commit": "0" * 40},
    )  # fmt: skip


def refused(path, folder, *words):
    with pytest.raises(RecordError) as error:
        add(path, folder)
    for word in (str(path), *words):
        assert word in str(error.value)
    assert not list(folder.rglob("*.json"))


def rewritten(path, change):
    """The archive with its members changed by `change(name, content)`, which gives pairs to write."""
    with zipfile.ZipFile(path) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w") as new:
        for pair in [out for name, content in members for out in change(name, content)]:
            new.writestr(*pair)
    return path


def test_what_is_packed_is_added_whole(tmp_path):
    packed = [record(0), record(1), record(0, "c1", "as_coded")]
    filed, already = add(pack(packed, tmp_path / "a.zip"), tmp_path / "records")
    assert len(filed) == 3
    assert already == []
    store = Records(tmp_path / "records")
    for sent in packed:
        found = store.get(sent.recipe)
        assert found.metrics == sent.metrics
        assert np.array_equal(found.arrays["scores"], sent.arrays["scores"])
        assert np.array_equal(found.history["train_loss"], np.float32(sent.history["train_loss"]))


def test_adding_twice_changes_nothing(tmp_path):
    path = pack([record(0), record(1)], tmp_path / "a.zip")
    add(path, tmp_path / "records")
    before = {f: f.read_bytes() for f in (tmp_path / "records").rglob("*.*") if f.is_file()}
    filed, already = add(path, tmp_path / "records")
    assert (len(filed), len(already)) == (0, 2)
    assert {f: f.read_bytes() for f in (tmp_path / "records").rglob("*.*") if f.is_file()} == before


def test_a_record_that_is_there_is_not_replaced(tmp_path):
    add(pack([record(0)], tmp_path / "a.zip"), tmp_path / "records")
    other = record(0)
    other.metrics["test_accuracy"] = 0.9
    add(pack([other, record(1)], tmp_path / "b.zip"), tmp_path / "records")
    store = Records(tmp_path / "records")
    assert store.get(other.recipe).metrics["test_accuracy"] == 0.3
    assert store.get(record(1).recipe) is not None


def test_equal_records_give_equal_archives(tmp_path):
    paths = [pack([record(0), record(1)], tmp_path / name) for name in ("a.zip", "b.zip")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_archives_stay_below_the_limit_and_hold_everything(tmp_path):
    packed = [record(seed) for seed in range(8)]
    (tmp_path / "records-9.zip").write_bytes(b"of an earlier run")
    paths = pack_all(packed, tmp_path, limit=15_000)
    assert len(paths) > 1
    assert all(path.stat().st_size <= 15_000 for path in paths)
    assert sorted(tmp_path.glob("*.zip")) == sorted(paths)
    assert sum(len(add(path, tmp_path / "records")[0]) for path in paths) == 8


@pytest.mark.parametrize("change", [{"profile": "smoke"}, {"variant": "custom"}])
def test_what_is_no_evidence_is_refused(tmp_path, change):
    refused(pack([record(0, **change)], tmp_path / "a.zip"), tmp_path / "records", "no evidence", "c4-full")


def test_a_stand_in_is_refused(tmp_path):
    recipe = record(0).recipe
    standin = record(0, data=replace(recipe.data, source="standin"))
    refused(pack([record(1), standin], tmp_path / "a.zip"), tmp_path / "records", "no evidence", "seed 0")


@pytest.mark.parametrize("name", ["../linear/x.json", "/linear/x.json", "linear/../x.json", "linear/a/x.json", "x.json",
                                  "linear/x.py", "linear\\x.json", "linear/..json"])  # fmt: skip
def test_a_path_that_leaves_the_records_is_refused(tmp_path, name):
    path = pack([record(0)], tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, "{}")
    refused(path, tmp_path / "records", "expected REPORT/SHELF")
    assert {p.name for p in tmp_path.iterdir()} <= {"a.zip", "records"}


def test_an_unknown_report_is_refused(tmp_path):
    path = pack([record(0, report="vgg20")], tmp_path / "a.zip")
    refused(path, tmp_path / "records", "unknown report 'vgg20'")


def test_a_record_on_a_strange_shelf_is_refused(tmp_path):
    path = pack([record(0)], tmp_path / "a.zip")
    rewritten(path, lambda name, content: [(name.replace("linear/", "vgg/"), content)])
    refused(path, tmp_path / "records", "vgg/", "not its own")


def test_an_edited_number_is_refused_by_name(tmp_path):
    path = pack([record(0), record(1)], tmp_path / "a.zip")
    rewritten(path, lambda name, content: [(name, content.replace(b"0.31", b"0.91"))])
    refused(path, tmp_path / "records", "seed 1", "was changed")


def test_arrays_without_their_json_or_json_without_its_arrays_are_refused(tmp_path):
    for ending, word in ((".json", "has no JSON"), (".npz", "are missing")):
        path = pack([record(1)], tmp_path / "a.zip")
        rewritten(path, lambda name, content, e=ending: [] if name.endswith(e) else [(name, content)])
        refused(path, tmp_path / "records", word)


def test_every_truncation_and_flipped_byte_is_refused_or_harmless(tmp_path):
    sent = record(1)
    whole = pack([sent], tmp_path / "whole.zip").read_bytes()
    chance = np.random.default_rng(0)
    cuts = [whole[:n] for n in range(0, len(whole), 211)]
    flips = []
    for place in chance.integers(0, len(whole), 100):
        flips.append(whole[:place] + bytes([whole[place] ^ 1 << int(place) % 8]) + whole[place + 1 :])
    for number, content in enumerate(cuts + flips):
        path, folder = tmp_path / "a.zip", tmp_path / f"records{number}"
        path.write_bytes(content)
        with contextlib.suppress(RecordError):
            add(path, folder)
        if not folder.exists():
            continue
        assert number >= len(cuts), "a truncated archive was taken"
        found = Records(folder).get(sent.recipe)
        assert found.metrics == sent.metrics
        assert np.array_equal(found.arrays["scores"], sent.arrays["scores"])


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = pack([record(0)], tmp_path / "a.zip")
    monkeypatch.setattr(archive, "UNPACKED", 1000)
    refused(path, tmp_path / "records", "unpacks to more")


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "no.zip", tmp_path / "records", "not a whole archive")


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_a_kill_while_adding_loses_nothing(tmp_path, moment):
    """Killed at the first, second, … file that is renamed: what was there is there, and adding again completes it."""
    folder = tmp_path / "records"
    add(pack([record(0)], tmp_path / "a.zip"), folder)
    path = pack([record(1), record(0, "c1", "as_coded")], tmp_path / "b.zip")
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom secondlook import archive\n"
        "calls = []\nold = os.replace\n"
        "def kill(*a):\n    calls.append(a)\n"
        f"    if 'records' in str(a[1]) and sum('records' in str(c[1]) for c in calls) == {moment}: "
        "os.kill(os.getpid(), signal.SIGKILL)\n    old(*a)\n"
        "os.replace = kill\narchive.add(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    ended = subprocess.run([sys.executable, "-c", code, path, folder], env=os.environ, check=False).returncode
    assert ended == -signal.SIGKILL
    assert Records(folder).get(record(0).recipe).arrays["scores"].shape == (500, 10)
    add(path, folder)
    assert len(Records(folder).of("linear")) == 3


def test_the_command_tells_what_it_filed(tmp_path, capsys):
    from secondlook.cli import main

    path = pack([record(0)], tmp_path / "a.zip")
    words = ["records", "add", str(path), "--records-dir", str(tmp_path / "records")]
    assert main(words) == 0
    assert "1 records filed" in capsys.readouterr().out
    assert main(words) == 0
    assert "0 records filed, 1 there already" in capsys.readouterr().out
    shutil.copy(path, tmp_path / "b.zip")
    (tmp_path / "b.zip").write_bytes(path.read_bytes()[:-30])
    assert main(["records", "add", str(tmp_path / "b.zip"), "--records-dir", str(tmp_path / "records")]) == 2
    assert "b.zip" in capsys.readouterr().err


def test_no_pickle_travels(tmp_path):
    path = pack([record(0)], tmp_path / "a.zip")
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            if name.endswith(".json"):
                assert json.loads(file.read(name))["schema"] == 1
            else:
                (tmp_path / "x.npz").write_bytes(file.read(name))
                with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
                    assert all(not arrays[k].dtype.hasobject for k in arrays)
