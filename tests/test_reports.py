"""The five reports as data: layers, grids, seeds, ids, and every published number against a literal."""

import inspect
import itertools
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from secondlook import reports
from secondlook.chapter import open_chapter
from secondlook.claims.judge import judge
from secondlook.data.augment import augmentation
from secondlook.estimates import core_minutes
from secondlook.models import OPTIONS
from secondlook.recipe import KEEPS, PROFILES, Classifier, Data, Recipe, RecipeError
from secondlook.record import Records
from secondlook.training import losses, optimizers, schedules

REPORTS = ("linear", "alexnet", "optimizers", "vgg", "vae")
JUDGED = {
    "linear": "as_published",
    "alexnet": "as_coded",
    "optimizers": "as_coded",
    "vgg": "as_published",
    "vae": "as_coded",
}
CLAIMS = {"linear": ("L", 15), "alexnet": ("A", 12), "optimizers": ("O", 24), "vgg": ("V", 23), "vae": ("E", 35)}

SAMPLE = """
title = "A sample"
[published]
best = { value = "81.6 %" }
[base]
kind = "classifier"
data = { name = "cifar10", validation = 0.1 }
optimizer = { name = "sgd", learning_rate = 0.01 }
[run.a]
variants = ["as_published", "as_coded"]
[run.b]
"""


def parse(more="", base=SAMPLE):
    return reports.parse(base + more, Path("sample.toml"))


def recipe(more="", run="a", variant="as_published", profile="full"):
    return parse(more).recipes(run, variant, profile)[0]


# ------------------------------------------------------------------------------------------------ typos


@pytest.mark.parametrize(
    ("text", "bad", "near"),
    [
        ("[profil.full]\nseeds = 3", "profil", "profile"),
        ("batch_sise = 3", "batch_sise", "batch_size"),  # in the run the sample ends with
        ("[variant.as_coded]\nepoch = 3", "epoch", "epochs"),
        ("[variant.as_coded.run.a]\nepochss = 3", "epochss", "epochs"),
        ("[profile.quick]\nprecison = 'tf32'", "precison", "precision"),
        ("[profile.smoke.run.b]\nrestore_bets = true", "restore_bets", "restore_best"),
        ("[run.c]\ngrid = { batch_szie = [1, 2] }", "batch_szie", "batch_size"),
        ("[run.c]\n'data.train_limt' = 5", "train_limt", "train_limit"),
        ("[run.c]\ndata = { nme = 'cifar10' }", "nme", "name"),
        ("[run.c]\ndata = { name = 'cifar11' }", "cifar11", "cifar10"),
        ("[run.c]\nprecision = 'bf61'", "bf61", "bf16"),
        ("[run.c]\nkeep = 'evidense'", "evidense", "evidence"),
        ("[run.c]\nvariants = ['as_code']", "as_code", "as_coded"),
        ("[variant.as_codet]\nepochs = 3", "as_codet", "as_coded"),
        ("[profile.quik]\nepochs = 3", "quik", "quick"),
        ("[variant.as_coded.run.bb]\nepochs = 3", "bb", "b"),
        ("[profile.quick.run.a]\nvariants = ['as_codet']", "as_codet", "as_coded"),
        ("[profile.full.run.aa]\nepochs = 3", "aa", "a"),
        ("[published.x]\nvalu = '1'", "valu", "value"),
        ("[claim.X]\nsays = 's'\nfrom = 'value'", "from", "form"),
        ("[claim.X]\nsays = 's'\nform = 'text'\nverdict = 'reproducd'", "reproducd", "reproduced"),
    ],
)
def test_a_typo_anywhere_names_the_file_the_key_and_the_nearest(text, bad, near):
    with pytest.raises(RecipeError) as error:
        parse("\n" + text)
    assert "sample.toml" in str(error.value)
    assert repr(bad) in str(error.value)
    assert f"did you mean {near!r}" in str(error.value)


def test_a_typo_in_base_is_found_too():
    with pytest.raises(RecipeError, match=r"sample.toml.*'batchsize'.*'batch_size'"):
        parse(base=SAMPLE.replace('kind = "classifier"', 'kind = "classifier"\nbatchsize = 3'))


HUGE = "9" * 400
BAD = {
    "[run.c]\nbatch_size = 0": "batch_size must be greater than or equal to 1, not 0",
    "[run.c]\nbatch_size = 'many'": "batch_size must be a valid integer, not 'many'",
    "[run.c]\nseeds = []": r"seeds must be a count or a list of whole numbers from 0, not \[\]",
    "[run.c]\nseeds = [-1]": "seeds must be",
    "[run.c]\nseeds = 9999999999": "seeds must be",
    f"[run.c]\nepochs = {HUGE}": "epochs must be less than or equal to",
    "[run.c]\nclip_norm = inf": "clip_norm must be a finite number, not inf",
    "[run.c]\nlabel_smoothing = nan": "label_smoothing must be a finite number, not nan",
    "[run.c]\n'optimizer.learning_rate' = inf": "learning_rate must be .* a number up to 1e.30, not inf",
    f"[run.c]\nmodel = {{ name = 'vgg', width = {HUGE} }}": "width must be",
    "[run.c]\nmodel = 3": "model must be a table, not 3",
    "[run.c]\ndata = 'cifar10'": "data must be a table, not 'cifar10'",
    "[run.c]\ngrid = { batch_size = 3 }": r"grid\.batch_size must be a valid list, not 3",
    "[run.c]\ngrid = { batch_size = [1.5, 1.5] }": "batch_size must be a valid integer",
    "[run.c]\ngrid = { clip_norm = [0.1234567, 0.12345671] }": "two points of the grid are both called",
    "[run.c]\nvariants = 'as_coded'": "variants must be a valid list, not 'as_coded'",
    "[run.c]\nheadline = 1": "headline must be a valid boolean",
    "[profile]\nfull = 3": r"profile\.full must be a table, not 3",
    "[profile.full]\nrun = { a = 3 }": r"profile\.full: run\.a must be a table",
    "[claim.X]\nsays = 3\nform = 'value'": "says must be a valid string, not 3",
    "[claim.X]\nsays = 's'": "form is missing",
    "[aim.X]\nsays = 's'\nrun = 'a'\nleast = 3": "value must be the number as printed",
    "[family.X]\nclaims = 3": "claims must be a valid list",
    "[run.'wd/0']": "run 'wd/0' cannot be part of a file's name; expected letters, digits and",
    "[run.'two words']": "'two words' cannot be part of a file's name",
    "[run.'a[1]']": "cannot be part of a file's name",
    "[run.'..']": "cannot be part of a file's name",
    f"[run.{'a' * 81}]": "cannot be part of a file's name",
    "[run.c]\ngrid = { model = [{ name = 'vgg' }] }": "cannot be part of a file's name",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_value_is_refused_with_its_file_and_key(text):
    with pytest.raises(RecipeError, match=r"sample\.toml: .*" + BAD[text]):
        parse(text)


@pytest.mark.parametrize("name", [".hidden", "a b", "logs", "a" * 81])
def test_a_report_whose_name_cannot_be_a_folder_is_refused(name):
    with pytest.raises(RecipeError, match="cannot be a report's name"):
        reports.parse(SAMPLE, Path(f"{name}.toml"))


def test_files_that_are_not_ours_are_no_reports(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "my-net.toml").write_text(SAMPLE)
    (tmp_path / "reports" / "._vgg.toml").write_bytes(b"\x00\x05\x16\x07\xff")
    assert reports.names(tmp_path) == ["my-net"]
    assert reports.read("my-net", tmp_path).runs() == ["a", "b"]
    with pytest.raises(RecipeError, match="unknown report"):
        reports.read("._vgg", tmp_path)


def test_a_value_that_is_not_as_printed_is_refused():
    for value in ("81.6", '"about 81"'):
        with pytest.raises(RecipeError, match=r"sample.toml: published.x: value must be the number as printed"):
            parse(f"[published.x]\nvalue = {value}")


def test_unknown_run_variant_and_report_are_named_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'a'"):
        parse().recipes("aa")
    with pytest.raises(RecipeError, match="'b' does not belong to variant 'as_coded'"):
        parse().recipes("b", "as_coded")
    with pytest.raises(RecipeError, match="did you mean 'as_coded'"):
        parse().recipes(variant="as_code")
    with pytest.raises(RecipeError, match="did you mean 'vgg'"):
        reports.read("vg")


# ------------------------------------------------------------------------------------------------ layers

LAYERS = ("base", "run.a", "variant.as_coded", "variant.as_coded.run.a", "profile.quick", "profile.quick.run.a")


@pytest.mark.parametrize("chosen", [c for n in range(1, 7) for c in itertools.combinations(range(6), n)])
def test_of_the_layers_that_set_a_key_the_last_wins(chosen):
    text = 'title = "t"\n'
    for i, layer in enumerate(LAYERS):
        text += f"[{layer}]\n" + ('kind = "classifier"\n' if layer == "base" else "")
        text += 'variants = ["as_coded"]\n' if layer == "run.a" else ""
        text += f"batch_size = {i + 1}\n" if i in chosen else ""
    found = reports.parse(text, Path("sample.toml")).recipes("a", "as_coded", "quick")[0]
    assert found.settings.batch_size == max(chosen) + 1


def test_a_layer_reaches_only_its_own_variant_profile_and_run():
    more = "[variant.as_coded]\nepochs = 3\n[profile.quick.run.a]\nepochs = 5"
    epochs = {
        (r.run, r.variant, r.profile): r.settings.epochs for p in PROFILES for r in parse(more).recipes(profile=p)
    }
    assert epochs["a", "as_published", "full"] == 50
    assert epochs["a", "as_coded", "full"] == 3
    assert epochs["a", "as_coded", "quick"] == epochs["a", "as_published", "quick"] == 5
    assert epochs["b", "as_published", "quick"] == 50


def test_a_dotted_key_sets_one_field_and_a_table_replaces_the_table():
    dotted = recipe('[profile.full]\n"data.train_limit" = 9\n"optimizer.momentum" = 0.9')
    assert (dotted.data.train_limit, dotted.data.validation) == (9, 0.1)
    assert dotted.settings.optimizer == {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
    table = recipe('[profile.full]\ndata = { name = "mnist" }\noptimizer = { name = "adam" }')
    assert (table.data.name, table.data.validation) == ("mnist", 0.0)
    assert table.settings.optimizer == {"name": "adam"}


def test_a_dotted_key_leaves_other_runs_and_variants_alone():
    report = parse('[variant.as_coded]\n"optimizer.momentum" = 0.9')
    assert "momentum" in report.recipes("a", "as_coded")[0].settings.optimizer
    assert "momentum" not in report.recipes("a", "as_published")[0].settings.optimizer
    with pytest.raises(RecipeError, match="which is not a table"):
        parse('[profile.full]\n"kind.most" = 3')


def test_a_grid_multiplies_names_its_runs_and_wins_over_the_profile():
    more = '[run.g]\ngrid = { batch_size = [1, 2], "optimizer.learning_rate" = [1e-3, 0.1] }\n[profile.full]\nseeds = 2'
    report = parse(more + "\nbatch_size = 9")
    assert report.runs() == ["a", "b", "g-1-0.001", "g-1-0.1", "g-2-0.001", "g-2-0.1"]
    found = report.recipes("g")
    assert len(found) == 8
    assert {(r.settings.batch_size, r.settings.optimizer["learning_rate"]) for r in found} == {
        (b, rate) for b in (1, 2) for rate in (1e-3, 0.1)
    }
    assert [r.seed for r in report.recipes("g-2-0.1")] == [0, 1]
    assert {r.settings.optimizer["name"] for r in found} == {"sgd"}


def test_a_profile_may_have_a_smaller_grid():
    report = parse("[run.g]\ngrid = { batch_size = [1, 2, 3] }\n[profile.smoke.run.g]\ngrid = { batch_size = [2] }")
    assert len(report.recipes("g")) == 3
    assert [r.run for r in report.recipes("g", profile="smoke")] == ["g-2"]


def test_a_profile_may_leave_a_variant_of_a_run_out():
    report = parse("[profile.quick.run.a]\nvariants = ['as_coded']")
    assert {r.variant for r in report.recipes("a")} == {"as_published", "as_coded"}
    assert {r.variant for r in report.recipes("a", profile="quick")} == {"as_coded"}
    assert report.variants() == ["as_published", "as_coded"]
    with pytest.raises(RecipeError, match="run 'a' does not belong to variant 'as_published'"):
        report.recipes("a", "as_published", "quick")


def test_seeds_are_a_count_or_a_list_and_only_the_first_keeps_evidence():
    report = parse('[run.c]\nseeds = [4, 7]\nkeep = "evidence"\n[profile.quick]\nseeds = 3')
    assert [(r.seed, r.keep) for r in report.recipes("c")] == [(4, "evidence"), (7, "predictions")]
    assert [r.seed for r in report.recipes("c", profile="quick")] == [0, 1, 2]
    assert [r.seed for r in report.recipes("c", seeds=[9])] == [9]
    assert len({r.id for r in report.recipes("c", seeds=range(5))}) == 5


# ------------------------------------------------------------------------------------------------ the five files


@pytest.mark.parametrize("name", REPORTS)
def test_every_recipe_names_nets_optimisers_schedules_and_transforms_that_exist(name):
    checked = set()
    for r in (r for profile in PROFILES for r in reports.read(name).recipes(profile=profile)):
        s = r.settings
        if r.kind == "linear" or r.id in checked:
            continue
        checked.add(r.id)
        for table in (s.model, getattr(s, "first", {}).get("model")):
            if table is not None:
                assert set(table) - {"name"} <= set(OPTIONS[table["name"]]), f"{r}: {table}"
                images = r.data.image_size or 32
                assert table.get("image_size", images) == images, f"{r}: the net and the images differ in size"
        optimizers.check(s.optimizer)
        if r.kind == "classifier":
            schedules.check(s.schedule)
            losses.check(s)
            augmentation(s.augment)


@pytest.mark.parametrize("name", REPORTS)
def test_the_net_has_as_many_outputs_as_the_data_has_classes(name):
    defaults = {"vgg": 10, "keras_cnn": 10, "resnet18": 10, "lenet": 100, "alexnet": 100, "alexnet_cifar": 100}
    for r in reports.read(name).recipes():
        if r.kind in ("classifier", "vae"):
            model = r.settings.model
            known = {"cifar10": 10, "cifar100": 100, "mnist": 10}[r.data.name]
            assert model.get("num_classes", defaults.get(model["name"], 2)) == (len(r.data.classes) or known), str(r)


@pytest.mark.parametrize("name", REPORTS)
def test_a_profile_changes_cost_and_never_the_task(name):
    report = reports.read(name)

    def task(r):
        s, table = r.settings, lambda key: getattr(r.settings, key, None)
        of = {key: table(key)["name"] for key in ("model", "optimizer") if isinstance(table(key), dict)}
        keys = ("name", "classes", "noise", "noise_on", "noise_std", "imbalance")
        return {"kind": r.kind, "loss": getattr(s, "loss", ""), **of, **{k: getattr(r.data, k) for k in keys}}

    full = {(r.run, r.variant): task(r) for r in report.recipes()}
    for r in (r for p in ("quick", "smoke") for r in report.recipes(profile=p)):
        assert task(r) == full.get((r.run, r.variant), task(r)), str(r)


@pytest.mark.parametrize("name", REPORTS)
def test_smoke_is_on_stand_ins_and_the_rest_is_not(name):
    for r in (r for p in PROFILES for r in reports.read(name).recipes(profile=p)):
        assert (r.data.source == "standin") == (r.profile == "smoke" and r.data.name != "gaussians"), str(r)
        assert r.is_evidence == (r.profile != "smoke")


@pytest.mark.parametrize("name", REPORTS)
def test_a_reduced_run_says_what_it_changes_and_others_are_full(name):
    report = reports.read(name)
    full = {r.id for r in report.recipes(profile="full")}
    for plan in report.recipes(profile="reduced"):
        assert (plan.profile, plan.id in full) == (("reduced", False) if plan.reduced else ("full", True))
        assert plan.data.train_limit == 0 or plan.sweep in ("few", "many"), "all real images"


@pytest.mark.parametrize("name", REPORTS)
def test_no_two_profiles_share_a_record_and_of_equal_recipes_the_first_listed_keeps_most(name):
    first = {}
    for p in PROFILES:
        for r in reports.read(name).recipes(profile=p):
            before = first.setdefault(r.id, r)
            assert before.profile == r.profile, (
                f"{before} and {r} are one recipe: the record of one would hide the other's"
            )
            assert KEEPS.index(before.keep) >= KEEPS.index(r.keep), f"{r} keeps more than {before}, which comes first"


@pytest.mark.parametrize("name", REPORTS)
def test_headline_runs_have_seeds_enough_and_small_profiles_take_little(name):
    report = reports.read(name)
    plans = report.recipes()
    coded = [p for p in plans if p.headline and p.variant == JUDGED[name]]
    assert coded
    counts = {run: sum(r.run == run for r in coded) for run in {r.run for r in coded}}
    assert min(counts.values()) >= 6, counts
    told = inspect.signature(open_chapter).parameters["max_minutes"].default
    smoke, quick = (core_minutes(report.recipes(profile=profile)) for profile in ("smoke", "quick"))
    assert smoke <= 2
    assert quick <= 2 * told, "on two cores a quick chapter would train nothing unless its reader allows more minutes"


@pytest.mark.parametrize("name", REPORTS)
def test_every_claim_is_a_table_or_named_as_to_come(name):
    letter, count = CLAIMS[name]
    text = (reports.ROOT / "reports" / f"{name}.toml").read_text(encoding="utf-8")
    to_come = set(re.findall(rf"^# ({letter}\d+):", text, re.M))
    report = reports.read(name)
    own = {c.id for c in report.claims.values() if not c.ours}
    assert own | to_come == {f"{letter}{i}" for i in range(1, count + 1)}
    assert not own & to_come
    assert report.letter == letter


@pytest.mark.parametrize("name", REPORTS)
def test_every_printed_cell_of_a_table_or_figure_is_judged_by_a_claim(name):
    report = reports.read(name)
    judged = {word for claim in report.claims.values() for word in re.findall(r"'(\w+)'", str(claim.options))}
    printed = {p.id for p in report.published.values() if re.match(r"Table|Figure", p.where)}
    assert not printed - judged


@pytest.mark.parametrize("name", REPORTS)
def test_every_claim_fits_its_form_and_a_stated_verdict_has_its_reason(name, tmp_path):
    report = reports.read(name)
    for judgement in judge(name, Records(tmp_path)):
        claim = report.claims[judgement.id]
        assert claim.says
        if claim.form == "text":
            assert judgement.verdict == claim.options["verdict"]
            assert len(claim.why) > 60
        elif judgement.verdict == "not run":
            assert "secondlook train" in judgement.why


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_says_where_it_comes_from(name):
    raw = tomllib.loads((reports.ROOT / "reports" / f"{name}.toml").read_text(encoding="utf-8"))
    assert raw["title"]
    assert raw["short"]
    assert len(raw["source"]) > 60
    for number in reports.read(name).published.values():
        assert number.where, f"{name}: {number.id} does not say where it is printed"
        assert number.says


# ------------------------------------------------------------------------------------------------ numbers

PUBLISHED = {
    "linear": {"best_train": 0.3802, "best_validation": 0.392, "best_test": 0.373},
    "vgg": {
        "vgg11_accuracy": 0.8161, "vgg11_precision": 0.8176, "vgg11_recall": 0.8161, "vgg11_f1": 0.8161,
        "vgg16_accuracy": 0.8474, "vgg16_precision": 0.8476, "vgg16_recall": 0.8474, "vgg16_f1": 0.8473,
        "vgg11_accuracy_text": 0.8161, "vgg16_accuracy_text": 0.8474, "auc_floor": 0.96, "auc_cat": 0.96,
        "auc_automobile": 1.0, "auc_ship": 1.0, "original_epochs": 72,
    },
    "optimizers": {
        "adam_initial": 0.7207, "adam_final": 0.855, "sgd_initial": 0.6165, "sgd_final": 0.833,
        "rmsprop_initial": 0.7088, "rmsprop_final": 0.845, "adamax_initial": 0.7099, "adamax_final": 0.8479,
        "baseline": 0.7071, "log_adam_middle": 0.7455, "log_sgd_middle": 0.7243, "log_rmsprop_middle": 0.683,
        "log_adamax_middle": 0.749, "log_adam_best": 0.8553, "log_sgd_best": 0.8336, "log_rmsprop_best": 0.8466,
        "log_adamax_best": 0.8491,
    },
    "alexnet": {
        "sgd_loss": 0.742, "adamw_loss": 1.68, "sgd_accuracy": 0.22, "adamw_accuracy": 0.31, "log_sgd_loss": 0.7423,
        "log_adamw_loss": 1.6795,
    },
    "vae": {
        "vgg_clean": 0.9991, "vgg_imbalance": 0.965, "vgg_noisy": 0.9362, "resnet_clean": 0.9995,
        "resnet_imbalance": 0.999, "resnet_noisy": 0.9688, "unet_clean": 1.0, "unet_imbalance": 0.999,
        "unet_noisy": 0.9697, "unet_pretrained_clean": 0.9995, "unet_pretrained_imbalance": 0.999,
        "unet_pretrained_noisy": 0.9726, "svm_clean": 0.9816, "svm_imbalance": 0.9731, "svm_noisy": 0.5106,
        "svm_transfer": 0.659, "kmeans_clean": 0.9905, "kmeans_imbalance": 0.9938, "kmeans_noisy": 0.5049,
        "kmeans_transfer": 0.6137, "swd_zeros": 0.065, "swd_ones": 0.0395, "swd_between": 0.152,
        "seconds_vgg_clean": 1000.81, "seconds_resnet_noisy": 1416.24, "seconds_unet_imbalance": 1642.55,
        "seconds_unet_pretrained_clean": 1459.54, "seconds_svm_noisy": 1265.36, "seconds_kmeans_clean": 256.94,
        "plotted_ee_svm": 0.285, "plotted_ae_svm": 0.21, "printed_ee_svm": -0.067, "printed_ae_svm": 0.5417,
        "second_ee_svm": -0.1262, "second_ae_svm": 0.601, "plotted_ee_vgg": 0.2989, "printed_ae_kmeans": 0.2536,
        "second_ee_unet_pretrained": 0.2779, "stored_kmeans_clean_1": 0.9508, "stored_svm_clean_slow": 0.2288,
        "stored_vgg_imbalance": 0.9991, "stored_unet_noisy_imbalance": 0.9778, "stored_swd_between": 0.15207,
    },
}  # fmt: skip
HALF_UNITS = {
    ("vgg", "vgg11_accuracy"): 5e-5, ("vgg", "auc_ship"): 5e-3, ("optimizers", "adam_final"): 5e-5,
    ("alexnet", "adamw_loss"): 5e-4, ("alexnet", "sgd_accuracy"): 5e-3, ("linear", "best_test"): 5e-4,
    ("vae", "seconds_vgg_clean"): 5e-3, ("vae", "printed_ee_svm"): 5e-5,
}  # fmt: skip


@pytest.mark.parametrize(("name", "number"), [(n, k) for n, table in PUBLISHED.items() for k in table])
def test_a_published_number_is_what_was_printed(name, number):
    assert reports.read(name).published[number].value == pytest.approx(PUBLISHED[name][number], abs=1e-12)


@pytest.mark.parametrize(("name", "number"), HALF_UNITS)
def test_half_a_unit_follows_the_printed_digits(name, number):
    assert reports.read(name).published[number].half_unit == pytest.approx(HALF_UNITS[name, number])


def test_the_optimisers_log_ends_where_table_1_does():
    rows, published = reports.log("optimizers_keras"), reports.read("optimizers").published
    assert len(rows) == 4 * (10 + 20 + 30)
    last = {(r["stage"], r["optimizer"]): float(r["test_accuracy"]) for r in rows}  # rows ascend by epoch
    for name in ("adam", "sgd", "rmsprop", "adamax"):
        assert last["3", name] == pytest.approx(published[f"{name}_final"].value)
        assert last["2", name] == pytest.approx(published[f"log_{name}_middle"].value)
        best = max(float(r["test_accuracy"]) for r in rows if (r["stage"], r["optimizer"]) == ("3", name))
        assert best == pytest.approx(published[f"log_{name}_best"].value)
        if name != "adam":
            assert last["1", name] == pytest.approx(published[f"{name}_initial"].value)
    assert last["1", "adam"] == pytest.approx(published["baseline"].value)


def test_the_loss_log_gives_the_published_losses_and_falls_at_the_milestones_alone():
    rows, published = reports.log("alexnet_training_loss"), reports.read("alexnet").published
    for name in ("sgd", "adamw"):
        epochs = [[float(r[name]) for r in rows if r["epoch"] == str(e)] for e in range(1, 301)]
        assert {len(e) for e in epochs} == {6}
        means = [sum(e) / 6 for e in epochs]
        assert means[-1] == pytest.approx(published[f"log_{name}_loss"].value, abs=5.1e-5)
        falls = {e: means[e - 2] - means[e - 1] for e in range(100, 301)}
        assert sorted(falls, key=falls.get)[-1] == 151
        assert falls[201] == max(f for e, f in falls.items() if e >= 160)


# ------------------------------------------------------------------------------------------------ ids


def made(kind, settings=None, **data):
    envelope = {"report": "r", "run": "a", "variant": "as_published", "profile": "full", "seed": 3, "kind": kind}
    return Recipe.from_dict({**envelope, "data": data, "settings": settings or {}})


GOLDEN = {
    "linear": (
        made("linear", {"strength": 5e4, "penalty": "l1"}, name="cifar10", validation=1000.0),
        "9a42c7bc1341b354",
    ),
    "classifier": (
        made("classifier", {"model": {"name": "vgg", "depth": 11}, "epochs": 9}, image_size=224),
        "1211351bc5db8416",
    ),
    "vae": (made("vae", {"decoder": "tanh", "latent": "mean"}, name="mnist", classes=[0, 1]), "09d388437ad5daf7"),
    "risk": (made("risk", {"mean_gap": 0.15, "head": "kmeans"}, name="gaussians"), "b840e55470cbe5b7"),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_ids_stay_as_they_were(kind):
    recipe, id_ = GOLDEN[kind]
    assert recipe.id == id_, "ids name the records that exist: a default was changed, or the way an id is made"


@pytest.mark.parametrize("kind", GOLDEN)
def test_an_id_survives_plain_types_and_its_surroundings(kind):
    recipe, id_ = GOLDEN[kind]
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    elsewhere = replace(recipe, report="s", run="b", variant="further", profile="quick", keep="evidence")
    assert elsewhere.id == id_


@pytest.mark.parametrize("kind", GOLDEN)
def test_what_determines_the_result_changes_the_id(kind):
    recipe, id_ = GOLDEN[kind]
    others = [replace(recipe, seed=4), replace(recipe, data=replace(recipe.data, train_limit=7))]
    others.append(replace(recipe, settings=replace(recipe.settings, batch_size=77)))
    assert len({id_, *(r.id for r in others)}) == 4


def test_official_files_and_an_npz_are_one_source_and_a_stand_in_is_another():
    official, npz, standin = (made("classifier", source=s) for s in ("official", "npz", "standin"))
    assert official.id == npz.id != standin.id
    assert official.is_evidence
    assert npz.is_evidence
    assert not standin.is_evidence


def test_a_new_field_with_a_default_changes_no_id():
    @dataclass(frozen=True)
    class Grown(Classifier):
        stochastic_depth: float = 0.0

    @dataclass(frozen=True)
    class GrownData(Data):
        grey: bool = False

    recipe, id_ = GOLDEN["classifier"]
    grown = replace(
        recipe,
        settings=Grown(**vars(recipe.settings)),
        data=GrownData(**vars(recipe.data)),
    )
    assert grown.id == id_
    assert replace(grown, settings=replace(grown.settings, stochastic_depth=0.1)).id != id_


def test_spelling_out_a_default_changes_no_id():
    assert made("classifier", {"label_smoothing": 0.0, "augment": {}}, noise="none").id == made("classifier").id
    assert made("classifier", {"label_smoothing": 0}).id == made("classifier").id


def test_a_custom_recipe_keeps_the_rest_and_judges_no_claim():
    custom = made("classifier").customised(**{"batch_size": 8, "data.train_limit": 100})
    assert (custom.variant, custom.settings.batch_size, custom.data.train_limit) == ("custom", 8, 100)
    assert not custom.is_evidence
    with pytest.raises(RecipeError, match="did you mean 'batch_size'"):
        made("classifier").customised(batch_siz=8)
