"""What reduced records say of a claim that has no verdict, on made-up records that satisfy it and that break it."""

import json

import pytest
from test_claims import CLAIMS, house, train, verdict

from secondlook.claims.judge import judge

REDUCED = '\n[profile.reduced]\nseeds = 6\nepochs = 2.0\nreduced = "2 epochs"\n'


def claimed(tmp_path, text, more=REDUCED):
    """A project with one claim X and a reduced profile."""
    return house(tmp_path, f'[claim.X]\nsays = "so"\n{text}{more}')


@pytest.mark.parametrize("name", CLAIMS)
def test_each_form_tells_reduced_records_that_satisfy_it_from_those_that_break_it(name, tmp_path):
    text, broken = CLAIMS[name]
    root = claimed(tmp_path, text.replace("tolerance = 0.01", "tolerance = 0.02"))
    good, bad = (verdict(root, train(root, "reduced", **centres)) for centres in ({}, broken))
    assert (good.verdict, good.measured, good.seeds) == (bad.verdict, None, []) == ("not run", None, [])
    assert (good.indication.outcome, good.indication.seeds) == ("holds", list(range(6))), good.indication.why
    # of a gap the sign alone is asked: a reduced run need not have its size
    assert bad.indication.outcome == ("holds" if name == "gap" else "does not hold"), bad.indication.why
    assert good.indication.says.startswith("2 epochs: holds (")
    assert good.indication.says.endswith("6 seeds)")


def test_a_gap_of_the_other_sign_does_not_hold(tmp_path):
    root = claimed(tmp_path, CLAIMS["gap"][0])
    assert verdict(root, train(root, "reduced", b=0.9)).indication.outcome == "does not hold"
    assert verdict(root, train(root, "reduced", b=0.816)).indication.outcome == "inconclusive"


def test_an_indication_says_the_p_value_or_the_numbers_it_rests_on(tmp_path):
    root = claimed(tmp_path, CLAIMS["greater"][0])
    found = verdict(root, train(root, "reduced")).indication
    assert found.p < 0.05
    assert found.says == f"2 epochs: holds (p = {found.p:.2g}, 6 seeds)"
    root = claimed(tmp_path, CLAIMS["value"][0])
    found = verdict(root, train(root, "reduced", a=0.7)).indication
    assert found.says == "2 epochs: does not hold (measured 70.01 %, published 81.6 %, 6 seeds)"


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_smaller_profiles_indicate_nothing(profile, tmp_path):
    root = claimed(tmp_path, CLAIMS["equal"][0])
    assert verdict(root, train(root, profile, range(6))).indication is None


def test_a_claim_with_a_verdict_has_no_indication(tmp_path):
    root = claimed(tmp_path, CLAIMS["greater"][0])
    train(root, "reduced", b=0.9)
    found = verdict(root, train(root))
    assert (found.verdict, found.indication) == ("reproduced", None)


@pytest.mark.parametrize(("made", "shown"), [(1, "measured 81.8 %"), (2, "measured 81.58 %")])
def test_fewer_than_three_seeds_are_too_few_and_show_their_value(made, shown, tmp_path):
    root = claimed(tmp_path, CLAIMS["value"][0])
    found = verdict(root, train(root, "reduced", keep=lambda r: r.seed < made)).indication
    assert (found.outcome, found.seeds) == ("too few seeds", list(range(made)))
    assert found.says == f"2 epochs: too few seeds ({made}): {shown}, published 81.6 %"


def test_one_seed_is_enough_for_a_fact(tmp_path):
    root = claimed(tmp_path, CLAIMS["equal"][0])
    found = verdict(root, train(root, "reduced", keep=lambda r: r.seed == 0)).indication
    assert found.says == "2 epochs: holds (1 seed)"


def test_runs_without_reduced_records_or_plans_leave_a_claim_without_indication(tmp_path):
    root = claimed(tmp_path, CLAIMS["greater"][0])
    assert verdict(root, train(root, "reduced", keep=lambda r: r.run != "b")).indication is None
    records = train(root, "reduced")
    root = claimed(tmp_path, CLAIMS["greater"][0], f"{REDUCED}[profile.reduced.run.b]\nvariants = []\n")
    assert verdict(root, records).indication is None


@pytest.mark.parametrize("more", ["", "[profile.reduced]\nseeds = 10\n"])
def test_some_seeds_of_a_whole_run_indicate_until_all_are_there(more, tmp_path):
    root = claimed(tmp_path, CLAIMS["greater"][0], f"\n{more}")
    found = verdict(root, train(root, keep=lambda r: r.seed < 4))
    assert found.verdict == "not run"
    assert found.indication.says.startswith("4 of 10 seeds: holds (p = ")


def test_a_reduced_run_beside_a_whole_one_says_so(tmp_path):
    root = claimed(tmp_path, CLAIMS["greater"][0], '\n[profile.reduced.run.a]\nepochs = 2.0\nreduced = "2 epochs"\n')
    path = root / "reports" / "pair.toml"  # ten seeds in every profile
    path.write_text(path.read_text().replace("[run.a]", "seeds = 10\n[run.a]"))
    train(root, "reduced", keep=lambda r: r.run == "a")
    found = verdict(root, train(root, keep=lambda r: r.run == "b")).indication
    assert found.says.startswith("2 epochs; others in full: holds (p = ")


def test_indications_of_a_family_are_adjusted_for_its_size(tmp_path):
    gap = 0.816 - 0.0014
    for more, expected in (("", "holds"), ('[family.f]\nclaims = ["X", "Y"]', "inconclusive")):
        second = CLAIMS["greater"][0].replace('than_run = "b"', 'than_run = "c"')
        claims = f'{CLAIMS["greater"][0]}\n[claim.Y]\nsays = "so"\n{second}\n{more}'
        root = claimed(tmp_path, claims)
        found = judge("pair", train(root, "reduced", b=gap, c=gap), root)
        assert {j.indication.outcome for j in found} == {expected}, [j.indication.says for j in found]


def test_an_indication_is_plain_in_json(tmp_path):
    root = claimed(tmp_path, CLAIMS["rank"][0])
    said = json.loads(json.dumps(verdict(root, train(root, "reduced")).as_dict(), allow_nan=False))
    assert set(said["indication"]) == {"outcome", "says", "why", "seeds", "reduced", "p", "records"}
    assert "Diverged: 6 of 6 seeds of c" in said["indication"]["why"]
