"""A training run on its way: what it counts, what it decides after an epoch, and all that a continued one remembers."""

import math
import time
import warnings

import torch
from torch import Tensor, nn

from secondlook.recipe import Classifier
from secondlook.training import optimizers, schedules
from secondlook.training.precision import autocast

REMEMBERED = ("epoch", "step", "steps", "status", "stopped_early", "history", "rates", "best", "best_epoch",
              "best_loss", "diverged")  # fmt: skip


class Run:
    """The net, its optimiser and scheduler, and how far they are. `state()` is what the rest of the run depends on.

    Afterwards `status` is finished or diverged, `history` has a list for each curve with a value for each epoch, and
    `net` its last weights or, with `restore_best`, those of `best_epoch`. A net with `members` is K nets side by side:
    losses are then (K,), and a member that diverges is left to itself.
    """

    def __init__(self, net: nn.Module, loader, settings: Classifier, objective, path=None):
        self.net, self.loader, self.settings, self.objective, self.path = net, loader, settings, objective, path
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.members = tuple(getattr(net, "members", ()))
        self.optimizer = optimizers.build(settings.optimizer, self.parameters)
        self.scheduler = schedules.build(
            settings.schedule, self.optimizer, epochs=settings.epochs, steps_per_epoch=loader.steps_per_epoch
        )
        shape = (*self.members, len(objective.names) + 2)  # what the objective sums, and two norms of the gradient
        self.sums = torch.zeros(shape, dtype=torch.float64, device=loader.device)
        self.finite = torch.zeros(self.members, dtype=torch.int64, device=loader.device)
        self.epoch = self.step = self.steps = 0
        self.status, self.stopped_early, self.best_epoch, self.best_loss = "running", False, -1, math.inf
        self.history: dict[str, list] = {}
        self.rates: list[list] = []  # [step, learning rate] wherever it changed in this epoch
        self.marks: list[Tensor] = []  # sums of losses so far in this epoch, every `log_every` steps
        self.best: dict[str, Tensor] = {}
        self.diverged: dict[int, list] = {}  # by member: step, learning rate
        self.seconds, self._since = 0.0, time.perf_counter()

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def share(self) -> float:
        """How much of the run is done."""
        return (self.epoch + self.step / self.loader.steps_per_epoch) / self.settings.epochs

    # ------------------------------------------------------------------ in a step

    def clip_gradients(self, most: float) -> tuple[Tensor, Tensor]:
        """The L2 norm of the whole gradient, and the sum of the norms of each tensor's.

        If `most` is not 0 the gradient is then scaled so that its norm is at most that (Pascanu et al. 2013).
        """
        gradients = [p.grad for p in self.parameters]
        if self.members:
            norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients], -1)
        else:
            norms = torch.stack(torch._foreach_norm(gradients))
        norm = torch.linalg.vector_norm(norms, dim=-1)
        if most:
            factor = (most / (norm + 1e-6)).clamp(max=1.0)
            for g in gradients:
                g.mul_(factor.view(*self.members, *[1] * (g.ndim - len(self.members))))
        return norm, norms.sum(-1)

    @torch.no_grad()
    def count(self, sums: Tensor, norms: tuple[Tensor, Tensor]) -> None:
        """Adds a step to the sums, on the device; once one of them is not finite, `finite` stops counting."""
        self.sums += torch.cat((sums, torch.stack(norms, -1)), -1)
        self.finite += self.sums.sum(-1).isfinite()

    def end_step(self) -> None:
        if not self.rates or self.rates[-1][1] != self.learning_rate:
            self.rates.append([self.steps, self.learning_rate])
        self.step, self.steps = self.step + 1, self.steps + 1
        if self.settings.log_every and self.step % self.settings.log_every == 0:
            self.marks.append(self.sums[..., 0].clone())
        schedules.advance(self.scheduler, after="step")

    # ------------------------------------------------------------------ after an epoch

    def summary(self) -> dict:
        """The epoch's row of the history: what the device has summed is read here, and only here."""
        count = len(self.objective.names)
        means = torch.cat((self.sums[..., :count] / self._images(0, self.step), self.sums[..., count:] / self.step), -1)
        names = (*self.objective.names, "gradient_norm", "gradient_norm_sum")
        row = {name: value.tolist() for name, value in zip(names, means.unbind(-1), strict=True)}
        if self.marks:
            self.history.setdefault("step_loss", []).extend(self._step_losses())
        return {**row, "learning_rate": self.rates[0][1], "seconds": self._elapsed()}

    @torch.no_grad()
    def evaluate(self, images, name: str) -> dict:
        """What is summed in training, as means over all of a loader's images: name_loss, name_accuracy."""
        self.net.eval()
        total = torch.zeros(*self.members, len(self.objective.names), dtype=torch.float64, device=self.loader.device)
        for x, y in images.evaluation_batches():
            with autocast(self.settings.precision, self.loader.device):
                output = self.net(x)
            total += self.objective(output, y)[1]
        names = [told.replace("train", name) for told in self.objective.names]
        return dict(zip(names, (value.tolist() for value in (total / len(images)).unbind(-1)), strict=True))

    def end_epoch(self, row: dict) -> None:
        """Keeps the row, moves the schedule, remembers the best weights, and decides whether the run is over."""
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        loss = row.get("validation_loss")
        schedules.advance(self.scheduler, loss, after="epoch")
        if loss is not None and not self.members and loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epoch
            if self.settings.restore_best:
                self.best = {name: value.clone() for name, value in self.net.state_dict().items()}
        for member, finite in enumerate(self.finite.flatten().tolist()):
            if finite < self.steps and member not in self.diverged:
                self.diverged[member] = [finite, [rate for since, rate in self.rates if since <= finite][-1]]
        if len(self.diverged) == self.finite.numel():
            self.status = "diverged"
        elif self.settings.early_stopping and self.epoch - self.best_epoch >= self.settings.early_stopping:
            self.status, self.stopped_early = "finished", True
        self.epoch, self.step, self.rates, self.marks, self.seconds = self.epoch + 1, 0, [], [], 0.0
        self.sums.zero_()

    def end(self) -> None:
        self.status = "finished" if self.status == "running" else self.status
        if self.best:
            self.net.load_state_dict(self.best)

    def start_clock(self) -> None:
        self._since = time.perf_counter() - self.seconds

    def _elapsed(self) -> float:
        return time.perf_counter() - self._since

    def _images(self, first: int, last: int) -> int:
        return sum(map(self.loader.count, range(first, last)))

    def _step_losses(self) -> list:
        """The mean loss of every `log_every` steps of the epoch; what is left after the last of them is not told."""
        every = self.settings.log_every
        sums = torch.stack([torch.zeros_like(self.marks[0]), *self.marks]).diff(dim=0)
        return [(total / self._images(k * every, (k + 1) * every)).tolist() for k, total in enumerate(sums)]

    # ------------------------------------------------------------------ checkpoints

    def state(self) -> dict:
        """Tensors, on the CPU, and plain types."""
        parts = {"net": self.net, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return _on_cpu({
            **{name: getattr(self, name) for name in REMEMBERED},
            **{name: part.state_dict() for name, part in parts.items()},
            "marks": self.marks, "sums": self.sums, "finite": self.finite, "seconds": self._elapsed(),
            "path": vars(self.path) if self.path is not None else {},
        })  # fmt: skip

    def restore(self, state: dict | None) -> None:
        """Goes on from `state()`; None is a start from zero."""
        if state is None:
            return
        for name in (*REMEMBERED, "seconds"):
            setattr(self, name, state[name])
        for saved, here in zip(state["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            saved.update({name: here[name] for name in ("fused", "foreach", "capturable") if name in here})
        for part in ("net", "optimizer", "scheduler"):
            getattr(self, part).load_state_dict(state[part])
        self.sums.copy_(state["sums"])
        self.finite.copy_(state["finite"])
        self.marks = [mark.to(self.loader.device) for mark in state["marks"]]
        if self.path is not None and not state["path"]:
            warnings.warn("the checkpoint has no path of the weights, nor will the record", stacklevel=2)
            self.path = None
        elif self.path is not None:
            vars(self.path).update(state["path"])


def _on_cpu(value):
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    return [_on_cpu(item) for item in value] if isinstance(value, list) else value
