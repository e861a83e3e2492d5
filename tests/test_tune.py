"""`secondlook tune`: one study that goes on, on held-out images, over the settings of a run."""

import json

import pytest

from secondlook.cli import main
from secondlook.record import Records
from secondlook.reports import read
from secondlook.runs import Execution
from secondlook.training.stopping import Stopped
from secondlook.tune import SHARES, Study

RECIPE = read("linear").recipes("c4-full", "as_published", "smoke")[0]


@pytest.fixture
def here(tmp_path):
    return Execution(tmp_path, tmp_path / "records", tmp_path / "runs", "cpu")


def test_a_study_begins_with_the_reports_settings_and_finds_no_worse_ones(tmp_path, here):
    study = Study(RECIPE, tmp_path / "one.db", seed=1)
    study.run(6, here)
    ended = study.ended()
    assert len(ended) == 6
    assert ended[0].params == {"learning_rate": RECIPE.settings.learning_rate, "strength": RECIPE.settings.strength}
    assert study.study.best_value >= ended[0].value
    low, high = ended[0].params["learning_rate"] / 30, ended[0].params["learning_rate"] * 30
    assert all(0.99 * low <= t.params["learning_rate"] <= 1.01 * high for t in ended)
    assert not list((tmp_path / "records").glob("**/*.json"))


def test_the_test_set_stays_closed_and_rungs_are_shares_of_the_epochs(tmp_path, here):
    study = Study(RECIPE, tmp_path / "one.db")
    study.run(2, here)
    records = Records(here.runs_dir).of("linear").values()
    assert not any("test_accuracy" in r.metrics for r in records)
    assert {r.recipe.settings.epochs for r in records} <= {RECIPE.settings.epochs / share for share in SHARES}


def test_the_worse_half_is_left_behind(tmp_path, here):
    study = Study(RECIPE, tmp_path / "one.db")
    study.run(8, here)
    states = [t.state.name for t in study.ended()]
    assert {"COMPLETE", "PRUNED"} == set(states)
    rung = {t.number: t.intermediate_values[1] for t in study.ended()}
    left = [rung[t.number] for t in study.ended() if t.state.name == "PRUNED" and len(t.intermediate_values) == 1]
    assert not left or min(left) < max(rung.values())


def test_an_interrupted_study_is_one_study_and_trains_nothing_twice(tmp_path, here, monkeypatch):
    study = Study(RECIPE, tmp_path / "one.db", seed=3)
    from secondlook import tune

    calls, produce = [], tune.produce

    def interrupted(recipes, execution):
        calls.append([r.id for r in recipes])
        if len(calls) == 2:
            produce(recipes[:1], execution)
            raise Stopped(here.runs_dir, None)
        return produce(recipes, execution)

    monkeypatch.setattr(tune, "produce", interrupted)
    with pytest.raises(Stopped):
        study.run(4, here)
    again = Study(RECIPE, tmp_path / "one.db", seed=3)
    assert again.study.study_name == study.study.study_name
    again.run(4, here)
    assert len(again.ended()) == 4
    trained = [i for ids in calls for i in ids]
    assert len(trained) - len(set(trained)) <= len(calls[1]) - 1  # what was not whole when it stopped
    params = [tuple(t.params.values()) for t in again.ended()]
    assert tuple(study.values.values()) in params


def test_the_command_tells_the_best_and_goes_on(tmp_path, capsys):
    command = ["tune", "linear/c4-full", "--profile", "smoke", "--runs-dir", str(tmp_path), "--processes", "1"]
    assert main([*command, "--trials", "2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert main([*command, "--trials", "3"]) == 0
    told = capsys.readouterr().out
    assert first["ended"] == 2
    assert "2 of 3 trials are there" in told
    assert "(as the report)" in told


@pytest.mark.parametrize(
    ("more", "says"),
    [(["linear"], "REPORT/RUN"), (["linear/c44"], "did you mean"), (["vae/vae-clean"], "classifier"),
     (["linear/c4-full", "--over", "strenght"], "did you mean 'strength'"),
     (["linear/c4-full", "--over", "loss"], "no number")],
)  # fmt: skip
def test_what_cannot_be_tuned_is_refused_before_any_work(tmp_path, capsys, more, says):
    assert main(["tune", *more, "--profile", "smoke", "--runs-dir", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


def test_a_damaged_study_is_told(tmp_path, capsys):
    (tmp_path / "one.db").write_bytes(b"not a database" * 99)
    command = ["tune", "linear/c4-full", "--profile", "smoke", "--runs-dir", str(tmp_path)]
    assert main([*command, "--study", str(tmp_path / "one.db")]) == 2
    assert "one.db: this is no study" in capsys.readouterr().err
