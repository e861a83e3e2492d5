"""The excess risk on two Gaussians: the Bayes rule and its error, samples, the decomposition, interruption."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from secondlook import reports
from secondlook.evaluation.metrics import bayes_rule, log_bayes_error
from secondlook.experiments import gaussians, risk
from secondlook.recipe import Recipe, RecipeError, Risk
from secondlook.record import Records
from secondlook.runs import Execution
from secondlook.training import checkpoint as checkpoints
from secondlook.training.stopping import Stopped

PIXELS = 32 * 32
pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"train_size": 10, "test_size": 40, "epochs": 2, "batch_size": 8}


def recipe(seed=0, keep="metrics", data=None, **own) -> Recipe:
    model = {"name": "mlp_vae" if own.get("head", "network") != "network" else "conv_vgg", "width": 0.03}
    return Recipe.from_dict({
        "report": "test", "run": "one", "variant": "custom", "profile": "smoke", "seed": seed, "keep": keep,
        "kind": "risk", "data": data or {"name": "gaussians", "image_size": 32},
        "settings": {"model": model, **SMALL, **own},
    })  # fmt: skip


def produce(folder, own: Recipe, deadline=None):
    (record,) = risk.produce([own], Execution(folder, folder, folder, "cpu", deadline))
    return record


# ------------------------------------------------------------------ Bayes


@pytest.mark.parametrize(("gap", "variance", "error"), [(1.0, 3.0, 1.6e-76), (1.0, 9.0, 7e-27), (0.15, 9.0, 0.0548)])
def test_the_readings_of_the_report_have_these_bayes_errors(gap, variance, error):
    mean = gap * np.ones(PIXELS)
    assert np.exp(log_bayes_error(-mean, mean, variance)) == pytest.approx(error, rel=0.05)


def test_an_error_below_the_smallest_float_still_has_a_logarithm():
    log_error = log_bayes_error(-np.ones(PIXELS), np.ones(PIXELS), 0.1)
    assert np.exp(log_error) == 0.0
    assert log_error == pytest.approx(-(64**2) / (8 * 0.1), rel=1e-2)


@given(st.integers(0, 100), st.floats(0.1, 9))
@settings(max_examples=20, deadline=None)
def test_the_rule_takes_the_likelier_class(seed, variance):
    generator = np.random.default_rng(seed)
    means, x = generator.normal(size=(2, 3)), generator.normal(size=(40, 3))
    log_p = [multivariate_normal(mean, variance).logpdf(x) for mean in means]
    assert np.array_equal(bayes_rule(*means, variance)(x), (log_p[1] >= log_p[0]).astype(int))


# ------------------------------------------------------------------ samples


def test_samples_are_what_the_recipe_says():
    s = gaussians.sample(Risk(mean_gap=1.0, sigma=3.0), 16, 0, "train", 400)
    assert 160 < int(s.y.sum()) < 240
    by_class = [s.x[s.y == c] for c in (0, 1)]
    assert [float(x.mean()) for x in by_class] == pytest.approx([-1.0, 1.0], abs=0.05)
    assert [float(x.std()) for x in by_class] == pytest.approx([3.0, 3.0], abs=0.05)
    as_variance = gaussians.sample(Risk(sigma_is="variance"), 16, 0, "train", 400)
    assert float(as_variance.x[as_variance.y == 1].std()) == pytest.approx(3**0.5, abs=0.03)


def test_samples_of_other_names_and_seeds_are_others_and_larger_ones_begin_alike():
    s = Risk()
    first = gaussians.sample(s, 8, 0, "train", 5).x
    assert torch.equal(first, gaussians.sample(s, 8, 0, "train", 9).x[:5])
    assert not torch.equal(first, gaussians.sample(s, 8, 0, "test", 5).x)
    assert not torch.equal(first, gaussians.sample(s, 8, 1, "train", 5).x)


def test_the_authors_loader_doubles_and_shifts():
    s = gaussians.sample(Risk(), 8, 0, "train", 6)
    for normalise, expected in ((True, 2 * s.x - 1), (False, s.x)):
        loader = gaussians.FloatLoader(s, 4, 0, normalise, "train", device="cpu", dtype=torch.float32)
        assert torch.equal(torch.cat([x for x, _ in loader.evaluation_batches(4)]), expected)
        loader.begin(0)
        seen = torch.cat([loader.rows(k) for k in range(loader.steps_per_epoch)])
        assert sorted(seen.tolist()) == list(range(6))


# ------------------------------------------------------------------ records


def test_the_parts_of_the_risk_add_up_and_the_record_is_filed(tmp_path):
    record = produce(tmp_path, recipe(keep="predictions"))
    m = record.metrics
    assert Records(tmp_path).get(record.recipe).metrics == m
    assert m["estimation_error"] + m["approximation_error"] == pytest.approx(m["excess_risk"], abs=1e-5)
    labels = record.arrays["labels"]
    assert m["risk_few"] == pytest.approx(np.mean(record.arrays["predictions_few"] != labels))
    assert m["risk_best"] == m["train_error_best"]  # fitted on the very images it is judged on
    assert m["bayes_log10_error"] == pytest.approx(-26.137, abs=0.01)
    assert m["rule_error"] == 0.0
    assert not list((tmp_path / "checkpoints").iterdir())


def test_the_best_net_can_be_fitted_on_a_third_sample(tmp_path):
    third = {"reference": "third_sample", "reference_size": 48, "mean_gap": 0.15}
    record = produce(tmp_path, recipe(**third))
    assert record.metrics["bayes_error"] == pytest.approx(0.0548, abs=1e-4)
    assert record.metrics["coded_rule_error"] > 0.3  # x → 2x − 1 moved the classes across its threshold
    m = record.metrics
    assert 0 < m["rule_error"] < 0.2
    assert m["approximation_error"] == pytest.approx(m["risk_best"] - m["rule_error"], abs=1e-6)
    assert m["estimation_error"] == pytest.approx(m["risk_few"] - m["risk_best"], abs=1e-6)
    assert record.provenance["data_digest"] != produce(tmp_path, recipe(mean_gap=0.15)).provenance["data_digest"]


@pytest.mark.parametrize("head", ["svm_head", "hinge", "linear_svc", "kmeans"])
def test_a_vae_is_read_by_every_head(tmp_path, head):
    m = produce(tmp_path, recipe(head=head, test_size=60, epochs=3)).metrics
    assert 0 <= m["risk_best"] <= 1
    assert m["estimation_error"] + m["approximation_error"] == pytest.approx(m["excess_risk"], abs=1e-5)
    if head == "linear_svc":
        assert m["train_error_best"] < 0.3


def test_no_corrected_task_is_read_by_the_head_with_one_target_for_both_outputs():
    heads = {r.run: r.settings.head for r in reports.read("vae").recipes(variant="corrected") if r.kind == "risk"}
    assert heads["risk-svm"] == "linear_svc"
    assert "svm_head" not in heads.values()


def test_a_head_with_a_target_for_each_output_learns_where_the_shared_one_tosses_a_coin(tmp_path):
    own = {"mean_gap": 3.0, "test_size": 60, "train_size": 60, "epochs": 40, "batch_size": 16, "latent": "mean"}
    errors = {head: produce(tmp_path, recipe(head=head, **own)).metrics["train_error_best"]
              for head in ("svm_head", "hinge")}  # fmt: skip
    assert errors["hinge"] < 0.05
    assert errors["svm_head"] != errors["hinge"]


def test_a_frozen_encoder_is_trained_in_the_same_record(tmp_path):
    first = {"model": {"name": "resnet", "width": 0.03}}
    own = recipe(model={"name": "frozen_unet", "width": 0.03}, first=first)
    assert produce(tmp_path, own).status == "finished"
    with pytest.raises(RecipeError, match="set `first`"):
        produce(tmp_path, recipe(model={"name": "frozen_unet", "width": 0.03}))


@pytest.mark.parametrize("own", [{}, {"head": "kmeans"}], ids=["network", "kmeans"])
def test_a_run_stopped_after_every_step_equals_one_run(tmp_path, own):
    straight = produce(tmp_path / "one", recipe(keep="predictions", **own))
    stops = 0
    while stops < 50:
        try:
            cut = produce(tmp_path / "cut", recipe(keep="predictions", **own), checkpoints.time.monotonic())
            break
        except Stopped:
            stops += 1
    assert stops == 2 * 2 + 2 * 5
    told = [{k: v for k, v in r.metrics.items() if not k.endswith("seconds")} for r in (straight, cut)]
    assert told[0] == told[1]
    assert straight.provenance["weights"] == cut.provenance["weights"]
    assert all(np.array_equal(straight.arrays[k], cut.arrays[k]) for k in straight.arrays)
    assert not list((tmp_path / "cut" / "checkpoints").iterdir())


def test_recipes_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"set data\.name to 'gaussians'"):
        produce(tmp_path, recipe(data={"name": "mnist", "source": "standin"}))
    with pytest.raises(RecipeError, match="head 'network' needs a classifier"):
        produce(tmp_path, recipe(model={"name": "mlp_vae"}))
    with pytest.raises(RecipeError, match="head 'kmeans' reads a VAE's latent"):
        produce(tmp_path, recipe(head="kmeans", model={"name": "lenet"}))


def test_divergence_is_a_result(tmp_path):
    for own in ({}, {"head": "kmeans"}):
        record = produce(tmp_path, recipe(optimizer={"name": "adam", "learning_rate": 1e30}, **own))
        assert record.status == "diverged"
        assert record.metrics["diverged_step"] >= 0
