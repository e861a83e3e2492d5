"""How a network learns: the loop, what it counts on the way, and everything a continued run has to remember."""

import math
import time

import torch
from torch import Tensor, nn

from secondlook.data import draws
from secondlook.recipe import Classifier, RecipeError
from secondlook.training import fast, losses, optimizers, schedules
from secondlook.training.denormals import flushed
from secondlook.training.memory import kept
from secondlook.training.modes import Mode


def check(settings: Classifier, validated: bool) -> None:
    """Raises RecipeError for settings that no run can have; `validated` tells whether there are validation images."""
    optimizers.check(settings.optimizer)
    schedules.check(settings.schedule)
    losses.check(settings)
    watching = {
        "schedule 'plateau'": settings.schedule.get("name") == "plateau",
        "early_stopping": settings.early_stopping > 0,
        "restore_best": settings.restore_best,
    }
    for name, on in watching.items():
        if on and not validated:
            raise RecipeError(f"{name} decides on the validation loss; set data.validation above 0")


@flushed()
@kept()
def train(net, loader, settings, seed, *, validation=None, test=None, mode=None, checkpoint=None,
          progress=lambda share: None, track=lambda epoch, row: None, path=None) -> "Training":  # fmt: skip
    """Trains `net`, in place, for `settings.epochs` epochs; returns what became of it.

    `loader`, a DeviceLoader, gives the batches. `validation`, another, is evaluated after each epoch and decides on
    plateaus, early stopping and best weights; `test` is evaluated and decides nothing. `checkpoint` is offered the
    state after every step, and a run goes on from the one it finds. `progress` is told the share that is done,
    `track` each epoch's numbers; the `path` of the weights that it adds to is part of the checkpoint. Raises
    RecipeError for settings that cannot be, before any work, and Stopped when asked to stop.
    """
    check(settings, validation is not None)
    run = Training(net, settings, loader, mode or Mode())
    run.path = path
    if checkpoint:
        run.restore(checkpoint.load())

    def step(rows: Tensor) -> None:
        x, y = loader.take(rows)
        run.optimizer.zero_grad()
        with run.mode.autocast():
            logits = run.forward(x)
        loss = run.criterion(logits, y) + run.penalty()
        loss.sum().backward()
        norms = run.gradient_norms()
        if settings.clip_norm:
            run.clip(norms[0], settings.clip_norm)
        run.optimizer.step()
        run.count(loss, (logits.argmax(-1) == y).sum(-1), norms, rows.shape[-1])

    if run.mode.whole:
        step = fast.step(run)
    run.executed = step = run.mode.executed(step, loader.batch_size, lambda: run.schedule.rate)
    while run.epoch < settings.epochs and run.status == "running":
        net.train()
        loader.begin(run.epoch)
        run.start_clock()
        while run.step < loader.steps_per_epoch:
            run.mode.seed(draws.generator_seed(seed, run.epoch, run.step))
            step(loader.rows(run.step))
            run.after_step()
            progress((run.epoch + run.step / loader.steps_per_epoch) / settings.epochs)
            if checkpoint:
                checkpoint.offer(run.state)
        row = run.read()
        for name, images in (("validation", validation), ("test", test)):
            if images is not None:
                row[f"{name}_loss"], row[f"{name}_accuracy"] = run.evaluate(images)
        run.after_epoch(row)
        track(run.epoch, row)
    run.finish()
    if checkpoint:
        checkpoint.save(run.state())
    return run


class Training:
    """A run on its way: the net and all that changes with it. `state()` is what the rest of the run depends on.

    Afterwards `status` is finished or diverged, `history` has a list for each curve with a value for each epoch, and
    `net` its last weights or, with `restore_best`, those of `best_epoch`. A net with `members` is K nets side by side:
    losses are then (K,), and a member that diverges is left to itself.
    """

    REMEMBERED = ("epoch", "step", "steps", "status", "stopped_early", "history", "rates", "best", "best_epoch",
                  "best_loss", "diverged")  # fmt: skip

    def __init__(self, net: nn.Module, settings: Classifier, loader, mode: Mode):
        self.net, self.settings, self.loader, self.mode = mode.place(net), settings, loader, mode
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.members = tuple(getattr(net, "members", ()))
        self.optimizer = optimizers.build(settings.optimizer, self.parameters, fused=mode.fused, capturable=mode.graph)
        self.schedule = schedules.build(
            settings.schedule, self.optimizer, epochs=settings.epochs, steps_per_epoch=loader.steps_per_epoch
        )
        self.criterion, self.penalty = losses.criterion(settings), losses.penalty(settings, net)
        if self.members:
            self.criterion = torch.func.vmap(self.criterion)
        self.forward = torch.compile(net) if mode.compile else net
        self.sums = torch.zeros(*self.members, 4, dtype=torch.float64, device=mode.device)
        self.finite = torch.zeros(self.members, dtype=torch.int64, device=mode.device)
        self.epoch = self.step = self.steps = 0
        self.status, self.stopped_early, self.best_epoch, self.best_loss = "running", False, -1, math.inf
        self.history: dict[str, list] = {}
        self.rates: list[list] = []  # [step, learning rate] wherever it changed in this epoch
        self.marks: list[Tensor] = []  # sums of losses so far in this epoch, every `log_every` steps
        self.best: dict[str, Tensor] = {}
        self.diverged: dict[int, list] = {}  # by member: step, learning rate
        self.seconds, self._since = 0.0, time.perf_counter()
        self.path = None  # of the weights, for those who keep it

    def gradient_norms(self) -> tuple[Tensor, Tensor]:
        """The L2 norm of the whole gradient, and the sum of the norms of each tensor's."""
        gradients = [p.grad for p in self.parameters]
        if self.members:
            norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients], -1)
        else:
            norms = torch.stack(torch._foreach_norm(gradients))
        return torch.linalg.vector_norm(norms, dim=-1), norms.sum(-1)

    def clip(self, norm: Tensor, most: float) -> None:
        """Scales the gradients so that their norm is at most `most` (Pascanu, Mikolov and Bengio 2013)."""
        factor = (most / (norm + 1e-6)).clamp(max=1.0)
        for p in self.parameters:
            p.grad.mul_(factor.view(*self.members, *[1] * (p.ndim - len(self.members))))

    @torch.no_grad()
    def count(self, loss: Tensor, right: Tensor, norms: tuple[Tensor, Tensor], images: int) -> None:
        """Adds a step to the sums, on the device; once one of them is not finite, `finite` stops counting."""
        self.sums += torch.stack((loss * images, right.to(loss.dtype), *norms), -1)
        self.finite += self.sums.sum(-1).isfinite()

    def after_step(self) -> None:
        rate = self.schedule.rate
        if not self.rates or self.rates[-1][1] != rate:
            self.rates.append([self.steps, rate])
        self.step, self.steps = self.step + 1, self.steps + 1
        if self.settings.log_every and self.step % self.settings.log_every == 0:
            self.marks.append(self.sums[..., 0].clone())
        self.schedule.after_step()

    def read(self) -> dict:
        """The epoch's row of the history: what the device has summed is read here, and only here."""
        loss, right, norm, tensor_norms = self.sums.unbind(-1)
        images = sum(map(self.loader.count, range(self.step)))
        row = {"train_loss": loss / images, "train_accuracy": right / images, "gradient_norm": norm / self.step,
               "gradient_norm_sum": tensor_norms / self.step}  # fmt: skip
        row = {name: value.tolist() for name, value in row.items()}
        if self.marks:
            self.history.setdefault("step_loss", []).extend(self._step_losses())
        return {**row, "learning_rate": self.rates[0][1], "seconds": self._elapsed()}

    @torch.no_grad()
    def evaluate(self, images) -> tuple:
        """Loss, as it is trained on, and accuracy over all of a loader's images."""
        self.net.eval()
        sums = torch.zeros(*self.members, 2, dtype=torch.float64, device=self.mode.device)
        for x, y in images.evaluation_batches():
            with self.mode.autocast():
                logits = self.net(x)
            loss = self.criterion(logits, y) + self.penalty()
            sums += torch.stack((loss * y.shape[-1], (logits.argmax(-1) == y).sum(-1)), -1)
        return tuple((sums / len(images)).unbind(-1)[i].tolist() for i in (0, 1))

    def after_epoch(self, row: dict) -> None:
        """Keeps the row, moves the schedule, remembers the best weights, and decides whether the run is over."""
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        loss = row.get("validation_loss")
        self.schedule.after_epoch(loss)
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

    def finish(self) -> None:
        self.status = "finished" if self.status == "running" else self.status
        if self.best:
            self.net.load_state_dict(self.best)

    def start_clock(self) -> None:
        self._since = time.perf_counter() - self.seconds

    def _elapsed(self) -> float:
        return time.perf_counter() - self._since

    def state(self) -> dict:
        """Tensors, on the CPU, and plain types."""
        told = {name: getattr(self, name) for name in self.REMEMBERED}
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        told |= {
            "marks": self.marks,
            "sums": self.sums,
            "finite": self.finite,
            "seconds": self._elapsed(),
            "path": vars(self.path) if self.path is not None else {},
            **parts,
        }
        return _on_cpu({**told, "schedule": self.schedule.state()})

    def restore(self, state: dict | None) -> None:
        """Goes on from `state()`; None is a start from zero."""
        if state is None:
            return
        for name in (*self.REMEMBERED, "seconds"):
            setattr(self, name, state[name])
        self.net.load_state_dict(state["net"])
        for saved, here in zip(state["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            saved.update({name: here[name] for name in ("fused", "foreach", "capturable") if name in here})
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.restore(state["schedule"])
        self.sums.copy_(state["sums"])
        self.finite.copy_(state["finite"])
        self.marks = [mark.to(self.mode.device) for mark in state["marks"]]
        if self.path is not None:
            vars(self.path).update(state.get("path", {}))

    def _step_losses(self) -> list:
        """The mean loss of every `log_every` steps of the epoch; what is left after the last of them is not told."""
        every = self.settings.log_every
        images = [sum(map(self.loader.count, range(k * every, (k + 1) * every))) for k in range(len(self.marks))]
        sums = torch.stack([torch.zeros_like(self.marks[0]), *self.marks]).diff(dim=0)
        return [(own / count).tolist() for own, count in zip(sums, images)]


def _on_cpu(value):
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    return [_on_cpu(item) for item in value] if isinstance(value, list) else value
