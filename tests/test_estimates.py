import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from secondlook import cache, cli, models, runs
from secondlook.estimates import Images, core_minutes, core_time, estimate, told, trained
from secondlook.experiments import probe
from secondlook.parameters import customised
from secondlook.recipe import Classifier, RecipeError
from secondlook.record import Records
from secondlook.reports import ROOT, names, read
from secondlook.runs import Execution, estimate_for, load_or_train


def full(report, run, variant=None, seeds=(0,)):
    return read(report).recipes(run, variant, seeds=list(seeds))


def changed(recipe, **changes):
    return replace(recipe, settings=replace(recipe.settings, **changes))


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A machine with a GPU, on which a unit costs this much."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device=None: "NVIDIA H200")
    monkeypatch.setattr(probe, "unit_costs", lambda device, precision: [3e-15, 1e-12, 1e-5, 1e-11])


def test_on_a_gpu_machine_auto_is_estimated_as_the_gpu(gpu, monkeypatch, tmp_path):
    plans, trained = read("vgg").recipes("vgg16", "as_published", seeds=[0]), []
    here = Execution(tmp_path, tmp_path, tmp_path, device="auto")
    assert estimate_for(plans, here).device == "cuda"
    assert estimate_for(plans, here).minutes < 15 < core_minutes([plans[0]])
    monkeypatch.setattr(runs, "produce", lambda plans, execution: trained.extend(plans))
    load_or_train(plans, here)
    assert trained == plans


def test_a_reader_s_own_run_is_estimated_as_what_it_is():
    before = core_minutes(full("vgg", "vgg16", "as_published"))
    small = customised(read("vgg"), "as_published", "full", [0], {"image_size": 32, "learning_rate": 0.05})[0]
    assert core_minutes([small]) < before / 30
    short = customised(read("vgg"), "as_published", "full", [0], {"image_size": 32, "epochs": 1})[0]
    assert core_minutes([small]) / 51 < core_minutes([short]) < core_minutes([small]) / 40


@pytest.mark.parametrize(
    ("report", "run", "changes", "least", "most"),
    [
        ("vgg", "vgg11", {"epochs": 100}, 1.9, 2.1),
        ("vgg", "vgg11", {"model": {"name": "vgg", "depth": 11, "image_size": 224, "width": 0.5}}, 0.2, 0.5),
        ("optimizers", "final-adam", {"batch_size": 1}, 1.5, 20),  # a step has a cost of its own
        ("vae", "vae-clean", {"batch_size": 1}, 5, 20),  # and so has every weight that it changes
        ("vae", "risk-svm", {"reference": "third_sample", "reference_size": 10_000}, 5, 12),
        (
            "vae",
            "unet_pretrained-clean",
            {"first": {"model": {"name": "resnet", "image_size": 64}, "epochs": 40}},
            1.2,
            1.9,
        ),
        ("linear", "c4", {"epochs": 12.0}, 1.5, 2.1),
        ("alexnet", "alexnet-sgd", {"augment": {"flip": True, "blur": 1.0}}, 0.8, 1.3),
        ("alexnet", "lenet-sgd", {"augment": {"flip": True, "rotation": 15.0}}, 1.5, 4),  # in the kernel it is not
    ],
)
def test_every_kind_of_run_is_counted_by_what_it_does(report, run, changes, least, most):
    recipe = full(report, run)[0]
    assert least < core_minutes([changed(recipe, **changes)]) / core_minutes([recipe]) < most


@pytest.mark.parametrize(
    ("report", "run", "variant", "most"),
    [("linear", "batch", "as_published", 0.95), ("vae", "mend", "corrected", 0.5)],
)
def test_work_that_runs_have_in_common_is_counted_once(report, run, variant, most):
    recipes = full(report, run, variant)
    assert len(recipes) > 2
    assert max(map(core_minutes, ([r] for r in recipes))) < core_minutes(recipes)
    assert core_minutes(recipes) < most * sum(core_minutes([r]) for r in recipes)
    assert core_minutes(recipes + recipes) == core_minutes(recipes)


def test_processes_side_by_side_divide_the_time_up_to_the_longest_run():
    recipes = full("alexnet", "lenet-sgd", "as_coded", range(4))
    alone, two, many = (estimate(recipes, "cpu", processes) for processes in (1, 2, 64))
    assert two.minutes == pytest.approx(alone.minutes / 2)
    assert many.minutes == pytest.approx(estimate(recipes[:1], "cpu").minutes)
    assert str(two).endswith("CPU, 2 runs at a time")


def test_seeds_that_a_gpu_trains_as_one_net_share_its_launches(gpu):
    recipes = full("optimizers", "initial-adam", "as_coded", range(8))
    assert estimate(recipes, "cuda").minutes < 7 * estimate(recipes[:1], "cuda").minutes
    assert core_minutes(recipes) == pytest.approx(8 * core_minutes(recipes[:1]))


def test_estimates_are_within_a_factor_of_two_of_full_records():
    """Of one core like the reference; runs made before LeNet had its kernel, and on two threads, took other ways."""
    ratios = []
    for name in names():
        recipes = [r for r in read(name).recipes() if r.kind != "linear"]
        found = [r for r in Records(ROOT / "records").find(recipes) if "EPYC" in r.provenance["device"]]
        for record in (r for r in found if r.provenance["threads"] == 1 and not r.provenance["resumed_from"]):
            if record.recipe.settings.model["name"] != "lenet" or {"native", "whole"} & set(record.provenance):
                ratios.append(60 * core_minutes([record.recipe]) / record.provenance["seconds"])
    assert len(ratios) > 40
    assert min(ratios) > 0.5
    assert max(ratios) < 2


def test_what_was_measured_explains_a_net_that_was_not():
    costs = np.array([*probe.unit_costs("cpu", "float32"), 1.0])
    net, seen = models.build("conv_vgg", image_size=32, in_channels=3, width=0.25), Images(32, 0, 0, 32, 3, 2)
    s = Classifier({"name": "conv_vgg", "width": 0.25}, {"name": "adam", "learning_rate": 1e-5}, batch_size=8, epochs=1)
    optimizer, x, times = torch.optim.Adam(net.parameters(), fused=True), torch.rand(8, 3, 32, 32), []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(6):
        since = time.process_time()
        net(x).logsumexp(1).sum().backward()
        optimizer.step()
        times.append(time.process_time() - since)
    torch.set_num_threads(before)
    assert 1 / 3 < float(trained(s, seen, 8, "cpu") @ costs) / min(times) < 3


@pytest.mark.parametrize(
    ("minutes", "words"), [(0.04, "2.4 seconds"), (45.2, "45 minutes"), (150, "2.5 hours"), (7e4, "1,167 hours")]
)
def test_times_have_two_digits(minutes, words):
    assert told(minutes) == words


def test_nothing_is_measured_for_a_page_or_where_training_is_off(monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "unit_costs", lambda *_: pytest.fail("measured"))
    monkeypatch.setenv("SECONDLOOK_TRAIN", "never")
    plans = read("alexnet").recipes("best", seeds=[0])
    assert load_or_train(plans, Execution(tmp_path, tmp_path, tmp_path)).missing == plans
    assert core_time(plans).endswith("core-hours")


def test_a_net_that_cannot_be_is_named_before_any_work():
    recipe = changed(full("vgg", "vgg16")[0], model={"name": "vgg", "depth": 12})
    with pytest.raises(RecipeError, match=r"vgg vgg16 .*depth"):
        core_minutes([recipe])


def test_a_list_ends_with_what_all_that_is_missing_takes(tmp_path, capsys):
    where = ["--records-dir", str(tmp_path / "a"), "--runs-dir", str(tmp_path / "b")]
    assert cli.main(["list", "linear", "--missing", "--profile", "smoke", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 40
    count = len({r.id for r in read("linear").recipes(profile="smoke")})
    assert lines[-1].startswith(f"{count} records missing, about ")
    assert sum("points" in line for line in lines) > 3


# ------------------------------------------------------------------ the cache


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": "1", "values": {"a": [-1]}}', '{"version": "1"}'])
def test_numbers_outlast_the_process_unless_damaged_or_of_another_version(tmp_path, damage):
    code = "from secondlook.cache import remembered; print(remembered('t', {!r}, 'a', lambda: [{}]))"

    def said(version, number):
        told = [sys.executable, "-c", code.format(version, number)]
        return subprocess.run(
            told, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, text=True
        ).stdout

    assert said("1", 5) == said("1", 6) == "[5.0]\n"
    (tmp_path / "secondlook" / "t.json").write_text(damage)
    assert said("1", 7) == "[7.0]\n"
    assert said("2", 8) == "[8.0]\n"


def test_without_a_home_numbers_last_as_long_as_the_process(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    made = []
    for _ in range(2):
        assert cache.remembered("homeless", "1", "a", lambda: made.append("a") or [1.0]) == [1.0]
    assert made == ["a"]
