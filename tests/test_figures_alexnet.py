"""The figures of the AlexNet chapter, from made-up records and the authors' log: what they draw and what they say."""

from dataclasses import replace

import numpy as np
import pytest
from made_up import said, title, told

from secondlook import reports
from secondlook.claims.alexnet import first_epoch, log_losses
from secondlook.data.names import CIFAR100, SUPERCLASSES
from secondlook.evaluation import curves, metrics
from secondlook.figures import best_and_last, calibration, confusion, step_costs, superclasses, trade_off
from secondlook.figures.logged import (
    by_run,
    candidate_misfits,
    identification,
    identification_table,
    logged_curves,
)
from secondlook.figures.scores import measured
from secondlook.record import Record

REPORT = reports.read("alexnet")
LOG = np.array(first_epoch("sgd"))
LABELS = np.repeat(np.arange(100), 5).astype(np.uint8)


def candidate(run="identify_sgd-0.01-0", seed=0, off=0.0, spread=0.02, entries=6):
    recipe = replace(REPORT.recipes(run, "as_coded")[0], seed=seed)
    own = LOG[:entries] + off + spread * np.random.default_rng([seed, len(run)]).normal()
    return Record(recipe, "finished", {}, {"step_loss": own.astype(np.float32)})


def candidates(**more):
    near = [candidate(seed=s, **more) for s in range(3)]
    far = [candidate("identify_sgd-0.03-0.9", s, off=1.0, **more) for s in range(3)]
    return far + near


def scored(seed=0, right=0.4, sure=0.5, run="lenet-sgd", epochs=20):
    """A record of 500 test images: right in `right` of them and `sure` of every answer, mistakes in the superclass."""
    recipe = replace(REPORT.recipes(run, "as_coded")[0], seed=seed, keep="evidence")
    rng = np.random.default_rng(seed)
    hit = rng.random(500) < right
    near = np.array([CIFAR100.index(SUPERCLASSES[g][0]) for g in _superclass_of()])
    said = np.where(hit, LABELS, near[LABELS]).astype(np.uint8)
    scores = rng.random((500, 100))
    scores[np.arange(500), said] += 1
    best = np.stack([said, *(rng.integers(0, 100, (4, 500), np.uint8))], 1)
    found = {
        "test_accuracy": float(hit.mean()), "parameters": 69_656, "macs": 659_280, "steps": 1000,
        "train_seconds": 2.0 + seed,
        **{k: [getattr(metrics.auc_interval(np.equal(LABELS, c), scores[:, c]), n) for c in range(100)]
           for k, n in (("auc", "value"), ("auc_low", "low"), ("auc_high", "high"))},
    }  # fmt: skip
    curve = np.r_[np.linspace(0.05, 0.3, epochs // 2), np.linspace(0.3, 0.22, epochs - epochs // 2)]
    history = {"train_loss": np.linspace(4, 0.8, epochs), "test_accuracy": curve + 0.001 * seed}
    arrays = {
        "labels": LABELS, "predictions": said, "top5": best,
        "top5_scores": metrics.encode_scores(np.full((500, 5), [sure, 0.1, 0.05, 0.05, 0.05])),
        "roc": metrics.pack_curves(metrics.roc_one_vs_rest(LABELS, scores, points=60)),
    }  # fmt: skip
    return Record(recipe, "finished", found, {k: v.astype(np.float32) for k, v in history.items()}, arrays,
                  {"device": "cpu (made up)"})  # fmt: skip


def _superclass_of():
    groups = list(SUPERCLASSES)
    return [groups[k] for k in superclasses.MEMBER]


# ---------------------------------------------------------------- the log


def test_the_milestones_of_the_log_are_found_and_no_others():
    for losses in log_losses().values():
        assert curves.milestones(losses) == [150, 200]
        later = curves.breaks(losses)[curves.SETTLED :]
        assert np.sort(later)[-2] > 1.5 * np.sort(later)[-3]


def test_a_break_that_was_put_in_is_found():
    losses = 2 + np.exp(-np.arange(120) / 10)
    losses[80:] -= 0.5
    losses[40:] -= 0.2
    assert curves.milestones(losses) == [40, 80]


def test_a_break_stands_out_of_its_neighbourhood_and_noise_does_not():
    rng = np.random.default_rng(2)
    losses = 2 + np.exp(-np.arange(120) / 10) + 0.01 * rng.normal(size=120)
    calm = curves.prominence(losses, 80)
    losses[80:] -= 0.5
    assert calm < 1 < 5 < curves.prominence(losses, 80)
    assert curves.prominence(losses, 40) < 1


def test_epoch_losses_are_the_means_of_the_rows():
    rows = [{"epoch": e, "sgd": v} for e, v in (("1", "2"), ("1", "4"), ("2", "1"))]
    assert curves.epoch_losses(rows, "sgd").tolist() == [3.0, 1.0]


def test_roughness_sees_noise_and_not_a_trend():
    rng, at = np.random.default_rng(0), np.arange(100)
    steady = 2 + (at / 100 - 1) ** 3
    assert curves.roughness(steady, 1, 100) < 1e-6
    noisy = curves.roughness(steady + 0.01 * rng.normal(size=100), 1, 100)
    assert noisy == pytest.approx(0.01 * np.sqrt(2), rel=0.25)
    with pytest.raises(ValueError, match="too few"):
        curves.roughness(steady, 1, 5)


def test_equal_noise_is_not_called_rougher():
    rng = np.random.default_rng(1)
    p = [curves.rougher(*(curves.roughness(rng.normal(size=100), 1, 100) for _ in range(2)), 100) for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.1
    assert curves.rougher(0.01, 0.03, 100) < 1e-6


# ---------------------------------------------------------------- identification


def test_the_misfit_is_the_distance_of_the_mean_and_its_p_that_of_a_t_test():
    fit = curves.misfit([1.0, 2.0, 3.0], [[1.1, 2.1], [1.3, 2.3]])
    assert (fit.distance, fit.runs) == (pytest.approx(0.2), 2)
    assert fit.spread == pytest.approx(np.std([1.1, 1.3], ddof=1))
    t = 0.2 / (fit.spread * np.sqrt(1.5))
    assert fit.p == pytest.approx(2 * (0.5 - np.arctan(t) / np.pi))  # one degree of freedom
    assert not fit.excluded


def test_a_run_of_the_same_settings_is_excluded_in_one_case_of_twenty_at_most():
    rng = np.random.default_rng(0)
    shape = np.linspace(1, 2, 6)
    for own in (0.0, 0.1):  # entries that rise and fall together, and ones that do so in part
        runs = [shape + 0.1 * rng.normal() + own * rng.normal(size=6) for _ in range(4000)]
        cases = [curves.misfit(runs[i], runs[i + 1 : i + 4]).excluded for i in range(0, 4000, 4)]
        assert np.mean(cases) < 0.07


def test_candidates_are_told_by_their_weight_decay_where_it_differs():
    def run(name, seed, off):
        recipe = replace(REPORT.recipes(name, "as_coded")[0], seed=seed)
        return Record(recipe, "finished", {}, {"train_loss": log["AdamW"][:40] + off + 0.01 * seed})

    log = {"AdamW": log_losses()["adamw"]}
    runs = [run(name, k, off) for name, off in (("lenet-adamw", 0.0), ("whole_adamw_text", 0.5)) for k in range(3)]
    rows = identification_table({"AdamW": runs}, log, "train_loss", shortest=True).rows
    assert [row[0] for row in rows] == ["AdamW 1e-3, decay 0.01", "AdamW 1e-3, decay 5e-4"]
    assert [row[-1] for row in rows] == ["not excluded", "excluded"]


def test_a_distant_candidate_is_excluded_and_a_single_run_says_nothing():
    runs = candidates()
    found = candidate_misfits(runs, LOG)
    assert list(found) == ["identify_sgd-0.01-0", "identify_sgd-0.03-0.9"]
    assert [f.excluded for f in found.values()] == [False, True]
    alone = candidate_misfits(runs[:1] + runs[3:4], LOG)
    assert not any(f.excluded for f in alone.values())
    assert np.isnan(alone["identify_sgd-0.01-0"].p)


def test_shorter_runs_are_not_ranked_among_longer_ones():
    runs = [*candidates(), candidate("identify_sgd-0.03-0", entries=1, spread=0.0)]
    assert "identify_sgd-0.03-0" not in candidate_misfits(runs, LOG)
    assert "of 2 settings" in title(identification({"SGD": runs}, {"SGD": LOG}))
    assert len(identification_table({"SGD": runs}, {"SGD": LOG}).rows) == 2


def test_runs_of_unlike_length_are_compared_over_what_all_of_them_ran():
    short = candidate("identify_sgd-0.03-0", entries=2, off=0.3, spread=0.0)
    lost = replace(candidate("identify_sgd-0.001-0", entries=1), status="diverged")
    table = identification_table({"SGD": [*candidates(), short, lost]}, {"SGD": LOG}, shortest=True)
    assert [row[0] for row in table.rows] == ["SGD 0.01", "SGD 0.03", "SGD 0.03, momentum 0.9"]
    assert table.rows[1][1] == "0.300"


def test_a_shorter_run_is_held_against_as_much_of_the_log():
    (fit,) = candidate_misfits([candidate(entries=2, off=0.3, spread=0.0)], LOG).values()
    assert fit.distance == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("runs", [np.zeros((0, 6)), np.zeros((3, 0)), np.zeros((3, 7))])
def test_runs_that_cannot_be_compared_are_refused(runs):
    with pytest.raises(ValueError, match="cannot be held against"):
        curves.misfit(LOG, runs)


def test_the_identification_names_the_nearest_and_counts_what_is_left():
    figure = identification({"SGD": candidates(), "AdamW": candidates()[3:]}, {"SGD": LOG, "AdamW": LOG})
    assert "SGD: 0.01 is nearest to the log" in said(figure)
    assert title(figure) == "The log does not exclude 1 of 2 settings of SGD and 1 of 1 settings of AdamW"
    assert [b.label for b in figure.layout.updatemenus[0].buttons] == ["SGD", "AdamW"]
    grey = [t for t in figure.data if t.line.color == "#7f868e"]
    assert [t.name for t in grey] == ["0.03, momentum 0.9"]


def test_single_seeds_make_no_claim_of_what_is_excluded():
    figure = identification({"SGD": candidates()[:1]}, {"SGD": LOG})
    assert "nothing can be excluded" in title(figure)
    assert "nearest" not in title(figure)  # of one


def test_of_candidates_at_one_distance_none_is_the_nearest():
    alike = [
        candidate(run, s, off=0.5, spread=0.0)
        for run in ("identify_sgd-0.01-0", "identify_sgd-0.03-0.9")
        for s in (0, 1, 2)
    ]
    told = said(identification({"SGD": alike}, {"SGD": LOG}))
    assert "nearest" not in told
    assert "SGD: 0.01 and 0.03, momentum 0.9 lie 0.500 from the log" in told


def test_the_table_of_candidates_has_a_row_for_each():
    table = identification_table({"SGD": candidates()}, {"SGD": LOG})
    assert [row[0] for row in table.rows] == ["SGD 0.01", "SGD 0.03, momentum 0.9"]
    assert [row[-1] for row in table.rows] == ["not excluded", "excluded"]
    assert [len(v) for v in by_run(candidates()).values()] == [3, 3]


def test_the_reports_own_candidates_are_at_least_twelve():
    runs = [r for r in REPORT.runs("as_coded") if r.startswith("identify")]
    assert len(runs) >= 12
    assert {len(REPORT.recipes(r, "as_coded")) for r in runs} == {3}


# ---------------------------------------------------------------- the other figures


def test_the_logged_curves_say_where_they_break():
    losses = dict(zip(("SGD", "AdamW"), log_losses().values()))
    figure = logged_curves(losses, "a log")
    assert "break after epochs 150 and 200" in title(figure)
    assert "in epochs 51 to 150 the rougher one is SGD’s" in said(figure)
    assert "161" not in title(figure)
    assert len(figure.data) == 6


def test_a_path_marks_every_label_at_the_epoch_of_the_slider():
    groups = {"SGD": [scored(0), scored(1)], "AdamW": [scored(2, epochs=10)]}
    figure = trade_off(groups, {"SGD": (0.742, 0.22)})
    (slider,) = figure.layout.sliders
    first = slider.steps[0].args[1]["annotations"]
    assert [a["text"] for a in first] == ["SGD", "AdamW"]
    assert (first[0]["x"], first[0]["y"]) == (4.0, pytest.approx(0.0505))
    assert slider.steps[-1].label == "20"
    assert [t.name for t in figure.data] == ["SGD", "AdamW", "SGD, published"]
    low, high = figure.layout.yaxis.range
    marks = [a for step in slider.steps for a in step.args[1]["annotations"]]
    assert all(250 * (high - a["y"]) / (high - low) > -a["ay"] for a in marks)  # of a plot on a telephone, in pixels


def test_the_loss_from_best_to_last_epoch_is_told():
    figure = best_and_last({"SGD": [scored(0), scored(1)]})
    assert "loses 8.0 points" in title(figure)


def test_an_optimiser_has_its_colour_in_the_calibration_too():
    groups = {"SGD": [scored(0)], "AdamW": [scored(1)]}
    of = lambda figure: {t.name.split(",")[0]: t.line.color for t in figure.data if t.name and t.line.color}  # noqa: E731
    paths, shown = of(trade_off(groups)), of(calibration(groups))
    assert {label: shown[label] for label in groups} == {label: paths[label] for label in groups}


def test_among_a_hundred_classes_the_colours_end_at_the_most_frequent_mistake():
    record = scored(right=0.8)
    heat = confusion([record]).data[0]
    wrong = record.arrays["labels"] != record.arrays["predictions"]
    pairs = list(zip(record.arrays["labels"][wrong].tolist(), record.arrays["predictions"][wrong].tolist()))
    assert heat.zmax == max(pairs.count(pair) for pair in set(pairs))
    assert heat.zmax < np.max(heat.z)


def test_mistakes_inside_the_superclass_are_counted_as_such():
    figure = superclasses.superclass_confusion([scored(right=0.4)])
    assert "100.0 % of the images land in their superclass" in title(figure)
    assert np.shape(figure.data[0].z) == (20, 20)
    assert np.trace(np.asarray(figure.data[0].z, float)) == pytest.approx(2000)


def test_images_behind_a_cell_are_those_of_its_superclasses():
    record = scored()
    cells = superclasses.image_cells([record], np.arange(500) + 7, most=2)
    assert max(map(len, cells.values())) == 2
    for cell, images in cells.items():
        rows = [superclasses.MEMBER[LABELS[i - 7]] for i in images]
        assert set(rows) == {int(cell.split(",")[0])}
    assert superclasses.image_cells([record], None) == {}


def test_the_superclasses_of_the_hundred_classes_are_five_each():
    assert np.bincount(superclasses.MEMBER).tolist() == [5] * 20
    names, member = superclasses.superclass_colours()
    assert names[member[CIFAR100.index("oak_tree")]] == "trees"


def test_superclasses_of_another_data_set_are_refused():
    record = scored()
    other = replace(record, recipe=replace(record.recipe, data=replace(record.recipe.data, name="cifar10")))
    with pytest.raises(ValueError, match="CIFAR-100"):
        superclasses.superclass_confusion([other])


def test_the_mean_curve_of_a_superclass_ends_where_a_curve_does():
    figure = superclasses.superclass_roc([scored()])
    assert len(figure.data) == 21
    assert all(t.y[0] >= 0 and t.y[-1] == pytest.approx(1) for t in figure.data)


@pytest.mark.parametrize(("sure", "word"), [(0.9, "overconfident"), (0.1, "underconfident")])
def test_calibration_tells_overconfident_from_underconfident(sure, word):
    record = scored(sure=sure)
    assert word in title(calibration({"SGD": [record]}))
    right = np.mean(record.arrays["predictions"] == LABELS)
    assert measured(record).ece == pytest.approx(abs(sure - right), abs=0.01)


def test_a_label_without_scores_is_named():
    record = replace(scored(), arrays={})
    assert "AdamW keeps scores" in told(calibration({"SGD": [scored()], "AdamW": [record]}))


def test_costs_are_counted_and_timed():
    table = step_costs({"SGD": [scored(0), scored(2)]})
    assert table.rows == (("SGD", "69,656", 4, 0, "1.7 %", "3.00 ms (2.00 to 4.00)"),)
    assert table.caption.endswith("cpu (made up)")


GROUPS = {"SGD": [scored(0), scored(1)], "AdamW": [scored(2, run="lenet-adamw")]}
DRAWN = {
    "identification": lambda: identification({"SGD": candidates()}, {"SGD": LOG}),
    "logged": lambda: logged_curves(log_losses(), "a log"),
    "trade_off": lambda: trade_off(GROUPS),
    "best_and_last": lambda: best_and_last(GROUPS),
    "superclass_confusion": lambda: superclasses.superclass_confusion(GROUPS["SGD"]),
    "superclass_roc": lambda: superclasses.superclass_roc(GROUPS["SGD"]),
    "calibration": lambda: calibration(GROUPS),
}
