"""How long recipes will take: what their training comes to, counted, at what its units cost on this machine.

Good for a factor of two. Counts and costs are remembered in the user's cache; only what is not there imports torch.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from secondlook.cache import remembered
from secondlook.checks import RecipeError, checked
from secondlook.data import known
from secondlook.groups import READ, seeds_together, stream, vae_training
from secondlook.recipe import Classifier, Data, Recipe

# Seconds of one core of a server's processor (AMD EPYC, AVX-512) for a multiply-add, a number written, an operation
# called, a weight changed: what pages and claims count by; and what a multiply-add of other precision takes of that
REFERENCE = [2e-11, 1.1e-9, 4e-5, 3.5e-9]
OF_PRECISION = {"bf16": 0.5, "float64": 3.5}
LIGHT = 1 / 8  # of a call: one that no layer makes, or one in a graph of a whole step on a GPU
GRAPH_PARAMETERS = 5_000_000  # of nets whose step is such a graph
WHOLE = {"mnist": (60_000, 10_000), "standin": (2000, 1000)}  # images to train and to test on; others have OTHERS
OTHERS = 50_000, 10_000
# Seconds that no count explains: of a record; of an image read, placed by t-SNE and UMAP, looked into, and compared
RECORD, READING, PLACING, LOOKING, DISTANCE = 0.2, 1e-5, 0.006, 0.002, 0.007


@dataclass(frozen=True)
class Estimate:
    """Minutes until something is trained on a device, so many runs at a time."""

    minutes: float
    device: str
    at_a_time: int = 1

    def __str__(self) -> str:
        together = f", {self.at_a_time} runs at a time" if self.at_a_time > 1 else ""
        return f"about {told(self.minutes)} on this machine's {'CPU' if self.device == 'cpu' else 'GPU'}{together}"


def estimate(recipes: Iterable[Recipe], device: str, processes: int = 1) -> Estimate:
    """How long training all of these recipes takes on `device` (cpu, cuda, cuda:1).

    On a CPU in so many processes side by side, of a core each. What several recipes share is counted once; a run that
    may stop early is counted to its last epoch. Raises RecipeError for a recipe whose net cannot be.
    """
    each = [_seconds(recipe, device, _measured) for recipe in {r.id: r for r in recipes}.values()]
    at_a_time = max(min(processes, len(each)), 1) if device == "cpu" else 1
    whole = sum({name: s for parts in each for name, s in parts.items()}.values()) / at_a_time
    return Estimate(max([whole, *(sum(parts.values()) for parts in each)]) / 60, device, at_a_time)


def core_minutes(recipes: Iterable[Recipe]) -> float:
    """Minutes on one core as REFERENCE has it, the same wherever they are counted."""
    each = [_seconds(recipe, "cpu", lambda *_: REFERENCE) for recipe in {r.id: r for r in recipes}.values()]
    return sum({name: s for parts in each for name, s in parts.items()}.values()) / 60


def core_time(recipes: Iterable[Recipe]) -> str:
    """`core_minutes` in words: 3 core-minutes, 12 core-hours."""
    return told(core_minutes(recipes)).replace(" ", " core-")


def told(time: float) -> str:
    """Minutes as a person says them: 12 seconds, 45 minutes, 2.5 hours; two digits are all an estimate has."""
    amount, unit = (60 * time, "seconds") if time < 2 else (time, "minutes") if time < 120 else (time / 60, "hours")
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:,.0f} {unit}"


def _seconds(recipe: Recipe, device: str, costs: Callable) -> dict[str, float]:
    """Seconds of each part of a recipe's run, by names that are equal where recipes share the part."""
    precision = getattr(recipe.settings, "precision", "float32")
    units = np.array([*costs(device, precision), 1.0])
    if costs is not _measured:
        units[0] *= OF_PRECISION.get(precision, 1.0)
    try:
        return {name: float(done @ units) for name, done in KINDS[recipe.kind](recipe, device).items()}
    except (ValueError, TypeError, RuntimeError) as error:  # from a net that cannot be, or takes no such image
        raise RecipeError(f"{recipe}: {error}") from None


def _measured(device: str, precision: str) -> list[float]:
    from secondlook.experiments import probe
    from secondlook.provenance import device_name, versions

    machine = f"{device_name(device)}, torch {versions()['torch']}, {precision}"
    return remembered("unit-costs", "2", machine, lambda: probe.unit_costs(device, precision))


# ------------------------------------------------------------------ what is counted


class Images(NamedTuple):
    """How many images a recipe trains on, validates and tests on, what they look like, what making one ready takes."""

    train: int
    validation: int
    test: int
    side: int
    channels: int
    classes: int
    noisy: tuple[str, ...] = ()  # the parts that are
    noise: int = 0  # numbers written for the noise of a pixel


def images(data: Data) -> Images:
    """Classes are taken for equally frequent."""
    seen = known(data)
    classes = len(data.classes or seen.class_names)
    whole = WHOLE.get("standin" if data.source == "standin" else data.name, OTHERS)
    whole = (data.train_limit, data.test_limit) if data.name == "folder" else whole
    train, test = (min(limit or n, round(n * classes / len(seen.class_names)))
                   for limit, n in zip((data.train_limit, data.test_limit), whole))  # fmt: skip
    held = round(data.validation * (train if data.validation < 1 else 1))
    noise = {"none": 0, "white_noise_crop": 45}.get(data.noise, 120)
    noisy = () if not noise else ("train", "test") if data.noise_on == "both" else (data.noise_on,)
    return Images(max(train - held, 1), held, test, data.image_size or seen.shape[0], (*seen.shape, 1)[2], classes,
                  noisy, noise)  # fmt: skip


def work(macs=0.0, values=0.0, calls=0.0, weights=0.0, seconds=0.0) -> np.ndarray:
    """Multiply-adds, numbers written, operations called, weights changed; and seconds that no count explains."""
    return np.array([macs, values, calls, weights, seconds])


def forward(model: dict, seen: Images) -> list[float]:
    """`models.counting.Passes` of a `model` table. Raises ValueError, TypeError or RuntimeError for what cannot be."""

    def make() -> list[float]:
        from secondlook.models.counting import following, passes

        return list(passes(json.dumps(following(model, seen), sort_keys=True), seen.channels, seen.side))

    key = json.dumps([model, seen.side, seen.channels, seen.classes], sort_keys=True)
    return remembered("forward-passes", _code(), key, make)


@cache
def _code() -> str:
    found = sorted(Path(__file__).with_name("models").glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()[:12]


def trained(s, seen: Images, count: int, device: str) -> np.ndarray:
    """A net trained for `s.epochs` on `count` images: three forward passes each, two of them backward."""
    macs, values, calls, parameters, trainable = forward(s.model, seen)
    shown, steps = count * s.epochs, ceil(count / s.batch_size) * s.epochs
    augment, schedule = getattr(s, "augment", {}), getattr(s, "schedule", {}).get("name")
    ready = loaded(seen, "train", shown, steps, len(augment))
    if device == "cpu" and s.model.get("name") == "lenet" and s.precision == "float32" and s.optimizer["name"] in (
        "sgd", "adamw"):  # fmt: skip
        return ready + work(3 * macs * shown)  # in one function
    graph = device != "cpu" and parameters <= GRAPH_PARAMETERS and schedule != "one_cycle"
    called = 3 * calls * steps * (LIGHT if graph else 1)
    return ready + work(3 * macs * shown, 3 * values * shown, called, trainable * steps)


def evaluated(model: dict, seen: Images, count: float, part: str = "test") -> np.ndarray:
    """`count` images passed forward, in batches of 250."""
    macs, values, calls, *_ = forward(model, seen)
    return work(macs * count, values * count, calls * ceil(count / 250)) + loaded(seen, part, count, count / 250)


def loaded(seen: Images, part: str, count: float, batches: float, augmentations: int = 0) -> np.ndarray:
    """Making `count` images ready, beyond what every image takes."""
    noisy, pixels = part in seen.noisy, seen.side**2 * seen.channels
    return work(0, pixels * (10 * augmentations + seen.noise * noisy) * count,
                LIGHT * (12 * augmentations + 160 * noisy) * batches)  # fmt: skip


def kept(recipe: Recipe, seen: Images) -> np.ndarray:
    """What it takes to begin and to write a record, and to place its test images where it keeps that."""
    placed = PLACING * min(seen.test, 2000) * (recipe.keep == "evidence" and recipe.kind != "linear")
    return work(seconds=RECORD + READING * (seen.train + seen.validation + seen.test) + placed)


def _classifier(recipe: Recipe, device: str) -> dict[str, np.ndarray]:
    s, seen = recipe.settings, images(recipe.data)
    done = kept(recipe, seen)
    for phase in [s, checked(Classifier, {**asdict(s), "first": {}, **s.first}, str(recipe))] if s.first else [s]:
        done += trained(phase, seen, seen.train, device)
        done += evaluated(phase.model, seen, (seen.validation or seen.test * s.test) * phase.epochs)
    if s.test:
        done += evaluated(s.model, seen, seen.test + _looks(recipe, seen) * (2 if s.precision == "bf16" else 1))
        done += work(seconds=(recipe.keep != "metrics") * LOOKING * min(seen.test, 400))
    if device == "cpu" or not seeds_together(recipe):
        return {recipe.id: done}
    calls = done * [0, 0, 1, 0, 0]  # seeds that train as one net share them
    return {recipe.id: done - calls, seeds_together(recipe): calls}


def _looks(recipe: Recipe, seen: Images) -> float:
    """Forward passes of one image with which a record looks into its net; a backward pass is two more."""
    if recipe.keep == "metrics":
        return 0.0
    found = min(2000, seen.test) + 3 * min(1000, seen.test) + 3 * min(400, seen.test)
    if recipe.keep == "evidence":
        found += 3 * min(220, seen.test) + 80 * min(48, seen.test)
        found += 169 * min(200, seen.test) * (forward(recipe.settings.model, seen)[4] <= 500_000)  # of whose path
    return found


def _vae(recipe: Recipe, device: str) -> dict[str, np.ndarray]:
    s, seen = recipe.settings, images(recipe.data)
    fitted = trained(s, seen, seen.train, device)
    again = seen.train * (1 + s.epochs * ("train" in seen.noisy))
    read = evaluated(s.model, seen, again, "train") + evaluated(s.model, seen, 3 * seen.test) + _heads(s, seen.train)
    read += work(seconds=DISTANCE * seen.test * (seen.classes == 2))
    key = json.dumps(vae_training(recipe), sort_keys=True)
    reading = f"{key} {recipe.data} {[getattr(s, name) for name in READ]}"
    return {key: fitted, reading: read, recipe.id: kept(recipe, seen)}


def _heads(s, count: int) -> np.ndarray:
    """Linear heads trained side by side on the latents of `count` images."""
    return work(calls=LIGHT * 93 * ceil(count / s.batch_size) * s.epochs)


def _risk(recipe: Recipe, device: str) -> dict[str, np.ndarray]:
    s = recipe.settings
    seen, done = Images(s.train_size, 0, s.test_size, recipe.data.image_size or 32, 1, 2), work(seconds=RECORD)
    for count in (s.train_size, s.test_size if s.reference == "test" else s.reference_size):
        if s.first:
            own = {k: getattr(s, k) for k in ("model", "optimizer", "batch_size", "epochs", "precision")}
            done += trained(checked(Classifier, {**own, **s.first}, str(recipe)), seen, count, device)
        done += trained(s, seen, count, device) + evaluated(s.model, seen, count + s.test_size)
        done += _heads(s, count) * (s.head in ("svm_head", "hinge"))
    return {recipe.id: done}


def _linear(recipe: Recipe, device: str) -> dict[str, np.ndarray]:
    """A group's stream of images is fetched once; members of one kind of step share its calls."""
    s, seen = recipe.settings, images(recipe.data)
    pixels = size = seen.side**2 * seen.channels
    count = seen.train * (2 if s.augment == "flip" else 1)
    every, learned = count + seen.validation + seen.test * s.test, kept(recipe, seen)
    if s.features == "whitened":
        size, side = s.feature_count or pixels, min(count, pixels)  # of the matrix whose eigenvectors are taken
        learned += work(count * pixels * side + 4 * side**3 + every * pixels * size, 3 * every * pixels)
    if s.features == "patches":
        size, patch = 4 * s.feature_count, s.patch_size**2 * seen.channels
        places, sample = (seen.side - s.patch_size + 1) ** 2, 20 * min(200_000, 500 * s.feature_count)
        learned += work(every * places * patch * (patch + s.feature_count) + sample * patch * s.feature_count,
                        3 * every * places * s.feature_count)  # fmt: skip
    shown, steps, weights = count * s.epochs, count * s.epochs / s.batch_size, size * seen.classes
    observed = 60 * seen.validation + 2 * count + seen.test
    member = work(weights * (2 * shown + observed), 12 * seen.classes * shown + 3 * weights * steps)
    key = str(stream(recipe))
    same = f"{key} {s.batch_size} {s.loss} {s.optimizer} {s.schedule}"
    return {key: learned + work(values=4 * size * shown), same: work(calls=LIGHT * 35 * steps), recipe.id: member}


KINDS = {"classifier": _classifier, "vae": _vae, "risk": _risk, "linear": _linear}
