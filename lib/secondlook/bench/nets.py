"""The reports' nets: the engine's own training against the loop in `plain`.

Small nets train as the engine trains the seeds of a report: on a CPU in single-threaded processes, one for each core,
on CUDA side by side in a graph. Both sides count the images of all their seeds.
"""

import copy
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from secondlook.bench import Case, plain
from secondlook.experiments import vae
from secondlook.experiments.classifier import Task, build
from secondlook.recipe import Recipe
from secondlook.reports import read
from secondlook.runs import Execution
from secondlook.training import batched
from secondlook.training.ceilings import matrix_rate, synchronize, times
from secondlook.training.loop import Training
from secondlook.training.machine import cores
from secondlook.training.modes import Mode
from secondlook.training.parallel import in_processes

SEED = 0
MEMBERS = 6  # seeds side by side on CUDA
CHECKED = 20  # steps after which both sides must have the same loss


@dataclass(frozen=True)
class Work:
    """A run of a report as it is measured; `changes` are made on a CPU, `checked_with` to compare losses.

    Losses are compared on images that are not resized, which PIL rounds to whole levels. Batch normalisation makes so
    much of float32's rounding in its first steps that a net with it is compared in float64.
    """

    title: str
    report: str
    run: str
    variant: str
    steps: tuple[int, int]  # of a round on a CPU: quick, full
    warm: int = 10  # steps before the clock starts
    changes: dict = field(default_factory=dict)
    checked_with: dict = field(default_factory=dict)
    cuda_steps: int = 300
    small: bool = False  # several seeds at once pay


WORKS = (
    Work("LeNet", "alexnet", "lenet-sgd", "as_coded", steps=(400, 5000), warm=200, small=True),
    Work("six-convolution CNN", "optimizers", "final-sgd", "as_coded", steps=(20, 200), small=True,
         checked_with={"precision": "float64"}),
    Work("VGG16 at 224", "vgg", "vgg16", "as_published", steps=(1, 3), warm=1, changes={"batch_size": 8},
         checked_with={"model.image_size": 32, "data.image_size": 32}, cuda_steps=60),
    Work("MLP VAE at 64", "vae", "vae-clean", "as_coded", steps=(30, 300),
         checked_with={"model.image_size": 28, "data.image_size": 28}),
)  # fmt: skip


def cases(report: str | None, quick: bool, data_dir: Path) -> Iterator[Case]:
    """A case for each net, on CUDA where it is there; on its report's data, or on a stand-in where they are not."""
    device = Execution().resolved_device()
    for work in WORKS:
        if report in (None, work.report):
            with tempfile.TemporaryDirectory() as runs_dir:  # nothing is saved, but the engine wants a place for it
                yield duel(work, quick, Execution(data_dir, Path(runs_dir), Path(runs_dir), device))


def duel(work: Work, quick: bool, execution: Execution) -> Case:
    """The case of `work` as `execution` runs it; bf16 on a CPU only where it has instructions for it."""
    cuda, recipe = execution.device.startswith("cuda"), recipe_of(work, execution.data_dir)
    precision = recipe.settings.precision if cuda or has_bf16_units() else "float32"
    recipe = changed(recipe, {"precision": precision, **({} if cuda else work.changes)})
    most = 1 if not work.small else MEMBERS if cuda else cores()
    sides = Sides(recipe, execution, most)
    steps = work.cuda_steps if cuda else work.steps[not quick]
    rate, macs = matrix_rate(execution.device, precision), sides.task.macs()

    def losses() -> tuple[float, float]:
        return Sides(short(recipe, work.checked_with), execution, most if cuda else 1).losses()

    seeds = "" if sides.members == 1 else f", {sides.members} seeds {'side by side' if cuda else 'in processes'}"
    return Case(
        name=f"{work.title}, batch {recipe.settings.batch_size}{seeds}, {sides.task.images.title}", unit="images/s",
        device=execution.device, precision=f"{precision} / float32", floor=rate / (6 * macs),
        losses=losses, ours=lambda: sides.ours(work.warm, steps),
        plain=lambda: sides.plain(work.warm, steps),
        more=lambda images_per_second: sides.told(images_per_second, rate, macs),
    )  # fmt: skip


def recipe_of(work: Work, data_dir: Path) -> Recipe:
    recipe = read(work.report).recipes(work.run, work.variant, seeds=[SEED])[0]
    there = (data_dir / f"{recipe.data.name}.npz").exists()
    return recipe if there else changed(recipe, {"data.source": "standin"})


def short(recipe: Recipe, changes: dict) -> Recipe:
    """The recipe with one epoch of 20 steps, in float32 unless `changes` say otherwise, and little to evaluate."""
    images = math.ceil(CHECKED * recipe.settings.batch_size / (1 - recipe.data.validation))
    cut = {"epochs": 1, "data.train_limit": images, "data.test_limit": 100}
    return changed(recipe, {"precision": "float32", **changes, **cut})


def changed(recipe: Recipe, changes: dict) -> Recipe:
    """The recipe with settings, `data.…` and `model.…` changed."""
    model = {k.removeprefix("model."): v for k, v in changes.items() if k.startswith("model.")}
    rest = {k: v for k, v in changes.items() if not k.startswith("model.")}
    return recipe.customised(**rest, model={**recipe.settings.model, **model})


def has_bf16_units() -> bool:
    """Whether the CPU multiplies bf16 itself (AVX512-BF16 or AMX); elsewhere bf16 is slower than float32."""
    cpu = Path("/proc/cpuinfo")
    words = set(cpu.read_text(encoding="utf-8").split()) if cpu.exists() else set()
    return bool(words & {"avx512_bf16", "amx_bf16"})


class Stopwatch:
    """Told after every step: `seconds` from step `warm` to `steps` after it, then Enough."""

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
            raise plain.Enough


class Sides:
    """One recipe trained by both sides, from equal weights, on equal batches in equal order."""

    def __init__(self, recipe: Recipe, execution: Execution, most: int):
        self.recipe, self.execution, self.device = recipe, copy.copy(execution), execution.device
        self.cuda, self.peak = self.device.startswith("cuda"), 0
        self.nets: dict[str, nn.Module] = {}
        self.task = self._task(recipe)
        settings = self.task.recipe.settings
        together = most > 1 and (not self.cuda or (batched.fits(settings) and self.task.grouped()))
        self.recipes = [replace(recipe, seed=recipe.seed + k) for k in range(most if together else 1)]
        self.members = len(self.recipes)

    def ours(self, warm: int, steps: int) -> tuple[int, float]:
        """Images trained on and seconds, by the engine as it trains these seeds."""
        images = steps * self.recipe.settings.batch_size * self.members
        if self.members > 1 and not self.cuda:
            return images, self._in_processes(warm, steps)
        if "ours" not in self.nets:
            self.nets["ours"] = self._joined(self._build())
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        taken = self.engine(self.nets["ours"], warm, steps)
        self.peak = torch.cuda.max_memory_allocated(self.device) if self.cuda else 0
        return images, taken

    def plain(self, warm: int, steps: int) -> tuple[int, float]:
        """The same of the plain loop, with one seed; TF32 is off."""
        if "plain" not in self.nets:
            self.nets["plain"] = build(self.task.recipe.settings, self.task).to(self.device)
        return steps * self.recipe.settings.batch_size, self._loop(self.nets["plain"], warm, steps)

    def losses(self) -> tuple[float, float]:
        """The mean training loss of the epoch, ours and theirs, from the same weights and without chance."""
        nets = [plain.without_chance(net) for net in self._build()]
        theirs = Mode(self.device, self.recipe.settings.precision).place(copy.deepcopy(nets[0]))
        steps = -(-len(self.task.parts.train) // self.task.recipe.settings.batch_size)
        self.execution.progress = lambda *_: None
        ours = self._train(self._joined(nets)).history["train_loss"][0]
        with Mode(self.device).flags():
            mean = plain.loop(theirs, self.task, self.recipe.settings, steps, lambda: None)
        return ours[0] if self.members > 1 else ours, mean

    def engine(self, net: nn.Module, warm: int, steps: int, ready: Callable[[], None] = lambda: None) -> float:
        """Seconds of `steps` steps of the engine, which trains `net` in place."""
        watch = self.execution.progress = Stopwatch(self.device, warm, steps, ready)
        try:
            self._train(net)
        except plain.Enough:
            return watch.seconds
        raise RuntimeError(f"{self.recipe}: an epoch has fewer than {warm + steps} steps")

    def _train(self, net: nn.Module) -> Training:
        checkpoint, task, settings = self.task.checkpoint(name="bench"), self.task, self.task.recipe.settings
        checkpoint.every = math.inf
        try:
            if self.recipe.kind != "vae":
                tasks = [self._task(r) for r in self.recipes] if hasattr(net, "members") else None
                return task.train(net, settings, checkpoint, "", tasks)
            mode = task.mode(net)
            loader, told = task.loader("train", mode, settings), lambda share: self.execution.progress("", share)
            with mode.flags():
                return vae.fit(net, loader, self.recipe.settings, SEED, mode=mode, checkpoint=checkpoint, progress=told)
        finally:
            checkpoint.remove()

    def told(self, images_per_second: float, rate: float, macs: int) -> dict:
        """More of our side: time of a step, share of the matrix rate, the loader's part of a step, memory."""
        settings, side_by_side = self.task.recipe.settings, self.members if self.cuda else 1
        step = settings.batch_size * self.members / images_per_second
        mode = self.task.mode(self._build()[0])
        loader = self.task.loader("train", mode, settings)
        loader.begin(0)
        rows = loader.rows(0)
        told = {
            "step_us": round(step * 1e6, 1),
            "share_of_matrix_rate": round(images_per_second * 6 * macs / rate, 4),
        }
        if not mode.whole:  # which reads the stored pixels within the step
            loading = min(times(lambda: [loader.take(rows) for _ in range(10)], self.device)) / 10
            told["loader_share"] = round(side_by_side * loading / step, 4)
        return told | ({"peak_memory_gb": round(self.peak / 1e9, 2)} if self.cuda else {})

    def _task(self, recipe: Recipe) -> Task:
        own = vae.as_classifier(recipe) if recipe.kind == "vae" else recipe
        return Task(own, self.execution)

    def _build(self) -> list[nn.Module]:
        return [build(task.recipe.settings, task) for task in (self._task(r) for r in self.recipes)]

    def _joined(self, nets: list[nn.Module]) -> nn.Module:
        return batched.SideBySide(nets) if len(nets) > 1 else nets[0]

    def _loop(self, net: nn.Module, warm: int, steps: int) -> float:
        watch = Stopwatch(self.device, warm, steps)
        with Mode(self.device).flags():
            plain.loop(net, self.task, self.recipe.settings, warm + steps, watch)
        return watch.seconds

    def _in_processes(self, warm: int, steps: int) -> float:
        """The slowest process's seconds; they start their clocks together and tell them in files."""
        with tempfile.TemporaryDirectory() as folder:
            execution = replace(self.execution, runs_dir=Path(folder), progress=None)
            one = partial(_one, warm, steps, self.members)
            in_processes(one, self.recipes, execution, self.members)
            return max(float(path.read_text()) for path in Path(folder).glob("*.seconds"))


def _one(warm: int, steps: int, count: int, recipe: Recipe, execution: Execution) -> None:
    """One process's part: trains, and waits after `warm` steps until all `count` processes have come so far."""
    sides, seed, folder = Sides(recipe, execution, 1), recipe.seed, execution.runs_dir

    def ready() -> None:
        (folder / f"{seed}.ready").touch()
        while len(list(folder.glob("*.ready"))) < count:
            time.sleep(0.001)

    taken = sides.engine(build(recipe.settings, sides.task), warm, steps, ready)
    (folder / f"{seed}.seconds").write_text(repr(taken))
