"""Figures and tables from made-up records: nothing is trained, no data set is read."""

import base64
import copy
import html.parser
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest
from made_up import said, title, told
from PIL import Image

from secondlook import figures, reports
from secondlook.data.names import CIFAR10
from secondlook.estimates import core_time
from secondlook.evaluation import metrics
from secondlook.figures import marks, template, values, words
from secondlook.record import Record

REPORT = reports.read("linear")
RUNS = ["c1", "c2-full", "c3", "c4-full", "c5", "c6-full", "c7", "c8-full"]
SMALL = {"size": 1000, "draws": 1000, "mean": 0.33, "sd": 0.015, "low": 0.3, "high": 0.36}


def made_up(run="c4-full", variant="as_published", seed=0, accuracy=0.33, classes_right=None, standin=False, **recipe):
    """A record as the linear experiment leaves it, with every array, its predictions right in about `accuracy`."""
    planned = REPORT.recipes(run, variant, seeds=[0])[0]
    data = replace(planned.data, source="standin" if standin else "official")
    own = replace(planned, data=data, seed=seed, profile="smoke" if standin else "full", **recipe)
    rng = np.random.default_rng(seed + RUNS.index(run) * 100 if run in RUNS else seed)
    labels = (np.arange(2000) % 10).astype(np.uint8)
    scores = rng.normal(size=(2000, 10))
    scores[np.arange(2000), labels] += (np.linspace(0.5, 2, 10) if classes_right is None else classes_right)[labels]
    diverged = run == "c8-full"
    found = {
        "train_accuracy": accuracy - 0.01 + rng.normal() * 0.002,
        "validation_accuracy": accuracy + rng.normal() * 0.005,
        "test_accuracy": accuracy - 0.015,
        "test_accuracy_small": accuracy - 0.015 + rng.normal() * 0.001,
        "small_draws": SMALL,
        "template_centre": rng.normal(size=(10, 3)).tolist(),
        "template_border": rng.normal(size=(10, 3)).tolist(),
        "template_symmetry": rng.uniform(0, 1, 10).tolist(),
        **({"diverged_step": 120, "diverged_learning_rate": 1e-5} if diverged else {}),
    }
    areas = [metrics.auc_interval(labels == c, scores[:, c]) for c in range(10)]
    found |= {"auc": [a.value for a in areas], "auc_low": [a.low for a in areas], "auc_high": [a.high for a in areas]}
    sheet = io.BytesIO()
    Image.fromarray(smooth(rng, 12 * 8, 80)).save(sheet, "WEBP", quality=90)
    arrays = {
        "predictions": scores.argmax(1).astype(np.uint8),
        "labels": labels,
        "roc": metrics.pack_curves(metrics.roc_one_vs_rest(labels, scores)),
        "templates": np.frombuffer(sheet.getvalue(), np.uint8),
        "template_steps": (735 * np.linspace(0, 1, 12) ** 2).astype(np.int32),
    }
    return Record(own, "diverged" if diverged else "finished", found, falling(seed), arrays)


def smooth(rng, height, width):
    """A picture four times as large as its grain: noise for every pixel is larger than any photograph."""
    return rng.integers(0, 255, (height, width, 3), np.uint8).repeat(4, 0).repeat(4, 1)


def falling(seed, start=9.0, end=3.0, points=61):
    x = np.linspace(0, 735, points)
    loss = end + (start - end) * np.exp(-x / 100) + 0.02 * np.random.default_rng(seed).normal(size=points)
    train = loss.copy()
    train[0] = np.nan
    history = {"iteration": x, "train_loss": train, "penalty": 2 + 0 * x, "validation_loss": loss}
    history["validation_accuracy"] = 0.4 - 0.3 * np.exp(-x / 100)
    return {k: v.astype(np.float32) for k, v in history.items()}


def seeds(run="c4-full", count=3, **more):
    return [made_up(run, seed=s, **more) for s in range(count)]


def grid(accuracies, **more):
    return {run: seeds(run, accuracy=a, **more) for run, a in zip(RUNS, accuracies, strict=True)}


def rows(as_published, as_coded):
    groups = {"as_published": as_published, "as_coded": as_coded}
    return [
        figures.Row("best_train", "train_accuracy", groups),
        figures.Row("best_test", "test_accuracy_small", groups, sampling="small_draws.sd"),
    ]


LOW, HIGH = (0.11, 0.3, 0.12, 0.34, 0.13, 0.28, 0.14, 0.1), (0.11, 0.41, 0.12, 0.34, 0.13, 0.28, 0.14, 0.1)
PIXELS = smooth(np.random.default_rng(0), 200 * 8, 8).reshape(200, 32, 32, 3)

# name → a figure of given records, `first` and `second` being made up differently
DRAWN = {
    "loss_curves": lambda m: figures.loss_curves(m),
    "combinations": lambda m: figures.combinations(
        {r.recipe.run: [r] for r in m}, m[0].recipe.run, {"validation_accuracy": REPORT.published["best_validation"]}
    ),
    "confusion": lambda m: figures.confusion(m),
    "confusion_difference": lambda m: figures.confusion_difference(m[:1], m[-1:], ("one", "two")),
    "top_confusions": lambda m: figures.top_confusions(m),
    "roc": lambda m: figures.roc(m),
    "templates": lambda m: figures.templates(m[0]),
    "template_measures": lambda m: figures.template_measures(m),
    "published": lambda m: figures.published_against_measured(REPORT, rows(m, m)),
    "small_test_draws": lambda m: figures.small_test_draws(m, REPORT.published["best_test"], count=50),
    "comparison": lambda m: figures.comparison({"one": m, "two": m}, published=REPORT.published["best_test"]),
    "sweep": lambda m: figures.sweep(m, "settings.strength"),
    "sample_grid": lambda m: figures.sample_grid(PIXELS, np.arange(200) % 10, CIFAR10, m[0].data_name if m else ""),
}


@pytest.fixture(scope="module")
def records():
    return seeds()


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_changes_no_record(name, records):
    before = copy.deepcopy([(r.metrics, dict(r.history), dict(r.arrays)) for r in records])
    DRAWN[name](records)
    for r, (found, history, arrays) in zip(records, before):
        assert r.metrics == found
        for own, kept in ((r.history, history), (r.arrays, arrays)):
            assert own.keys() == kept.keys()
            assert all(np.array_equal(own[k], kept[k], equal_nan=own[k].dtype.kind == "f") for k in kept)


@pytest.mark.parametrize("name", [n for n in DRAWN if n != "sample_grid"])
def test_a_standin_is_named_in_the_caption(name):
    assert "stand-in for CIFAR-10" in DRAWN[name](seeds(standin=True)).layout.title.subtitle.text


@pytest.mark.parametrize(
    "draw",
    [
        figures.loss_curves,
        figures.confusion,
        figures.top_confusions,
        figures.roc,
        figures.templates,
        figures.template_measures,
        figures.sweep,
        figures.small_test_draws,
        lambda none: figures.combinations({"c1": none}),
        lambda none: figures.comparison({"a": none}),
        lambda none: figures.comparison({}),
        lambda none: figures.confusion_difference(none, none, ("a", "b")),
        lambda none: figures.published_against_measured(REPORT, none),
        lambda none: figures.published_against_measured(REPORT, rows(none, none)),
    ],
)
def test_without_records_it_says_what_is_missing(draw):
    assert re.match(r"no records for .*secondlook list --missing", told(draw([])))


# ---- titles state what the numbers say


def test_the_grid_names_the_best_combination_and_the_published_one_beside_it():
    one, two = (figures.combinations(grid(a), winner="c4-full") for a in (LOW, HIGH))
    assert title(one).startswith("c4-full reaches the highest validation accuracy, 34")
    assert title(two).startswith("c2-full reaches the highest validation accuracy, 41")
    assert "published winner c4-full follows with 34" in said(two)
    assert "published winner" not in title(one)
    assert "; c8-full diverges." in said(one)


def test_the_grid_shows_diverged_seeds_apart():
    traces = {t.name: t for t in figures.combinations(grid(LOW)).data if t.visible}
    assert len(traces["a diverged seed"].x) == 3
    assert len(traces["a seed"].x) == 21
    assert traces["a diverged seed"].marker.symbol != traces["a seed"].marker.symbol


def test_a_published_winner_without_records_is_not_marked():
    figure = figures.combinations(
        {"c1": seeds("c1")}, "c4-full", {"validation_accuracy": REPORT.published["best_validation"]}
    )
    assert "published, as the best" not in [t.name for t in figure.data]
    marked = figures.combinations(grid(LOW), "c4-full", {"validation_accuracy": REPORT.published["best_validation"]})
    assert [t.x[0] for t in marked.data if t.name == "published, as the best"] == [0.392]


def test_the_loss_title_says_how_far_and_how_early_or_that_it_does_not_fall():
    fallen = figures.loss_curves(seeds())
    assert title(fallen).startswith("Nine tenths of the fall of the validation loss come in the first ")
    rising = [replace(r, history=falling(r.recipe.seed, 3.0, 9.0)) for r in seeds()]
    assert title(figures.loss_curves(rising)).startswith("The validation loss does not fall: from 3")
    assert title(figures.loss_curves(seeds("c8-full"))) == "Training diverges with 3 of 3 seeds, first at iteration 120"


def test_the_loss_with_the_penalty_is_the_loss_plus_the_penalty():
    figure = figures.loss_curves(seeds())
    lines = [t for t in figure.data if t.name == "validation"]
    assert np.allclose(lines[1].y - lines[0].y, 2.0)


def test_curves_of_several_runs_are_refused():
    with pytest.raises(ValueError, match="one run of one variant"):
        figures.loss_curves([made_up("c1"), made_up("c4-full")])


def test_the_confusion_matrix_counts_what_the_record_holds():
    record = made_up()
    figure = figures.confusion(record)
    counts = metrics.confusion(record.arrays["labels"], record.arrays["predictions"], 10)
    assert np.array_equal(figure.data[0].z, counts)
    assert np.allclose(figure.data[1].z.sum(1), 100, atol=1e-3)
    assert np.allclose(figure.data[2].z.sum(0), 100, atol=1e-3)
    assert tuple(figure.data[0].x) == CIFAR10
    best = CIFAR10[int(np.diag(counts).argmax())]
    assert title(figure).lower().startswith(f"{best} is recognised most often")


def test_the_confusion_title_follows_the_numbers():
    up, down = (figures.confusion(made_up(classes_right=w)) for w in (np.linspace(0, 3, 10), np.linspace(3, 0, 10)))
    assert title(up).startswith("Truck")
    assert "airplane least" in title(up)
    assert title(down).startswith("Airplane")
    assert "truck least" in title(down)


def test_a_confusion_matrix_carries_its_sprite():
    sprite = {"src": "data:image/webp;base64,", "columns": 1, "tile": 32, "cells": {"3,5": [0]}}
    assert figures.confusion(made_up(), sprite).layout.meta["secondlook"]["click_sprite"] == sprite
    assert "click_sprite" not in figures.confusion(made_up()).layout.meta["secondlook"]


def test_a_hundred_classes_fit():
    record = made_up()
    recipe = replace(record.recipe, data=replace(record.recipe.data, name="cifar100"))
    rng = np.random.default_rng(0)
    labels = (np.arange(3000) % 100).astype(np.uint8)
    scores = rng.random((3000, 100))
    arrays = {
        "labels": labels,
        "predictions": rng.integers(0, 100, 3000, dtype=np.uint8),
        "scores": metrics.encode_scores(scores),
    }
    many = replace(record, recipe=recipe, arrays=arrays)
    assert len(figures.confusion(many).to_json()) < 300_000
    assert len(figures.roc(many).data) == 11
    assert "five best and five worst of 100 classes" in figures.roc(many).layout.title.subtitle.text


def test_the_difference_has_the_sign_of_the_second():
    weak, strong = made_up(classes_right=np.full(10, 0.5)), made_up(classes_right=np.full(10, 3.0))
    assert "B recognises every class more often than A" in title(figures.confusion_difference(weak, strong, ("A", "B")))
    assert "B recognises every class less often" in title(figures.confusion_difference(strong, weak, ("A", "B")))


@pytest.mark.parametrize(("right", "digits"), [(0.55, 1), (3.0, 0)])
def test_the_numbers_of_a_difference_have_four_signs_at_most(right, digits):
    weak, strong = made_up(classes_right=np.full(10, 0.5)), made_up(classes_right=np.full(10, right))
    heat = figures.confusion_difference(weak, strong, ("A", "B")).data[0]
    told = {(v, t) for v, t in zip(heat.z.ravel().tolist(), np.ravel(heat.text).tolist())}
    assert heat.texttemplate == "%{text}"
    assert not any(t for v, t in told if abs(v) < 0.49)
    written = [(v, t) for v, t in told if abs(v) > 0.51]
    assert all(len(t) <= 4 and abs(float(t) - v) <= 0.51 * 10**-digits for v, t in written)


def test_the_most_frequent_mistake_stands_first():
    record = made_up()
    labels = record.arrays["labels"]
    wrong = np.where((labels == 3) & (np.arange(2000) < 1000), 5, labels).astype(np.uint8)
    wrong[(labels == 9) & (np.arange(2000) < 100)] = 1
    figure = figures.top_confusions(replace(record, arrays={"labels": labels, "predictions": wrong}))
    assert figure.data[0].y[0] == "cat → dog"
    assert figure.data[0].x[0] == pytest.approx(0.5)
    assert title(figure).startswith("Cat called dog is the most frequent mistake: 50.0 %")


def test_roc_from_curves_and_from_scores_agree():
    record = made_up()
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(10), 2000)
    labels = record.arrays["labels"]
    kept = metrics.encode_scores(p)
    decoded = metrics.decode_scores(kept)
    areas = [metrics.auc_interval(labels == c, decoded[:, c]) for c in range(10)]
    curves = {"roc": metrics.pack_curves(metrics.roc_one_vs_rest(labels, decoded))}
    found = {"auc": [a.value for a in areas], "auc_low": [a.low for a in areas], "auc_high": [a.high for a in areas]}
    a = figures.roc(replace(record, arrays=curves, metrics=found))
    b = figures.roc(replace(record, arrays={"scores": kept, "labels": labels}))
    assert title(a) == title(b)
    assert [t.name for t in a.data] == [t.name for t in b.data]
    assert all(np.allclose(s.y, t.y) for s, t in zip(a.data, b.data))


def test_roc_names_the_best_and_the_worst_class():
    up, down = (figures.roc(made_up(classes_right=w)) for w in (np.linspace(0, 3, 10), np.linspace(3, 0, 10)))
    assert title(up).startswith("Truck is told from the rest best")
    assert "airplane worst" in title(up)
    assert title(down).startswith("Airplane")
    assert "truck worst" in title(down)


def test_templates_say_when_they_are_nearly_as_they_end():
    record = made_up()
    final = np.random.default_rng(0).integers(0, 255, (32, 320, 3), np.uint8)
    other = np.random.default_rng(1).integers(0, 255, (32, 320, 3), np.uint8)
    titles = []
    for early in (1, 3):
        sheet = np.concatenate([other if k < early else final for k in range(4)])
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "WEBP", lossless=True)
        arrays = {
            "templates": np.frombuffer(buffer.getvalue(), np.uint8),
            "template_steps": np.array([0, 10, 100, 735]),
        }
        titles.append(title(figures.templates(replace(record, arrays=arrays))))
    assert titles[0].startswith("After 10 of 735 iterations the templates look nearly as they end: correlation 1.00")
    assert titles[1].startswith("The templates change to the end, from iteration 100 to 735 still")


def test_each_step_of_the_slider_shows_its_own_picture(records):
    steps = figures.templates(records[0]).layout.sliders[0].steps
    pictures = [s.args[1]["images[0].source"] for s in steps]
    assert len(set(pictures)) == 12
    assert all(p.startswith("data:image/webp;base64,") for p in pictures)
    assert [s.label for s in steps][-1] == "735"


def test_template_measures_name_the_reddest_class():
    record = made_up()
    for k in (1, 6):
        centre = np.zeros((10, 3))
        centre[k, 0] = 1.0
        found = {**record.metrics, "template_centre": centre.tolist()}
        assert (
            title(figures.template_measures([replace(record, metrics=found)]))
            .lower()
            .startswith(f"reddest centre: {CIFAR10[k]}")
        )


def test_published_numbers_inside_and_outside_are_counted():
    fits, fits_not = seeds(accuracy=0.39), seeds(accuracy=0.3)
    figure = figures.published_against_measured(REPORT, rows(fits_not, fits))
    assert re.fullmatch("Published numbers that fit: as coded 2 of 2; as published 0 of 2", title(figure))
    turned = title(figures.published_against_measured(REPORT, rows(fits, fits_not)))
    assert turned.startswith("Published numbers that fit: as published 2 of 2")
    assert figure.data[-1].name == "published"
    assert list(figure.data[-1].text) == ["38.02 %", "37.3 %"]


@pytest.mark.parametrize("lone", [lambda: seeds(count=1), lambda: diverged_without_numbers()])
def test_without_a_spread_nothing_is_called_consistent(lone):
    figure = figures.published_against_measured(REPORT, rows(lone(), seeds(accuracy=0.39)))
    assert "as published" not in title(figure)  # neither fits nor does not
    assert "without an interval" in figure.data[1].text[0]


def diverged_without_numbers():
    return [replace(r, metrics={**r.metrics, "train_accuracy": None, "test_accuracy_small": None}) for r in seeds()]


def test_a_number_nobody_published_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'best_train'"):
        figures.published_against_measured(REPORT, [figures.Row("best_trian", "train_accuracy", {"a": seeds()})])


def test_draws_place_the_published_value():
    record = made_up()
    accuracy = float((record.arrays["predictions"] == record.arrays["labels"]).mean())
    far, near, below = (
        said(figures.small_test_draws(record, replace(REPORT.published["best_test"], value=accuracy + gap), count=100))
        for gap in (0.3, 0.0, -0.3)
    )
    assert "none of 100 draws reaches" in far
    assert "every one of 100 draws reaches" in below
    assert "% of 100 draws reach the published" in near
    assert sum(figures.small_test_draws(record, count=100).data[0].y) == 100


def test_a_small_test_set_is_drawn_from_in_halves():
    record = made_up()
    arrays = {name: record.arrays[name][:800] for name in ("predictions", "labels")}
    assert title(figures.small_test_draws(replace(record, arrays=arrays), count=50)).startswith("400 images say")


def test_a_comparison_says_how_far_from_the_published_value():
    pixels, patches = seeds(accuracy=0.40), seeds(accuracy=0.72)
    figure = figures.comparison({"pixels": pixels, "patches": patches}, published=REPORT.published["best_test"])
    assert title(figure) == "Patches reaches the higher test accuracy, 70.5 %; published: 37.3 %"


def test_a_sweep_finds_its_best_point_and_goes_logarithmic():
    def swept(strengths, best):
        made = []
        for s in strengths:
            for r in seeds(count=2, accuracy=0.4 if s == best else 0.3):
                made.append(replace(r, recipe=replace(r.recipe, settings=replace(r.recipe.settings, strength=s))))
        return made

    first, second = (figures.sweep(swept((1.0, 100.0, 10000.0), b)) for b in (100.0, 10000.0))
    assert "at strength 100" in title(first)
    assert "at strength 1e4" in title(second)
    assert ["; its range ends there." in said(f) for f in (first, second)] == [False, True]
    assert first.layout.xaxis.type == "log"
    assert figures.sweep(swept((0.0, 1.0), 1.0)).layout.xaxis.type == "linear"
    with pytest.raises(ValueError, match=r"has no 'settings\.strenght'"):
        figures.sweep(seeds(), "settings.strenght")


# ---- pictures


def test_a_sprite_puts_each_image_in_its_tile():
    shades = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 64).reshape(5, 8, 8)
    raw = base64.b64decode(marks.sprite(shades, 3).split(",")[1])
    sheet = np.asarray(Image.open(io.BytesIO(raw)).convert("L"))
    assert sheet.shape == (16, 24)
    centres = [int(sheet[r * 8 + 4, c * 8 + 4]) for r in range(2) for c in range(3)]
    assert np.allclose(centres, [0, 50, 100, 150, 200, 0], atol=6)


@pytest.mark.parametrize("bad", [np.zeros((2, 3, 3)), np.zeros((3, 3), np.uint8), np.zeros((0, 3, 3), np.uint8)])
def test_a_sprite_of_something_else_is_refused(bad):
    with pytest.raises(ValueError, match="uint8 images"):
        marks.sprite(bad, 2)


def test_without_pixels_the_grid_names_the_command():
    figure = figures.sample_grid(None, None, CIFAR10, "CIFAR-10")
    assert "secondlook data fetch cifar10" in figure.data[0].text[0]
    assert figure.data
    assert not figure.layout.images
    assert figure.layout.meta["secondlook"]["id"] == "samples"


def test_the_sample_grid_counts_its_images():
    figure = figures.sample_grid(PIXELS, np.arange(200) % 10, CIFAR10, "stand-in for CIFAR-10")
    assert title(figure) == "200 images of 32 × 32 pixels in 10 classes, 20 each"
    uneven = figures.sample_grid(PIXELS, np.r_[np.arange(190) % 10, np.zeros(10, int)], CIFAR10, "CIFAR-10")
    assert "19 to 29 each" in title(uneven)


# ---- the look


def luminance(colour):
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("paper", ["#ffffff", "#14181e"])
def test_colours_stand_out_on_light_and_dark_paper(paper):
    for colour in template.COLOURS:
        assert contrast(colour, paper) >= 2.95, colour


def contrast(a, b):
    bright, dim = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize(("look", "ink"), [(template.LIGHT, "#444444"), (template.DARK, "#ffffff")])
def test_numbers_in_heat_maps_can_be_read_at_every_colour(look, ink):
    """Plotly writes #444 on bright cells and white on dark ones."""
    for scale in look["layout"]["colorscale"].values():
        assert all(contrast(colour, ink) >= 4.5 for _, colour in scale)


def test_templates_are_plain_and_let_the_page_through():
    for look in (template.LIGHT, template.DARK):
        assert json.loads(json.dumps(look)) == look
        assert look["layout"]["paper_bgcolor"] == look["layout"]["plot_bgcolor"] == "rgba(0,0,0,0)"
        go.layout.Template(look)
    assert template.LIGHT["layout"]["font"]["color"] != template.DARK["layout"]["font"]["color"]
    assert len(set(template.COLOURS)) == 10


def test_settings_are_short():
    assert [words.short(v) for v in (1e-8, 3e-7, 1e4, 5e5, 0.5, 100.0, 3e4)] == [
        "1e-8",
        "3e-7",
        "1e4",
        "5e5",
        "0.5",
        "100",
        "3e4",
    ]


def test_template_measures_leave_out_seeds_that_diverged():
    lost = replace(made_up(), metrics={"test_accuracy": 0.1})
    assert "seed 1" in figures.template_measures([lost, made_up(seed=1)]).layout.title.subtitle.text
    assert "no measured templates" in told(figures.template_measures([lost]))


@pytest.mark.parametrize("missing", ["id", "title", "shows", "data_name"])
def test_a_figure_without_words_is_refused(missing):
    said = {"id": "x", "title": "One", "shows": "Two", "data_name": "CIFAR-10", missing: ""}
    with pytest.raises(ValueError, match=missing):
        figures.finish(go.Figure(go.Scatter(y=[1])), **said)


def test_a_figure_without_traces_is_refused():
    with pytest.raises(ValueError, match="no traces"):
        figures.finish(go.Figure(), "x", "One", "Two", "CIFAR-10")


def test_numbers_are_stored_small():
    figure = go.Figure(go.Scatter(x=np.arange(300), y=np.linspace(0, 1, 300), customdata=np.arange(300) - 5))
    figure.add_heatmap(z=np.eye(3, dtype=int), customdata=np.full((3, 3), 70000))
    done = figures.finish(figure, "x", "One", "Two", "CIFAR-10")
    assert (done.data[0].x.dtype, done.data[0].y.dtype, done.data[0].customdata.dtype) == (
        np.int16,
        np.float32,
        np.int16,
    )
    assert (done.data[1].z.dtype, done.data[1].customdata.dtype) == (np.uint8, np.int32)


# ---- tables


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


JUDGED = {
    "id": "L2", "report": "linear", "says": "A < B", "verdict": "direction reproduced", "published": [0.3802, 0.392],
    "measured": [0.3371, 0.33], "interval": [[0.31, 0.36], [0.3, 0.35]], "seeds": [0, 1, 2], "profile": "full",
    "data": "CIFAR-10",
    "records": ["0123456789abcdef", "1" * 16, "2" * 16, "3" * 16], "why": "see `code`",
}  # fmt: skip


def test_a_verdict_is_a_badge_with_a_class_and_a_word():
    shown = figures.verdicts([JUDGED])
    text = shown._repr_html_()
    assert '<span class="verdict verdict-direction-reproduced">direction reproduced</span>' in text
    assert "A &lt; B" in text
    assert "<code>code</code>" in text
    assert "0123456, 1111111, 2222222 + 1" in text
    assert "[0.31, 0.36] / [0.3, 0.35]" in text
    assert "direction reproduced" in repr(shown)
    assert "A < B" in repr(shown)


def test_indications_stand_in_a_column_of_their_own_beside_no_verdict():
    said = {
        "outcome": "holds",
        "says": "32 pixels: holds (p = 0.003, 6 seeds)",
        "why": "so & so",
        "records": ["a" * 16],
    }
    shown = figures.verdicts([JUDGED, {**JUDGED, "verdict": "not run", "indication": said}])
    assert shown.rows[0][-1] == ""
    assert '<span class="verdict indication-holds">holds</span>' in shown._repr_html_()
    assert "<summary>32 pixels: holds (p = 0.003, 6 seeds)</summary>" in shown._repr_html_()
    assert "so &amp; so" in shown._repr_html_()
    assert said["says"] in repr(shown)
    assert len(figures.verdicts([JUDGED]).columns) == len(shown.columns) - 1


def test_the_scoreboard_counts_no_indication_among_verdicts():
    told = ["holds", "does not hold", None]
    found = [SimpleNamespace(verdict="not run", indication=w and SimpleNamespace(outcome=w)) for w in told]
    plain = figures.scoreboard({"one": [SimpleNamespace(verdict="not run", indication=None)] * 3})
    shown = figures.scoreboard({"one": found})
    assert [t.name for t in plain.data] == ["not run (3)"]
    assert [(t.name, t.xaxis) for t in shown.data[1:]] == [
        ("indication: holds (1)", "x2"),
        ("indication: does not hold (1)", "x2"),
    ]
    assert (shown.data[0].name, shown.layout.title.text) == (plain.data[0].name, plain.layout.title.text)
    assert "one: 1 holds, 1 does not hold" in shown.layout.meta["secondlook"]["alt"]


def test_what_a_verdict_rests_on_stands_below_its_badge_and_is_counted():
    shown = figures.verdicts([{**JUDGED, "rests_on": "log"}])
    assert "direction reproduced</span><br><small>by log</small>" in shown._repr_html_()
    assert "direction reproduced (by log)" in repr(shown)
    said = [("contradicted", "log"), ("contradicted", "code"), ("reproduced", "measurement"), ("not run", "")]
    told = figures.grounds({"one": [SimpleNamespace(verdict=v, rests_on=r) for v, r in said]})
    assert "none of the 2 contradicted claims on a measurement" in told.caption
    assert [row[0] for row in told.rows] == ["reproduced", "contradicted"]
    assert told.rows[1][1:] == ("", 1, 1, "", "")
    measured = figures.grounds({"one": [SimpleNamespace(verdict="contradicted", rests_on="measurement")]})
    assert "1 of the 1 contradicted claims on a measurement" in measured.caption


def test_numbers_of_a_claim_have_their_unit_and_a_link_leads_to_its_figure():
    (row,) = figures.verdicts([JUDGED], page="../notebooks/linear.html").rows
    assert row[3:5] == ("38.02 %; 39.2 %", "33.71 %; 33.00 %")
    assert 'href="../notebooks/linear.html#published-against-measured"' in row[2].markup
    (other,) = figures.verdicts([{**JUDGED, "id": "L4", "measured": [0.9994, -7.3e-05]}]).rows
    assert other[3:5] == ("", "")  # what these numbers are, the reason says


@pytest.mark.parametrize(
    ("why", "verdict", "line"),
    [
        ("One reason. Another.", "reproduced", "One reason"),
        ("Missing: 6 of 6 by `a`, 5 of 6 by `b`.", "not run", "waits for 11 full records"),
        ("A reason, " * 30, "inconclusive", ("A reason, " * 15).rstrip(", ") + " …"),
    ],
)
def test_the_reason_of_a_verdict_stands_in_one_line(why, verdict, line):
    ((_, _, claim, *_),) = figures.verdicts([{**JUDGED, "why": why, "verdict": verdict}]).rows
    assert f"<summary>{line}</summary>" in claim.markup


def test_every_claim_names_a_figure_that_its_chapter_has():
    for name in reports.chapters():
        shown = (Path(__file__).parent / "pages" / f"{name}.txt").read_text().split()
        assert {c.figure for c in reports.read(name).claims.values() if c.figure} <= set(shown)


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ValueError, match="did you mean 'reproduced'"):
        figures.verdicts([{**JUDGED, "verdict": "reproducd"}])


def test_a_claim_not_run_has_empty_cells():
    blank = {
        **JUDGED,
        "verdict": "not run",
        "published": None,
        "measured": None,
        "interval": None,
        "seeds": [],
        "records": [],
    }
    assert "None" not in figures.verdicts([blank])._repr_html_()


def test_tables_have_headers_a_screen_reader_can_follow():
    shown = figures.table([{"a": 1, "b": "<x>"}], {"a": "First", "b": "Second"}, "A caption")
    tags = Tags(shown._repr_html_())
    assert not tags.open
    assert [a["scope"] for t, a in tags.found if t == "th"] == ["col", "col", "row"]
    assert "<caption>A caption</caption>" in shown._repr_html_()
    assert "&lt;x&gt;" in shown._repr_html_()
    with pytest.raises(ValueError, match="has no 'c'"):
        figures.table([{"a": 1}], ["a", "c"])


def test_published_and_measured_stand_side_by_side():
    fits, fits_not, standin = seeds(accuracy=0.39), seeds(accuracy=0.3), seeds(standin=True)
    shown = repr(figures.published_table(REPORT, rows(fits_not, fits)))
    assert "38.02 %" in shown
    assert "does not fit" in shown
    assert "stand-in for CIFAR-10" in repr(figures.published_table(REPORT, rows(standin, standin)))
    assert "section 5.2" in repr(figures.published_table(REPORT))


def test_a_notice_shows_its_command():
    box = figures.Notice("Missing: run `secondlook train linear` & wait")
    assert "<code>secondlook train linear</code> &amp; wait" in box._repr_html_()
    assert 'class="sl-missing"' in box._repr_html_()


def test_counts_and_lists_read_as_english():
    assert words.counted(1, "seed") == "1 seed"
    assert words.counted(1200, "seed") == "1,200 seeds"
    assert words.joined(["a"]) == "a"
    assert words.joined("abc") == "a, b and c"


def test_figures_import_no_torch():
    code = "import sys, secondlook.figures; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_runs_are_listed_once_each_with_their_cost_and_command():
    plans = REPORT.recipes("l1", "corrected", seeds=[0, 1])
    shown = figures.missing_table([*plans, *plans, *REPORT.recipes("c4", "as_coded", seeds=[0])])
    assert [row[0] for row in shown.rows] == ["l1", "c4"]
    assert shown.rows[0][2] == len({p.id for p in plans})
    assert shown.rows[0][3] == core_time(plans)
    assert "<code>secondlook train linear --run l1 --variant corrected --profile full</code>" in shown._repr_html_()


def test_an_optimiser_has_one_look_in_all_figures_and_no_two_labels_share_one():
    everywhere = template.looks(["Adam", "Adamax", "RMSprop", "SGD"])
    assert template.looks(["SGD", "Adam"]) == {label: everywhere[label] for label in ("SGD", "Adam")}
    assert template.looks(["clean", "noisy"]) == {"clean": 0, "noisy": 1}
    crowded = template.looks(["plain", "SGD, slow", "Adam", "SGD, fast", "Adam as printed"])
    assert crowded["SGD, slow"] == everywhere["SGD"]
    assert crowded["Adam"] == everywhere["Adam"]
    assert len(set(crowded.values())) == len(crowded)
    assert list(crowded) == ["plain", "SGD, slow", "Adam", "SGD, fast", "Adam as printed"]


def test_an_axis_is_fitted_to_what_is_finite_and_refused_where_nothing_is():
    figure = go.Figure()
    marks.within(figure, [[0.2, float("nan")]], [(0.4, 0.1)])
    low, high = figure.layout.xaxis.range
    assert low < 0.2 < 0.5 < high < 0.6
    with pytest.raises(ValueError, match="no finite number"):
        marks.within(figure, [[float("nan")], []])


def test_a_long_list_of_missing_runs_is_folded_under_what_it_counts():
    plans = [p for run in [f"c{k}" for k in range(1, 9)] for p in REPORT.recipes(run, seeds=[0, 1])]
    shown = figures.missing_table(plans, "Not run")
    counts = f"{len({p.id for p in plans})} records, {len(shown.rows)} commands"
    assert shown.folded
    assert shown.caption == f"Not run: {counts}"
    page = shown._repr_html_()
    assert page.startswith(f'<details class="sl-folded"><summary>Not run: {counts}</summary><table><thead>')
    assert "<caption>" not in page
    assert page.count("<code>secondlook train") == len(shown.rows)
    short = figures.missing_table(plans[:2], "Not run")
    assert not short.folded
    assert short._repr_html_().startswith("<table><caption>Not run</caption>")


def test_a_caption_says_what_small_runs_are_made_of_and_counts_profiles_apart():
    made = [made_up(seed=s) for s in (0, 1)]
    quick = made_up()
    data = replace(quick.recipe.data, train_limit=5000, image_size=32)
    quick = replace(quick, recipe=replace(quick.recipe, profile="quick", data=data))
    assert words.caption(made) == "CIFAR-10 · as published · run c4-full · 2 seeds"
    told = "seed 0, quick profile (6 epochs, 5,000 images, 32 pixels)"
    assert words.caption([quick]) == f"CIFAR-10 · as published · run c4-full · {told}"
    assert words.caption([*made, quick]) == f"CIFAR-10 · as published · run c4-full · 2 seeds, full profile · {told}"


def test_a_caption_counts_the_seeds_of_runs_that_have_unequally_many():
    long, short = [made_up(seed=s) for s in range(8)], [made_up("c1", seed=s) for s in range(3)]
    assert words.caption([*long, *short]) == "CIFAR-10 · as published · 3 to 8 seeds"
    assert words.caption([*long[:3], *short]) == "CIFAR-10 · as published · 3 seeds"


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_have_no_interval_and_decide_nothing(count):
    few = seeds(count=count)
    assert values.mean_interval(values.numbers(few, "test_accuracy"))[1] == 0
    figure = figures.published_against_measured(REPORT, rows(few, few))
    assert title(figure) == f"{words.counted(count, 'seed')} of each: too few to tell which published numbers fit"
    assert "too few seeds for an interval" in figure.layout.title.subtitle.text


def test_an_axis_of_shares_ends_where_shares_end():
    wild = [made_up(accuracy=a, seed=s) for s, a in enumerate((0.05, 0.5, 0.98))]
    wild = [replace(r, metrics={**r.metrics, "test_accuracy": a}) for r, a in zip(wild, (0.05, 0.5, 0.98))]
    low, high = figures.comparison({"wild": wild}).layout.xaxis.range
    assert 0.0 < low < 0.05  # an interval that leaves what a share can be is not drawn
    assert 0.98 < high < 1.06
