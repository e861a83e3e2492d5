"""The hand-written linear classifier: gradients, penalties, groups, divergence, interruption."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.data import draws
from secondlook.recipe import Linear
from secondlook.training import linear
from secondlook.training.checkpoint import Checkpoint
from secondlook.training.stopping import Stopped

LOSSES = ("crammer_singer", "weston_watkins", "softmax")
CLASSES, FEATURES, IMAGES = 4, 6, 120


def reference_loss(scores, y, loss):
    """The formulas of the literature, image by image, in plain Python."""
    s = scores.tolist()
    margins = [1 + s[j] - s[y] for j in range(len(s)) if j != y]
    if loss == "crammer_singer":
        return max(0.0, max(margins))
    if loss == "weston_watkins":
        return sum(max(0.0, m) for m in margins)
    return math.log(sum(math.exp(v) for v in s)) - s[y]


score_lists = st.lists(st.floats(-3, 3, allow_nan=False).map(lambda v: round(v, 3)), min_size=CLASSES, max_size=CLASSES)


@given(score_lists, st.integers(0, CLASSES - 1), st.sampled_from(LOSSES))
def test_each_loss_is_its_formula(scores, y, loss):
    value, _ = linear.loss_and_gradient(torch.tensor([scores], dtype=torch.float64), torch.tensor([y]), loss)
    assert float(value) == pytest.approx(reference_loss(torch.tensor(scores, dtype=torch.float64), y, loss), abs=1e-12)


@given(score_lists, st.integers(0, CLASSES - 1), st.sampled_from(LOSSES))
def test_the_gradient_is_the_slope_of_the_loss(scores, y, loss):
    s = torch.tensor(scores, dtype=torch.float64)
    step = 1e-6
    margins = sorted(1 + s[j] - s[y] for j in range(CLASSES) if j != y)
    at_a_kink = any(abs(m) < 1e-4 for m in margins) or margins[-1] - margins[-2] < 1e-4
    if loss != "softmax" and at_a_kink:
        return  # the slope jumps there
    _, gradient = linear.loss_and_gradient(s[None], torch.tensor([y]), loss)
    for j in range(CLASSES):
        moved = torch.eye(CLASSES, dtype=torch.float64)[j] * step
        slope = (reference_loss(s + moved, y, loss) - reference_loss(s - moved, y, loss)) / (2 * step)
        assert float(gradient[0, j]) == pytest.approx(slope, abs=1e-5)


@given(st.integers(0, 1000), st.sampled_from(LOSSES), st.sampled_from(("l2", "l1", "none")))
@settings(max_examples=30)
def test_the_whole_gradient_equals_autograd(seed, loss, kind):
    s = Linear(loss=loss, penalty=kind, strength=0.3)
    x, weights = (
        draws.normal(seed, word, torch.arange(n * FEATURES)).double().view(n, -1)
        for word, n in (("x", 9), ("w", CLASSES))
    )
    weights, y = weights.T.contiguous(), draws.integers(seed, "y", 0, 9, CLASSES, device="cpu")
    by_hand = x.T @ linear.loss_and_gradient(x @ weights, y, loss)[1] / 9 + linear.penalty_gradient(weights, s)
    leaf = weights.clone().requires_grad_()
    total = sum(_autograd_loss(row @ leaf, target, loss) for row, target in zip(x, y)) / 9
    (total + linear.penalty(leaf, kind, 0.3)).backward()
    assert torch.allclose(by_hand, leaf.grad, rtol=1e-12, atol=1e-12)


def _autograd_loss(scores, y, loss):
    if loss == "softmax":
        return torch.nn.functional.cross_entropy(scores[None], y[None])
    margins = (1 + scores - scores[y])[torch.arange(CLASSES) != y].clamp(min=0)
    return margins.max() if loss == "crammer_singer" else margins.sum()


def test_half_the_penalty_gradient_is_half_of_it():
    weights = torch.randn(5, 3, dtype=torch.float64)
    full, half = (linear.penalty_gradient(weights, Linear(penalty_gradient=word)) for word in ("full", "half"))
    assert torch.equal(full, 2 * half)


# ------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def images():
    x = draws.normal(0, "images", torch.arange(IMAGES * FEATURES)).double().view(IMAGES, FEATURES)
    return x, (x @ torch.linspace(-1, 1, FEATURES * CLASSES, dtype=torch.float64).view(FEATURES, -1)).argmax(1)


def run(members, images, seed=3, **more):
    x, y = images
    return linear.train(
        members, lambda i: x[i], y, (x[:20], y[:20]), seed, classes=CLASSES, dtype=torch.float64, **more
    )


BASE = {"strength": 0.1, "learning_rate": 0.05, "batch_size": 8, "epochs": 3.0}
SOME = [
    Linear(**{**BASE, "loss": "crammer_singer", "penalty": "l2", "batch_size": 4}),
    Linear(**BASE, loss="weston_watkins", penalty="l2", penalty_gradient="half"),
    Linear(**{**BASE, "loss": "weston_watkins", "penalty": "l1", "strength": 0.01, "learning_rate": 0.02}),
    Linear(**{**BASE, "batch_size": 2}, loss="softmax", penalty="none", optimizer="nesterov", schedule="cosine"),
]


def naive(s, images, seed):
    """The report's update rule (section 1.3), one step after the other, in NumPy."""
    x, y = (t.numpy() for t in images)
    w = draws.normal(seed, "initial weights", np.arange(FEATURES * CLASSES)).reshape(FEATURES, CLASSES).astype(float)
    w, b = w * s.initial_std, np.zeros(CLASSES)
    total = round(len(y) * s.epochs)
    for step in range(total // s.batch_size):
        index = draws.integers(seed, "batch", step * s.batch_size, s.batch_size, len(y))
        dw, db = np.zeros_like(w), np.zeros_like(b)
        for i in index:
            g = linear.loss_and_gradient(torch.from_numpy(x[i] @ w + b)[None], torch.tensor([y[i]]), s.loss)[1][
                0
            ].numpy()
            dw += np.outer(x[i], g) / s.batch_size
            db += g / s.batch_size
        penalty = {"l2": (2 if s.penalty_gradient == "full" else 1) * w, "l1": np.sign(w), "none": 0 * w}[s.penalty]
        w, b = w - s.learning_rate * (dw + s.strength * penalty), b - s.learning_rate * db
    return w, b


@pytest.mark.parametrize("s", SOME[:3], ids=lambda s: f"{s.loss}-{s.penalty}")
def test_training_follows_the_update_rule_of_the_report(s, images):
    w, b = naive(s, images, 3)
    (member,) = run([s], images)
    np.testing.assert_allclose(member.weights.numpy(), w, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(member.biases.numpy(), b, rtol=1e-9, atol=1e-12)


def test_a_group_trains_each_member_as_if_alone(images):
    together = run(SOME, images)
    for s, member in zip(SOME, together):
        (alone,) = run([s], images)
        assert torch.allclose(member.weights, alone.weights, rtol=1e-10, atol=1e-14)
        assert member.steps == alone.steps == round(IMAGES * s.epochs) // s.batch_size


def test_steps_are_those_of_the_report():
    x, y = torch.zeros(490, 2), torch.zeros(490, dtype=torch.int64)
    members = linear.train(
        [Linear(batch_size=size, learning_rate=0.0) for size in (5, 20, 40)],
        lambda i: x[i],
        y,
        (x[:1], y[:1]),
        0,
        classes=2,
    )
    assert [m.steps for m in members] == [588, 147, 73]  # a hundredth of 49,000 images: 5,880, 1,470 and 735 in full


def test_a_diverging_member_is_a_result_and_leaves_its_neighbours_alone(images):
    wild = Linear(strength=5e5, learning_rate=1e-5, batch_size=4, epochs=60.0)  # 1 − 2γλ = −9
    calm = replace(SOME[0], epochs=60.0)
    first, second = run([wild, calm], images)
    (alone,) = run([calm], images)
    assert first.diverged_step is not None
    assert 100 < first.diverged_step < 700  # 9^n leaves float64 after about 325 steps
    assert second.diverged_step is None
    assert torch.allclose(second.weights, alone.weights, rtol=1e-10)


def test_an_interrupted_run_ends_with_the_same_bits(images, tmp_path):
    straight = run(SOME, images)
    path, stops = tmp_path / "run.ckpt", 0
    while True:
        checkpoint = Checkpoint(path, {"run": "x"}, deadline=time.monotonic())  # one block at a time
        try:
            cut = run(SOME, images, checkpoint=checkpoint)
            break
        except Stopped:
            stops += 1
    assert stops > 10
    for a, b in zip(straight, cut):
        assert torch.equal(a.weights, b.weights)
        assert torch.equal(a.biases, b.biases)
        assert {k: np.array(v).tobytes() for k, v in a.history.items()} == {
            k: np.array(v).tobytes() for k, v in b.history.items()
        }


def test_batch_sizes_that_do_not_nest_are_refused(images):
    with pytest.raises(ValueError, match="divide the largest"):
        run([SOME[0], replace(SOME[0], batch_size=3)], images)


def test_members_see_the_same_images_whatever_their_batch_size():
    seen = []
    x, y = torch.arange(40.0).view(40, 1), torch.zeros(40, dtype=torch.int64)

    def fetch(index):
        seen.append(index)
        return x[index]

    linear.train([Linear(batch_size=4), Linear(batch_size=8)], fetch, y, (x[:0], y[:0]), 5, classes=2)
    stream = torch.cat(seen[1:])[:240]
    assert torch.equal(stream, draws.integers(5, "batch", 0, 240, 40, device="cpu"))
