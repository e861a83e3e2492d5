"""Reasons speak of runs, metrics and variants in words; a name from code stands between backticks or nowhere."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from secondlook import reports
from secondlook.claims.judge import judge
from secondlook.claims.plain import in_words
from secondlook.record import Records


def asked(report: str, *runs: tuple[str, str]):
    """Evidence that has asked for these runs, each with its variant."""
    return SimpleNamespace(asked=[reports.read(report).recipes(run, variant)[0] for run, variant in runs])


@pytest.mark.parametrize("report", ["linear", "alexnet", "optimizers", "vgg", "vae"])
def test_no_reason_and_no_indication_has_a_name_from_code(report):
    for j in judge(report, Records(Path(__file__).parent.parent / "records")):
        told = [j.says, j.why, *((j.indication.says, j.indication.why) if j.indication else ())]
        for text in told:
            assert not re.search(r"\w_\w", re.sub(r"`[^`]*`", "", text)), (j.id, text)


def test_a_run_is_named_as_its_report_says_it_and_a_point_of_a_grid_by_its_value():
    e = asked("linear", ("c4-full", "as_coded"), ("c2-half", "as_coded"))
    assert in_words("the smallest is c4-full − c2-half: 0.1", e) == (
        "the smallest is combination 4 (full) − combination 2 (half): 0.1"
    )


def test_runs_that_begin_alike_are_told_apart():
    e = asked("vae", ("vgg-clean", "as_coded"), ("vgg-noisy", "as_coded"))
    first, second = in_words("vgg-clean, vgg-noisy", e).split(" digits")[:2]
    assert first.endswith("clean")
    assert second.endswith("noisy")


def test_metrics_and_variants_lose_their_underscores_and_code_keeps_them():
    e = asked("linear", ("c4-full", "as_coded"))
    assert in_words("train_loss of `secondlook train --run c4-full --variant as_coded`, as_coded", e) == (
        "training loss of `secondlook train --run c4-full --variant as_coded`, as coded"
    )
    assert in_words("half-width, k-means, 1e-05 and c8-full", e) == "half-width, k-means, 1e-05 and c8-full"
