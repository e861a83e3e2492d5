"""Records of networks trained as classifiers: images, net, training, and the record as soon as it is whole."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import nn

from secondlook import models, weights
from secondlook.checks import RecipeError, checked
from secondlook.data import draws, load, split
from secondlook.data.loader import DeviceLoader
from secondlook.experiments.filing import checkpoint_for, filed
from secondlook.experiments.outcome import outcome, telemetry
from secondlook.insight import trajectory
from secondlook.models.counting import following, passes
from secondlook.provenance import provenance
from secondlook.recipe import Classifier, Data, Recipe
from secondlook.record import Record
from secondlook.training import fast
from secondlook.training.checkpoint import Checkpoint
from secondlook.training.fast import graph, side_by_side
from secondlook.training.loop import check, train
from secondlook.training.precision import flags, placement
from secondlook.training.stopping import Stopped
from secondlook.training.tracking import Tracker


def produce(group: list[Recipe], execution) -> list[Record]:
    """A record for each recipe of a group, filed as soon as it is whole.

    Small nets of several seeds train side by side on a CUDA device. Raises RecipeError for a recipe that cannot be,
    Stopped when asked to stop.
    """
    made = []
    for recipes in [group] if share_a_step(group, execution) else [[recipe] for recipe in group]:
        if made and execution.deadline is not None and time.monotonic() >= execution.deadline:
            raise Stopped(execution.runs_dir, None)
        tasks, run, checkpoints = [Task(recipe, execution) for recipe in recipes], None, []
        for settings in phases(recipes[0], recipes[0].settings):
            before = run
            with flags(settings.precision, tasks[0].device):
                arguments = arguments_of(tasks, settings, before)
                run = train(**arguments)
            checkpoints.append(arguments["checkpoint"])
        made += filed(list(_records(tasks, run, before, checkpoints[-1])), execution, checkpoints)
    return made


def share_a_step(group: list[Recipe], execution) -> bool:
    """Whether several seeds are faster side by side: where a step is so short that it is a graph."""
    if len(group) == 1 or not execution.resolved_device().startswith("cuda"):
        return False
    net = build(group[0].settings, Task(group[0], execution))
    return fast.best(net, group[0].settings, execution.resolved_device()) is graph.captured


def phases(recipe: Recipe, settings: Classifier) -> list[Classifier]:
    """The settings of what is trained one after the other: the phase before, if there is one, and the recipe's own.

    Raises RecipeError where the model and the table `first` do not belong together.
    """
    name, first = settings.model.get("name"), recipe.settings.first
    if hasattr(models.MODELS.get(name), "take_encoder") != bool(first):
        told = "takes no encoder; leave `first` out" if first else "needs the phase before: set `first`"
        raise RecipeError(f"{recipe}: model {name!r} {told}")
    before = [checked(Classifier, {**asdict(settings), "first": {}, **first}, f"{recipe}: first")] if first else []
    return [*before, settings]


def arguments_of(tasks: list["Task"], settings: Classifier, before) -> dict:
    """What `train` is given for a phase of a run, or of several seeds side by side; `before` is the run before it."""
    task, nets = tasks[0], [build(settings, task) for task in tasks]
    _ = task.macs  # a net that does not take these images is refused before anything trains
    net = nets[0] if len(tasks) == 1 else side_by_side.SideBySide(nets)
    if before is not None:
        net.take_encoder(before.net)
    to, phase = placement(net, settings, task.device), "" if settings is task.recipe.settings else ".first"
    checkpoint = _checkpoint(tasks, phase, fast.described(net, settings, task.device))
    tracker = Tracker(task.execution.runs_dir / "logs", checkpoint.path.stem)
    path = None  # of the first seed's weights, if they are few and the record is to be evidence
    if task.recipe.keep == "evidence" and trajectory.fits(nets[0]):
        path = trajectory.Path(nets[0], settings.epochs)
    label = f"{task.recipe}{', the phase before' * (phase != '')}"
    label += f" and {len(tasks) - 1} more seeds" * (len(tasks) > 1)

    def track(epoch: int, row: dict) -> None:
        tracker(epoch, row)
        if path is not None:
            path.add(side_by_side.first(net), epoch)

    validation = _loader(tasks, "validation", settings, to)
    # A report that holds no image back looks at the test set after every epoch; here that decides nothing.
    test = _loader(tasks, "test", settings, to) if validation is None and settings.test else None
    return {
        "net": net.to(**to), "loader": _loader(tasks, "train", settings, to), "settings": settings,
        "seed": task.recipe.seed, "validation": validation, "test": test, "checkpoint": checkpoint,
        "accelerate": fast.best(net, settings, task.device), "track": track, "path": path,
        "progress": lambda share: task.execution.progress(label, share),
    }  # fmt: skip


def build(settings: Classifier, task) -> nn.Module:
    """The recipe's net, initialised by the recipe's seed; image size, channels and classes follow the data.

    `task` has a recipe, side, channels and classes. Raises RecipeError for a model or an option that is not there.
    """
    options = following(settings.model, task)
    torch.default_generator.manual_seed(draws.generator_seed(task.recipe.seed, -1, 0))
    try:
        return models.build(options.pop("name", None), **options)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{task.recipe}: {error}") from None


class Task:
    """A recipe's images, divided and ready for a device."""

    def __init__(self, recipe: Recipe, execution):
        self.recipe, self.execution, self.device = recipe, execution, execution.resolved_device()
        self.started, self.clock = datetime.now(UTC), time.perf_counter()
        check(recipe.settings, recipe.data.validation > 0)
        self.images = load_images(files_of(recipe.data), str(execution.data_dir))
        self.parts = split(self.images, recipe.data, recipe.split_seed)
        x = self.images.x_train
        self.classes, self.channels = len(self.parts.class_names), x.shape[3] if x.ndim == 4 else 1
        self.side = recipe.data.image_size or x.shape[1]
        self.mean, self.std = normalisation(recipe.data.normalise, x[self.parts.train])

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of one image's forward pass. Raises RecipeError for a net that does not take the images."""
        model = following(self.recipe.settings.model, self)
        try:
            return passes(json.dumps(model, sort_keys=True), self.channels, self.side).macs
        except (ValueError, TypeError, RuntimeError) as error:
            raise RecipeError(f"{self.recipe}: {error}") from None

    def loader(self, part: str, settings: Classifier, **to) -> DeviceLoader | None:
        """Batches of `train`, `validation` or `test`; None where the recipe holds no image back for validation.

        `to` is as `training.precision.placement` gives it.
        """
        data, index = self.recipe.data, getattr(self.parts, part)
        if len(index) == 0:
            return None
        learning, where = part == "train", "test" if part == "test" else "train"
        large = torch.device(self.device).type == "cuda" or self.side <= 64
        return DeviceLoader(
            getattr(self.images, f"x_{where}")[index], getattr(self.parts, f"y_{part}"), index=index,
            batch_size=settings.batch_size if learning else 250 if large else 32, seed=self.recipe.seed,
            augment=settings.augment if learning else {}, image_size=data.image_size, mean=self.mean, std=self.std,
            noise=data.noise if data.noise_on in ("both", where) else "none", noise_std=data.noise_std, **to,
        )  # fmt: skip

    def keep_weights(self, net: nn.Module, *recipes: Recipe) -> None:
        """Writes the net, with what a prediction needs, for each of `recipes`; not in `smoke`."""
        if self.recipe.profile == "smoke":
            return
        settings = self.recipe.settings
        about = {"table": following(settings.model, self), "image_size": self.side, "mean": self.mean, "std": self.std,
                 "class_names": self.parts.class_names, "precision": settings.precision}  # fmt: skip
        first, *others = (weights.runs_path(self.execution.runs_dir, recipe.id) for recipe in recipes)
        weights.save(first, net, about)
        for path in others:
            weights.share(first, path)


def _loader(tasks: list[Task], part: str, settings: Classifier, to: dict):
    loaders = [task.loader(part, settings, **to) for task in tasks]
    if len(tasks) == 1 or loaders[0] is None:
        return loaders[0]
    first = tasks[0]
    plain = not settings.augment and first.recipe.data.noise == "none"
    alike = all(np.array_equal(getattr(task.parts, part), getattr(first.parts, part)) for task in tasks)
    return side_by_side.Loaders(loaders, shared=plain and alike)


def _checkpoint(tasks: list[Task], phase: str, how: dict) -> Checkpoint:
    """Where a phase saves itself: the recipe's settings, one by one, are its identity."""
    task, name = tasks[0], tasks[0].recipe.id
    identity = {"phase": phase, "images": task.images.digest}
    if len(tasks) > 1:
        identity["runs"], name = [task.recipe.id for task in tasks], f"group-{_identity(tasks)}"
    for part, value in task.recipe.identity().items():
        inner = value if isinstance(value, dict) else {"": value}
        identity |= {f"{part}.{key}".strip("."): setting for key, setting in inner.items()}
    return checkpoint_for(f"classifier-{name}{phase}", identity, task.execution, device=task.device, **how)


def _records(tasks: list[Task], run, before, checkpoint: Checkpoint) -> Iterator[Record]:
    """The record of each task of a run, with its provenance; the weights are kept beside."""
    more = {"resumed_from": checkpoint.resumed_from, "device": tasks[0].device}
    if len(tasks) > 1:
        more["group"] = {"id": _identity(tasks), "members": len(tasks)}
    for k, task in enumerate(tasks):
        member = side_by_side.alone(run, k) if len(tasks) > 1 else run
        with flags(run.settings.precision, task.device):
            record = outcome(task, member, before)
            seconds = time.perf_counter() - task.clock
            record.provenance = provenance(task.images.digest, task.started, seconds, **telemetry(member, task), **more)
        task.keep_weights(member.net, task.recipe)
        yield record


def _identity(tasks: list[Task]) -> str:
    return hashlib.sha256("".join(task.recipe.id for task in tasks).encode()).hexdigest()[:16]


def normalisation(kind: str, x: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of pixels in [0, 1]: `statistics` of x, `half` (0.5), `none`."""
    channels = x.shape[3] if x.ndim == 4 else 1
    if kind != "statistics":
        centre, scale = {"half": (0.5, 0.5), "none": (0.0, 1.0)}[kind]
        return [centre] * channels, [scale] * channels
    levels = np.arange(256) / 255
    counts = [np.bincount(x.reshape(-1, channels)[:, c], minlength=256) / (x.size / channels) for c in range(channels)]
    means = [float(levels @ share) for share in counts]
    return means, [float(np.sqrt((levels - m) ** 2 @ share)) for m, share in zip(means, counts)]


def files_of(data: Data) -> Data:
    """What of a recipe's data decides which files are read."""
    folder = {"folder": data.folder, "class_names": data.class_names, "digest": data.digest}
    return Data(name=data.name, source=data.source, **(folder | {"image_size": data.image_size} if data.folder else {}))


load_images = lru_cache(maxsize=1)(load)  # remembers the last data set
