"""Aims of what goes further: read from a report's file, held against its records, drawn and told."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from secondlook import figures, reports
from secondlook.claims.standing import attempts
from secondlook.recipe import RecipeError
from secondlook.record import Record, Records, save

VGG = reports.read("vgg")
SAMPLE = """
[published]
best = { value = "81.6 %" }
[base]
kind = "classifier"
optimizer = { name = "sgd", learning_rate = 0.01 }
data = { name = "cifar10" }
[run.tuned]
variants = ["further"]
[aim.higher]
says = "a sample tuned"
run = "tuned"
least = "94 %"
"""


def records_of(run, accuracies, profile="full", source=None):
    """A record of a run of `further` for each accuracy, seeds from 0."""
    seeds = list(range(len(accuracies)))
    made = []
    for recipe, accuracy in zip(VGG.recipes(run, "further", profile, seeds), accuracies):
        own = recipe if source is None else replace(recipe, data=replace(recipe.data, source=source))
        made.append(Record(own, "finished", {"test_accuracy": accuracy}))
    return made


def attempt(folder, *made):
    """The attempt at 94 % at 32 pixels from these records."""
    save([record for group in made for record in group], folder)
    return next(a for a in attempts(VGG, Records(folder)) if a.aim.id == "pixels_32")


def test_an_aim_is_read_with_its_number_and_what_stands_beside_it():
    aim = reports.parse(SAMPLE + 'beside = "best"', Path("sample.toml")).aims["higher"]
    assert (aim.least.value, aim.variant, aim.metric, aim.beside.text) == (0.94, "further", "test_accuracy", "81.6 %")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SAMPLE + "leest = 3", "leest.*did you mean 'least'"),
        (SAMPLE.replace('run = "tuned"', ""), "aim.higher: run is missing"),
        (SAMPLE.replace('run = "tuned"', 'run = "tunned"'), "'tunned' is unknown; did you mean 'tuned'"),
        (SAMPLE.replace('"94 %"', "0.94"), "aim.higher: least: value must be the number as printed"),
        (SAMPLE + 'beside = "bst"', "aim.higher: beside 'bst' is unknown; did you mean 'best'"),
        (SAMPLE + 'variant = "furter"', "'furter' is unknown; did you mean 'further'"),
    ],
)
def test_a_bad_aim_is_refused_by_name(text, told):
    with pytest.raises(RecipeError, match=told):
        reports.parse(text, Path("sample.toml"))


@pytest.mark.parametrize(
    ("accuracies", "state"), [((0.93, 0.95, 0.95), "reached"), ((0.93, 0.93, 0.95), "not reached")]
)
def test_an_aim_is_reached_by_the_mean_over_all_seeds_planned(tmp_path, accuracies, state):
    assert attempt(tmp_path, records_of("best32", accuracies)).state == state


def test_an_aim_stays_open_while_a_seed_is_missing(tmp_path):
    found = attempt(tmp_path, records_of("best32", [0.99, 0.99]))
    assert (found.state, len(found.records), [p.seed for p in found.missing]) == ("open", 2, [2])


def test_reduced_records_are_shown_and_decide_nothing_and_quick_ones_are_not_shown(tmp_path):
    found = attempt(tmp_path, records_of("best32", [0.99], "reduced"), records_of("best32", [0.5], "quick"))
    assert (found.state, found.profile, len(found.missing)) == ("open", "reduced", 3)
    assert figures.aims_table([found]).rows[0][3] == "99.0 %, 1 seed, reduced"
    assert not attempt(tmp_path / "quick", records_of("best32", [0.5], "quick")).records


def test_stand_ins_are_no_attempt(tmp_path):
    found = attempt(tmp_path, records_of("best32", [0.99] * 3, source="standin"))
    assert (found.state, found.records) == ("open", [])
    assert figures.aims_table([found]).rows[0][3] == "no record"


def test_a_diverged_seed_reaches_nothing(tmp_path):
    found = attempt(tmp_path, records_of("best32", [0.99, None, 0.99]))
    assert found.state == "not reached"


def test_what_is_missing_comes_with_what_it_takes(tmp_path):
    row = figures.aims_table([attempt(tmp_path)]).rows[0]
    assert re.fullmatch(r"3 records, [\d.]+ core-hours", row[-1])


def test_the_figure_tells_full_from_reduced_and_counts_what_is_reached(tmp_path):
    full = attempt(tmp_path / "full", records_of("best32", [0.95, 0.94, 0.95]))
    reduced = attempt(tmp_path / "reduced", records_of("best32", [0.3], "reduced"))
    figure = figures.aims([full, reduced, attempt(tmp_path / "none")])
    assert figure.layout.title.text == "1 of 3 aims is reached; 2 wait for full records"
    drawn = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    assert drawn["full records"][0] == pytest.approx([0.9467], abs=1e-4)
    assert drawn["reduced records"] == ([pytest.approx(0.3)], [1])
    assert len(drawn["aim"][0]) == 3
    assert drawn["published"][0] == pytest.approx([0.8474] * 3)


def test_every_report_states_an_aim_that_its_own_runs_can_reach():
    for name in reports.names():
        report = reports.read(name)
        assert report.aims
        for aim in report.aims.values():
            assert aim.beside is None or aim.least.value > aim.beside.value
