"""A linear classifier from scratch: scores, losses, penalties and their gradients written out, no autograd.

Many settings train at once. All members of a group see the same stream of images (draw number p is the same image for
every member, whatever its batch size), so a block of images is fetched once and serves them all, and members of equal
batch size share their matrix products. Each member still takes exactly the steps it would take alone.

Shapes: x is (n, D), a member's weights W are (D, C) and its biases b are (C,), with C classes. The penalty is on W
only.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from secondlook.data import draws
from secondlook.recipe import Linear

MOMENTUM = 0.9  # of Nesterov's method


def loss_and_gradient(scores: Tensor, labels: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """The loss of each image and its derivative with respect to the scores.

    scores (..., M, C), labels (M,); returns (..., M) and (..., M, C). `crammer_singer` is
    max(0, 1 + max_{j≠y} s_j − s_y) (Crammer and Singer 2001; the report, section 1.2), `weston_watkins` is
    Σ_{j≠y} max(0, 1 + s_j − s_y) (Weston and Watkins 1999), `softmax` the cross-entropy. At a tie the first largest
    rival takes the gradient.
    """
    index = labels.expand(scores.shape[:-1]).unsqueeze(-1)
    if loss == "softmax":
        log_p = torch.log_softmax(scores, -1)
        gradient = log_p.exp()
        return -log_p.gather(-1, index).squeeze(-1), gradient.scatter_add_(
            -1, index, torch.full_like(log_p[..., :1], -1.0)
        )
    margins = scores - scores.gather(-1, index) + 1
    if loss == "weston_watkins":
        margins.scatter_(-1, index, 0.0)
        gradient = (margins > 0).to(scores.dtype)
        value = margins.clamp_(min=0).sum(-1)
        return value, gradient.scatter_(-1, index, -gradient.sum(-1, keepdim=True))
    top, rival = margins.scatter_(-1, index, -math.inf).max(-1, keepdim=True)
    violated = (top > 0).to(scores.dtype)
    gradient = torch.zeros_like(scores).scatter_(-1, rival, violated).scatter_(-1, index, -violated)
    return top.clamp_(min=0).squeeze(-1), gradient


def penalty(weights: Tensor, kind: str, strength: float) -> Tensor:
    """λ ΣW² (`l2`), λ Σ|W| (`l1`) or 0 (`none`), over the weights without the biases."""
    if kind == "none":
        return weights.new_zeros(())
    return strength * (weights.square() if kind == "l2" else weights.abs()).sum()


def penalty_gradient(weights: Tensor, settings: Linear) -> Tensor:
    """λ·2W or, as often coded, λW for L2 (`penalty_gradient` full or half); λ·sign W for L1."""
    if settings.penalty == "l2":
        return settings.strength * (2.0 if settings.penalty_gradient == "full" else 1.0) * weights
    return settings.strength * weights.sign() if settings.penalty == "l1" else torch.zeros_like(weights)


@dataclass
class Member:
    """One set of settings in a group, and what became of it. weights (D, C), biases (C,)."""

    settings: Linear
    weights: Tensor
    biases: Tensor
    steps: int = 0
    seconds: float = 0.0  # of the group's training, since its beginning
    diverged_step: int | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    snapshots: list[tuple[int, Tensor]] = field(default_factory=list)


class Batch:
    """Members of one batch size, loss, optimiser and schedule side by side in one weight matrix (D, K·C)."""

    def __init__(self, settings: list[Linear], features: int, classes: int, seed: int, dtype: torch.dtype):
        self.settings, self.first, self.classes = settings, settings[0], classes
        start = (
            draws.normal(seed, "initial weights", torch.arange(features * classes)).view(features, classes).to(dtype)
        )
        self.weights = torch.cat([start * s.initial_std for s in settings], 1)
        self.biases = torch.zeros(len(settings) * classes, dtype=dtype)
        self.velocity = torch.zeros_like(self.weights) if self.first.optimizer == "nesterov" else None
        self.velocity_b = torch.zeros_like(self.biases)
        wide = lambda values: torch.tensor(values, dtype=dtype).repeat_interleave(classes)  # noqa: E731
        self.rate = wide([s.learning_rate for s in settings])
        self.l2 = wide(
            [s.strength * (2.0 if s.penalty_gradient == "full" else 1.0) * (s.penalty == "l2") for s in settings]
        )
        self.l1 = wide([s.strength * (s.penalty == "l1") for s in settings])
        self.has_l1 = bool(self.l1.any())
        self.step_count = 0
        self.diverged = torch.full((len(settings),), -1, dtype=torch.int64)
        self.loss_sum = torch.zeros(len(settings), dtype=dtype)
        self.loss_count = 0

    def scores(self, x: Tensor) -> Tensor:
        """(K, M, C) scores of the images x (M, D), as a view."""
        return torch.addmm(self.biases, x, self.weights).view(len(x), -1, self.classes).transpose(0, 1)

    def step(self, x: Tensor, y: Tensor, factor: float) -> None:
        """One step of every member on the images x (M, D), with `factor` times its learning rate."""
        if self.velocity is not None:  # look ahead, where Nesterov takes the gradient
            self.weights.add_(self.velocity, alpha=MOMENTUM)
            self.biases.add_(self.velocity_b, alpha=MOMENTUM)
        loss, gradient = loss_and_gradient(self.scores(x), y, self.first.loss)
        loss = loss.mean(1)
        gradient = gradient.transpose(0, 1).reshape(len(x), -1)
        rate = self.rate * factor
        scaled = gradient * (-rate / len(x))
        if self.velocity is None:
            self._plain(x, scaled, rate)
        else:
            self._nesterov(x, scaled, rate)
        self.loss_sum += loss
        self.loss_count += 1
        self.diverged = torch.where((self.diverged < 0) & ~loss.isfinite(), self.step_count, self.diverged)
        self.step_count += 1

    def _plain(self, x: Tensor, scaled: Tensor, rate: Tensor) -> None:
        sign = self.weights.sign().mul_(rate * self.l1) if self.has_l1 else None
        self.weights.mul_(1 - rate * self.l2).addmm_(x.T, scaled)
        if sign is not None:
            self.weights.sub_(sign)
        self.biases += scaled.sum(0)

    def _nesterov(self, x: Tensor, scaled: Tensor, rate: Tensor) -> None:
        pull = self.weights * (-rate * self.l2)
        if self.has_l1:
            pull -= self.weights.sign() * (rate * self.l1)
        change = pull.addmm_(x.T, scaled)
        change_b = scaled.sum(0)
        self.weights += change
        self.biases += change_b
        self.velocity.mul_(MOMENTUM).add_(change)
        self.velocity_b.mul_(MOMENTUM).add_(change_b)

    def state(self) -> dict:
        names = ("weights", "biases", "velocity", "velocity_b", "diverged", "loss_sum")
        return {**{n: getattr(self, n) for n in names}, "step_count": self.step_count, "loss_count": self.loss_count}

    def restore(self, state: dict) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def train(settings: list[Linear], fetch: Callable[[Tensor], Tensor], labels: Tensor,
          validation: tuple[Tensor, Tensor], seed: int, *, classes: int, points: int = 60, snapshots: int = 0,
          progress: Callable[[float], None] = lambda share: None, checkpoint=None,
          dtype: torch.dtype = torch.float32) -> list[Member]:  # fmt: skip
    """Trains every member of a group on the same stream of images; returns them in order.

    fetch(indices) gives the images (M, D); labels (n,) of all training images; validation is (x, y) or (empty, empty).
    Draws are with replacement, n·epochs of them. `points` is how often the validation loss is taken; `snapshots` how
    many copies of the weights are kept on the way. `checkpoint` is offered the state after every block, and a run goes
    on from the one it finds. Raises ValueError for a group that cannot share a stream.
    """
    block, total = _stream(settings, len(labels))
    features = fetch(torch.zeros(1, dtype=torch.int64)).shape[1]
    keyed: dict[tuple, list[int]] = {}
    for i, s in enumerate(settings):
        keyed.setdefault((s.batch_size, s.loss, s.optimizer, s.schedule), []).append(i)
    batches = {key: Batch([settings[i] for i in own], features, classes, seed, dtype) for key, own in keyed.items()}
    members = {i: Member(s, None, None) for i, s in enumerate(settings)}
    blocks = -(-total // block)
    marks, keep = _moments(blocks, points, snapshots)
    state = checkpoint.load() if checkpoint else None
    first = _restore(state, batches, members) if state else 0
    since = time.perf_counter() - (state or {}).get("seconds", 0.0)
    for number in range(first, blocks + 1):
        if number in marks or number in keep:
            _observe(min(number * block, total), batches, keyed, members, validation, number in keep)
        if number == blocks:
            break
        index = draws.integers(seed, "batch", number * block, block, len(labels), device="cpu")
        x, y = fetch(index).to(dtype), labels[index]
        for (size, _, _, schedule), batch in batches.items():
            for start in range(0, min(block, total - number * block) - size + 1, size):
                part = slice(start, start + size)
                batch.step(x[part], y[part], _factor(schedule, (number * block + start) / total))
        progress((number + 1) / blocks)
        if checkpoint and number + 1 == blocks:
            checkpoint.save(_state(blocks, batches, members, since))
        elif checkpoint:
            checkpoint.offer(lambda done=number + 1: _state(done, batches, members, since))
    for key, own in keyed.items():
        _finish(batches[key], [members[i] for i in own], time.perf_counter() - since)
    return [members[i] for i in range(len(settings))]


def _stream(settings: list[Linear], images: int) -> tuple[int, int]:
    """Images in a block, the largest batch of the group, and in all blocks. Raises ValueError as `train`."""
    if len({s.epochs for s in settings}) > 1:
        raise ValueError("members of a group must have the same number of epochs")
    block = max(s.batch_size for s in settings)
    if any(block % s.batch_size for s in settings):
        raise ValueError("every batch size of a group must divide the largest")
    return block, round(images * settings[0].epochs)


def _moments(blocks: int, points: int, snapshots: int) -> tuple[set[int], set[int]]:
    """Before which blocks the validation loss is taken, and the weights are kept: evenly, and more at the start."""
    marks = {round(blocks * k / points) for k in range(points + 1)}
    return marks, {round(blocks * (k / max(1, snapshots - 1)) ** 2) for k in range(snapshots)}


def _factor(schedule: str, share: float) -> float:
    """Of the learning rate: constant, or a cosine to zero after a linear start over the first twentieth."""
    return 1.0 if schedule == "constant" else min(1.0, share * 20) * 0.5 * (1 + math.cos(math.pi * share))


def _observe(position: int, batches, keyed, members, validation, keep: bool) -> None:
    x, y = validation
    for key, own in keyed.items():
        batch = batches[key]
        scores = batch.scores(x) if len(x) else None
        for k, i in enumerate(own):
            history, s = members[i].history, members[i].settings
            weights = batch.weights[:, k * batch.classes : (k + 1) * batch.classes]
            row = {"iteration": position // s.batch_size, "penalty": float(penalty(weights, s.penalty, s.strength))}
            row["train_loss"] = float(batch.loss_sum[k] / batch.loss_count) if batch.loss_count else math.nan
            if scores is not None:
                row["validation_loss"] = float(loss_and_gradient(scores[k], y, s.loss)[0].mean())
                row["validation_accuracy"] = float((scores[k].argmax(-1) == y).double().mean())
            for name, value in row.items():
                history.setdefault(name, []).append(value)
            if keep:
                members[i].snapshots.append((row["iteration"], weights.clone()))
        batch.loss_sum.zero_()
        batch.loss_count = 0


def _finish(batch: Batch, members: list[Member], seconds: float) -> None:
    for k, member in enumerate(members):
        columns = slice(k * batch.classes, (k + 1) * batch.classes)
        member.weights, member.biases = batch.weights[:, columns].contiguous(), batch.biases[columns].clone()
        member.steps, member.seconds = batch.step_count, seconds
        member.diverged_step = int(batch.diverged[k]) if batch.diverged[k] >= 0 else None


def _state(done: int, batches, members, since: float) -> dict:
    told = [{"history": m.history, "snapshots": m.snapshots} for m in members.values()]
    own, seconds = [b.state() for b in batches.values()], time.perf_counter() - since
    return {"blocks": done, "batches": own, "members": told, "seconds": seconds}


def _restore(state: dict, batches, members) -> int:
    for batch, saved in zip(batches.values(), state["batches"], strict=True):
        batch.restore(saved)
    for member, saved in zip(members.values(), state["members"], strict=True):
        member.history, member.snapshots = saved["history"], [tuple(s) for s in saved["snapshots"]]
    return state["blocks"]
