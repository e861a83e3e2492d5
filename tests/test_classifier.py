"""A classifier's record: whole, from one call, and honest about where it came from."""

import numpy as np
import pytest
import torch

from secondlook import insight, models, runs, weights
from secondlook.data import standins
from secondlook.evaluation import metrics as measure
from secondlook.experiments import classifier
from secondlook.groups import groups
from secondlook.recipe import Recipe, RecipeError
from secondlook.record import Records
from secondlook.runs import Execution

SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}
CIFAR = {"name": "cifar10", "train_limit": 200, "test_limit": 100, "validation": 0.2}
MNIST = {"name": "mnist", "train_limit": 60, "test_limit": 40, "classes": [0, 1], "image_size": 32}


@pytest.fixture(autouse=True)
def seen(monkeypatch):
    """What `insight.collect` was asked for; its own tests are elsewhere, and it takes its time."""
    calls = []
    monkeypatch.setattr(insight, "collect", lambda *words: calls.append(words) or ({"looked": 1}, {"look": np.ones(2)}))
    return calls


def recipe(data=CIFAR, seed=0, keep="evidence", **settings) -> Recipe:
    settings = {"model": {"name": "lenet"}, "optimizer": SGD, "epochs": 2, "batch_size": 16, **settings}
    where = {"report": "test", "run": "one", "variant": "custom", "profile": "smoke", "seed": seed, "keep": keep}
    return Recipe.from_dict(
        {**where, "kind": "classifier", "data": {**data, "source": "standin"}, "settings": settings}
    )


def produce(folder, *recipes, **more):
    execution = Execution(folder, folder, folder, "cpu")
    for name, value in more.items():
        setattr(execution, name, value)
    return [r for group in groups(list(recipes)) for r in classifier.produce(group, execution)]


def test_a_record_is_whole_and_is_filed_at_once(tmp_path):
    (record,) = produce(tmp_path, recipe(restore_best=True, early_stopping=1))
    filed = Records(tmp_path).get(record.recipe)
    assert filed.metrics == record.metrics
    assert {"predictions", "labels", "scores", "kernels"} <= set(filed.arrays)
    assert filed.arrays["kernels"].shape == (6, 3, 5, 5)
    assert set(filed.history) == {"train_loss", "train_accuracy", "gradient_norm", "gradient_norm_sum", "learning_rate",
                                  "seconds", "validation_loss", "validation_accuracy"}  # fmt: skip
    assert all(len(curve) == filed.metrics["epochs"] for curve in filed.history.values())
    assert filed.metrics["parameters"] == 62_006
    assert filed.metrics["macs"] == models.macs(models.build("lenet", num_classes=10), (3, 32, 32))
    told = filed.provenance
    assert told["data_digest"] == standins.draw("cifar10").digest
    assert told["precision"] == "float32"
    assert told["examples"] == 160 * filed.metrics["epochs"]
    assert told["examples_per_second"] > 0
    assert told["flop_per_second"] == pytest.approx(6 * filed.metrics["macs"] * told["examples_per_second"], rel=1e-4)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_metrics_are_those_of_the_predictions_and_scores_kept(tmp_path):
    (record,) = produce(tmp_path, recipe(epochs=6))
    labels, predictions = record.arrays["labels"].astype(int), record.arrays["predictions"].astype(int)
    assert record.metrics["test_accuracy"] == pytest.approx(measure.accuracy(labels, predictions))
    scores = measure.decode_scores(record.arrays["scores"])
    assert (scores[range(100), predictions] == scores.max(1)).all()  # rounding may make a tie
    assert record.metrics["auc_macro"] == pytest.approx(measure.macro_auc(labels, scores).value, abs=2e-3)
    assert record.metrics["auc"][3] == pytest.approx(measure.auc_interval(labels == 3, scores[:, 3]).value, abs=5e-3)


def test_evidence_holds_what_insight_saw_of_the_trained_net_and_the_test_images(tmp_path, seen):
    (record,) = produce(tmp_path, recipe())
    ((net, loader, index),) = seen
    assert weights.digest(net.state_dict()) == record.provenance["weights"]
    labels = standins.draw("cifar10").y_test[index]
    given = torch.cat([y for _, y in loader.evaluation_batches()])
    assert record.arrays["labels"].tolist() == labels.tolist() == given.tolist()
    assert record.metrics["looked"] == 1
    assert record.arrays["look"].tolist() == [1, 1]


def test_what_is_kept_follows_the_recipe(tmp_path, seen):
    metrics, predictions = produce(tmp_path, recipe(keep="metrics"), recipe(keep="predictions", seed=1))
    assert not metrics.arrays
    assert set(predictions.arrays) == {"predictions", "labels"}
    assert "auc_macro" in metrics.metrics
    assert "auc" not in metrics.metrics
    assert not seen
    (closed,) = produce(tmp_path, recipe(keep="predictions", test=False))
    assert not closed.arrays
    assert not [name for name in (*closed.metrics, *closed.history) if name.startswith("test")]


def test_a_hundred_classes_keep_five_scores_and_curves(tmp_path):
    (record,) = produce(tmp_path, recipe({"name": "cifar100", "train_limit": 200, "test_limit": 200}, epochs=1))
    assert record.arrays["top5"].shape == record.arrays["top5_scores"].shape == (200, 5)
    assert (record.arrays["top5"][:, 0] == record.arrays["predictions"]).all()
    top5 = np.mean((record.arrays["top5"] == record.arrays["labels"][:, None]).any(1))
    assert record.metrics["test_top5_accuracy"] == pytest.approx(top5)
    assert record.arrays["roc"].shape[:2] == (100, 3)
    assert "scores" not in record.arrays
    assert {"test_loss", "test_accuracy"} <= set(record.history)  # no validation: the curve the report shows


def test_equal_recipes_give_equal_weights_and_other_seeds_others(tmp_path):
    first, again, other = (produce(tmp_path / str(i), recipe(seed=s))[0] for i, s in enumerate((0, 0, 1)))
    assert first.provenance["weights"] == again.provenance["weights"] != other.provenance["weights"]


def test_a_run_that_diverges_is_a_record(tmp_path, seen):
    (record,) = produce(tmp_path, recipe(optimizer={"name": "sgd", "learning_rate": 1e6}, epochs=4))
    assert record.status == "diverged"
    assert record.metrics["epochs"] == 1
    assert 0 < record.metrics["diverged_step"] < 10
    assert record.metrics["diverged_learning_rate"] == 1e6
    assert record.metrics["test_accuracy"] == pytest.approx(0.1, abs=0.1)
    assert "scores" not in record.arrays
    assert not seen
    assert Records(tmp_path).get(record.recipe).status == "diverged"


def test_the_phase_before_is_the_resnet_of_the_same_seed_and_its_encoder_does_not_change(tmp_path, monkeypatch):
    nets, alone = [], {"name": "resnet", "width": 0.05}
    settings = {"optimizer": {"name": "adam", "learning_rate": 1e-3}, "data": MNIST, "batch_size": 8}
    train = classifier.train
    monkeypatch.setattr(classifier, "train", lambda net, **more: nets.append(net) or train(net, **more))
    (record,) = produce(
        tmp_path, recipe(model={"name": "frozen_unet", "width": 0.05}, first={"model": alone}, **settings)
    )
    (single,) = produce(tmp_path, recipe(model=alone, **settings))
    resnet, unet, _ = nets
    assert weights.digest(resnet.state_dict()) == single.provenance["weights"]
    for name, values in resnet.encoder.state_dict().items():
        assert torch.equal(unet.encoder.state_dict()[name], values)
    assert record.history["first_train_loss"].tolist() == single.history["train_loss"].tolist()
    assert record.metrics["trainable_parameters"] < record.metrics["parameters"]
    assert record.metrics["first_seconds"] > 0


def test_normalisation_is_of_the_training_images():
    x = standins.draw("cifar10", train=50, test=10).x_train
    mean, std = classifier.normalisation("statistics", x)
    assert mean == pytest.approx((x / 255).mean((0, 1, 2)).tolist())
    assert std == pytest.approx((x / 255).std((0, 1, 2)).tolist())
    assert classifier.normalisation("half", x) == ([0.5] * 3, [0.5] * 3)
    assert classifier.normalisation("none", x[..., 0]) == ([0.0], [1.0])


def test_seeds_of_equal_settings_are_a_group_unless_a_run_decides_its_own_length():
    fixed = [recipe(seed=s) for s in (0, 1)] + [recipe(seed=2, batch_size=8)]
    assert [len(group) for group in groups(fixed)] == [2, 1]
    assert [len(group) for group in groups([recipe(seed=s, early_stopping=1) for s in (0, 1)])] == [1, 1]


def test_seeds_side_by_side_give_the_records_they_give_alone(tmp_path, monkeypatch):
    recipes = [recipe(seed=s, precision="float64", data={**CIFAR, "split_seed": 0}) for s in (0, 1)]
    alone = produce(tmp_path / "alone", *recipes)
    monkeypatch.setattr(classifier, "share_a_step", lambda *_: True)
    together = produce(tmp_path / "together", *recipes)
    for one, both in zip(alone, together, strict=True):
        assert both.recipe == one.recipe
        assert both.metrics["test_accuracy"] == one.metrics["test_accuracy"]
        assert both.metrics["validation_loss"] == pytest.approx(one.metrics["validation_loss"], rel=1e-5)
        assert both.history["train_loss"].tolist() == pytest.approx(one.history["train_loss"].tolist(), rel=1e-6)
        assert both.provenance["group"]["members"] == 2


def test_several_runs_at_a_time_give_the_records_that_one_thread_gives(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads, told = torch.get_num_threads(), []
    plans = [recipe(seed=s, epochs=1, keep="metrics") for s in (0, 1, 2)]
    execution = [Execution(*[tmp_path / name] * 3, "cpu", processes=n) for name, n in (("one", 1), ("two", 2))]
    execution[1].progress = lambda *words: told.append(words)
    torch.set_num_threads(1)
    alone = runs.produce(plans, execution[0])
    torch.set_num_threads(threads)
    several = runs.produce(plans, execution[1])
    assert [r.recipe for r in several] == plans
    assert [r.provenance["weights"] for r in several] == [r.provenance["weights"] for r in alone]
    assert {r.provenance["threads"] for r in several} == {1}
    assert {label for label, _ in told} == {"test, 3 runs, 2 at a time"}
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": {"name": "lenett"}}, "did you mean 'lenet'"),
        ({"model": {"name": "lenet", "widht": 2}}, "did you mean 'width'"),
        ({"model": {"name": "frozen_unet"}, "data": MNIST}, "needs the phase before"),
        ({"first": {"model": {"name": "resnet"}}, "data": MNIST}, "takes no encoder"),
        ({"model": {"name": "frozen_unet"}, "first": {"epoch": 1}, "data": MNIST}, "did you mean 'epochs'"),
        ({"augment": {"flipp": True}}, "did you mean 'flip'"),
        ({"schedule": {"name": "plateau", "patience": 1}, "data": MNIST}, "set data.validation above 0"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_any_work(tmp_path, settings, told):
    with pytest.raises(RecipeError, match=told):
        produce(tmp_path, recipe(**settings))
    assert not (tmp_path / "checkpoints").exists()


def test_evidence_keeps_the_path_of_few_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(insight, "collect", lambda *words: ({}, {}))
    (whole,) = produce(tmp_path, recipe())
    assert whole.arrays["path_epochs"].tolist() == [0, 1, 2]
