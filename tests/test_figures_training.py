"""Curves over epochs, from made-up records: nothing is trained."""

from dataclasses import replace

import numpy as np
import pytest
from made_up import said, title, told

from secondlook import reports
from secondlook.figures import training_curves
from secondlook.record import Record

REPORT = reports.read("optimizers")


def made_up(run="final-adam", seed=0, end=0.85, epochs=30, **more):
    """A record with the histories of a classifier that ends at test accuracy `end`."""
    recipe = replace(REPORT.recipes(run, "as_coded", seeds=[seed])[0], seed=seed)
    x = np.arange(1, epochs + 1)
    rng = np.random.default_rng(seed)
    accuracy = end - 0.4 * (np.exp(-x / 4) - np.exp(-epochs / 4))
    history = {
        "train_loss": 2 - accuracy,
        "test_loss": 2.1 - accuracy,
        "test_accuracy": accuracy + np.where(x < epochs, rng.normal(size=epochs) * 0.01, 0),
        "learning_rate": 1e-3 * 0.5**x,
        "seconds": np.ones(epochs),
        **more,
    }
    return Record(recipe, "finished", {}, {k: np.asarray(v, np.float32) for k, v in history.items()})


def seeds(count=3, **more):
    return [made_up(seed=s, **more) for s in range(count)]


def lines(figure, name):
    return [t for t in figure.data if t.name == name]


def of_two():
    log = {"test_accuracy": (np.arange(1, 31), np.linspace(0.5, 0.855, 30))}
    groups = {"Adam": seeds(), "SGD": seeds(end=0.83, run="final-sgd")}
    return training_curves(groups, ("test_accuracy", "train_loss", "learning_rate"), {"Adam": log})


@pytest.fixture(scope="module")
def two():
    return of_two()


def test_the_curves_name_their_data_and_seeds_and_weigh_little(two):
    assert two.layout.meta["secondlook"]["id"] == "training"
    assert "CIFAR-10 · as coded · 3 seeds" in two.layout.title.subtitle.text
    assert len(two.to_json()) < 100_000


def test_each_metric_is_a_view_and_the_first_is_shown(two):
    (menu,) = two.layout.updatemenus
    assert [b.label for b in menu.buttons] == ["Test accuracy", "Training loss", "Learning rate"]
    assert [t.visible for t in two.data] == menu.buttons[0].args[0]["visible"]
    for button in menu.buttons:
        shown = [t.name for t, v in zip(two.data, button.args[0]["visible"]) if v and t.name]
        assert {"Adam", "SGD"} <= set(shown)
    assert menu.buttons[2].args[1]["yaxis.type"] == "log"
    assert menu.buttons[0].args[1]["yaxis.tickformat"] == ".1~%"


def test_the_mean_over_seeds_is_drawn_at_epochs_from_one():
    records = seeds()
    line = lines(training_curves({"Adam": records}, ("train_loss",)), "Adam")[0]
    assert list(line.x) == list(range(1, 31))
    assert np.allclose(line.y, np.mean([r.history["train_loss"] for r in records], 0), atol=1e-6)


def test_several_entries_an_epoch_lie_between_the_epochs():
    record = made_up(epochs=4, step_loss=np.linspace(2, 1, 24))
    line = lines(training_curves({"SGD": [record]}, ("step_loss",)), "SGD")[0]
    assert np.allclose(line.x, np.arange(1, 25) / 6)


def test_the_log_is_dotted_and_of_the_label_s_colour(two):
    ours, theirs = lines(two, "Adam")[0], lines(two, "Adam, authors’ log")
    assert len(theirs) == 1
    assert theirs[0].line.dash == "dot"
    assert ours.line.dash != "dot"
    assert theirs[0].line.color == ours.line.color


def test_a_label_may_have_a_log_alone():
    figure = training_curves({"Adam": seeds(1)}, ("test_accuracy",), {"SGD": {"test_accuracy": ([1, 2], [0.3, 0.5])}})
    assert {t.name for t in figure.data} == {"Adam", "SGD, authors’ log"}


def test_the_title_names_the_best_and_the_worst_and_the_distance_from_the_log(two):
    assert title(two) == "Adam ends with the higher test accuracy, 85.0 %; SGD with 83.0 %"
    assert f"{title(two)}; at the end 0.5 points from the authors’ log." in said(two)
    turned = training_curves({"Adam": seeds(end=0.8), "SGD": seeds(end=0.83)}, ("test_accuracy",))
    assert title(turned).startswith("SGD ends with the higher test accuracy, 83.0 %; Adam with 80.0 %")


def test_a_seed_that_stopped_early_ends_where_it_stopped():
    long, short = (
        seeds(1, end=0.9),
        [replace(r, recipe=replace(r.recipe, seed=7)) for r in seeds(1, end=0.5, epochs=20)],
    )
    assert title(training_curves({"Adam": long + short}, ("test_accuracy",))).startswith(
        "Adam ends with a test accuracy of 70.0 %"
    )


def test_equal_ends_have_no_first():
    equal = training_curves({n: seeds(1, end=0.8) for n in ("Adam", "SGD")}, ("test_accuracy",))
    assert title(equal) == "Adam and SGD end with the same test accuracy, 80.0 %"


def test_every_view_has_a_title_of_its_own(two):
    told = [b.args[1]["title.text"].replace("<br>", " ") for b in two.layout.updatemenus[0].buttons]
    assert told[0] == title(two)
    assert len(set(told)) == len(told)
    three = training_curves({n: seeds(end=e) for n, e in (("A", 0.7), ("B", 0.8), ("C", 0.9))}, ("test_accuracy",))
    assert title(three).startswith("C ends with the highest test accuracy")
    assert title(training_curves({"Adam": seeds(end=0.8), "SGD": seeds(end=0.83)})).startswith("SGD ends with the low")
    assert title(training_curves({"Adam": seeds()}, ("test_accuracy",))).endswith("of 85.0 % after 30 epochs")


def test_a_short_run_is_held_against_the_log_at_its_own_last_epoch():
    log = {"Adam": {"test_accuracy": (np.arange(1, 31), np.linspace(0.01, 0.30, 30))}}
    assert "47.0 points" in said(training_curves({"Adam": seeds(end=0.5, epochs=3)}, ("test_accuracy",), log))


def test_a_metric_that_nobody_has_is_left_out_and_none_at_all_is_an_error():
    assert not training_curves({"Adam": seeds()}, ("validation_accuracy", "test_accuracy")).layout.updatemenus
    shown = told(training_curves({"Adam": seeds()}, ("validation_loss",)))
    assert "no record has the histories validation_loss" in shown
    assert "no records for training curves" in told(training_curves({"Adam": []}))


def test_seeds_that_stopped_early_or_diverged_are_drawn_as_far_as_they_go():
    short, broken = made_up(epochs=12, seed=1), made_up(seed=2)
    broken.history["test_accuracy"][5:] = np.nan
    line = lines(training_curves({"Adam": [made_up(), short, broken]}, ("test_accuracy",)), "Adam")[0]
    assert len(line.y) == 30
    assert np.isfinite(line.y).all()
    lost = made_up(train_loss=np.full(30, np.nan))
    assert title(training_curves({"Adam": [lost]}, ("train_loss",))) == "Nobody has a finite training loss"
