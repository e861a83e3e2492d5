"""The figures of the four optimisers, from made-up records: nothing is trained."""

import re
from dataclasses import replace

import numpy as np
import pytest
from made_up import said, title, told

from secondlook import reports
from secondlook.evaluation import curves
from secondlook.figures import Measure, measures, ranking, schedules, settings_table
from secondlook.logs import against_epochs, keras_curves
from secondlook.record import Record

REPORT = reports.read("optimizers")
LABELS = {"Adam": 0.855, "Adamax": 0.848, "RMSprop": 0.845, "SGD": 0.833}
LOGS = {name: keras_curves()[3, key] for name, key in zip(LABELS, ("adam", "adamax", "rmsprop", "sgd"))}


def made_up(run="final-adam", variant="as_coded", seed=0, accuracy=0.85, spread=0.002, epochs=30, predictions=False):
    recipe = replace(REPORT.recipes(run, variant, seeds=[seed])[0], seed=seed)
    rng = np.random.default_rng([seed, round(1e4 * accuracy)])
    own = accuracy + spread * rng.normal()
    rise = own - 0.4 * np.exp(-np.arange(epochs) / 4)
    history = {"test_accuracy": rise, "train_accuracy": rise + 0.01, "test_loss": 2 - rise, "seconds": np.ones(epochs)}
    arrays = {}
    if predictions:
        labels = (np.arange(1000) % 10).astype(np.uint8)
        wrong = rng.random(1000) > own
        arrays = {"labels": labels, "predictions": np.where(wrong, (labels + 1) % 10, labels).astype(np.uint8)}
    metrics = {"test_accuracy": own, "train_accuracy": own + 0.01}
    return Record(recipe, "finished", metrics, {k: v.astype(np.float32) for k, v in history.items()}, arrays)


def four(count=6, **more):
    runs = dict(zip(LABELS, ("final-adam", "final-adamax", "final-rmsprop", "final-sgd")))
    return {n: [made_up(runs[n], seed=s, accuracy=a, **more) for s in range(count)] for n, a in LABELS.items()}


def shown(figure):
    return [t for t in figure.data if t.visible in (None, True)]


TO_70 = Measure("epochs to 70 %", lambda c: curves.epochs_to(c["test_accuracy"], 0.7), ".0f")
GAP = Measure("generalisation gap", lambda c: curves.end_gap(c["train_accuracy"], c["test_accuracy"]), ".2%")
TABLES = {
    "as coded": {"name": "halve_then_tenth"},
    "as printed": {"name": "exponential", "decay_rate": 0.1, "decay_step": 10},
    "constant": {"name": "constant"},
}
DRAWN = {
    "ranking": lambda: ranking(four(), published={"Adam": REPORT.published["adam_final"]}),
    "ranking, one seed": lambda: ranking(four(1, predictions=True), id="ranking-one"),
    "schedules": lambda: schedules(TABLES, LOGS, "as coded"),
    "measures": lambda: measures(four(), [TO_70, GAP], LOGS),
}


# ---- the ranking


def test_the_ranking_names_first_and_last_and_how_many_pairs_are_told_apart():
    clear, equal = ranking(four(8)), ranking(four(8, spread=0.2))
    assert title(clear).startswith("Adam leads with 85.")
    assert int(re.search(r"; significant differences over 8 seeds: (\d) of 6", title(clear))[1]) >= 5
    assert title(equal).endswith("; significant differences over 8 seeds: 0 of 6")


def test_wins_are_shares_of_the_common_seeds_and_a_tie_is_divided():
    a, b = ([made_up(seed=s, accuracy=v, spread=0) for s, v in enumerate(own)] for own in ([0.8, 0.8], [0.7, 0.8]))
    bar = next(t for t in ranking({"a": a, "b": [*b, made_up(seed=7, accuracy=0.99)]}).data if t.type == "bar")
    assert list(bar.x) == [0.75, 0.25]


def test_one_seed_is_compared_by_mcnemar_where_predictions_are_kept():
    figure = ranking(four(1, predictions=True))
    assert "on one test set" in said(figure)
    assert any("McNemar" in text for t in figure.data if t.text is not None for text in t.text)
    assert title(ranking(four(1))).endswith("one seed without predictions ranks nobody")


def test_two_seeds_rank_nobody():
    figure = ranking(four(2))
    assert title(figure).endswith("2 seeds rank nobody")
    assert not any(t.name == "p < 0.05 after Holm" for t in figure.data)


def test_a_readers_one_seed_takes_no_seed_from_the_reports_pairs():
    own = [replace(r, recipe=replace(r.recipe, variant="custom")) for r in four(1)["Adam"]]
    figure = ranking({**four(), "yours": own})
    pairs = r"significant differences over \d+ seeds: \d of 6"
    assert re.search(pairs, said(figure))
    assert re.search(pairs, said(figure)).group() == re.search(pairs, title(ranking(four()))).group()


def test_the_ranking_shows_every_published_value_of_a_label():
    two = [REPORT.published["adam_initial"], REPORT.published["baseline"]]
    figure = ranking(four(), published={"Adam": two, "nobody": REPORT.published["sgd_final"]})
    assert sorted(next(t for t in figure.data if t.name == "published").x) == pytest.approx([0.7071, 0.7207])


# ---- schedules and measures


def test_the_schedule_title_says_from_when_on_nothing_moves():
    assert title(schedules(TABLES, LOGS, "as coded")).startswith(
        "From epoch 21 on no logged accuracy moves by more than"
    )
    assert "; the rate is below 1e-4 of the first." in said(schedules(TABLES, LOGS, "as coded"))
    assert title(schedules(TABLES, LOGS, "constant")) == "The rate never falls below 1e-4 of the first"


def test_a_measure_shows_ours_and_the_log_and_who_does_not_arrive():
    groups = four(3)
    groups["SGD"] = [made_up("final-sgd", seed=s, accuracy=0.6) for s in range(3)]
    figure = measures(groups, [TO_70, GAP], LOGS)
    logged = next(t for t in shown(figure) if t.name == "authors’ log")
    assert list(logged.x) == [3, 5, 6, 5]
    (late,) = [t for t in shown(figure) if t.name == "not reached"]
    assert (list(late.text), list(late.y)) == (["not reached by 3 runs"], pytest.approx([3.22]))
    assert title(figure).endswith("to SGD not reached")
    titles = [b.args[1]["title.text"] for b in figure.layout.updatemenus[0].buttons]
    assert titles[0].startswith("Epochs to 70 %: from ")
    assert titles[1].startswith("Generalisation gap: ")


def test_the_axis_of_every_measure_holds_its_marks_and_intervals_and_little_else():
    figure = measures(four(), [TO_70, GAP], LOGS)
    buttons = figure.layout.updatemenus[0].buttons
    assert list(figure.layout.xaxis.range) == list(buttons[0].args[1]["xaxis.range"])
    for button in buttons:
        low, high = button.args[1]["xaxis.range"]
        own = [t for t, seen in zip(figure.data, button.args[0]["visible"]) if seen]
        half = [np.zeros(len(t.x)) if t.error_x.array is None else np.asarray(t.error_x.array) for t in own]
        ends = np.concatenate([np.asarray(t.x) + sign * h for t, h in zip(own, half) for sign in (-1, 1)])
        assert low < ends.min() < ends.max() < high
        assert np.ptp(ends) > 0.8 * (high - low)


def test_no_interval_goes_below_the_least_that_a_measure_can_be():
    falls = {"Adam": (0.0, 0.01, 0.1), "SGD": (0.5, 0.51, 0.52)}
    own = {n: [replace(r, history={"falls": [v]}) for r, v in zip(four(3)[n], falls[n])] for n in falls}
    fallen = Measure("falls", lambda c: c["falls"][0], ".2%")
    free, bound = (measures(own, [m], {}) for m in (fallen, replace(fallen, least=0.0)))
    dots = [next(t for t in f.data if t.error_x.array is not None) for f in (free, bound)]
    means, half = (np.asarray(own, float) for own in (dots[0].x, dots[0].error_x.array))
    low = means - half
    assert (low < 0).tolist() == [True, False]
    assert np.asarray(dots[1].x) - np.asarray(dots[1].error_x.arrayminus) == pytest.approx(np.maximum(low, 0), abs=1e-6)
    assert np.asarray(dots[1].error_x.array) == pytest.approx(half)
    assert [", from 0.00 % to " in text for text in dots[1].text] == (low < 0).tolist()
    assert bound.layout.xaxis.range[0] > free.layout.xaxis.range[0]


def test_every_view_of_small_runs_says_so_in_its_title_and_one_of_full_runs_does_not():
    small = {n: [replace(r, recipe=replace(r.recipe, profile="quick")) for r in own] for n, own in four().items()}
    mixed = {**four(), "SGD": small["SGD"]}
    for groups, small_ones in ((four(), False), (small, True), (mixed, True)):
        figure = measures(groups, [TO_70, GAP], LOGS)
        views = [b.args[1]["title.text"].replace("<br>", " ") for b in figure.layout.updatemenus[0].buttons]
        assert views[0] == figure.layout.title.text.replace("<br>", " ")
        assert [text.startswith("Small runs: ") for text in views] == [small_ones, small_ones]
        assert all(len(line) <= 78 for b in figure.layout.updatemenus[0].buttons
                   for line in b.args[1]["title.text"].split("<br>"))  # fmt: skip


def test_without_records_the_log_is_drawn_alone():
    figure = measures({}, [Measure("epochs to 80 %", lambda c: curves.epochs_to(c["test_accuracy"], 0.8), ".0f")], LOGS)
    assert title(figure) == "Epochs to 80 % in the authors’ log: 11 for Adam, Adamax, RMSprop and SGD"
    assert figure.layout.title.subtitle.text == "the authors’ logs on CIFAR-10"


def test_a_measure_nobody_has_is_refused():
    shown = measures({}, [Measure("x", lambda c: c["nothing"][0])], LOGS)
    assert "no run and no log has a finite number of x" in told(shown)


def test_logs_are_drawn_at_epochs_from_one():
    x, y = against_epochs(keras_curves()[1, "adam"])["test_accuracy"]
    assert list(x) == list(range(1, 11))
    assert y[-1] == 0.7071


def test_settings_stand_side_by_side():
    rows = settings_table(REPORT, ["initial-sgd", "final-sgd"], "as_coded").rows
    assert rows[0] == ("initial-sgd", "stage 1", "sgd", "0.01", "0", "constant", "", 10)
    assert rows[1] == ("final-sgd", "stage 3", "sgd", "0.01", "0.9", "halve then tenth", "0.01", 30)
