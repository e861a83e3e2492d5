"""A title states no finding that the numbers do not hold: ties, perfect answers, empty classes, no finite number."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import title, told

from secondlook import figures, reports
from secondlook.evaluation import metrics
from secondlook.figures.tables import Notice
from secondlook.figures.words import ends, leads, percent
from secondlook.record import Record

RECIPES = reports.read("vgg").recipes("vgg16", "as_published", seeds=[0, 1, 2])
GRID = reports.read("linear").recipes("c4-full", "as_coded")[0]
FIRST = re.compile(
    r"\b(highest|lowest|higher|lower|most|least|best|worst|leads?|follows|farthest|nearest(?! neighbour)|changes"
    r"|rougher|commonest|largest|smallest|reddest|greenest|bluest)\b",
    re.IGNORECASE,
)
LABELS = np.repeat(np.arange(10), 6)
ENDS = [figures.Measure("accuracy, last epoch", lambda c: c["test_accuracy"][-1], ".2%")]


def made_up(value, labels=LABELS, predictions=LABELS):
    """Records of three seeds with one value of everything, and these answers to these labels."""
    curve = np.full(3, value, np.float32)
    history = {name: curve for name in ("test_accuracy", "train_loss", "validation_accuracy")}
    history["iteration"] = np.arange(3, dtype=np.float32)
    found = {name: None if np.isnan(value) else value for name in ("test_accuracy", "validation_accuracy")}
    scores = np.eye(10)[predictions] * 0.5 + 0.05
    arrays = {"labels": labels, "predictions": predictions, "scores": metrics.encode_scores(scores),
              "embedding_pca": np.eye(10)[labels]}  # fmt: skip
    status = "diverged" if np.isnan(value) else "finished"
    return [Record(r, status, found, history, arrays) for r in RECIPES]


def linear(records):
    return [replace(r, recipe=GRID) for r in records]


BY_NUMBER = {
    "comparison": lambda a, b: figures.comparison({"a": a, "b": b}),
    "ranking": lambda a, b: figures.ranking({"a": a, "b": b}),
    "grid": lambda a, b: figures.combinations({"a": linear(a), "b": linear(b)}, "a"),
    "training": lambda a, b: figures.training_curves({"a": a, "b": b}),
    "trade_off": lambda a, b: figures.trade_off({"a": a, "b": b}),
    "best_and_last": lambda a, b: figures.best_and_last({"a": a, "b": b}),
    "measures": lambda a, b: figures.measures({"a": a, "b": b}, ENDS, {}),
    "calibration": lambda a, b: figures.calibration({"a": a, "b": b}),
    "difference": lambda a, b: figures.confusion_difference(a, b, ("a", "b")),
    "sweep": lambda a, b: figures.sweep(a, "seed", "test_accuracy", "settings.precision"),
}
BY_CLASS = {
    "confusion": figures.confusion,
    "roc": figures.roc,
    "embedding": lambda own: figures.embedding(own[0]),
}


@pytest.mark.parametrize("name", BY_NUMBER)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_numbers_have_no_first(name, value):
    told = title(BY_NUMBER[name](made_up(value), made_up(value * (1 + 1e-9))))
    assert not FIRST.search(told.replace("best epoch", ""))


ALONE = {
    "comparison": lambda own: figures.comparison({"a": own}),
    "ranking": lambda own: figures.ranking({"a": own}),
    "grid": lambda own: figures.combinations({"a": linear(own)}, "b"),
    "training": lambda own: figures.training_curves({"a": own}),
    "trade_off": lambda own: figures.trade_off({"a": own}),
    "best_and_last": lambda own: figures.best_and_last({"a": own}),
    "measures": lambda own: figures.measures({"a": own}, ENDS, {}),
    "sweep": lambda own: figures.sweep(own[:1], "seed", "test_accuracy", "settings.precision"),
    "calibration": lambda own: figures.calibration({"a": own}),
}


@pytest.mark.parametrize("name", ALONE)
def test_who_is_alone_is_nobodys_first(name):
    assert not FIRST.search(title(ALONE[name](made_up(0.5))).replace("best epoch", ""))


def test_of_verdicts_that_are_equally_common_none_is_the_commonest():
    def board(*verdicts):
        return title(figures.scoreboard({"one": [SimpleNamespace(verdict=v, indication=None) for v in verdicts]}))

    assert board("inconclusive") == "Of 1 claim 0 are reproduced"
    assert board("reproduced", "inconclusive") == "Of 2 claims 1 is reproduced"
    assert board("not run", "inconclusive") == (
        "Of 2 claims 0 are reproduced; the commonest verdicts are not run and inconclusive (1 each)"
    )


def test_templates_of_one_colour_and_one_symmetry_have_no_reddest_and_no_most_symmetric():
    plain = {"template_centre": [[0.1, 0.1, 0.1]] * 10, "template_border": [[0.1, 0.1, 0.1]] * 10}
    grey = [replace(r, metrics={**plain, "template_symmetry": [0.5] * 10}) for r in made_up(0.5)]
    assert title(figures.template_measures(grey)) == "Every template has a symmetry of 0.50"


def test_a_single_mistake_is_the_only_one():
    predictions = LABELS.copy()
    predictions[0] = 1
    told = title(figures.top_confusions(made_up(0.9, predictions=predictions)))
    assert told == "Airplane called automobile is the only mistake: 16.7 % of its images"


@pytest.mark.parametrize("name", BY_NUMBER)
def test_of_a_run_without_a_finite_number_nothing_is_said(name):
    lost, whole = made_up(np.nan), made_up(0.5)
    for other in (whole, lost):
        shown = BY_NUMBER[name](other, lost)
        if isinstance(shown, Notice):
            continue
        assert "nan" not in title(shown).lower()
        assert other is whole or not FIRST.search(title(shown))


@pytest.mark.parametrize("name", BY_CLASS)
def test_perfect_answers_have_no_best_class_and_no_mistake(name):
    assert not FIRST.search(title(BY_CLASS[name](made_up(1.0))))


@pytest.mark.parametrize("name", ["confusion", "roc"])
def test_a_run_that_diverged_has_no_answers(name):
    assert "diverged" in told(BY_CLASS[name](made_up(np.nan)))
    assert BY_CLASS[name]([*made_up(np.nan)[:1], *made_up(1.0)[1:]])


def test_without_mistakes_there_is_no_most_frequent_one():
    assert "no test image is mistaken" in told(figures.top_confusions(made_up(1.0)))


def test_a_class_without_images_is_not_recognised_least():
    labels = LABELS[LABELS != 2]
    told = title(figures.confusion(made_up(0.5, labels, np.where(labels == 3, 4, labels))))
    assert "bird" not in told
    assert told.endswith("cat least (0 %)")


def test_equally_frequent_mistakes_are_named_together():
    predictions = LABELS.copy()
    predictions[[0, 59]] = 1, 0
    told = title(figures.top_confusions(made_up(0.9, predictions=predictions)))
    assert told == "2 mistakes are equally frequent: 16.7 % of their images"


def test_the_number_in_a_cell_is_that_of_its_tooltip():
    predictions = LABELS.copy()
    predictions[0] = 1
    half = [*made_up(0.9, predictions=predictions)[:1], *made_up(1.0)[1:2]]  # 5.5 and 0.5 images on average
    drawn = figures.confusion(half).data[0]
    assert (drawn.z[0][0], drawn.customdata[0][0][0]) == (5.5, 6)  # a cell rounds halves up


@given(st.dictionaries(st.text("abcdef", min_size=1), st.floats(0, 1) | st.just(np.nan), max_size=6), st.booleans())
def test_who_is_first_shares_a_print_that_nobody_passes(values, lowest):
    found = ends(values, lowest=lowest)
    finite = {k: v for k, v in values.items() if np.isfinite(v)}
    assert {percent(values[k]) for k in found.first} == ({found.best} if finite else set())
    assert all(v <= max(finite[k] for k in found.first) or lowest for v in finite.values())
    assert found.tied == (len({percent(v) for v in finite.values()}) < 2)
    told = leads(values, "reaches", "accuracy", lowest=lowest)
    assert bool(FIRST.search(told.replace("lead", ""))) == (not found.tied)


def test_small_and_own_runs_say_so_first():
    quick = [replace(r, recipe=replace(r.recipe, profile="quick")) for r in made_up(0.5)]
    reduced = [replace(r, recipe=replace(r.recipe, profile="reduced")) for r in made_up(0.5)]
    own = [replace(r, recipe=replace(r.recipe, variant="custom")) for r in made_up(0.5)]
    begins = [title(figures.comparison({"a": records})).split(":")[0] for records in (quick, reduced, own)]
    assert begins == ["Small runs", "A reaches a test accuracy of 50.0 %", "Yours"]
