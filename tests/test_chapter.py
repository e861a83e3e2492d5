"""What a notebook talks to: overrides, what is missing, and what never trains."""

import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from made_up import told

from secondlook.chapter import _recipes, open_chapter
from secondlook.data import DataError
from secondlook.figures import combinations, comparison, kernels, roc, templates, top_confusions
from secondlook.figures.words import caption
from secondlook.parameters import ParameterError
from secondlook.recipe import RecipeError
from secondlook.record import Record, save
from secondlook.reports import ROOT, read
from secondlook.runs import Execution, load_or_train

KERNELS = np.ones((4, 3, 3, 3), np.float16)


@pytest.fixture
def execution(tmp_path):
    return Execution(data_dir=tmp_path / "data", records_dir=tmp_path / "records", runs_dir=tmp_path / "runs")


def plans(run="c4"):
    return read("linear").recipes(run, "as_coded", "smoke", [0])


def test_missing_records_are_trained_once_and_then_loaded(execution):
    first = load_or_train(plans(), execution)
    assert len(first.records) == 2
    stamps = {p: p.stat().st_mtime_ns for p in execution.runs_dir.rglob("*.json")}
    again = load_or_train(plans(), execution)
    assert [r.id for r in again.records] == [r.id for r in first.records]
    assert stamps == {p: p.stat().st_mtime_ns for p in execution.runs_dir.rglob("*.json")}


def test_train_always_makes_new_records(execution):
    load_or_train(plans(), execution)
    before = {p: p.stat().st_mtime_ns for p in execution.runs_dir.rglob("*.json")}
    load_or_train(plans(), execution, train="always")
    assert all(p.stat().st_mtime_ns > stamp for p, stamp in before.items())


def test_nothing_trains_inside_a_book_build(execution, monkeypatch):
    monkeypatch.setenv("SECONDLOOK_TRAIN", "never")
    outcome = load_or_train(plans(), execution, train="always")
    assert not outcome.records
    assert outcome.reason == "the book is built without training"


def test_what_would_take_too_long_is_not_begun(execution):
    outcome = load_or_train(plans(), execution, max_minutes=1e-6)
    assert len(outcome.missing) == 2
    assert "max_minutes" in outcome.reason
    assert not execution.runs_dir.exists()


def test_a_training_over_its_minutes_is_saved_and_said(execution):
    execution.deadline = time.monotonic()
    outcome = load_or_train(plans(), execution)
    assert len(outcome.missing) == 2
    assert "goes on from there" in outcome.reason
    assert list((execution.runs_dir / "checkpoints").iterdir())


def test_an_interrupted_training_is_saved_before_the_interrupt(execution):
    once = iter([signal.SIGINT])
    execution.progress = lambda label, share: [signal.raise_signal(number) for number in once]
    with pytest.raises(KeyboardInterrupt):
        load_or_train(plans(), execution)
    assert list((execution.runs_dir / "checkpoints").iterdir())


def test_an_unknown_way_to_train_is_refused(execution):
    with pytest.raises(RecipeError, match="did you mean 'never'"):
        load_or_train(plans(), execution, train="nevr")


def chapter(tmp_path, **more):
    given = {"profile": "smoke", "variant": "as_coded", "seeds": "0", "records_dir": str(tmp_path), **more}
    return open_chapter("linear", **given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the report's own smoke runs are trained once, by whichever test comes first."""
    return tmp_path_factory.mktemp("chapter")


def test_an_override_makes_a_custom_run_beside_the_reports_own(folder):
    own = chapter(folder, batch_size=100, strength=3.0)
    assert [r.recipe.variant for r in own.headline()] == ["as_coded"]
    ((name, (record,)),) = own.yours.items()
    assert (name, record.recipe.variant) == ("yours: batch size 100, strength 3", "custom")
    assert {"predictions", "roc", "templates"} <= set(record.arrays)  # as evidence, though the report's own keep less
    assert (record.recipe.settings.batch_size, record.recipe.settings.strength) == (100, 3.0)
    assert own.records("c4-full")[0].recipe.settings.batch_size == 400
    assert name in repr(own)
    beside = comparison(own.beside({"as coded": own.headline(), "again": own.headline()}))
    assert list(beside.layout.yaxis.ticktext) == ["as coded", name]
    shown = []
    own.each(lambda records: shown.append(top_confusions(records)), own.headline())
    ids = [figure.layout.meta["secondlook"]["id"] for figure in shown]
    assert ids == ["top-confusions", "top-confusions-yours"]
    assert not (folder / "linear").exists()


def test_an_own_run_that_diverges_leaves_every_figure_of_the_reports(folder):
    own = chapter(folder, learning_rate=1e30)
    ((name, (record,)),) = own.yours.items()
    assert record.status == "diverged"
    compared = own.beside({"as coded": own.headline()})
    assert list(comparison(compared).layout.yaxis.ticktext) == ["as coded", f"{name}<br>diverged"]
    for figure in (top_confusions, roc, templates):
        assert "diverged" in told(figure([record] if figure is not templates else record))
    assert kernels({k: replace(r[0], arrays={"kernels": KERNELS} if k != name else {})
                              for k, r in compared.items()}).data  # fmt: skip


def test_other_seeds_leave_a_sweep_its_single_one():
    plans = _recipes(read("linear"), "full", [0, 1])
    seeds = {run: sorted({p.seed for p in plans if p.run.startswith(run)}) for run in ("c4", "patches-sweep")}
    assert seeds == {"c4": [0, 1], "patches-sweep": [0]}


def test_defaults_of_an_override_change_nothing(folder):
    same = chapter(folder, batch_size=-1, epochs=-1.0, loss="")
    assert [r.recipe.run for r in same.headline()] == ["c4-full"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"profile": "smok"}, "smoke"),
        ({"variant": "as_code"}, "as_coded"),
        ({"seeds": "x"}, "seeds"),
        ({"max_minutes": 0.0}, "max_minutes"),
        ({"device": "gpu"}, "device"),
        ({"loss": "hinge"}, "loss"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rat": 1.0}, "learning_rate"),
        ({"learning_rate": True}, "learning_rate must be text or a number"),
        ({"loss": ["softmax"]}, "loss must be text or a number"),
        ({"data_dir": "nowhere"}, "there is no folder"),
    ],
)
def test_a_bad_value_is_refused_before_any_work(tmp_path, bad, message):
    with pytest.raises((ParameterError, RecipeError), match=message):
        chapter(tmp_path, train="never", **bad)


def test_without_records_figures_give_way_to_the_command_that_makes_them(tmp_path):
    empty = open_chapter("linear", profile="full", variant="as_coded", train="never", records_dir=str(tmp_path))
    assert "secondlook train linear --profile full" in repr(empty)
    assert "secondlook list --missing" in roc(empty.headline())._repr_html_()
    assert "secondlook list --missing" in combinations({}, winner="c4-full")._repr_html_()
    assert {j.verdict for j in empty.judgements} == {"not run", "underspecified", "not testable as stated"}


def test_a_page_says_what_cannot_be_drawn_and_fails_for_any_other_error():
    kept = [Record(read("linear").recipes("c4-full", "as_coded")[0], "finished", {"test_accuracy": 0.3})]
    assert "needs keep = 'evidence'" in told(roc(kept))
    with pytest.raises(ValueError, match="has no 'test_acuracy'"):
        comparison({"one": kept}, metric="test_acuracy")


def test_the_committed_chapter_reads_from_records_alone(tmp_path):
    whole = open_chapter("linear", profile="full", variant="as_coded", train="never", data_dir=str(tmp_path))
    assert not whole.missing
    assert whole.images is None
    assert "digest" in whole.provenance()


def test_a_page_says_where_its_evidence_stands_as_the_records_have_it(tmp_path):
    opened = [open_chapter("linear", profile="full", variant="as_coded", train="never", records_dir=str(folder))
              for folder in (ROOT / "records", tmp_path)]  # fmt: skip
    assert "All 27 runs of this report are there in full." in repr(opened[0])
    assert "Of the 27 runs of this report there are 27 not run yet." in opened[1]._repr_html_()


def test_damaged_images_are_refused_by_name_and_not_taken_for_missing_ones(tmp_path):
    (tmp_path / "cifar10.npz").write_bytes(b"PK\3\4 and no more")
    opened = open_chapter("linear", profile="full", variant="as_coded", train="never", data_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"cifar10\.npz: not a readable \.npz file"):
        opened.samples()


def filed(recipes, folder):
    provenance = {"commit": "0" * 40, "data_digest": "1" * 12, "device": "cpu", "versions": {"torch": "2"}}
    found = {"test_accuracy": 0.3, "validation_accuracy": 0.3}
    save([Record(r, "finished", found, provenance=provenance) for r in recipes], folder)


def opened(name, folder):
    return open_chapter(name, profile="full", variant="as_coded", train="never", records_dir=str(folder))


def test_no_quick_run_is_shown_on_a_page_of_full_ones(tmp_path):
    report = read("linear")
    filed(report.recipes("c4-full", "as_coded", "full", [0, 1]), tmp_path)
    filed([r for run in ("c4", "c6") for r in report.recipes(run, "as_coded", "quick", [0])], tmp_path)
    page = opened("linear", tmp_path)
    both = {run: page.records(run) for run in ("c4-full", "c6-full")}
    assert {run: [r.recipe.profile for r in records] for run, records in both.items()} == {
        "c4-full": ["full", "full"], "c6-full": []}  # fmt: skip
    drawn = comparison(both)
    assert list(drawn.layout.yaxis.ticktext) == ["c4-full"]
    assert "without c6-full, not run yet" in drawn.layout.title.subtitle.text
    assert list(page.runs(["c5", "c4-full"])) == ["c4-full"]


def test_reduced_runs_stand_beside_full_ones_and_say_so(tmp_path):
    report = read("alexnet")
    filed(report.recipes("lenet-sgd", "as_coded", "full", [0, 1]), tmp_path)
    filed(report.recipes("alexnet-sgd", "as_published", "reduced", [0]), tmp_path)
    page = opened("alexnet", tmp_path)
    groups = {"LeNet": page.records("lenet-sgd"), "AlexNet": page.records("alexnet-sgd", "as_published")}
    drawn = comparison(groups)
    assert list(drawn.layout.yaxis.ticktext) == ["LeNet", "AlexNet, reduced"]
    assert "half the width" in drawn.layout.title.subtitle.text
    assert not drawn.layout.title.text.startswith("Small runs")
    alone = comparison({"AlexNet": groups["AlexNet"]})
    assert list(alone.layout.yaxis.ticktext) == ["AlexNet"]


def test_every_point_of_a_grid_is_shown_at_its_best_profile(tmp_path):
    report = read("alexnet")
    filed(report.recipes("alexnet-sgd", "as_published", "reduced"), tmp_path)
    filed(report.recipes("alexnet-sgd-0.01", "as_published", "full", [0]), tmp_path)
    found = opened("alexnet", tmp_path).records("alexnet-sgd", "as_published")
    profiles = {r.recipe.run: r.recipe.profile for r in found}
    assert profiles.pop("alexnet-sgd-0.01") == "full"
    assert set(profiles.values()) == {"reduced"}


def test_an_unknown_run_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="did you mean 'c4"):
        opened("linear", tmp_path).records("c4-fulll")


def test_a_record_that_two_variants_share_is_shown_under_the_one_asked_for_and_missed_once(tmp_path):
    printed, coded = (read("vae").recipes("vgg-clean", v, "reduced", [0])[0] for v in ("as_published", "as_coded"))
    assert printed.id == coded.id
    provenance = {"commit": "0" * 40, "data_digest": "1" * 12, "device": "cpu", "versions": {"torch": "2"}}
    save([Record(printed, "finished", {"test_accuracy": 0.3}, provenance=provenance)], tmp_path)
    opened = open_chapter("vae", profile="full", variant="as_coded", train="never", records_dir=str(tmp_path))
    (found,) = opened.records("vgg-clean")
    assert (found.recipe.variant, found.id) == ("as_coded", printed.id)
    assert "as coded" in caption([found])
    missing = [p.id for p in opened.missing]
    assert len(missing) == len(set(missing))
    assert "profile full: 1 reduced record; MNIST." in repr(opened)


def test_what_is_missing_names_the_command_and_for_own_settings_the_way(tmp_path):
    opened = chapter(tmp_path, train="never", strength=3.0)
    report_s, own = opened._missing_lines()
    assert report_s.endswith("This makes them: `secondlook train linear --profile smoke`")
    assert own.startswith("1 record of 1 run missing: ")
    assert "train=missing" in own
    assert "secondlook train" not in own


def test_as_many_runs_train_at_a_time_as_the_machine_takes_at_this_profile(tmp_path, monkeypatch):
    monkeypatch.setattr("secondlook.chapter.side_by_side", {"smoke": 7}.get)
    assert chapter(tmp_path, train="never").execution.processes == 7
