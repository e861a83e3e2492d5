"""Every claim of the AlexNet chapter on made-up records: some that satisfy it, some that break it."""

import shutil
from functools import partial

import numpy as np
import pytest
from made_up import records_in
from made_up import verdicts as made_up_verdicts

from secondlook import models, reports
from secondlook.claims.alexnet import LOSSES, first_epoch, log_losses
from secondlook.evaluation import costs
from secondlook.evaluation.costs import UPDATES
from secondlook.evaluation.curves import milestones
from secondlook.record import Record, Records, save

REPORT = reports.read("alexnet")
LENETS = ("lenet-sgd", "lenet-adamw")
LOGGED, FIRST = log_losses(), {o: np.array(first_epoch(o)) for o in ("sgd", "adamw")}
NEAR = ("identify_sgd-0.01-0", "identify_adamw-0.001")  # the settings whose made-up losses fit the log
ARITHMETIC = {"A10": "contradicted", "A11": "contradicted", "F2": "reproduced", "F3": "reproduced"}
BY_LOG = {"A7": "reproduced", "A8": "reproduced", "A12f": "reproduced"}  # where our own records are still missing
NEEDS = {
    "A1": ("as_coded", "whole_sgd_text"), "A1f": ("as_coded", "lenet-sgd"), "A2": ("as_coded", "whole_adamw_text"),
    "A2f": ("as_coded", "lenet-adamw"), "A3": ("as_coded", "whole_sgd_text"), "A3f": ("as_coded", "lenet-adamw"),
    "A4": ("as_coded", "whole_adamw_text"), "A4f": ("as_coded", "lenet-sgd"), "A5": ("corrected", "lenet-sgd"),
    "A6": ("corrected", "rate_sgd-0.01"), "A9": ("as_coded", "whole_sgd_text"), "A9f": ("as_coded", "lenet-sgd"),
    "A12": ("as_coded", "whole_sgd_text"), "F1": ("as_coded", "identify_sgd-0.01-0"),
    "F12": ("as_coded", "whole_sgd_text"),
}  # fmt: skip


def noise(recipe, size, salt=0):
    return size * np.random.default_rng([recipe.seed, salt]).normal()


def made_up(recipe):
    """Metrics and history under which every claim but A10, A11 and F1 is reproduced."""
    name = "sgd" if "sgd" in recipe.run else "adamw"
    if recipe.run.startswith("identify"):
        off = 0.0 if recipe.run in NEAR else 1.0
        return {}, {"step_loss": FIRST[name] + off + noise(recipe, 0.02, 1)}
    if recipe.run.startswith("rate"):
        rate = recipe.settings.optimizer["learning_rate"]
        step = (0.04 if name == "sgd" else 0.01) * np.log10(rate)
        return {"validation_accuracy": 0.3 + step + noise(recipe, 0.002, 2)}, {}
    loss, accuracy, fall = (0.742, 0.22, 0.08) if name == "sgd" else (1.68, 0.31, 0.0)
    rising = np.linspace(0.05, accuracy + fall, 150)
    curve = np.r_[rising, np.linspace(accuracy + fall, accuracy, 150)] + noise(recipe, 0.002, 3)
    at_best = 0.28 if recipe.variant == "corrected" and name == "sgd" else accuracy
    metrics = {
        "train_loss": loss + noise(recipe, 0.005, 4),
        "test_accuracy": at_best + noise(recipe, 0.003, 5),
        "train_seconds": (90 if name == "sgd" else 100) + noise(recipe, 0.5, 6),
    }
    wobble = 0.002 * np.random.default_rng([recipe.seed, 7]).normal(size=300)
    off = 0.1 + noise(recipe, 0.01, 8) if recipe.run.endswith("text") else 0.0
    return metrics, {"train_loss": LOGGED[name] + off + wobble, "test_accuracy": curve}


def world(folder, change=None, keep=lambda r: True):
    """Full records of all runs the claims need, made up, then changed by `change(recipe, metrics, history)`."""
    everything = REPORT.recipes(variant="as_coded") + REPORT.recipes(variant="corrected")
    needed = [r for r in everything if r.run.startswith(("lenet", "identify", "rate", "whole")) and keep(r)]
    return records_in(folder, needed, made_up, change)


verdicts = partial(made_up_verdicts, "alexnet")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return verdicts(world(tmp_path_factory.mktemp("records")))


def change(run, **new):
    """Replaces metrics or curves of the runs that begin so: a number is a new centre, a callable changes the old."""

    def apply(recipe, metrics, history):
        if recipe.run.startswith(run):
            for name, value in new.items():
                owner = history if name in ("curve_loss", "curve_accuracy", "step_loss") else metrics
                key = {"curve_loss": "train_loss", "curve_accuracy": "test_accuracy"}.get(name, name)
                owner[key] = value(owner[key]) if callable(value) else value + noise(recipe, 0.003, 9)

    return apply


def wide(values):
    return values + 5 * np.random.default_rng(int(1e6 * abs(values))).normal()


def smooth(values):
    return values[-1] + (values[0] - values[-1]) * np.exp(-np.arange(len(values)) / 5)


def rough(values):
    """As restless as any other curve, each by its own noise."""
    return smooth(values) + 0.05 * np.random.default_rng(int(1e6 * values[0])).normal(size=len(values))


def falling(values):
    return values - np.linspace(0, 0.4, len(values)) * (np.arange(len(values)) > 150)


FITTED = {"": ("whole_sgd_text", "whole_adamw_text"), "f": ("lenet-sgd", "lenet-adamw")}
# claim, verdict on the base, a change, the verdict after it
CASES = [
    *[case for f, (sgd, adamw) in FITTED.items() for case in (
        (f"A1{f}", "reproduced", change(sgd, train_loss=1.2), "not reproduced"),
        (f"A2{f}", "reproduced", change(adamw, train_loss=1.2), "not reproduced"),
        (f"A3{f}", "reproduced", change(sgd, test_accuracy=0.31), "not reproduced"),
        (f"A4{f}", "reproduced", change(sgd, test_accuracy=0.35), "not reproduced"),
        (f"A4{f}", "reproduced", change(sgd, train_loss=2.0), "not reproduced"),
        (f"A4{f}", "reproduced", change(sgd, train_loss=wide), "inconclusive"),
        (f"A9{f}", "reproduced", change(adamw, curve_accuracy=falling), "not reproduced"),
        (f"A9{f}", "reproduced", change(sgd, curve_accuracy=np.sort), "inconclusive"),
        (f"A12{f}", "reproduced", change(sgd, curve_loss=smooth), "not reproduced"),
        (f"A12{f}", "reproduced", change(sgd.split("-")[0].split("_")[0], curve_loss=rough), "inconclusive"),
    )],
    ("A5", "reproduced", change("lenet-sgd", test_accuracy=0.35), "not reproduced"),
    ("A6", "reproduced", change("rate_adamw-3e-05", validation_accuracy=0.05), "not reproduced"),
    ("A8", "reproduced", change("whole_adamw_text", curve_loss=lambda y: y - 1.5), "not reproduced"),
    ("F1", "inconclusive", change("identify_sgd", step_loss=lambda y: y + 1), "not reproduced"),
    ("F12", "reproduced", change("lenet-sgd", curve_loss=lambda y: y + 0.5), "not reproduced"),
    ("F12", "reproduced", change("lenet-sgd", curve_loss=lambda y: y + 0.025 * abs(wide(y[0]) - y[0])), "inconclusive"),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "good", "break_it", "bad"), CASES, ids=[f"{c[0]}-{c[3]}" for c in CASES])
def test_records_that_break_a_claim_change_its_verdict(claim, good, break_it, bad, base, tmp_path):
    assert base[claim].verdict == good, base[claim].why
    after = verdicts(world(tmp_path, break_it))[claim]
    assert after.verdict == bad, after.why


def test_a_fit_identifies_a_net_only_where_a_rival_was_tried_and_excluded(base, tmp_path, monkeypatch):
    assert "0 runs of other nets" in base["F1"].why
    options = reports.read("alexnet", None).claims["F1"].options
    monkeypatch.setitem(options, "candidates", {"sgd": ["identify_sgd"], "adamw": ["identify_adamw"]})
    monkeypatch.setitem(options, "rivals", {"sgd": ["identify_sgd_augmented"], "adamw": ["identify_adamw_augmented"]})
    excluded = verdicts(world(tmp_path / "far"))["F1"]
    assert (excluded.verdict, "7 of them excluded" in excluded.why) == ("reproduced", True), excluded.why
    fits = change("identify_sgd_augmented", step_loss=lambda y: y - 1)
    assert verdicts(world(tmp_path / "near", fits))["F1"].verdict == "inconclusive"


def test_the_text_and_the_fit_are_judged_apart(base, tmp_path):
    reversed_ = verdicts(world(tmp_path, change("whole_adamw_text", test_accuracy=0.18)))
    assert [reversed_[c].verdict for c in ("A3", "A4")] == ["not reproduced", "not reproduced"]
    assert [reversed_[c].verdict for c in ("A3f", "A4f")] == ["reproduced", "reproduced"]
    assert not set(base["A3"].records) & set(base["A3f"].records)


def test_every_claim_but_those_settled_by_arithmetic_has_a_case():
    assert {c[0] for c in CASES} | set(ARITHMETIC) | {"A7"} == set(REPORT.claims)


def test_without_records_the_log_and_arithmetic_settle_what_they_can(tmp_path):
    found = {id_: j.verdict for id_, j in verdicts(Records(tmp_path)).items()}
    assert found == {id_: {**ARITHMETIC, **BY_LOG}.get(id_, "not run") for id_ in REPORT.claims}


@pytest.mark.parametrize("claim", NEEDS)
def test_a_deleted_record_turns_its_claim_to_not_run(claim, tmp_path):
    variant, run = NEEDS[claim]
    found = verdicts(world(tmp_path, keep=lambda r: (r.variant, r.run, r.seed) != (variant, run, 0)))[claim]
    assert found.verdict == "not run"
    assert "secondlook train alexnet --run" in found.why


def test_quick_records_judge_nothing(tmp_path):
    recipes = [r for r in REPORT.recipes(profile="quick") if r.run.startswith(("lenet", "identify", "rate", "whole"))]
    save([Record(r, "finished", *made_up(r)) for r in recipes], tmp_path)
    found = verdicts(Records(tmp_path))
    assert {found[claim].verdict for claim in NEEDS} == {"not run"}


@pytest.mark.parametrize(
    ("claim", "old", "new", "verdict"),
    [("A10", 'form = "text"\nverdict = "contradicted"', 'form = "text"\nverdict = "reproduced"', "reproduced"),
     ("A11", 'evaluated = "LeNet", claimed = "AlexNet", side = 32',
      'evaluated = "AlexNet", claimed = "AlexNet", side = 224', "reproduced"),
     ("A11", 'evaluated = "LeNet"', 'evaluated = "AlexNet"', "contradicted"),
     ("F2", "milestones = [150, 200]", "milestones = [50, 100]", "contradicted"),
     ("F2", "steady = [50, 100, 250]", "steady = [50, 150, 250]", "contradicted"),
     ("F3", 'sgd_loss = { value = "0.742"', 'sgd_loss = { value = "0.752"', "contradicted")],
)  # fmt: skip
def test_what_needs_no_run_follows_from_the_file(claim, old, new, verdict, base, tmp_path):
    assert base[claim].verdict == ARITHMETIC[claim]
    text = REPORT.path.read_text(encoding="utf-8")
    assert old in text
    shutil.copytree(reports.ROOT / "reports" / "logs", tmp_path / "reports" / "logs")
    (tmp_path / "reports" / "alexnet.toml").write_text(text.replace(old, new), encoding="utf-8")
    assert verdicts(Records(tmp_path / "records"), tmp_path)[claim].verdict == verdict


def with_log(tmp_path, column, change):
    """A project whose log has `change(epoch, loss)` for the losses of an optimiser."""
    shutil.copytree(reports.ROOT / "reports" / "logs", tmp_path / "reports" / "logs")
    shutil.copy(REPORT.path, tmp_path / "reports")
    path = tmp_path / "reports" / "logs" / f"{LOSSES}.csv"
    rows = reports.log(LOSSES)
    for row in rows:
        row[column] = repr(float(change(int(row["epoch"]), float(row[column]))))
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_a_third_cliff_in_the_log_contradicts_the_schedule(tmp_path):
    root = with_log(tmp_path, "sgd", lambda epoch, loss: loss - 0.2 * (epoch > 100))
    assert verdicts(Records(root / "records"), root)["F2"].verdict == "contradicted"


def test_a_log_in_which_adamw_is_the_rougher_one_contradicts_its_smoothness(tmp_path):
    root = with_log(tmp_path, "adamw", lambda epoch, loss: loss + 0.03 * (-1) ** epoch)
    found = verdicts(Records(root / "records"), root)["A12f"]
    assert (found.verdict, found.rests_on) == ("contradicted", "log")


def test_seconds_are_told_and_decide_nothing(base, tmp_path):
    assert base["A7"].verdict == "reproduced"
    assert "% seconds" in base["A7"].why
    swapped = verdicts(world(tmp_path, change("lenet-adamw", train_seconds=80.0)))["A7"]
    assert swapped.verdict == "reproduced"
    assert "-1" in swapped.why
    cheaper = UPDATES | {"adamw": (1, 0)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secondlook.claims.alexnet.UPDATES", cheaper)
        assert verdicts(Records(tmp_path / "none"))["A7"].verdict == "contradicted"


def test_the_grids_of_rates_span_equal_factors(base):
    assert "a factor of 100" in base["A6"].why


def test_judged_claims_say_what_they_rest_on(base):
    assert (base["A1"].seeds, base["A1f"].seeds) == (list(range(6)), list(range(8)))
    rests_on = {c: base[c].rests_on for c in ("A1", "A7", "A8", "A10", "A11", "F2", "F3")}
    assert list(rests_on.values()) == ["measurement", "arithmetic", "measurement", "text", "code", "log", "log"]
    assert "jointly at 90 % or more" in base["A3"].why
    assert (base["A3"].published, base["A3"].data) == ([0.31, 0.22], "CIFAR-100")
    assert len(base["F1"].records) == 3 * 20
    assert "to 3 of 3 losses" not in base["A8"].why
    assert (base["A11"].published, base["A11"].measured) == (None, [69_656, 57_413_540])


@pytest.mark.parametrize(("name", "built", "side"), [("LeNet", "lenet", 32), ("AlexNet", "alexnet", 224)])
def test_counts_by_arithmetic_are_those_of_the_nets(name, built, side):
    import torch

    with torch.device("meta"):
        net = models.build(built, num_classes=100)
    assert costs.total(costs.layers(costs.NETS[name]), "parameters") == models.parameter_count(net)
    assert costs.total(costs.layers(costs.NETS[name], side), "macs") == models.macs(net, (3, side, side))


def test_alexnet_takes_no_image_below_63_pixels():
    assert costs.smallest_image(costs.NETS["AlexNet"]) == 63


def test_an_adamw_step_costs_a_share_that_shrinks_with_the_batch():
    assert costs.share_of_step("LeNet", 32, 4) == pytest.approx(10 * 69_656 / (6 * 659_280 * 4))
    assert costs.share_of_step("LeNet", 32, 64) < costs.share_of_step("LeNet", 32, 4)


def test_the_schedule_that_runs_is_the_one_the_log_shows():
    for run in LENETS:
        (schedule,) = {str(r.settings.schedule["milestones"]) for r in REPORT.recipes(run, "as_coded")}
        assert schedule == str(milestones(LOGGED[run.removeprefix("lenet-")]))
