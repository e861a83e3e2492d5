"""The page on adding a report: its example is read, judged and trained as the page says."""

import re
from pathlib import Path

import pytest

from secondlook import reports
from secondlook.arguments import parser
from secondlook.claims.judge import judge
from secondlook.claims.standing import attempts
from secondlook.record import Record, Records, save
from secondlook.runs import Execution, load_or_train

PAGE = (Path(__file__).parent.parent / "book" / "adding_a_report.md").read_text(encoding="utf-8")


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "depth.toml").write_text(blocks("toml"), encoding="utf-8")
    return tmp_path


def made_up(root, small, large):
    """The verdicts on full records with these mean accuracies."""
    report = reports.read("depth", root)
    made = [
        Record(recipe, "finished", {"test_accuracy": mean + 0.001 * recipe.seed})
        for run, mean in (("small", small), ("large", large))
        for recipe in report.recipes(run)
    ]
    save(made, root / "records")
    return {j.id: j.verdict for j in judge("depth", Records(root / "records"), root)}


def test_its_claims_wait_for_records(root):
    assert {j.verdict for j in judge("depth", Records(root / "records"), root)} == {"not run"}


def test_its_claims_are_judged_both_ways(root):
    assert made_up(root, 0.9275, 0.9) == {"D1": "reproduced", "D2": "reproduced"}
    assert made_up(root, 0.85, 0.9) == {"D1": "not reproduced", "D2": "not reproduced"}


def test_its_aim_is_open(root):
    (found,) = attempts(reports.read("depth", root), Records(root / "records"))
    assert (found.state, len(found.missing)) == ("open", 3)


def test_its_smoke_runs_train(root):
    plans = reports.read("depth", root).recipes(profile="smoke")
    execution = Execution(records_dir=root / "records", runs_dir=root / "runs")
    outcome = load_or_train(plans, execution)
    assert [r.recipe.run for r in outcome.records] == ["small", "large", "longer"]
    assert not outcome.missing


def test_its_commands_are_commands():
    commands = [line.split()[1:] for line in blocks("sh").splitlines() if line.startswith("secondlook ")]
    assert len(commands) == 5
    for words in commands:
        parser().parse_args(words)
