"""Records on disk: what is saved is what is read, and what was changed, damaged or cut short is found out."""

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from secondlook import files
from secondlook import record as module
from secondlook.recipe import Recipe
from secondlook.record import Record, RecordError, Records, folder_for, read_shelf, save
from secondlook.reports import ROOT

KILOBYTE, MEGABYTE = 1000, 1_000_000


def recipe(seed=0, **changes):
    envelope = {"report": "vgg", "run": "a", "variant": "as_published", "profile": "full", "kind": "classifier"}
    return Recipe.from_dict({**envelope, "seed": seed, **changes})


def record(seed=0, accuracy=0.81, arrays=None, history=None, **changes):
    arrays = {"predictions": np.arange(20, dtype=np.uint8) + seed} if arrays is None else arrays
    history = {"train_loss": np.linspace(2, 1, 5) + seed} if history is None else history
    metrics = {"test_accuracy": accuracy, "auc": [0.9, 0.8]}
    return Record(recipe(seed, **changes), "finished", metrics, history, arrays, {"device": "cpu"})


def only(path):
    (found,) = read_shelf(path).values()
    return found


# ------------------------------------------------------------------------------------------------ there and back


def test_a_record_comes_back_as_it_was_saved(tmp_path):
    made = record()
    (path,) = save([made], tmp_path)
    found = only(path)
    assert path == tmp_path / "vgg" / "as_published.full.json"
    assert (found.recipe, found.status, found.metrics) == (made.recipe, "finished", made.metrics)
    assert found.provenance == {"device": "cpu"}
    assert found.path == path
    assert list(found.history) == ["train_loss"]
    assert found.history["train_loss"].dtype == np.float32
    assert np.array_equal(found.history["train_loss"], np.asarray(made.history["train_loss"], np.float32))
    assert np.array_equal(found.arrays["predictions"], made.arrays["predictions"])
    assert found.arrays["predictions"].dtype == np.uint8


KINDS = st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_])


@given(KINDS.flatmap(lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, min_side=0))))
@settings(deadline=None, max_examples=40)
def test_any_plain_array_comes_back_bit_for_bit(tmp_path_factory, array):
    (path,) = save([record(arrays={"a": array, "again": array})], tmp_path_factory.mktemp("shelf"))
    found = only(path).arrays
    for name in ("a", "again"):
        assert (found[name].dtype, found[name].tobytes()) == (array.dtype, array.tobytes())
        assert found[name].shape == np.ascontiguousarray(array).shape


def test_numbers_of_numpy_and_numbers_that_are_none_come_back(tmp_path):
    made = replace(record(), metrics={"a": np.float32(0.5), "b": np.int64(3), "c": np.array([1, 2]), "d": None})
    (path,) = save([made], tmp_path)
    assert only(path).metrics == {"a": 0.5, "b": 3, "c": [1, 2], "d": None}


def test_values_that_are_not_finite_come_back_as_none_or_in_curves(tmp_path):
    history = {"train_loss": np.array([1.0, np.inf, np.nan])}
    made = replace(record(history=history), status="diverged", metrics={"loss": float("nan"), "most": float("inf")})
    (path,) = save([made], tmp_path)
    found = only(path)
    assert found.status == "diverged"
    assert found.metrics == {"loss": None, "most": None}  # strict JSON, which other tools can read
    assert np.array_equal(found.history["train_loss"], history["train_loss"].astype(np.float32), equal_nan=True)


def test_saving_again_replaces_and_saving_others_adds(tmp_path):
    save([record(0), record(1)], tmp_path)
    save([record(1, accuracy=0.5), record(2)], tmp_path)
    found = Records(tmp_path).of("vgg")
    assert {r.recipe.seed: r.metrics["test_accuracy"] for r in found.values()} == {0: 0.81, 1: 0.5, 2: 0.81}
    assert all(r.arrays["predictions"][0] == r.recipe.seed for r in found.values())


def test_equal_arrays_are_stored_once_and_arrays_nobody_needs_are_dropped(tmp_path):
    labels = np.arange(10)
    (path,) = save([record(s, arrays={"labels": labels}, history={}) for s in range(3)], tmp_path)
    with np.load(path.with_suffix(".npz")) as file:
        assert len(file.files) == 1
    save([record(s, arrays={}, history={}) for s in range(2)], tmp_path)
    assert np.array_equal(Records(tmp_path).get(recipe(2)).arrays["labels"], labels)


def test_the_same_records_make_the_same_json(tmp_path):
    made = [record(s) for s in range(3)]
    (a,), (b,) = save(made, tmp_path / "a"), save(made[::-1], tmp_path / "b")
    assert a.read_bytes() == b.read_bytes()


# ------------------------------------------------------------------------------------------------ distrust


def test_an_edited_number_is_refused_by_name(tmp_path):
    (path,) = save([record(0), record(1, accuracy=0.77)], tmp_path)
    path.write_text(path.read_text().replace("0.77", "0.87"))
    with pytest.raises(RecordError) as error:
        read_shelf(path)
    assert str(path) in str(error.value)
    assert recipe(1).id in str(error.value)
    assert "vgg a (as_published, full, seed 1)" in str(error.value)
    assert "train again" in str(error.value)


@pytest.mark.parametrize(("old", "new"), [('"seed":0', '"seed":5'), ('"finished"', '"diverged"'), ('"cpu"', '"cuda"')])
def test_whatever_is_edited_is_found_out(old, new, tmp_path):
    (path,) = save([record()], tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RecordError, match="was changed after it was written"):
        read_shelf(path)


def test_a_record_under_another_id_is_refused(tmp_path):
    (path,) = save([record()], tmp_path)
    path.write_text(path.read_text().replace(f'"{recipe().id}":', '"0123456789abcdef":'))
    with pytest.raises(RecordError, match=f"0123456789abcdef holds a recipe whose id is {recipe().id}"):
        read_shelf(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1}', '{"schema": 1, "records": 3}', "\x00\xff"])
def test_a_file_that_holds_no_records_is_named(text, tmp_path):
    path = tmp_path / "vgg" / "as_published.full.json"
    path.parent.mkdir()
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RecordError, match=re.escape(str(path))):
        read_shelf(path)
    with pytest.warns(UserWarning, match=rf"left out: {re.escape(str(path))}"):
        assert Records(tmp_path).of("vgg") == {}


def test_a_later_schema_asks_for_an_update(tmp_path):
    (path,) = save([record()], tmp_path)
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(RecordError, match="schema 2, this version reads 1; update the library"):
        read_shelf(path)


def test_a_record_without_a_part_or_with_a_bad_recipe_is_named(tmp_path):
    (path,) = save([record()], tmp_path)
    whole = path.read_text()
    path.write_text(whole.replace('"status"', '"state"'))
    with pytest.raises(RecordError, match=f"record {recipe().id}: status is missing"):
        read_shelf(path)
    path.write_text(whole.replace('"precision"', '"precison"'))
    with pytest.raises(RecordError, match=r"as_published.full.json.*did you mean 'precision'"):
        read_shelf(path)


def test_a_damaged_npz_is_named_when_an_array_is_asked_for(tmp_path):
    (path,) = save([record(arrays={"noise": np.random.default_rng(0).integers(0, 256, 5000, np.uint8)})], tmp_path)
    bundle = path.with_suffix(".npz")
    whole = bundle.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    for content in (bytes(damaged), whole[: len(whole) // 2], b"", b"not a zip"):
        bundle.write_bytes(content)
        found = only(path)
        assert found.metrics["test_accuracy"] == 0.81
        with pytest.raises(RecordError, match=rf"{re.escape(str(bundle))}: array 'noise'"):
            found.arrays["noise"]


def test_a_missing_npz_and_a_deleted_array_are_named(tmp_path):
    (path,) = save([record(history={}), record(1, history={})], tmp_path)
    bundle, found = path.with_suffix(".npz"), Records(tmp_path).get(recipe(1))
    with np.load(bundle) as file:
        kept = {name: file[name] for name in file.files if not np.array_equal(file[name], found.arrays["predictions"])}
    np.savez_compressed(bundle, **kept)
    assert Records(tmp_path).get(recipe(0)).arrays["predictions"][0] == 0
    with pytest.raises(RecordError, match=r"as_published\.full\.npz: array 'predictions' cannot be read"):
        found.arrays["predictions"]
    bundle.unlink()
    with pytest.raises(RecordError, match=r"as_published\.full\.npz: array 'predictions' cannot be read"):
        found.arrays["predictions"]


def test_an_exchanged_array_is_named(tmp_path):
    (path,) = save([record(history={})], tmp_path)
    with np.load(path.with_suffix(".npz")) as file:
        (name,) = file.files
    np.savez_compressed(path.with_suffix(".npz"), **{name: np.zeros(20, np.uint8)})
    with pytest.raises(RecordError, match="array 'predictions' was changed after it was written"):
        only(path).arrays["predictions"]


def test_python_objects_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(RecordError, match=r"array 'odd' of vgg a .* holds Python objects"):
        save([record(arrays={"odd": np.array([{}, None], dtype=object)})], tmp_path)
    with pytest.raises(TypeError, match="Path is no plain type"):
        save([replace(record(), metrics={"where": tmp_path})], tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".json", ".npz")]


def test_an_npz_with_a_pickle_is_never_unpickled(tmp_path):
    (path,) = save([record(history={})], tmp_path)
    with np.load(path.with_suffix(".npz")) as file:
        (name,) = file.files
    np.savez(path.with_suffix(".npz"), **{name: np.array([print], dtype=object)})
    with pytest.raises(RecordError, match="array 'predictions' cannot be read"):
        only(path).arrays["predictions"]


# ------------------------------------------------------------------------------------------------ whole or not at all


def killed(monkeypatch, ending):
    """Whoever writes a file of this ending is stopped before it."""
    write = module.replace_file

    def stop(path, content):
        if path.suffix == ending:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(module, "replace_file", stop)


@pytest.mark.parametrize("ending", [".npz", ".json"])
def test_killed_while_adding_leaves_what_was_there(ending, tmp_path, monkeypatch):
    save([record(0)], tmp_path)
    with monkeypatch.context() as patch:
        killed(patch, ending)
        with pytest.raises(KeyboardInterrupt):
            save([record(1)], tmp_path)
    (found,) = Records(tmp_path).of("vgg").values()
    assert found.recipe.seed == 0
    assert found.arrays["predictions"][0] == 0
    save([record(1)], tmp_path)
    assert {r.arrays["predictions"][0] for r in Records(tmp_path).of("vgg").values()} == {0, 1}


@pytest.mark.parametrize("ending", [".npz", ".json"])
def test_killed_while_replacing_leaves_the_old_record(ending, tmp_path, monkeypatch):
    save([record(0)], tmp_path)
    with monkeypatch.context() as patch:
        killed(patch, ending)
        with pytest.raises(KeyboardInterrupt):
            save([record(0, arrays={"predictions": np.full(20, 99, np.uint8)})], tmp_path)
    assert Records(tmp_path).get(recipe(0)).arrays["predictions"][0] == 0


def test_a_failed_write_leaves_no_part_behind(tmp_path, monkeypatch):
    save([record(0)], tmp_path)
    before = (tmp_path / "vgg" / "as_published.full.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(RecordError, match=r"vgg: records cannot be filed \(no space\); make room"):
            save([record(1)], tmp_path)
    assert (tmp_path / "vgg" / "as_published.full.json").read_bytes() == before
    assert not list(tmp_path.rglob("*.part"))


def test_what_its_reader_would_refuse_is_not_written(tmp_path):
    for bad in (replace(record(), status="odd"), replace(record(), metrics=[])):
        with pytest.raises(RecordError, match="nothing was written"):
            save([bad], tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_parts_of_killed_writes_are_removed(tmp_path):
    save([record(0)], tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for ending in ("npz", "json"):
        (tmp_path / "vgg" / f".as_published.full.{ending}.{dead.pid}.part").write_bytes(b"half")
    save([record(1)], tmp_path)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_takes_records(number, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(number, "not here")))
    save([record(0)], tmp_path)
    assert Records(tmp_path).get(recipe(0)).arrays["predictions"][0] == 0


def test_a_file_system_without_locks_takes_records(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    save([record(0)], tmp_path)
    save([record(1)], tmp_path)
    assert len(Records(tmp_path).of("vgg")) == 2
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".held")]


def test_a_reader_goes_on_while_a_record_is_replaced_again_and_again(tmp_path):
    save([record(0), record(1)], tmp_path)
    found = Records(tmp_path).get(recipe(0))
    for value in (7, 8, 9):
        save([record(0, arrays={"predictions": np.full(20, value, np.uint8)})], tmp_path)
    assert found.arrays["predictions"][0] == 9
    assert found.history["train_loss"][0] == 2


@pytest.mark.parametrize("content", [b"not a zip", None])
def test_adding_to_a_shelf_with_a_damaged_npz_names_it(content, tmp_path):
    (path,) = save([record(0)], tmp_path)
    path.with_suffix(".npz").unlink()
    if content is not None:
        path.with_suffix(".npz").write_bytes(content)
    with pytest.raises(RecordError, match=r"as_published\.full\.npz"):
        save([record(1)], tmp_path)


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from secondlook.recipe import Recipe
from secondlook.record import Record, save
folder, first = Path(sys.argv[1]), int(sys.argv[2])
(folder / f"ready{first}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
for seed in range(first, first + 12):
    recipe = Recipe.from_dict({"report": "vgg", "run": "a", "variant": "as_published", "profile": "full", "seed": seed,
                               "kind": "classifier"})
    save([Record(recipe, "finished", {"n": seed}, {}, {"a": np.full(9, seed)})], folder)
"""


def test_two_processes_saving_on_one_shelf_lose_nothing(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)]
    writers = [subprocess.Popen([*command, str(first)], cwd=ROOT) for first in (0, 100)]
    while not all((tmp_path / f"ready{first}").exists() for first in (0, 100)):
        assert all(w.poll() is None for w in writers)
    (tmp_path / "go").touch()
    assert [w.wait(60) for w in writers] == [0, 0]
    found = Records(tmp_path).of("vgg").values()
    assert sorted(r.recipe.seed for r in found) == [*range(12), *range(100, 112)]
    assert all(r.arrays["a"].tolist() == [r.metrics["n"]] * 9 for r in found)


# ------------------------------------------------------------------------------------------------ one bad among many


def test_a_record_that_cannot_be_trusted_does_not_hide_the_others(tmp_path):
    (path,) = save([record(0, accuracy=0.77), record(1)], tmp_path)
    (other,) = save([record(2, profile="quick")], tmp_path)
    path.write_text(path.read_text().replace("0.77", "0.87"))
    other.write_text("{")
    store = Records(tmp_path)
    with pytest.warns(UserWarning, match="left out: ") as told:
        found = store.of("vgg")
    assert [r.recipe.seed for r in found.values()] == [1]
    assert [str(warning.message).removeprefix("left out: ") for warning in told] == store.problems
    assert f"record {recipe(0).id} (vgg a (as_published, full, seed 0)) was changed" in store.problems[0]
    assert str(other) in store.problems[1]


def test_a_record_that_cannot_be_trusted_is_replaced_by_a_new_one(tmp_path):
    (path,) = save([record(0, accuracy=0.77), record(1)], tmp_path)
    path.write_text(path.read_text().replace("0.77", "Infinity"))
    save([record(0)], tmp_path)
    assert len(read_shelf(path)) == 2


def test_hidden_files_are_no_records(tmp_path):
    (path,) = save([record(0)], tmp_path)
    path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\xff")
    store = Records(tmp_path)
    assert len(store.of("vgg")) == 1
    assert store.problems == []


# ------------------------------------------------------------------------------------------------ shelves


def test_small_runs_share_a_shelf_and_evidence_has_its_own(tmp_path):
    small = [record(1), record(2, run="b", settings={"epochs": 3}), record(3, profile="quick"), record(4, report="vae")]
    written = save([record(0, keep="evidence"), *small], tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in written} == {
        "vgg/as_published.full.a.0.json",
        "vgg/as_published.full.json",
        "vgg/as_published.quick.json",
        "vae/as_published.full.json",
    }
    found = Records(tmp_path).of("vgg")
    assert len(found) == 4
    assert found[recipe(0).id].arrays["predictions"][0] == 0


def test_stand_ins_smoke_and_custom_runs_go_elsewhere(tmp_path):
    records, runs = tmp_path / "records", tmp_path / "runs"
    assert folder_for(recipe(), records, runs) == records
    assert folder_for(recipe(profile="quick", data={"source": "npz"}), records, runs) == records
    for odd in ({"profile": "smoke"}, {"data": {"source": "standin"}}, {"variant": "custom"}):
        assert folder_for(recipe(**odd), records, runs) == runs


def test_a_stand_in_says_so_in_its_name():
    assert record(data={"name": "mnist", "source": "standin"}).data_name == "stand-in for MNIST"
    assert record(data={"name": "mnist"}).data_name == "MNIST"
    assert record(data={"source": "standin"}).is_standin


def test_find_gives_what_there_is_in_the_order_asked(tmp_path):
    save([record(s) for s in range(4)] + [record(7, report="vae")], tmp_path)
    asked = [recipe(3), recipe(9), recipe(7, report="vae"), recipe(0), recipe(1)]
    found = Records(tmp_path).find(asked)
    assert [(r.recipe.report, r.recipe.seed) for r in found] == [("vgg", 3), ("vae", 7), ("vgg", 0), ("vgg", 1)]
    assert Records(tmp_path).get(recipe(9)) is None
    assert Records(tmp_path / "nowhere").find(asked) == []


def test_the_first_folder_with_an_id_is_used_and_a_changed_shelf_is_read_again(tmp_path):
    save([record(0, accuracy=0.1)], tmp_path / "a")
    save([record(0, accuracy=0.2), record(1, accuracy=0.3)], tmp_path / "b")
    store = Records(tmp_path / "a", tmp_path / "b")
    assert [store.get(recipe(s)).metrics["test_accuracy"] for s in (0, 1)] == [0.1, 0.3]
    save([record(0, accuracy=0.15), record(2)], tmp_path / "a")
    assert store.get(recipe(0)).metrics["test_accuracy"] == 0.15
    assert store.get(recipe(2)) is not None


# ------------------------------------------------------------------------------------------------ the project's own


def offences(folder: Path, chapter: int = 6 * MEGABYTE, total: int = 20 * MEGABYTE) -> list[str]:
    """What must not lie in `records/`: runs that are no evidence, and too much of anything."""
    found, sizes = [], {}
    for path in (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"):
        name = str(path.relative_to(folder))
        sizes[name.split("/")[0]] = sizes.get(name.split("/")[0], 0) + path.stat().st_size
        if path.suffix != ".json":
            continue
        entries = json.loads(path.read_text(encoding="utf-8"))["records"]
        for id_, record in read_shelf(path).items():
            if not record.recipe.is_evidence:
                found.append(f"{name}: {record.recipe} on {record.data_name} is no evidence")
            if record.recipe.report != path.parent.name:
                found.append(f"{name}: {record.recipe} belongs to another chapter")
            size = len(json.dumps(entries[id_], separators=(",", ":")))
            if record.recipe.keep == "metrics" and size > 8 * KILOBYTE:
                found.append(f"{name}: {record.recipe} has {size} bytes of JSON")
    found += [f"{name}: {size} bytes" for name, size in sizes.items() if size > chapter]
    return found + ([f"all: {sum(sizes.values())} bytes"] if sum(sizes.values()) > total else [])


def test_the_projects_records_are_evidence_and_small():
    assert offences(ROOT / "records") == []


@pytest.mark.parametrize("odd", [{"profile": "smoke"}, {"data": {"source": "standin"}}, {"variant": "custom"}])
def test_what_is_no_evidence_would_be_found_in_records(odd, tmp_path):
    save([record(0)], tmp_path)
    assert offences(tmp_path) == []
    save([record(1, **odd)], tmp_path)
    assert len(offences(tmp_path)) == 1
    assert "is no evidence" in offences(tmp_path)[0]


def test_what_is_too_large_would_be_found_in_records(tmp_path):
    save([replace(record(0), metrics={"a": [0.123] * 2000})], tmp_path)
    assert "bytes of JSON" in offences(tmp_path)[0]
    save([record(0, arrays={"a": np.random.default_rng(0).random(1000)})], tmp_path)
    assert offences(tmp_path) == []
    assert len(offences(tmp_path, chapter=5 * KILOBYTE)) == 1
    assert offences(tmp_path, total=5 * KILOBYTE)[0].startswith("all: ")
