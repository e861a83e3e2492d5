"""What a recipe's run comes to, counted before it runs.

A work is an array over UNITS; its product with what each unit costs (`probe`) is seconds. `parts` gives it by
name, so that what several recipes share (one VAE, one stream of images) is counted once.
"""

import hashlib
import json
import math
from dataclasses import asdict, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from secondlook.data import DATA_SETS
from secondlook.data.loader import DeviceLoader
from secondlook.estimates import TOGETHER, UNITS
from secondlook.experiments import vae
from secondlook.experiments.linear import stream
from secondlook.experiments.reading import starts
from secondlook.experiments.risk import SIDE
from secondlook.insight import heads, trajectory
from secondlook.models.counting import Counting, Passes, following, passes, without_memory
from secondlook.recipe import Classifier, Data, Recipe, checked
from secondlook.training.fast import numba_step, side_by_side
from secondlook.training.linear import Batch
from secondlook.training.precision import is_small

WHOLE = {"mnist": (60_000, 10_000), "standin": (2000, 1000)}  # images to train and to test on; others have OTHERS
OTHERS = 50_000, 10_000
EVALUATED = 250  # images in a batch that is evaluated


# Seconds of one core (AMD EPYC with AVX-512) that no count explains
RECORD = 0.2  # of any record, and of each image of its data set: reading, dividing, metrics, writing
READ = 1e-5
PLACED = 0.006  # of an image that t-SNE and UMAP place, up to 2,000
LOOKED = 0.002  # of an image whose activation maps are taken, up to 400, beside the passes
DISTANCE = 0.007  # of a test image for the sliced Wasserstein distances


PLAIN = Passes(0, 0, 0)  # an image that is only gathered, divided and normalised: what every step of a net includes


class Images(NamedTuple):
    """How many images a recipe trains on, validates and tests on, and what they look like."""

    train: int
    validation: int
    test: int
    side: int
    channels: int
    classes: int


def images(data: Data) -> Images:
    """Classes are taken for equally frequent."""
    known = DATA_SETS[data.name]
    classes = len(data.classes or known.class_names)
    whole = WHOLE.get("standin" if data.source == "standin" else data.name, OTHERS)
    train, test = (
        min(limit or n, round(n * classes / len(known.class_names)))
        for limit, n in zip((data.train_limit, data.test_limit), whole)
    )
    held = round(data.validation * (train if data.validation < 1 else 1))
    return Images(max(train - held, 1), held, test, data.image_size or known.shape[0], (*known.shape, 1)[2], classes)


def work(**units: float) -> np.ndarray:
    return np.array([units.get(name, 0.0) for name in UNITS])


def parts(recipe: Recipe) -> dict[str, np.ndarray]:
    """The work of a run by name; parts of one name are done once for all recipes that have them."""
    return {"classifier": _classifier, "vae": _vae, "risk": _risk, "linear": _linear}[recipe.kind](recipe)


def named(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ------------------------------------------------------------------ nets


def trained(s: Classifier, seen: Images, count: int, loading: Passes = PLAIN) -> np.ndarray:
    """Training a net for `s.epochs` on `count` images, which take `loading` to make ready."""
    model = table(s.model, seen)
    net, (_, both) = without_memory(model), passes(model, seen.channels, seen.side)
    shown, steps = count * s.epochs, math.ceil(count / s.batch_size) * s.epochs
    ready = loaded(loading, shown, steps)
    if numba_step.fits(net, s):
        return ready + work(kernel=both.macs * shown)
    graph = is_small(net) and s.schedule.get("name") != "one_cycle"
    calls = {"graph_calls" if graph else "calls": both.calls * steps}
    changed = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return ready + work(macs=both.macs * shown, values=both.values * shown, weights=changed * steps, **calls)


def evaluated(model: dict, seen: Images, count: float, loading: Passes = PLAIN) -> np.ndarray:
    """`count` images passed forward, in batches of EVALUATED."""
    forward, batches = passes(table(model, seen), seen.channels, seen.side)[0], math.ceil(count / EVALUATED)
    done = work(macs=forward.macs * count, values=forward.values * count, calls=forward.calls * batches)
    return done + loaded(loading, count, batches)


def table(model: dict, seen: Images) -> str:
    return json.dumps(following(model, seen), sort_keys=True)


def loaded(loading: Passes, count: float, batches: float) -> np.ndarray:
    return work(values=loading.values * count, light_calls=loading.calls * batches)


def load(data: Data, augment: dict, seen: Images, part: str = "train") -> Passes:
    """What it takes to make an image of a part of the data ready, beyond what every image takes."""
    noise, stored = data.noise if data.noise_on in ("both", part) else "none", DATA_SETS[data.name].shape[0]
    if not augment and noise == "none":
        return PLAIN
    return loading(json.dumps(augment, sort_keys=True), noise, seen.side, seen.channels, stored)


@lru_cache(maxsize=1024)
def loading(augment: str, noise: str, side: int, channels: int, stored: int) -> Passes:
    loader = DeviceLoader(
        np.zeros((2, stored, stored, channels), np.uint8), [0, 0], batch_size=2, seed=0, augment=json.loads(augment),
        noise=noise, image_size=side,
    )  # fmt: skip
    loader.begin(0)
    with Counting() as counted:
        loader.take(torch.arange(2))
    return counted.of(2)


# ------------------------------------------------------------------ kinds


def kept(recipe: Recipe, seen: Images) -> np.ndarray:
    """What it takes to begin and to write a record, and to place its test images where it keeps that."""
    placed = PLACED * min(seen.test, 2000) * (recipe.keep == "evidence" and recipe.kind != "linear")
    return work(seconds=RECORD + READ * (seen.train + seen.validation + seen.test) + placed)


def _classifier(recipe: Recipe) -> dict[str, np.ndarray]:
    s, seen = recipe.settings, images(recipe.data)
    done, test = kept(recipe, seen), load(recipe.data, {}, seen, "test")
    phases = [s]
    if s.first:
        phases.append(checked(Classifier, {**asdict(s), "first": {}, **s.first}, f"{recipe}: first"))
    for phase in phases:
        ready = load(recipe.data, phase.augment, seen)
        done += trained(phase, seen, seen.train, ready)
        each = seen.validation or (seen.test if s.test else 0)
        done += evaluated(phase.model, seen, each * phase.epochs, test)
    if s.test:
        looks = looked_at(recipe, seen) * (2 if s.precision == "bf16" else 1)  # in float32, whatever the recipe has
        done += evaluated(s.model, seen, seen.test + looks, test)
        done += work(seconds=(recipe.keep != "metrics") * LOOKED * min(seen.test, 400))
    if not side_by_side.fits(s):
        return {recipe.id: done}
    calls = done * [name == "graph_calls" for name in UNITS]
    seeds = str(replace(recipe, seed=0, keep="metrics").as_dict())
    return {recipe.id: done - calls, TOGETHER + named(seeds): calls}


def looked_at(recipe: Recipe, seen: Images) -> float:
    """Forward passes of one image with which a record looks into its net; a backward pass is two more."""
    if recipe.keep == "metrics":
        return 0.0
    found = min(2000, seen.test) + 3 * min(1000, seen.test) + 3 * min(400, seen.test)
    if recipe.keep == "evidence":
        found += 3 * min(220, seen.test) + 80 * min(48, seen.test)
        small = trajectory.fits(without_memory(table(recipe.settings.model, seen)))
        found += small * trajectory.SIDE**2 * min(trajectory.IMAGES, seen.test)
    return found


def _vae(recipe: Recipe) -> dict[str, np.ndarray]:
    s, seen, own = recipe.settings, images(recipe.data), vae.as_classifier(recipe).settings
    ready, test = load(recipe.data, {}, seen), load(recipe.data, {}, seen, "test")
    fitted = trained(own, seen, seen.train, ready)
    noisy = recipe.data.noise != "none" and recipe.data.noise_on != "test"
    again = seen.train * (1 + s.epochs * noisy)
    read = evaluated(own.model, seen, again, ready) + evaluated(own.model, seen, 3 * seen.test, test)
    read += read_by_heads(seen.train, s.batch_size, s.epochs, seen.classes)
    read += work(seconds=DISTANCE * seen.test * (seen.classes == 2))
    key, reading = json.dumps(vae.training(recipe), sort_keys=True), f"{recipe.data} {s.latent} {s.head_learning_rate}"
    return {named(key): fitted, named(key + reading): read, recipe.id: kept(recipe, seen)}


def read_by_heads(count: int, batch_size: int, epochs: int, classes: int) -> np.ndarray:
    """Linear heads trained side by side on the latents of `count` images."""
    steps = math.ceil(count / batch_size) * epochs
    return work(light_calls=_head_step(classes).calls * steps)


@lru_cache
def _head_step(classes: int) -> Passes:
    latents, labels = torch.zeros(2, 8), torch.zeros(2, dtype=torch.int64)
    with Counting() as counted, torch.enable_grad():
        heads.train_heads(
            starts(nn.Linear(8, classes), 0, classes), lambda epoch: latents, labels, lambda epoch: torch.arange(2),
            learning_rate=0.0, batch_size=2, epochs=1, test=(latents, labels),
        )  # fmt: skip
    return counted.of(2)


def _risk(recipe: Recipe) -> dict[str, np.ndarray]:
    s = recipe.settings
    reference = s.test_size if s.reference == "test" else s.reference_size
    seen = Images(s.train_size, 0, s.test_size, recipe.data.image_size or SIDE, 1, 2)
    own = Classifier(s.model, s.optimizer, batch_size=s.batch_size, epochs=s.epochs, precision=s.precision)
    done = work(seconds=RECORD)
    for count in (s.train_size, reference):
        if s.first:
            before = checked(Classifier, {**asdict(own), **s.first}, f"{recipe}: first")
            done += trained(before, seen, count)
        done += trained(own, seen, count) + evaluated(s.model, seen, count + s.test_size)
        if s.head in ("svm_head", "hinge"):
            done += read_by_heads(count, s.batch_size, s.epochs, 2)
    return {recipe.id: done}


def _linear(recipe: Recipe) -> dict[str, np.ndarray]:
    """A group's stream of images is fetched once; members of one kind of step share its calls."""
    s, seen = recipe.settings, images(recipe.data)
    pixels = seen.side**2 * seen.channels
    count, size = seen.train * (2 if s.augment == "flip" else 1), pixels
    every = count + seen.validation + seen.test * s.test
    learned = kept(recipe, seen)
    if s.features == "whitened":
        size = s.feature_count or pixels
        side = min(count, pixels)  # of the matrix whose eigenvectors are taken
        learned += work(macs=count * pixels * side + 4 * side**3 + every * pixels * size, values=3 * every * pixels)
    if s.features == "patches":
        size, places = 4 * s.feature_count, (seen.side - s.patch_size + 1) ** 2
        patch = s.patch_size**2 * seen.channels
        learned += work(macs=every * places * patch * (patch + s.feature_count)
                        + 20 * min(200_000, 500 * s.feature_count) * patch * s.feature_count,
                        values=3 * every * places * s.feature_count)  # fmt: skip
    shown, key = count * s.epochs, str(stream(recipe))
    fetched = work(values=4 * size * shown)
    steps, step = shown / s.batch_size, _linear_step(s.loss, s.penalty, s.optimizer)
    weights = size * seen.classes
    observed = 60 * seen.validation + 2 * count + seen.test
    member = work(macs=weights * (2 * shown + observed), values=12 * seen.classes * shown + 3 * weights * steps)
    same = f"{key} {s.batch_size} {s.loss} {s.optimizer} {s.schedule}"
    return {named(key): learned + fetched, named(same): work(light_calls=step.calls * steps), recipe.id: member}


@lru_cache
def _linear_step(loss: str, penalty: str, optimizer: str) -> Passes:
    from secondlook.recipe import Linear

    batch = Batch([Linear(loss=loss, penalty=penalty, optimizer=optimizer)], 4, 2, 0, torch.float32)
    with Counting() as counted:
        batch.step(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64), 1.0)
    return counted.of(2)
