"""Records of networks trained as classifiers: images, net, training, and the record as soon as it is whole."""

import hashlib
import json
import time
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from secondlook import models, weights
from secondlook.data import Images, Split, draws, load, split
from secondlook.data.loader import DeviceLoader
from secondlook.experiments.filing import filed
from secondlook.experiments.outcome import outcome, telemetry
from secondlook.experiments.provenance import provenance, versions
from secondlook.insight import trajectory
from secondlook.models.counting import following, passes
from secondlook.recipe import Classifier, Data, Recipe, RecipeError, checked
from secondlook.record import Record
from secondlook.training import batched
from secondlook.training.checkpoint import Checkpoint, Stopped
from secondlook.training.loop import Training, check, train
from secondlook.training.modes import Mode, choose
from secondlook.training.tracking import Tracker

SAVE_EVERY = 60.0  # seconds between two checkpoints


def produce(group: list[Recipe], execution) -> list[Record]:
    """A record for each recipe of a group, filed as soon as it is whole.

    Small nets of several seeds train side by side on a CUDA device. Raises RecipeError for a recipe that cannot be,
    Stopped when asked to stop.
    """
    made = []
    if len(group) > 1 and Task(group[0], execution).grouped():
        return _side_by_side([Task(r, execution) for r in group])
    for recipe in group:
        if made and execution.deadline is not None and time.monotonic() >= execution.deadline:
            raise Stopped(execution.runs_dir, None)
        made += _produce(Task(recipe, execution))
    return made


def _produce(task: "Task") -> list[Record]:
    settings: Classifier = task.recipe.settings
    net, before, checkpoints = build(settings, task), None, [task.checkpoint()]
    task.macs()  # a net that does not take these images is refused before it trains
    if hasattr(net, "take_encoder") != bool(settings.first):
        told = "takes no encoder; leave `first` out" if settings.first else "needs the phase before: set `first`"
        raise RecipeError(f"{task.recipe}: model {settings.model['name']!r} {told}")
    if settings.first:
        own = checked(Classifier, {**asdict(settings), "first": {}, **settings.first}, f"{task.recipe}: first")
        checkpoints.append(task.checkpoint(".first"))
        before = task.train(build(own, task), own, checkpoints[1], f"{task.recipe}, the phase before")
        net.take_encoder(before.net)
    run = task.train(net, settings, checkpoints[0], str(task.recipe))
    return _filed([task], [outcome(task, run, before)], [run], checkpoints)


def _side_by_side(tasks: list["Task"]) -> list[Record]:
    """Records of several seeds trained as one net; the group's identity stands in each one's provenance."""
    first, settings = tasks[0], tasks[0].recipe.settings
    identity = hashlib.sha256("".join(task.recipe.id for task in tasks).encode()).hexdigest()[:16]
    net = batched.SideBySide([build(settings, task) for task in tasks])
    checkpoint = first.checkpoint(name=f"group-{identity}", runs=[task.recipe.id for task in tasks])
    run = first.train(net, settings, checkpoint, f"{first.recipe} and {len(tasks) - 1} more seeds", tasks)
    members = [batched.alone(run, k) for k in range(len(tasks))]
    records = [outcome(task, member) for task, member in zip(tasks, members)]
    return _filed(tasks, records, members, [checkpoint], group={"id": identity, "members": len(tasks)})


def _filed(tasks, records, runs, checkpoints, **more) -> list[Record]:
    """The records, with their provenance, on their shelves; then the checkpoints are needed no more."""
    for task, record, run in zip(tasks, records, runs):
        told = {**telemetry(run, task), "device": task.device, **more}
        told["resumed_from"] = checkpoints[0].resumed_from
        with run.mode.flags():  # which are part of it
            record.provenance = provenance(task.images.digest, task.started, time.perf_counter() - task.clock, **told)
        task.keep_weights(run.net, task.recipe)
    return filed(records, tasks[0].execution, checkpoints)


def build(settings: Classifier, task: "Task") -> nn.Module:
    """The recipe's net, initialised by the recipe's seed; image size, channels and classes follow the data.

    Raises RecipeError for a model or an option that is not there.
    """
    options = following(settings.model, task)
    torch.default_generator.manual_seed(draws.generator_seed(task.recipe.seed, -1, 0))
    try:
        return models.build(options.pop("name", None), **options)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{task.recipe}: {error}") from None


class Task:
    """A recipe's images on a device, and how a net is trained on them."""

    def __init__(self, recipe: Recipe, execution):
        self.recipe, self.execution, self.device = recipe, execution, execution.resolved_device()
        self.started, self.clock = datetime.now(UTC), time.perf_counter()
        check(recipe.settings, recipe.data.validation > 0)
        self.images: Images = load_images(recipe.data.name, recipe.data.source, str(execution.data_dir))
        self.parts: Split = split(self.images, recipe.data, recipe.split_seed)
        x = self.images.x_train
        self.classes, self.channels = len(self.parts.class_names), x.shape[3] if x.ndim == 4 else 1
        self.side = recipe.data.image_size or x.shape[1]
        self.mean, self.std = normalisation(recipe.data.normalise, x[self.parts.train])

    def loader(self, part: str, mode: Mode, settings: Classifier) -> DeviceLoader | None:
        """Batches of `train`, `validation` or `test`; None where the recipe holds no image back for validation."""
        data, index = self.recipe.data, getattr(self.parts, part)
        if len(index) == 0:
            return None
        learning, where = part == "train", "test" if part == "test" else "train"
        large = mode.is_cuda or self.side <= 64
        return DeviceLoader(
            getattr(self.images, f"x_{where}")[index], getattr(self.parts, f"y_{part}"),
            batch_size=settings.batch_size if learning else 250 if large else 32, seed=self.recipe.seed,
            device=mode.device, augment=settings.augment if learning else {}, image_size=data.image_size,
            mean=self.mean, std=self.std, noise=data.noise if data.noise_on in ("both", where) else "none",
            noise_std=data.noise_std, dtype=mode.dtype, channels_last=mode.channels_last, index=index,
        )  # fmt: skip

    def mode(self, net: nn.Module, settings: Classifier | None = None) -> Mode:
        return choose(net, settings or self.recipe.settings, self.device)

    def grouped(self) -> bool:
        """Whether several seeds are faster side by side: where a step is so short that it is a graph."""
        return self.mode(build(self.recipe.settings, self)).graph

    def train(
        self,
        net: nn.Module,
        settings: Classifier,
        checkpoint: Checkpoint,
        label: str,
        tasks: list["Task"] | None = None,
    ) -> Training:
        """`net`, trained on this task's images, or on those of `tasks`, a member on each."""
        mode, tasks = self.mode(net, settings), tasks or []
        checkpoint.circumstances |= mode.words()

        def loader(part: str):
            own = [task.loader(part, mode, settings) for task in tasks or [self]]
            if not tasks or own[0] is None:
                return own[0]
            plain = not settings.augment and self.recipe.data.noise == "none"
            alike = all(np.array_equal(getattr(task.parts, part), getattr(self.parts, part)) for task in tasks)
            return batched.Loaders(own, shared=plain and alike)

        validation = loader("validation")
        # A report that holds no image back looks at the test set after every epoch; here that decides nothing.
        test = loader("test") if validation is None and settings.test else None
        tracker, path = Tracker(self.execution.runs_dir / "logs", checkpoint.path.stem), self._path(net, settings)

        def track(epoch: int, row: dict) -> None:
            tracker(epoch, row)
            if path is not None:
                path.add(batched.first(net), epoch)

        with mode.flags():
            run = train(
                net, loader("train"), settings, self.recipe.seed, validation=validation, test=test, mode=mode,
                checkpoint=checkpoint, progress=lambda share: self.execution.progress(label, share),
                track=track, path=path,
            )  # fmt: skip
        if path is not None and not path.whole(run.epoch):
            warnings.warn(f"{label}: the checkpoint has no path of the weights, nor will the record", stacklevel=2)
            run.path = None
        return run

    def _path(self, net: nn.Module, settings: Classifier) -> trajectory.Path | None:
        """Where the first seed's weights go, if they are few and the record is to be evidence."""
        one = batched.first(net)
        kept = self.recipe.keep == "evidence" and trajectory.fits(one)
        return trajectory.Path(one, settings.epochs) if kept else None

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

    def checkpoint(self, phase: str = "", name: str = "", **more) -> Checkpoint:
        """Where a phase of this task saves itself: the recipe's settings, one by one, are its identity."""
        identity = {"phase": phase, "images": self.images.digest, **more}
        for part, value in self.recipe.identity().items():
            inner = value if isinstance(value, dict) else {"": value}
            identity |= {f"{part}.{key}".strip("."): setting for key, setting in inner.items()}
        circumstances = {"threads": torch.get_num_threads(), "versions": versions(), "device": self.device}  # fmt: skip
        path = Path(self.execution.runs_dir, "checkpoints", f"classifier-{name or self.recipe.id}{phase}.ckpt")
        return Checkpoint(path, identity, circumstances, every=SAVE_EVERY, deadline=self.execution.deadline)

    def macs(self) -> int:
        """Multiply-adds of one image's forward pass. Raises RecipeError for a net that does not take the images."""
        model = following(self.recipe.settings.model, self)
        try:
            return passes(json.dumps(model, sort_keys=True), self.channels, self.side).macs
        except (ValueError, RuntimeError) as error:
            raise RecipeError(f"{self.recipe}: {error}") from None


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


@lru_cache(maxsize=1)
def load_images(name: str, source: str, data_dir: str) -> Images:
    """As `data.load`, remembering the last data set."""
    return load(Data(name=name, source=source), data_dir)
