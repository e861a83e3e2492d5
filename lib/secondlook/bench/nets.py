"""The reports' nets: the engine's own training, against torchvision, a DataLoader and an eager loop in float32.

Small nets train as the engine trains the seeds of a report: on a CPU in single-threaded processes, one for each core,
on CUDA side by side in a graph. Both sides count the images of all their seeds.
"""

import copy
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from secondlook.bench import Case
from secondlook.bench.ceilings import matrix_rate, seconds, synchronize
from secondlook.data import draws
from secondlook.experiments import Execution
from secondlook.experiments.classifier import Task, build
from secondlook.recipe import Recipe
from secondlook.reports import read
from secondlook.training import batched, optimizers
from secondlook.training.distributed import Team
from secondlook.training.modes import Mode
from secondlook.training.parallel import in_processes

SEED = 0
MEMBERS = 6  # seeds side by side on CUDA
CHECKED = 20  # steps after which both sides must have the same loss
EVALUATED = 256  # images it is taken on


@dataclass(frozen=True)
class Work:
    """A run of a report as it is measured; `changes` are made on a CPU, `checked_with` to check the losses there."""

    title: str
    report: str
    run: str
    variant: str
    steps: tuple[int, int]  # of a round on a CPU: quick, full
    warm: int = 10  # steps before the clock starts
    changes: dict = field(default_factory=dict)
    checked_with: dict = field(default_factory=dict)
    cuda_steps: int = 300
    small: bool = True  # several seeds at once pay


WORKS = (
    Work("LeNet, batch 4", "alexnet", "lenet-sgd", "as_coded", steps=(1500, 5000), warm=200),
    Work("small CNN, batch 32", "optimizers", "final-adam", "as_coded", steps=(120, 400)),
    Work("VGG16 at 224 pixels", "vgg", "vgg16", "as_published", steps=(1, 4), warm=1, changes={"batch_size": 8},
         checked_with={"model.image_size": 64, "data.image_size": 64},
         cuda_steps=60, small=False),
)  # fmt: skip


def cases(report: str | None, quick: bool, data_dir: Path) -> Iterator[Case]:
    """A case for each net, on CUDA where it is there; on its report's data, or on a stand-in where they are not."""
    device = Execution().resolved_device()
    for work in WORKS:
        if report in (None, work.report):
            with tempfile.TemporaryDirectory() as runs_dir:  # nothing is saved, but the engine wants a place for it
                yield duel(work, quick, Execution(data_dir, Path(runs_dir), Path(runs_dir), device))


def duel(work: Work, quick: bool, execution: Execution) -> Case:
    """The case of `work` as `execution` runs it."""
    device, cuda = execution.device, execution.device.startswith("cuda")
    recipe = _recipe(work, execution.data_dir, {} if cuda else {**work.changes, "precision": cpu_precision(work)})
    sides = Sides(recipe, execution, 1 if not work.small else MEMBERS if cuda else os.cpu_count() or 1)
    steps = work.cuda_steps if cuda else work.steps[not quick]
    precision = recipe.settings.precision
    rate, macs = matrix_rate(device, precision), sides.task.macs()
    checked = dict(work.checked_with) if quick and not cuda else {}

    def losses() -> tuple[float, float]:
        plain = _changed(recipe, {**checked, "precision": "float32"})
        return Sides(plain, execution, sides.members if cuda else 1).losses()

    name = f"{work.title}, {sides.task.images.title}"
    if "batch" not in name:
        name = name.replace(",", f", batch {recipe.settings.batch_size},", 1)
    if sides.members > 1:
        name += f", {sides.members} seeds " + ("side by side" if cuda else "in as many processes")
    return Case(
        name=name, unit="images/s", device=device, precision=f"{precision} / float32", floor=rate / (6 * macs),
        ours=lambda: sides.ours(work.warm, steps), plain=lambda: sides.plain(work.warm, steps), losses=losses,
        more=lambda images_per_second: sides.told(images_per_second, rate, macs),
    )  # fmt: skip


def cpu_precision(work: Work) -> str:
    """The recipe's precision, but bf16 only where this CPU has instructions for it, and else float32."""
    wanted = _recipe(work, None, {}).settings.precision
    if wanted == "bf16" and has_bf16_units():
        return wanted
    return "float32"


def has_bf16_units() -> bool:
    """Whether the CPU multiplies bf16 itself (AVX512-BF16 or AMX); elsewhere bf16 is slower than float32."""
    cpu = Path("/proc/cpuinfo")
    words = set(cpu.read_text(encoding="utf-8").split()) if cpu.exists() else set()
    return bool(words & {"avx512_bf16", "amx_bf16"})


class Enough(Exception):
    """Leaves the engine's loop when its steps have been timed."""


class Stopwatch:
    """A progress function, told after every step: `seconds` from step `warm` to `steps` after it, then Enough."""

    def __init__(self, device: str, warm: int, steps: int, ready: Callable[[], None] = lambda: None):
        self.device, self.warm, self.last, self.calls, self.ready = device, warm, warm + steps, 0, ready
        self.start = self.seconds = 0.0

    def __call__(self, *_) -> None:
        self.calls += 1
        if self.calls == self.warm:
            synchronize(self.device)
            self.ready()
            self.start = time.perf_counter()
        if self.calls == self.last:
            synchronize(self.device)
            self.seconds = time.perf_counter() - self.start
            raise Enough


class Sides:
    """One recipe trained by both sides, from equal weights, on equal batches in equal order."""

    def __init__(self, recipe: Recipe, execution: Execution, most: int):
        self.recipe, self.execution, self.device = recipe, copy.copy(execution), execution.device
        self.cuda, self.nets, self.peak = self.device.startswith("cuda"), {}, 0
        self.task = Task(recipe, self.execution, Team(device=self.device))
        together = not self.cuda or (batched.fits(recipe.settings) and self.task.grouped())
        self.recipes = [replace(recipe, seed=recipe.seed + k) for k in range(most if together else 1)]
        self.members = len(self.recipes)

    def ours(self, warm: int, steps: int) -> tuple[int, float]:
        """Images trained on and seconds, by the engine as it trains these seeds."""
        images = steps * self.recipe.settings.batch_size * self.members
        if self.members > 1 and not self.cuda:
            return images, self._in_processes(warm, steps)
        if "ours" not in self.nets:
            self.nets["ours"] = self._joined([build(self.recipe.settings, task) for task in self.tasks()])
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        taken = self.engine(self.nets["ours"], warm, steps)
        self.peak = torch.cuda.max_memory_allocated(self.device) if self.cuda else 0
        return images, taken

    def tasks(self) -> list[Task]:
        return [self.task, *(Task(r, self.execution, self.task.team) for r in self.recipes[1:])]

    def engine(self, net: nn.Module, warm: int, steps: int, ready: Callable[[], None] = lambda: None) -> float:
        """Seconds of `steps` steps of the engine, which trains `net` in place."""
        watch = self.execution.progress = Stopwatch(self.device, warm, steps, ready)
        checkpoint = self.task.checkpoint(name="bench")
        checkpoint.every = math.inf
        try:
            self.task.train(
                net, self.recipe.settings, checkpoint, "", self.tasks() if hasattr(net, "members") else None
            )
        except Enough:
            return watch.seconds
        raise RuntimeError(f"{self.recipe}: an epoch has fewer than {warm + steps} steps")

    def _in_processes(self, warm: int, steps: int) -> float:
        """The slowest process's seconds; they start their clocks together and tell them in files."""
        with tempfile.TemporaryDirectory() as folder:
            execution = replace(self.execution, runs_dir=Path(folder), progress=None)
            in_processes(
                partial(_one, warm, steps, self.members), [([r], execution) for r in self.recipes], lambda *_: None
            )
            return max(float(path.read_text()) for path in Path(folder).glob("*.seconds"))

    def plain(self, warm: int, steps: int) -> tuple[int, float]:
        """The same of the loop a user would write, one seed."""
        if "plain" not in self.nets:
            self.nets["plain"] = build(self.recipe.settings, self.task).to(self.device)
        with Mode(self.device).flags():
            taken = self._loop(self.nets["plain"], warm, steps)
        return steps * self.recipe.settings.batch_size, taken

    def _loop(self, net: nn.Module, warm: int, steps: int) -> float:
        settings = self.recipe.settings
        order = draws.permutation(self.recipe.seed, 0, len(self.task.parts.train))
        order = order[: (warm + steps) * settings.batch_size].tolist()
        loader = DataLoader(_Files(self.task), settings.batch_size, sampler=order, num_workers=2, pin_memory=self.cuda)
        criterion, optimizer = nn.CrossEntropyLoss(), optimizers.build(settings.optimizer, net.parameters())
        strength, watch, running = settings.penalty.get("l2_dense", 0.0), Stopwatch(self.device, warm, steps), 0.0
        net.train()
        try:
            for images, labels in loader:
                images, labels = images.to(self.device), labels.to(self.device)
                optimizer.zero_grad()
                loss = criterion(net(images), labels)
                if strength:
                    loss = loss + strength * net.dense.weight.square().sum()
                loss.backward()
                optimizer.step()
                running += loss.item()
                watch()
        except Enough:
            pass
        return watch.seconds

    def losses(self) -> tuple[float, float]:
        """Ours and theirs after 20 steps in float32 from the same weights, without dropout, whose dice differ."""
        nets = [build(self.recipe.settings, task) for task in self.tasks()]
        for module in [m for net in nets for m in net.modules() if isinstance(m, nn.Dropout)]:
            module.p = 0.0
        theirs = copy.deepcopy(nets[0]).to(self.device)
        ours = self._joined(nets)
        self.engine(ours, 1, CHECKED - 1)
        with Mode(self.device).flags():
            self._loop(theirs, 1, CHECKED - 1)
            ours = ours.member(0) if self.members > 1 else ours
            return self._loss(ours), self._loss(theirs)

    def _joined(self, nets: list[nn.Module]) -> nn.Module:
        return batched.SideBySide(nets) if len(nets) > 1 else nets[0]

    @torch.no_grad()
    def _loss(self, net: nn.Module) -> float:
        """Of the first test images, one by one as a whole loader gives them."""
        loader = self.task.loader("test", Mode(self.device), self.recipe.settings)
        size = 16 if self.task.side > 64 else EVALUATED
        x, y = next(iter(loader.evaluation_batches(size)))
        return float(nn.functional.cross_entropy(net.eval()(x), y))

    def told(self, images_per_second: float, rate: float, macs: int) -> dict:
        """More of our side: time of a step, share of the matrix rate, the loader's part of a step, memory."""
        step = self.recipe.settings.batch_size * self.members / images_per_second
        net = build(self.recipe.settings, self.task)
        loader = self.task.loader("train", self.task.mode(net), self.recipe.settings)
        loader.begin(0)
        rows = loader.rows(0)
        loading = seconds(lambda: [loader.take(rows) for _ in range(10)], self.device) / 10
        side_by_side = self.members if self.cuda else 1
        told = {
            "step_us": round(step * 1e6, 1),
            "share_of_matrix_rate": round(images_per_second * 6 * macs / rate, 4),
            "loader_share": round(side_by_side * loading / step, 4),
        }
        return told | ({"peak_memory_gb": round(self.peak / 1e9, 2)} if self.cuda else {})


def _one(warm: int, steps: int, count: int, recipes: list[Recipe], execution: Execution) -> None:
    """One process's part: trains, and waits after `warm` steps until all `count` processes have come so far."""
    sides = Sides(recipes[0], execution, 1)
    seed, folder = recipes[0].seed, execution.runs_dir

    def ready() -> None:
        (folder / f"{seed}.ready").touch()
        while len(list(folder.glob("*.ready"))) < count:
            time.sleep(0.001)

    taken = sides.engine(build(recipes[0].settings, sides.task), warm, steps, ready)
    (folder / f"{seed}.seconds").write_text(repr(taken))


def _recipe(work: Work, data_dir: Path | None, changes: dict) -> Recipe:
    recipe = read(work.report).recipes(work.run, work.variant, seeds=[SEED])[0]
    if data_dir is not None and not (data_dir / f"{recipe.data.name}.npz").exists():
        changes = {**changes, "data.source": "standin"}
    return _changed(recipe, changes)


def _changed(recipe: Recipe, changes: dict) -> Recipe:
    """The recipe with settings, `data.…` and `model.…` changed."""
    model = {k.removeprefix("model."): v for k, v in changes.items() if k.startswith("model.")}
    rest = {k: v for k, v in changes.items() if not k.startswith("model.")}
    return recipe.customised(**rest, model={**recipe.settings.model, **model})


class _Files(Dataset):
    """The images one by one, as torchvision's own data sets give them."""

    def __init__(self, task: Task):
        from torchvision import transforms

        rows = task.parts.train
        self.x, self.y = task.images.x_train[rows], task.parts.y_train.tolist()
        resize = [transforms.Resize(task.side)] if task.side != self.x.shape[1] else []
        steps = [*resize, transforms.ToTensor(), transforms.Normalize(task.mean, task.std)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.x[i])), self.y[i]
