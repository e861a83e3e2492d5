"""Where the evidence of a report stands, on made-up records, and what README says of the real ones."""

from pathlib import Path

import pytest
from refresh_outputs import markdown, refreshed
from test_claims import house, train

from secondlook import reports
from secondlook.claims.standing import standing

REDUCED = '[profile.reduced]\nreduced = "2 epochs"\nepochs = 2.0\n'


@pytest.mark.parametrize(
    ("profile", "keep", "expected"),
    [
        ("full", lambda r: True, (3, 0, 0)),
        ("full", lambda r: r.run == "a" or r.seed == 0, (1, 2, 0)),
        ("reduced", lambda r: r.run != "c", (0, 0, 2)),
        ("quick", lambda r: True, (0, 0, 0)),
        ("smoke", lambda r: True, (0, 0, 0)),
    ],
)
def test_runs_are_counted_by_the_largest_profile_they_have_records_of(profile, keep, expected, tmp_path):
    root = house(tmp_path, REDUCED)
    found = standing(reports.read("pair", root), train(root, profile, keep=keep))
    assert (found.full, found.partial, found.reduced) == expected
    assert found.rest == 3 - sum(expected)


def test_the_sentence_of_a_page_says_what_there_is_and_what_was_reduced(tmp_path):
    root = house(tmp_path, REDUCED)
    train(root, "reduced", keep=lambda r: r.run == "b")
    found = standing(reports.read("pair", root), train(root, keep=lambda r: r.run == "a"))
    assert str(found) == ("Of the 3 runs of this report there are 1 in full, 1 reduced (2 epochs), 1 not run yet.")
    assert str(standing(reports.read("pair", root), train(root))) == "All 3 runs of this report are there in full."


def test_readme_says_where_the_evidence_stands_now():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert refreshed(text, markdown()) == text, "README.md is older than the records: `make outputs` refreshes it"


def test_a_text_without_the_marks_is_refused():
    with pytest.raises(ValueError, match="lacks the marks"):
        refreshed("nothing", "| a |")
