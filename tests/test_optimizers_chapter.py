"""The four optimisers' chapter: Keras' definitions, the path of the weights, and what shows it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_up import told

from secondlook import models, reports
from secondlook.evaluation import curves
from secondlook.figures import moves, trajectories
from secondlook.insight import trajectory
from secondlook.recipe import Classifier
from secondlook.record import Record
from secondlook.training import losses, optimizers, schedules

REPORT = reports.read("optimizers")


# ---- Keras' definitions


def test_the_l2_term_is_keras_own_the_sum_of_squares_of_one_kernel():
    torch.manual_seed(0)
    net = models.build("keras_cnn", stage=3, width=0.25).double()
    logits, labels = torch.zeros(2, 10, dtype=torch.float64), torch.tensor([0, 1])
    with_term, without = (Classifier(penalty=table) for table in ({"l2_dense": 0.01}, {}))
    loss, _ = losses.Classification(with_term, net)(logits, labels)
    term = loss - losses.Classification(without, net)(logits, labels)[0]
    kernel = net.dense.weight.detach().numpy()
    assert term.item() == pytest.approx(0.01 * float((kernel**2).sum()), rel=1e-12)  # without a half, without a bias
    term.backward()
    assert net.dense.weight.grad.numpy() == pytest.approx(0.02 * kernel)
    assert [n for n, p in net.named_parameters() if p.grad is not None] == ["dense.weight"]


def test_the_term_goes_through_the_optimiser_and_weight_decay_would_not():
    def stepped(weight_decay, gradient):
        w = torch.nn.Parameter(torch.tensor([0.5], dtype=torch.float64))
        optimizer = optimizers.build({"name": "adamw", "learning_rate": 0.1, "weight_decay": weight_decay}, [w])
        w.grad = gradient(w.detach())
        optimizer.step()
        return w.item()

    assert stepped(0.0, lambda w: 0.02 * w) == pytest.approx(0.4, abs=1e-6)  # Adam takes a whole step for it alone
    assert stepped(0.02, torch.zeros_like) == pytest.approx(0.5 * (1 - 0.1 * 0.02))


@pytest.mark.parametrize("run", ["final-adam", "final-sgd", "final-rmsprop", "final-adamax"])
def test_the_rates_of_the_final_runs_are_those_of_the_script(run):
    settings = REPORT.recipes(run, "as_coded")[0].settings
    first = settings.optimizer["learning_rate"]
    expected = {9: 1.0, 10: 0.5, 19: 0.5**10, 20: 0.5**10 * 0.1, 29: 0.5**10 * 1e-10}
    left = curves.rate_left(settings.schedule, 30)
    assert {e: left[e] for e in expected} == pytest.approx(expected, rel=1e-12)
    optimizer = optimizers.build(settings.optimizer, [torch.nn.Parameter(torch.zeros(1))])
    schedule = schedules.build(settings.schedule, optimizer, epochs=30, steps_per_epoch=1)
    for epoch in range(30):
        assert schedule.get_last_lr() == pytest.approx([first * left[epoch]], rel=1e-9)
        optimizer.step()
        schedules.advance(schedule, after="epoch")


TABLES = [{"name": "constant"}, {"name": "exp_after"}, {"name": "exp_after", "after": 3, "rate": 0.5},
          {"name": "halve_then_tenth", "halve_from": 4, "tenth_from": 7},
          {"name": "exponential", "decay_rate": 0.1, "decay_step": 10}]  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda t: "-".join(map(str, t.values())))
def test_the_drawn_schedule_is_the_one_that_trains(table):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, left = schedules.build(table, optimizer, epochs=15, steps_per_epoch=1), curves.rate_left(table, 15)
    for epoch in range(15):
        assert schedule.get_last_lr() == pytest.approx([2.0 * left[epoch]], rel=1e-9)
        optimizer.step()
        schedules.advance(schedule, after="epoch")


def test_a_schedule_that_is_not_drawn_is_refused():
    with pytest.raises(ValueError, match="unknown schedule 'cosine'"):
        curves.rate_left({"name": "cosine"}, 3)


def test_curves_are_measured_as_defined():
    assert curves.volatility([0.0, 1.0, 0.0, 1.0]) == pytest.approx(np.std([1, -1, 1]))
    assert curves.volatility(np.arange(10)) == 0
    assert curves.volatility([*np.arange(10), 99.0]) == 0  # what comes after the tenth epoch does not count
    assert np.isnan(curves.volatility([1.0, 2.0]))
    assert curves.epochs_to([0.1, 0.7, 0.6], 0.7) == 2
    assert curves.epochs_to([0.1, 0.6], 0.7) == np.inf
    assert curves.seconds_to([0.1, 0.7, 0.8], 0.7, [5, 6, 7]) == 11
    assert curves.seconds_to([0.1], 0.7, [5]) == np.inf
    assert curves.end_gap([0.5, 0.9], [0.5, 0.8]) == pytest.approx(0.1)


# ---- the path of the weights


@pytest.fixture(scope="module")
def trained():
    """A net that took a few steps, its path, and a batch."""
    torch.manual_seed(0)
    net = models.build("keras_cnn", stage=3, width=0.125)
    path, x, y = trajectory.Path(net, 4), torch.rand(40, 3, 32, 32), torch.arange(40) % 10
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for epoch in range(1, 5):
        optimizer.zero_grad()
        F.cross_entropy(net.train()(x), y).backward()
        optimizer.step()
        path.add(net, epoch)
    return net, path, (x, y)


def test_a_path_keeps_at_most_thirty_points_evenly_and_the_start():
    net = torch.nn.Linear(2, 1)
    path = trajectory.Path(net, 200)
    for epoch in range(1, 201):
        path.add(net, epoch)
    assert path.epochs == list(range(0, 197, 7))
    assert path.rows[0].shape == (3,)


def test_a_large_net_has_no_path():
    assert trajectory.fits(models.build("keras_cnn", stage=3))
    assert not trajectory.fits(torch.nn.Linear(1000, 501))


def test_a_plane_holds_a_path_that_lies_in_one():
    torch.manual_seed(1)
    basis = torch.linalg.qr(torch.randn(50, 2)).Q.T
    rows = torch.randn(6, 2) @ basis + torch.randn(50)
    places, directions, shares = trajectory.plane(rows)
    assert torch.allclose(rows[-1] + places @ directions, rows, atol=1e-5)
    assert torch.allclose(directions @ directions.T, torch.eye(2), atol=1e-5)
    assert shares.sum() == pytest.approx(1.0)
    assert shares[0] >= shares[1]
    assert torch.allclose(places[-1], torch.zeros(2), atol=1e-6)


def test_the_slice_is_the_loss_at_those_weights_and_leaves_the_net_alone(trained):
    net, path, (x, y) = trained
    before = {k: v.clone() for k, v in net.state_dict().items()}
    kept = trajectory.collect(path, net.train(), iter([(x, y)]))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(m.training for m in net.modules())
    assert kept["path_loss"].shape == (trajectory.SIDE, trajectory.SIDE)
    _, directions, _ = trajectory.plane(torch.stack(path.rows))
    axes = torch.zeros(2, 1)  # the end of training alone
    there = trajectory.loss_slice(net, path.rows[-1], directions, axes, x, y)
    for m in net.modules():  # evaluation, but the batch's own statistics
        m.train(isinstance(m, torch.nn.BatchNorm2d))
    with torch.no_grad():
        assert there.item() == pytest.approx(F.cross_entropy(net(x), y).item(), rel=1e-5)


def test_a_record_s_path_is_small_and_tells_distances(trained):
    net, path, batch = trained
    kept = trajectory.collect(path, net, iter([batch]))
    assert sum(v.nbytes for v in kept.values()) < 20_000
    assert kept["path_moves"] == pytest.approx([(b - a).norm().item() for a, b in zip(path.rows, path.rows[1:])])
    assert kept["path_sketch"].shape == (5, trajectory.SKETCH)
    exact = (path.rows[-1] - path.rows[0]).norm().item()
    assert np.linalg.norm(kept["path_sketch"][-1]) == pytest.approx(exact, rel=0.3)
    assert all(v.dtype.kind in "fi" for v in kept.values())


def test_a_path_that_is_not_finite_or_too_short_leaves_nothing(trained):
    net, path, batch = trained
    broken, short = trajectory.Path(net, 3), trajectory.Path(net, 3)
    broken.rows = [*path.rows[:2], path.rows[2] * float("nan")]
    assert trajectory.collect(broken, net, iter([batch])) == {}
    assert trajectory.collect(short, net, iter([batch])) == {}


# ---- the figure of it


@pytest.fixture(scope="module")
def four(trained):
    net, path, batch = trained
    kept = trajectory.collect(path, net, iter([batch]))
    found = {}
    for k, (label, run) in enumerate({"Adam": "adam", "SGD": "sgd", "RMSprop": "rmsprop"}.items(), 1):
        recipe = replace(REPORT.recipes(f"final-{run}", "as_coded")[0])
        arrays = {**kept, "path_sketch": kept["path_sketch"] * k}
        found[label] = Record(recipe, "finished", {}, {}, arrays)
    return found


def test_the_figure_of_paths_is_whole_and_its_slider_moves_marks_along_them(four):
    figure = trajectories(four)
    assert len(figure.to_json()) < 100_000
    assert figure.layout.title.text.replace("<br>", " ").startswith("RMSprop ends farthest from the start")
    (menu,), (slider,) = figure.layout.updatemenus, figure.layout.sliders
    assert [b.label for b in menu.buttons] == ["together", *(f"{n} and its loss" for n in four)]
    assert [t.visible for t in figure.data] == menu.buttons[0].args[0]["visible"]
    assert [s.label for s in slider.steps] == ["0", "1", "2", "3", "4"]
    moved, traces = slider.steps[0].args
    assert len(traces) == len(moved["x"]) == 6
    at_zero = [t for t in traces if figure.data[t].visible]
    starts = [(moved["x"][traces.index(t)][0], moved["y"][traces.index(t)][0]) for t in at_zero]
    assert len({(round(a, 3), round(b, 3)) for a, b in starts}) == 1  # all begin at one point
    for t, x in zip(traces, slider.steps[-1].args[0]["x"]):
        assert figure.data[t].x[0] == pytest.approx(x[0], abs=1e-3)


def test_records_without_a_path_are_refused(four):
    bare = {"Adam": replace(four["Adam"], arrays={})}
    assert "keeps no path" in told(trajectories(bare))
    assert "no records for trajectories" in told(trajectories({}))


def test_the_moves_are_drawn_for_each_epoch_and_the_title_compares_the_last_with_the_first(four):
    figure = moves(four)
    assert list(figure.data[0].x) == [1, 2, 3, 4]
    kept = four["Adam"].arrays["path_moves"]
    assert np.allclose(figure.data[0].y, kept)
    title = figure.layout.title.text.replace("<br>", " ")
    assert (
        f"by {100 * max(r.arrays['path_moves'][-1] / r.arrays['path_moves'][0] for r in four.values()):.1f} % of"
        in title
    )
    assert "keeps no path" in told(moves({"Adam": replace(four["Adam"], arrays={})}))


@pytest.mark.parametrize(("late", "epoch"), [(0.5, 4), (2e-3, 4), (1e-4, 3)])
def test_the_title_says_from_which_epoch_on_the_paths_stand_still(four, late, epoch):
    def slowing(record, third):
        found = {"path_epochs": np.arange(5), "path_moves": np.array([10.0, 5.0, third * 10.0, 0.0])}
        return replace(record, arrays={**record.arrays, **found})

    groups = {n: slowing(r, late if n == "SGD" else 1e-5) for n, r in four.items()}
    assert all(
        min(trace.y) > 0 and len(trace.x) == 3 for trace in moves(groups).data
    )  # a line ends where nothing moves
    assert moves(groups).layout.title.text.startswith(f"From epoch {epoch} on the weights move less than a thousandth")
