"""Learning rates by epoch, against the formulas and the values that the reports' code gives."""

import math

import pytest
import torch

from secondlook.recipe import RecipeError
from secondlook.training import schedules


def rates(table, epochs, losses=None, steps=4, rate=1e-3):
    """The rate of each epoch's first step (of every step where the schedule moves by steps)."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = schedules.build(table, optimizer, epochs=epochs, steps_per_epoch=steps)
    found = []
    for epoch in range(epochs):
        for step in range(steps):
            if step == 0 or table["name"] == "one_cycle":
                found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedules.advance(scheduler, after="step")
        schedules.advance(scheduler, losses[epoch] if losses else None, after="epoch")
    return found


def test_halve_then_tenth_compounds_as_the_code_does():
    found = rates({"name": "halve_then_tenth"}, 30)
    expected = {0: 1e-3, 9: 1e-3, 10: 5e-4, 19: 9.765625e-7, 20: 9.765625e-8, 29: 9.765625e-17}
    assert {epoch: found[epoch] for epoch in expected} == pytest.approx(expected, rel=1e-9)


def test_exponential_follows_the_printed_formula():
    found = rates({"name": "exponential", "decay_rate": 0.5, "decay_step": 3}, 10)
    assert found == pytest.approx([1e-3 * 0.5 ** (t / 3) for t in range(10)])


def test_exp_after_is_constant_and_then_falls_by_a_tenth_of_e():
    found = rates({"name": "exp_after"}, 20)
    assert found[:10] == [1e-3] * 10
    assert found[10:] == pytest.approx([1e-3 * math.exp(-0.1 * k) for k in range(1, 11)])


def test_multi_step_step_constant_and_cosine():
    assert rates({"name": "multi_step", "milestones": [2, 3]}, 5) == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-5])
    assert rates({"name": "step", "every": 2, "factor": 0.5}, 5) == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])
    assert rates({"name": "constant"}, 3) == [1e-3] * 3
    assert rates({"name": "cosine"}, 4) == pytest.approx([5e-4 * (1 + math.cos(math.pi * t / 4)) for t in range(4)])


def test_plateau_waits_for_its_patience_and_not_longer():
    found = rates({"name": "plateau", "patience": 2}, 7, losses=[1.0, 0.9, 0.95, 0.95, 0.95, 0.95, 0.95])
    assert found == pytest.approx([1e-3] * 5 + [1e-4] * 2)


def test_one_cycle_peaks_at_the_rate_and_ends_low():
    found = rates({"name": "one_cycle", "peak_at": 0.25}, 10, steps=10)
    assert len(found) == 100
    assert max(found) == pytest.approx(1e-3, rel=1e-3)
    assert found.index(max(found)) == pytest.approx(25, abs=1)
    assert found[0] == pytest.approx(1e-3 / 25)
    assert found[-1] < 1e-5


@pytest.mark.parametrize(
    "table",
    [{"name": "plateau", "patience": 1}, {"name": "one_cycle"}, {"name": "exp_after", "after": 2}, {"name": "cosine"},
     {"name": "multi_step", "milestones": [1, 3]}],
)  # fmt: skip
def test_a_continued_schedule_gives_the_same_rates(table):
    def run(cut):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = schedules.build(table, optimizer, epochs=6, steps_per_epoch=3)
        found = []
        for epoch in range(6):
            if epoch == cut:
                saved, weights = scheduler.state_dict(), optimizer.state_dict()
                optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
                scheduler = schedules.build(table, optimizer, epochs=6, steps_per_epoch=3)
                optimizer.load_state_dict(weights)
                scheduler.load_state_dict(saved)
            for _ in range(3):
                found.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedules.advance(scheduler, after="step")
            schedules.advance(scheduler, 1.0, after="epoch")
        return found

    assert run(cut=3) == run(cut=None)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"name": "platau"}, "did you mean 'plateau'"),
        ({"name": "plateau"}, "patience is missing"),
        ({"name": "plateau", "patience": 2, "facter": 0.1}, "did you mean 'factor'"),
        ({"name": "step", "every": 0}, "must be greater than or equal to 1"),
        ({"name": "multi_step", "milestones": ["ten"]}, r"milestones\.0 must be a valid integer"),
    ],
)
def test_a_bad_table_is_refused_by_key(table, told):
    with pytest.raises(RecipeError, match=told):
        rates(table, 1)
