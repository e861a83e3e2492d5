import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook import reports
from secondlook.claims import forms
from secondlook.claims.judge import judge
from secondlook.recipe import RecipeError
from secondlook.record import Record, Records, save

NOISE = 0.002 * np.array([1.0, -1.2, 0.3, 0.8, -0.7, 0.1, -0.4, 0.6, -0.9, 0.5])
OTHER = NOISE[::-1]

REPORT = """
title = "A report of two runs"
[published]
best = {{ value = "81.6 %" }}
rest = {{ value = "79.6 %" }}
[base]
kind = "linear"
data = {{ name = "cifar10" }}
[run.a]
batch_size = 1
[run.b]
batch_size = 2
[run.c]
batch_size = 3
[profile.full]
seeds = 10
[profile.smoke]
"data.source" = "standin"
[profile.quick]
epochs = 1.0
{claims}
"""


def spread(centre, noise=NOISE):
    return (centre + noise).tolist()


# ------------------------------------------------------------------------------------------------ forms


def test_a_value_is_reproduced_only_when_consistent_and_narrow():
    assert forms.value(spread(0.82), 0.82, 0.0005, 0.01).word == "reproduced"
    assert forms.value(spread(0.82), 0.82, 0.0005, 0.001).word == "inconclusive"
    assert forms.value(spread(0.82), 0.86, 0.0005, 0.01).word == "not reproduced"


def test_images_that_differ_widen_what_is_consistent():
    assert forms.value(spread(0.82), 0.835, 0.0005, 0.05).word == "not reproduced"
    assert forms.value(spread(0.82), 0.835, 0.0005, 0.05, sampling_se=0.015).word == "reproduced"


def test_half_a_printed_unit_counts():
    values = [0.82, 0.82, 0.82]
    assert forms.value(values, 0.825, 0.005, 0.01).word == "reproduced"
    assert forms.value(values, 0.826, 0.005, 0.01).word == "not reproduced"


@given(st.permutations(["reproduced", "not reproduced", "inconclusive"]))
def test_of_several_numbers_the_worst_decides(verdicts):
    parts = [("a number", forms.Verdict(v, "", 1.0, 1.0, [0.0, 2.0])) for v in verdicts]
    assert forms.several(parts).word == "not reproduced"
    kept = [(name, o) for name, o in parts if o.word != "not reproduced"]
    assert forms.several(kept).word == "inconclusive"
    assert forms.several(kept).published == [1.0, 1.0]


def test_greater_says_yes_no_and_undecided():
    assert forms.greater(spread(0.5), spread(0.4, OTHER)).word == "reproduced"
    assert forms.greater(spread(0.4), spread(0.5, OTHER)).word == "not reproduced"
    assert forms.greater(spread(0.5), spread(0.5, OTHER)).word == "inconclusive"
    assert forms.greater(spread(0.5), spread(0.4, OTHER), margin=0.2).word == "not reproduced"


def test_a_gap_of_another_size_reproduces_only_the_direction():
    for published, verdict in ((0.1, "reproduced"), (0.2, "direction reproduced")):
        gap = np.subtract(spread(0.5), spread(0.4, OTHER))
        size = forms.value(gap, published, 0.0005, 0.02)
        assert forms.greater(spread(0.5), spread(0.4, OTHER), size=size).word == verdict


@given(st.floats(-0.2, 0.2), st.floats(0, 1))
@settings(deadline=None)
def test_greater_needs_the_p_it_is_given(gap, p):
    outcome = forms.greater(spread(0.5 + gap), spread(0.5, OTHER), p=p)
    assert (outcome.word == "inconclusive") == (p >= 0.05)


def test_rank_and_order_say_yes_no_and_undecided():
    groups = {"a": spread(0.5), "b": spread(0.4, OTHER), "c": spread(0.3)}
    assert forms.rank(groups, "a").word == "reproduced"
    assert forms.rank(groups, "b").word == "not reproduced"
    assert forms.rank({**groups, "b": spread(0.5, OTHER)}, "a").word == "inconclusive"
    assert forms.order(groups).word == "reproduced"
    assert forms.order({"b": groups["b"], "a": groups["a"], "c": groups["c"]}).word == "not reproduced"
    assert forms.order({**groups, "b": spread(0.5, OTHER)}).word == "inconclusive"


def test_count_needs_its_number_and_is_refuted_where_that_is_out_of_reach():
    yes, no, open_ = spread(0.1), spread(-0.1), spread(0.0)
    assert forms.count({"a": yes, "b": yes, "c": yes}, 3).word == "reproduced"
    assert forms.count({"a": yes, "b": yes, "c": no}, 2).word == "reproduced"
    assert forms.count({"a": yes, "b": yes, "c": no}, 3).word == "not reproduced"
    assert forms.count({"a": yes, "b": open_, "c": no}, 2).word == "inconclusive"
    assert forms.count({"a": yes, "b": no, "c": no}, 2).word == "not reproduced"


def test_where_all_must_hold_the_largest_p_is_told_beside_holms():
    # each alone p is 0.03, adjusted for two 0.06
    near = spread(0.0012)
    assert "unadjusted the largest p, enough where all must hold, is 0.03" in forms.count({"a": near, "b": near}, 2).why
    assert "unadjusted" not in forms.count({"a": spread(0.1), "b": spread(0.1)}, 2).why
    assert "unadjusted" not in forms.count({"a": near, "b": near}, 1).why


def test_the_mean_of_several_published_runs_is_held_against_a_narrower_interval():
    assert forms.value(spread(0.82), 0.824, 0.0005, 0.01).word == "reproduced"
    assert forms.value(spread(0.82), 0.824, 0.0005, 0.01, of=10).word == "not reproduced"


def test_a_fact_is_true_or_contradicted_by_its_worst_value():
    assert forms.equal([1e-12, -2e-12], 0.0, 1e-9).word == "reproduced"
    assert forms.equal([1e-12, -2e-3], 0.0, 1e-9).word == "contradicted"
    assert forms.equal([128807306], 128807306).word == "reproduced"


# ------------------------------------------------------------------------------------------------ judge


def house(tmp_path, claims):
    """A project with one report, returned as its root."""
    (tmp_path / "reports").mkdir(parents=True, exist_ok=True)
    (tmp_path / "reports" / "pair.toml").write_text(REPORT.format(claims=claims), encoding="utf-8")
    reports.read.cache_clear()
    return tmp_path


def train(root, profile="full", seeds=None, keep=lambda r: True, **centres):
    """Made-up records, `acc` of each run around its centre; returns the judge's folder."""
    report, made = reports.read("pair", root), []
    for run, centre in {"a": 0.816, "b": 0.796, "c": 0.6, **centres}.items():
        noise = NOISE if run == "a" else OTHER
        for recipe in report.recipes(run, "as_published", profile, seeds):
            acc = None if centre is None else centre + noise[recipe.seed % 10]
            each = [0.9, 0.8, acc]
            made.append(Record(recipe, "diverged" if run == "c" else "finished", {"acc": acc, "each": each}))
    save([r for r in made if keep(r.recipe)], root / "records")
    return Records(root / "records")


def verdict(root, records):
    (found,) = judge("pair", records, root)
    return found


CLAIMS = {
    "value": (
        'form = "value"\npublished = "best"\ntolerance = 0.01\noptions = { run = "a", metric = "acc" }',
        {"a": 0.7},
    ),
    "values": (
        'form = "value"\nvalues = [{ published = "best", run = "a", metric = "acc", tolerance = 0.01 }, '
        '{ published = "rest", run = "b", metric = "acc", tolerance = 0.1, images = 1000 }]',
        {"b": 0.7},
    ),
    "greater": ('form = "greater"\noptions = { run = "a", than_run = "b", metric = "acc" }', {"b": 0.9}),
    "gap": (
        'form = "greater"\npublished = ["best", "rest"]\ntolerance = 0.02\n'
        'options = { run = "a", than_run = "b", metric = "acc" }',
        {"b": 0.75},
    ),
    "rank": ('form = "rank"\noptions = { first = "a", runs = ["a", "b", "c"], metric = "acc" }', {"c": 0.9}),
    "order": ('form = "order"\noptions = { runs = ["a", "b", "c"], metric = "acc" }', {"c": 0.81}),
    "lowest": ('form = "order"\noptions = { runs = ["c", "b", "a"], metric = "acc", lowest = true }', {"c": 0.81}),
    "count": ('form = "count"\noptions = { run = "a", metric = "each", above = 0.75, least = 3 }', {"a": 0.7}),
    "equal": (
        'form = "equal"\noptions = { runs = ["a"], metric = "acc", expected = 0.816, tolerance = 0.005 }',
        {"a": 0.7},
    ),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_each_form_tells_records_that_satisfy_it_from_records_that_break_it(name, tmp_path):
    text, broken = CLAIMS[name]
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{text}')
    good = verdict(root, train(root))
    assert good.verdict == "reproduced", good.why
    assert good.seeds == list(range(10))
    assert good.data == "CIFAR-10"
    bad = verdict(root, train(root, **broken))
    assert bad.verdict in ("not reproduced", "contradicted", "direction reproduced"), bad.why
    assert set(bad.records) == set(good.records)


@pytest.mark.parametrize(("name", "lost"), [(name, 1 if name.startswith("value") else 4) for name in CLAIMS])
def test_nothing_is_judged_without_the_whole_protocol(name, lost, tmp_path):
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS[name][0]}')
    found = verdict(root, train(root, keep=lambda r: r.seed != lost))
    assert (found.verdict, found.measured, found.records, found.seeds) == ("not run", None, [], [])
    assert "secondlook train pair --run" in found.why
    assert "--variant as_published --profile full" in found.why


@pytest.mark.parametrize("made", [3, 5, 9])
def test_a_published_number_stands_on_the_first_three_seeds_until_all_are_there(made, tmp_path):
    text, broken = CLAIMS["values"]
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{text}')
    assert verdict(root, train(root, keep=lambda r: r.seed < made)).verdict == "inconclusive"  # three are a wide 0.011
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{text.replace("tolerance = 0.01", "tolerance = 0.02")}')
    found = verdict(root, train(root, keep=lambda r: r.seed < made))
    assert (found.verdict, found.seeds) == ("reproduced", [0, 1, 2])
    assert "over 3 seeds" in found.why
    assert "the first 3 of 10 planned" in found.why
    assert verdict(root, train(root, keep=lambda r: r.seed < made, **broken)).verdict == "not reproduced"
    mixed = verdict(root, train(root, keep=lambda r: r.run == "a" or r.seed < made))
    assert (mixed.verdict, len(mixed.records)) == ("reproduced", 13)


def test_a_claim_not_run_names_every_command_it_waits_for_and_what_it_takes(tmp_path):
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS["values"][0]}')
    why = verdict(root, train(root, keep=lambda r: r.run == "b" and r.seed > 1)).why
    command = "by `secondlook train pair --run {} --variant as_published --profile full` \\(about [\\d.]+ core-\\w+\\)"
    assert re.search("10 of 10 " + command.format("a"), why)
    assert re.search(command.format("b"), why)


def test_records_older_than_a_claims_metric_come_with_the_command_that_makes_them_anew(tmp_path):
    text = CLAIMS["value"][0].replace('metric = "acc"', 'metric = "accc"')
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{text}')
    found = verdict(root, train(root))
    assert found.verdict == "not run"
    assert "has no metric 'accc'; did you mean 'acc'" in found.why
    assert "`secondlook train pair --run a --variant as_published --profile full --again`" in found.why


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_stand_ins_and_quick_runs_judge_nothing(profile, tmp_path):
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS["value"][0]}')
    assert verdict(root, train(root, profile, range(10))).verdict == "not run"


def test_a_record_marked_otherwise_judges_nothing_even_under_a_wanted_id(tmp_path):
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS["value"][0]}')
    recipes = reports.read("pair", root).recipes("a", "as_published")
    for change in ({"variant": "custom"}, {"profile": "quick"}, {"profile": "reduced"}):
        folder = root / next(iter(change.values()))
        save([Record(replace(r, **change), "finished", {"acc": 0.816 + NOISE[r.seed]}) for r in recipes], folder)
        assert verdict(root, Records(folder)).verdict == "not run"


def test_two_planned_seeds_judge_a_fact_and_nothing_else(tmp_path):
    for name, expected in (("value", "not run"), ("rank", "not run"), ("equal", "reproduced")):
        root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS[name][0]}')
        path = root / "reports" / "pair.toml"
        path.write_text(path.read_text().replace("seeds = 10", "seeds = 2"))
        reports.read.cache_clear()
        assert verdict(root, train(root)).verdict == expected


def test_diverged_seeds_are_counted_and_said(tmp_path):
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS["rank"][0]}')
    found = verdict(root, train(root))
    assert "10 of 10 seeds of c" in found.why
    assert len(found.records) == 30


def test_a_diverged_seed_without_the_number_leaves_the_claim_open(tmp_path):
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS["rank"][0]}')
    found = verdict(root, train(root, c=None))
    assert found.verdict == "inconclusive"
    assert "No finite acc of c" in found.why


def test_a_metric_the_records_lack_is_named_with_the_nearest(tmp_path):
    root = house(tmp_path, '[claim.X]\nsays = "so"\nform = "greater"\noptions = { run = "a", metric = "ac" }')
    found = verdict(root, train(root))
    assert found.verdict == "not run"
    assert "did you mean 'acc'?" in found.why


def test_a_family_is_adjusted_for_its_size(tmp_path):
    # alone p is about 0.03, one of two about 0.06
    options = 'form = "greater"\noptions = {{ run = "a", than_run = "{}", metric = "acc" }}\n'
    claims = "".join(f'[claim.{i}]\nsays = "so"\n{options.format(run)}' for i, run in (("X", "b"), ("Y", "c")))
    gap = 0.816 - 0.0012
    for family, expected in (("", "reproduced"), ('[family.f]\nclaims = ["X", "Y"]', "inconclusive")):
        root = house(tmp_path, claims + family)
        found = judge("pair", train(root, b=gap, c=gap), root)
        assert [j.verdict for j in found] == [expected, expected], [j.why for j in found]
    alone = house(tmp_path / "alone", claims + family)
    found = judge("pair", train(alone, keep=lambda r: r.run != "c", b=gap), alone)
    assert [j.verdict for j in found] == ["inconclusive", "not run"]


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ('form = "valeu"', "did you mean 'value'"),
        ('form = "pair.shape"', "claims/pair.py"),
        ('form = "greater"\noptions = { run = "z", metric = "acc" }', "has no run 'z'"),
        ('form = "greater"\noptions = { run = "a", metrik = "acc" }', "mean 'metric'"),
        ('form = "greater"\nvariant = "as_coded"\noptions = { run = "a", metric = "acc" }', "unknown variant"),
        ('form = "value"\npublished = "bset"\ntolerance = 1\noptions = { run = "a", metric = "acc" }', "mean 'best'"),
        ('form = "value"\npublished = "best"\noptions = { run = "a", metric = "acc" }', "tolerance"),
        ('form = "rank"\noptions = { first = "z", runs = ["a", "b"], metric = "acc" }', "not among"),
        ('form = "text"', "verdict"),
        (CLAIMS["equal"][0] + '\n[family.f]\nclaims = ["X"]', "no primary p-value"),
        (CLAIMS["equal"][0] + '\n[family.f]\nclaims = ["XX"]', "no claim 'XX'"),
    ],
)
def test_a_claim_that_names_what_does_not_exist_is_an_error_with_the_claim(claim, message, tmp_path):
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{claim}')
    with pytest.raises(RecipeError, match=message):
        judge("pair", Records(root / "records"), root)


def test_several_numbers_tell_their_joint_level_and_share_what_is_said_once(tmp_path):
    text = ('form = "value"\ntolerance = 0.1\noptions = { metric = "acc" }\nvalues = '
            '[{ published = "best", run = "a" }, { published = "rest", run = "b" }]')  # fmt: skip
    found = verdict(house(tmp_path, f'[claim.X]\nsays = "so"\n{text}'), train(tmp_path))
    assert (found.verdict, found.published, found.rests_on) == ("reproduced", [0.816, 0.796], "measurement")
    assert "each interval is at 95 %, the 2 jointly at 90 % or more" in found.why
    house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS["value"][0]}')
    assert "jointly" not in verdict(tmp_path, Records(tmp_path / "records")).why


def test_a_judgement_says_what_it_rests_on_and_not_run_rests_on_nothing(tmp_path):
    text = '[claim.X]\nsays = "so"\nform = "text"\nverdict = "contradicted"\n'
    for told, expected in (("", "text"), ('rests_on = "code"', "code")):
        root = house(tmp_path, text + told)
        assert verdict(root, Records(root / "records")).rests_on == expected
    with pytest.raises(RecipeError, match="rests_on 'cod' is unknown; did you mean 'code'"):
        judge("pair", Records(tmp_path), house(tmp_path, text + 'rests_on = "cod"'))
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS["value"][0]}')
    assert verdict(root, Records(root / "records")).rests_on == ""


def test_a_text_claim_has_the_verdict_and_the_reason_of_the_file(tmp_path):
    for said in ("contradicted", "underspecified"):
        root = house(tmp_path, f'[claim.X]\nsays = "so"\nform = "text"\nverdict = "{said}"\nwhy = "The log says no"')
        found = verdict(root, Records(root / "records"))
        assert (found.verdict, found.why, found.data, found.records) == (said, "The log says no.", "", [])


def test_a_judgement_is_json_with_stable_keys(tmp_path):
    root = house(tmp_path, f'[claim.X]\nsays = "so"\n{CLAIMS["values"][0]}')
    said = json.loads(json.dumps(verdict(root, train(root)).as_dict(), allow_nan=False))
    assert list(said) == [
        "id", "report", "says", "verdict", "published", "measured", "interval", "seeds", "profile", "data",
        "records", "why", "rests_on", "indication",
    ]  # fmt: skip
    assert said["published"] == [0.816, 0.796]


def test_judging_imports_no_torch():
    code = "import sys, secondlook.claims.judge, secondlook.claims.linear; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
