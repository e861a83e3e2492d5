"""A portion of minutes on a GPU machine, played on a CPU: what comes first, what is begun, what is carried home."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from secondlook.experiments import Execution, portion
from secondlook.experiments.portion import ORDER, checkpoint_bytes, fitting, units
from secondlook.record import Record, Records, save
from secondlook.reports import names, read
from secondlook.training import ceilings
from secondlook.training.checkpoint import Stopped

LENET = (("first", "alexnet/as_coded/lenet-*"),)


def plans(report, run=None, variant=None, profile="full", seeds=None):
    return read(report).plans(run, variant, profile, seeds)


def everything(profile="full"):
    return [plan for name in names() for plan in plans(name, profile=profile)]


def record_of(recipe):
    return Record(recipe, "finished", {"test_accuracy": 0.5}, {"train_loss": [1.0]}, {}, {})


@pytest.fixture
def small(monkeypatch):
    """Ceilings of small matrices, which are measured in no time."""
    monkeypatch.setattr(ceilings, "SIDE", {"cpu": 32})
    monkeypatch.setattr(ceilings, "COPIED", {"cpu": 4096})


def run(tmp_path, minutes=5.0, **more):
    execution = Execution(tmp_path / "data", tmp_path / "records", tmp_path / "runs", "cpu")
    lines = []
    had = portion.portion(minutes, tmp_path / "out", execution, profile="smoke", told=lines.append, **more)
    return had, lines


def test_the_first_hour_is_vgg_then_every_setting_of_the_vae_report_then_lenet():
    wanted = portion.missing("full", Execution(records_dir=Path("none"), runs_dir=Path("none")))
    found = list(units(wanted))
    order = [unit[0].recipe for unit in found]
    assert [(r.report, r.run, r.seed) for r in order[:2]] == [("vgg", "vgg11", 0), ("vgg", "vgg16", 0)]
    vae = {p.recipe.id for p in plans("vae") if p.recipe.seed == 0}
    lenet = next(i for i, r in enumerate(order) if r.report == "alexnet")
    assert {r.report for r in order[2:lenet]} == {"vae"}
    assert {p.recipe.id for unit in found[2:lenet] for p in unit} == vae
    assert order[lenet].run.startswith("lenet")


def test_every_plan_is_in_the_order_once_and_every_entry_finds_something():
    wanted = everything()
    assert sorted(p.recipe.id for unit in units(wanted) for p in unit) == sorted(p.recipe.id for p in wanted)
    for how, pattern in ORDER:
        assert how in ("first", "in turn", "together")
        assert list(units(wanted, ((how, pattern),))), pattern


def test_seeds_of_a_small_net_are_one_unit_and_further_seeds_come_in_turn():
    (lenet, *_) = units(plans("alexnet", "lenet-sgd", "as_coded"), (("together", "*"),))
    assert [p.recipe.seed for p in lenet] == list(range(8))
    turns = [u[0].recipe for u in units(plans("vgg", variant="as_published"), (("in turn", "*"),))]
    assert [r.seed for r in turns] == sorted(r.seed for r in turns)


def test_what_cannot_end_in_time_begins_only_if_its_checkpoint_can_be_carried():
    vgg, lenet = plans("vgg", "vgg16", "as_published"), plans("alexnet", "lenet-sgd", "as_coded")
    assert checkpoint_bytes(vgg[0].recipe) > 500e6
    assert checkpoint_bytes(lenet[0].recipe) < 2e6
    assert fitting(vgg[:1], vgg[0].gpu_minutes + 1, "cuda")
    assert fitting(vgg[:1], vgg[0].gpu_minutes - 1, "cuda") == []
    assert fitting(lenet, 0.1, "cuda") == lenet
    assert [p.recipe.seed for p in fitting(vgg, 2.5 * vgg[0].gpu_minutes, "cuda")] == [0, 1]
    assert fitting([replace(vgg[0], gpu_minutes=None)], 1e9, "cuda") == []


def test_a_portion_trains_packs_and_tells_what_remains(tmp_path, small):
    order = (("together", "alexnet/as_coded/identify_adamw-*"), ("first", "alexnet/as_coded/identify_sgd-0.01-0.9"))
    had, lines = run(tmp_path, order=order)
    assert sorted(r.recipe.run for r in had.done) == ["identify_adamw-0.001", "identify_sgd-0.01-0.9"]
    assert had.failed == []
    assert [path.name for path in had.archives] == ["records-1.zip"]
    told = json.loads((tmp_path / "out" / "portion.json").read_text())
    assert len(told["done"]) == 2
    assert len(told["remaining"]) == len(had.remaining) > 50
    assert told["ceilings"]["float32_tflops"] > 0
    assert any("records add" in line for line in lines)
    again, _ = run(tmp_path, order=order)
    assert again.done == []


def test_a_run_that_fails_is_told_and_the_next_begun(tmp_path, small, monkeypatch):
    def produce(unit, execution):
        if unit[0].recipe.run == "lenet-sgd":
            raise ZeroDivisionError("of a kind nobody foresaw")
        save([record_of(p.recipe) for p in unit], execution.runs_dir)

    monkeypatch.setattr(portion, "produce", produce)
    had, lines = run(tmp_path, order=LENET)
    assert [recipe.run for recipe, _ in had.failed] == ["lenet-sgd"]
    assert [r.recipe.run for r in had.done] == ["lenet-adamw"]
    assert any("nobody foresaw" in line for line in lines)
    assert json.loads((tmp_path / "out" / "portion.json").read_text())["failed"][0]["why"].startswith("ZeroDivision")


def test_records_are_packed_before_the_next_run_begins(tmp_path, small, monkeypatch):
    seen = []

    def produce(unit, execution):
        seen.append(len(list((tmp_path / "out").glob("*.zip"))))
        save([record_of(p.recipe) for p in unit], execution.runs_dir)

    monkeypatch.setattr(portion, "produce", produce)
    run(tmp_path, order=LENET)
    assert seen == [0, 1]


def test_a_run_cut_by_the_minutes_leaves_its_checkpoint_to_be_carried(tmp_path, small, monkeypatch):
    def produce(unit, execution):
        for name, size in (("small", 1000), ("large", portion.LIMIT + 1)):
            file = Path(execution.runs_dir, "checkpoints", f"{name}.ckpt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bytes(size))
        raise Stopped(file, None)

    monkeypatch.setattr(portion, "produce", produce)
    had, _ = run(tmp_path, order=LENET)
    assert [path.name for path in had.checkpoints] == ["small.ckpt"]
    assert had.done == had.failed == []
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"small.ckpt", "portion.json"}


def test_a_signal_ends_the_portion(tmp_path, small, monkeypatch):
    calls = []

    def produce(unit, execution):
        calls.append(unit)
        raise Stopped(tmp_path, 15)

    monkeypatch.setattr(portion, "produce", produce)
    had, _ = run(tmp_path, order=LENET)
    assert had.stopped_by == 15
    assert len(calls) == 1


def test_runs_without_data_are_left_out_not_tried(tmp_path, small, monkeypatch):
    monkeypatch.setattr(portion, "produce", lambda *a: pytest.fail("tried"))
    execution = Execution(tmp_path / "data", tmp_path / "records", tmp_path / "runs", "cpu")
    lines = []
    had = portion.portion(5.0, tmp_path / "out", execution, told=lines.append, order=LENET)
    assert had.failed == []
    assert any("data: cifar100 missing" in line for line in lines)


def test_no_more_files_than_can_be_carried(tmp_path, small, monkeypatch):
    def produce(unit, execution):
        folder = Path(execution.runs_dir, "checkpoints")
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(20):
            (folder / f"{n}.ckpt").write_bytes(bytes(10))
        raise Stopped(folder, None)

    monkeypatch.setattr(portion, "produce", produce)
    run(tmp_path, order=LENET)
    assert len(list((tmp_path / "out").iterdir())) == portion.FILES


def test_equal_recipes_are_trained_once_keeping_most():
    found = portion.missing("full", Execution(records_dir=Path("none"), runs_dir=Path("none")))
    ids = [plan.recipe.id for plan in found]
    assert len(ids) == len(set(ids))
    kept = {plan.recipe.id: plan.recipe.keep for plan in found}
    for plan in everything():
        if plan.recipe.keep == "evidence":
            assert kept[plan.recipe.id] == "evidence"


BARE = """
import sys
class Blocked:
    names = {'plotly', 'papermill', 'jupyter', 'jupyter_book', 'jupyterlab', 'umap', 'matplotlib', 'IPython',
             'ipykernel', 'nbformat', 'nbclient', 'latex2mathml', 'pytorch_grad_cam', 'ot', 'sphinx', 'myst_nb'}
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in self.names:
            raise ModuleNotFoundError(f'blocked: {name}', name=name)
sys.meta_path.insert(0, Blocked())
from secondlook.training import ceilings
ceilings.SIDE, ceilings.COPIED = {'cpu': 32}, {'cpu': 4096}
from secondlook.experiments import portion
portion.ORDER = tuple(('first', p) for p in ('alexnet/as_coded/lenet-adamw', 'vae/as_coded/vae-clean',
                                             'vae/as_coded/risk-svm', 'vgg/as_published/vgg11'))
from secondlook.cli import main
places = ['--records-dir', sys.argv[1] + '/records', '--runs-dir', sys.argv[1] + '/runs']
assert main(['list', '--profile', 'smoke', *places]) == 0
assert main(['train', 'alexnet', '--run', 'lenet-sgd', '--variant', 'as_coded', '--profile', 'smoke', *places]) == 0
assert main(['portion', '--max-minutes', '3', '--profile', 'smoke', '--device', 'cpu', '--out', sys.argv[1] + '/out',
             '--data-dir', sys.argv[1] + '/data', *places]) == 0
"""


def test_the_left_half_needs_no_page_package(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BARE, tmp_path], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    runs = {r.recipe.run for name in ("alexnet", "vae", "vgg") for r in Records(tmp_path / "runs").of(name).values()}
    assert {"lenet-sgd", "lenet-adamw", "vae-clean", "risk-svm", "vgg11"} <= runs
