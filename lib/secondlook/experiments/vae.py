"""Records of the VAE: it trains without labels, then several classifiers read its latent space.

Recipes that differ only in how the latent is read, or in the test images, share one VAE.
"""

import hashlib
import json
import time
from dataclasses import asdict, replace

import numpy as np
import torch
from torch import Tensor, nn

from secondlook import models
from secondlook.experiments.classifier import Task, build
from secondlook.experiments.filing import checkpoint_for, filed
from secondlook.experiments.outcome import rounded, telemetry
from secondlook.experiments.reading import Reading
from secondlook.groups import READ, vae_training
from secondlook.insight.embeddings import divergence
from secondlook.provenance import provenance
from secondlook.recipe import VAE, Classifier, Recipe, RecipeError
from secondlook.record import Record
from secondlook.training import fast
from secondlook.training.loop import train
from secondlook.training.precision import flags, placement
from secondlook.training.run import Run
from secondlook.training.tracking import Tracker


def produce(group: list[Recipe], execution) -> list[Record]:
    """A record for each recipe of a group, filed as soon as it is whole.

    Raises RecipeError for a recipe that cannot be, Stopped when asked to stop.
    """
    tasks = [Task(as_classifier(r), execution) for r in group]
    _check(group, tasks[0].classes)
    task, recipe, trained_on = tasks[0], group[0], vae_training(group[0])
    name = "vae-" + _short(json.dumps(trained_on, sort_keys=True))
    known = {**trained_on, "images": task.images.digest}
    checkpoint = checkpoint_for(name, known, execution, device=task.device)
    net = build(task.recipe.settings, task)
    to = placement(net, task.recipe.settings, task.device)
    with flags(recipe.settings.precision, task.device):
        run = fit(
            net.to(**to), task.loader("train", task.recipe.settings, **to), recipe.settings, recipe.seed,
            clean=clean_loader(task, "train", to) if recipe.settings.denoising else None, checkpoint=checkpoint,
            progress=lambda share: execution.progress(str(recipe), share),
            track=Tracker(execution.runs_dir / "logs", name),
        )  # fmt: skip
    more = {"resumed_from": checkpoint.resumed_from}
    if len(group) > 1:
        more["group"] = {"id": _short("".join(r.id for r in group)), "members": len(group)}
    task.keep_weights(net, *group)
    records, readings = [], {}
    for recipe, task in zip(group, tasks):
        words = {"data": asdict(recipe.data), **{k: getattr(recipe.settings, k) for k in READ if k != "svm_head"}}
        key = json.dumps(words, sort_keys=True)
        if key not in readings:
            own = checkpoint_for(f"{name}.{_short(key)}", {**known, "read": key}, execution, device=task.device)
            readings[key] = Reading(recipe, task, run, own, clean_loader(task, "test", to))
        record = _record(recipe, task, run, readings[key])
        with flags(recipe.settings.precision, task.device):
            told = {**telemetry(run, task), "device": task.device, **more}
            record.provenance = provenance(task.images.digest, task.started, time.perf_counter() - task.clock, **told)
        records += filed([record], execution)
    return records + filed([], execution, (checkpoint, *(r.checkpoint for r in readings.values())))


def _record(recipe: Recipe, task: Task, run: Run, reading: Reading) -> Record:
    metrics = {name: values[-1] for name, values in run.history.items() if name not in ("seconds", "learning_rate")}
    metrics |= {"epochs": run.epoch, "steps": run.steps, "parameters": models.parameter_count(run.net),
                "macs": task.macs, "train_seconds": sum(run.history.get("seconds", []))}  # fmt: skip
    if run.status == "diverged":
        metrics |= dict(zip(("diverged_step", "diverged_learning_rate"), run.diverged[0]))
    more, curves, arrays = reading.told(recipe)
    metrics = {name: rounded(value) for name, value in (metrics | more).items()}
    history = {name: np.array(values, np.float32) for name, values in (run.history | curves).items()}
    return Record(recipe, run.status, metrics, history, arrays)


def _check(group: list[Recipe], classes: int) -> None:
    for recipe in group:
        name = recipe.settings.model.get("name")
        if not issubclass(models.MODELS.get(name, nn.Module), models.vae.VAE):
            raise RecipeError(f"{recipe}: model {name!r} is no VAE; expected mlp_vae or conv_vae")
        if recipe.settings.svm_head == "as_coded" and classes != 2:
            raise RecipeError(
                f"{recipe}: svm_head 'as_coded' has one target for both of two classes, here are {classes}; "
                "use 'hinge' or 'linear_svc'"
            )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ------------------------------------------------------------------ the VAE


def as_classifier(recipe: Recipe) -> Recipe:
    """The recipe in the engine's words: same data, net, optimiser and length."""
    s = recipe.settings
    model = {**s.model, "decoder": s.decoder}
    own = Classifier(model, s.optimizer, batch_size=s.batch_size, epochs=s.epochs, clip_norm=s.clip_norm,
                     precision=s.precision)  # fmt: skip
    return replace(recipe, kind="classifier", settings=own)


def fit(net: models.vae.VAE, loader, settings: VAE, seed: int, *, clean=None, **more) -> Run:
    """Trains a VAE, in place, as `training.loop.train` does, of which `more` are further arguments.

    Every step minimises `parts` summed over the batch. `clean`, a loader in the same order, gives the images to rebuild
    where they are not the ones seen.
    """
    words = Classifier(settings.model, settings.optimizer, batch_size=settings.batch_size, epochs=settings.epochs,
                       clip_norm=settings.clip_norm, precision=settings.precision)  # fmt: skip
    if net.head is not None:
        net.head.requires_grad_(False)  # no part of this loss reads it
    more.setdefault("accelerate", fast.best(net, words, loader.device))
    run = train(net, Pairs(loader, clean), words, seed, objective=Reconstruction(settings.beta), **more)
    net.eval()
    return run


class Reconstruction:
    """The objective of a VAE, `parts`, of its output and the images to rebuild."""

    names = ("train_loss", "train_reconstruction", "train_kl")

    def __init__(self, beta: float):
        self.beta = beta

    def __call__(self, output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> tuple[Tensor, Tensor]:
        losses = parts(output[0], target, *output[1:], self.beta)
        return losses[0], losses.detach()


class Pairs:
    """A loader whose labels are the images of `clean`, in the same order, or its own."""

    def __init__(self, loader, clean=None):
        self.loader, self.clean = loader, clean

    def __getattr__(self, name: str):
        return getattr(self.loader, name)

    def begin(self, epoch: int) -> None:
        for images in (self.loader, self.clean):
            if images is not None:
                images.begin(epoch)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        x = self.loader.take(rows)[0]
        return x, x if self.clean is None else self.clean.take(rows)[0]


def parts(rebuilt: Tensor, target: Tensor, mu: Tensor, log_var: Tensor, beta: float) -> Tensor:
    """(3,): the β-VAE's loss, its squared error and its KL divergence, each summed over the batch.

    loss = Σ(x̂ − x)² + β·Σ KL(q(z|x) ‖ N(0, 1)) (Kingma and Welling 2013, Higgins et al. 2017), in float32 or better.
    """
    wide = [t if t.dtype == torch.float64 else t.float() for t in (rebuilt, target, mu, log_var)]
    error = (wide[0] - wide[1]).square().sum()
    kl = divergence(wide[2], wide[3]).sum()
    return torch.stack((error + beta * kl, error, kl))


def clean_loader(task: Task, part: str, to: dict):
    """The images of a part of a task in the same order, without noise."""
    before = task.recipe
    task.recipe = replace(before, data=replace(before.data, noise="none"))
    try:
        return task.loader(part, before.settings, **to)
    finally:
        task.recipe = before
