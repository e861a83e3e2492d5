"""The benchmark: both sides train the same thing, and what it tells has the fields it promises."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from secondlook import bench
from secondlook.bench import Case, measure, nets, plain
from secondlook.runs import Execution
from secondlook.training import ceilings

FIELDS = ("name", "device", "unit", "ours", "plain", "ratio", "floor")


def case(mine=1.0, theirs=1.0, **more):
    return Case("a case", "images/s", lambda: (100, 0.5), lambda: (100, 1.0), lambda: (mine, theirs), **more)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(ceilings, "SIDE", {"cpu": 32})
    monkeypatch.setattr(plain, "WORKERS", 0)


def sides(report, tmp_path, **changes):
    """Both sides of a report's net, on a stand-in and, where it is large, at a fraction of its width."""
    work = next(w for w in nets.WORKS if w.report == report)
    recipe = nets.recipe_of(work, tmp_path)
    assert recipe.data.source == "standin"
    recipe = nets.short(nets.changed(recipe, changes), work.checked_with)
    return nets.Sides(recipe, Execution(tmp_path, tmp_path, tmp_path, "cpu"), 1)


@pytest.mark.parametrize(
    ("report", "changes"),
    [
        ("alexnet", {}),
        ("optimizers", {"model.width": 0.25}),
        ("vgg", {"model.width": 0.0625, "batch_size": 4}),
        ("vae", {"model.width": 0.125}),
    ],
)
def test_both_sides_have_the_same_loss_after_twenty_steps(report, changes, tmp_path, small):
    mine, theirs = sides(report, tmp_path, **changes).losses()
    assert mine == pytest.approx(theirs, rel=1e-5)


def test_a_wrong_learning_rate_is_noticed(tmp_path, small, monkeypatch):
    duel, build = sides("vgg", tmp_path, **{"model.width": 0.0625, "batch_size": 4}), plain.optimizers.build
    wrong = SimpleNamespace(build=lambda table, parameters: build({**table, "learning_rate": 0.02}, parameters))
    monkeypatch.setattr(plain, "optimizers", wrong)
    mine, theirs = duel.losses()
    assert mine != pytest.approx(theirs, rel=1e-5)


def test_another_order_of_batches_is_noticed(tmp_path, small, monkeypatch):
    duel = sides("vgg", tmp_path, **{"model.width": 0.0625, "batch_size": 4})
    monkeypatch.setattr(plain, "draws", SimpleNamespace(permutation=lambda seed, epoch, n: torch.arange(n)))
    mine, theirs = duel.losses()
    assert mine != pytest.approx(theirs, rel=1e-5)


def test_both_sides_count_images_and_seconds(tmp_path, small):
    duel = sides("alexnet", tmp_path)
    for side in (duel.ours, duel.plain):
        images, seconds = side(2, 3)
        assert images == 3 * 4
        assert seconds > 0


def test_seeds_in_processes_are_counted_together(tmp_path, small):
    work = nets.WORKS[0]
    recipe = nets.recipe_of(work, tmp_path)
    duel = nets.Sides(recipe, Execution(tmp_path, tmp_path, tmp_path, "cpu"), 2)
    images, seconds = duel.ours(2, 3)
    assert images == 2 * 3 * 4
    assert seconds > 0


def test_a_case_names_its_batch_data_and_precision(tmp_path, small, monkeypatch):
    monkeypatch.setattr(nets, "has_bf16_units", lambda: False)
    work = replace(next(w for w in nets.WORKS if w.report == "vgg"), changes={"batch_size": 2, "model.width": 0.03125})
    found = nets.duel(work, True, Execution(tmp_path, tmp_path, tmp_path, "cpu"))
    assert found.name == "VGG16 at 224, batch 2, stand-in for CIFAR-10"
    assert found.precision == "float32 / float32"
    monkeypatch.setattr(nets, "has_bf16_units", lambda: True)
    assert nets.duel(work, True, Execution(tmp_path, tmp_path, tmp_path, "cpu")).precision == "bf16 / float32"


def test_a_measurement_has_the_promised_fields():
    row = measure(case(floor=1000.0, more=lambda rate: {"step_us": 1e6 / rate}), quick=True, told=lambda text: None)
    assert tuple(row)[: len(FIELDS) + 1] == ("name", "device", "unit", "precision", "ours", "plain", "ratio", "floor")
    assert (row["ours"], row["plain"], row["ratio"], row["floor"]) == (200.0, 100.0, 2.0, 1000.0)
    assert row["step_us"] == 5000.0


@pytest.mark.parametrize(("quick", "enough", "rounds"), [(True, 12.0, 2), (True, -1.0, 1), (False, -1.0, 5)])
def test_only_a_quick_benchmark_can_have_enough_after_its_first_round(quick, enough, rounds, monkeypatch):
    monkeypatch.setattr(bench, "ENOUGH", enough)
    assert measure(case(), quick, lambda text: None)["rounds"] == rounds


@pytest.mark.parametrize("theirs", [1.0001, float("nan")])
def test_sides_that_train_different_things_are_no_benchmark(theirs):
    with pytest.raises(RuntimeError, match="losses differ"):
        measure(case(theirs=theirs), quick=True, told=lambda text: None)


def test_the_command_writes_a_list_of_objects(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "cases", lambda *a: iter([case()]))
    assert bench.command(None, True, tmp_path / "figures.json", tmp_path) == 0
    (row,) = json.loads((tmp_path / "figures.json").read_text())
    assert set(FIELDS) <= set(row)
    assert "| a case | cpu | images/s |" in capsys.readouterr().out


def test_a_report_without_benchmark_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "cases", lambda *a: iter(()))
    assert bench.command("nothing", True, None, tmp_path) == 2
    assert "no benchmark" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "rows", lambda *_: pytest.fail("measured"))
    for to in (tmp_path, tmp_path / "nowhere" / "a.json"):
        with pytest.raises(OSError, match="name a file in a folder that is there"):
            bench.command("linear", True, to, tmp_path)
