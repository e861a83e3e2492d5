"""Records of the linear classifier: groups that share their images train together."""

import hashlib
import io
import math
import time
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from secondlook.data import DATA_SETS, draws, hash_draws, load, split
from secondlook.evaluation import metrics as measure
from secondlook.experiments.filing import checkpoint_for, filed
from secondlook.experiments.outcome import rounded
from secondlook.models.linear import LinearClassifier
from secondlook.provenance import provenance
from secondlook.recipe import Data, Linear, Recipe, RecipeError
from secondlook.record import Record
from secondlook.training import features
from secondlook.training.linear import Member, loss_and_gradient, penalty, penalty_gradient, train
from secondlook.weights import digest, runs_path, save

SMALL = 1000  # images in the course's validation and test sets
DRAWS = 1000
CHUNK = 2000


def check(recipe: Recipe) -> None:
    """Raises RecipeError for what no linear classifier here can be trained on, before any image is read."""
    data, s = recipe.data, recipe.settings
    if data.name not in DATA_SETS or data.image_size or data.noise != "none":
        told = f"data.name {data.name!r}, data.image_size {data.image_size} and data.noise {data.noise!r}"
        raise RecipeError(f"{recipe}: kind 'linear' takes the images of a data set as they are stored, not {told}")
    shape = DATA_SETS[data.name].shape
    most = {"whitened": math.prod(shape), "patches": 10**4}.get(s.features)
    if s.features == "patches" and s.patch_size > min(shape[:2]):
        raise RecipeError(f"{recipe}: patch_size {s.patch_size} is larger than the images' {min(shape[:2])} pixels")
    if most and not (s.features == "patches") <= s.feature_count <= most:
        least = "at least 1" if s.features == "patches" else "0, for all,"
        raise RecipeError(f"{recipe}: feature_count {s.feature_count} of {s.features}; expected {least} to {most:,}")


class Images:
    """Training, validation and test images of a recipe, as features fetched by index; no test images without `test`."""

    def __init__(self, recipe: Recipe, data_dir, test: bool = True):
        self.source = _load(recipe.data, str(data_dir))
        parts = split(self.source, recipe.data, recipe.split_seed)
        self.x, x_val = (torch.from_numpy(self.source.x_train[i]) for i in (parts.train, parts.validation))
        x_test = torch.from_numpy(self.source.x_test[parts.test if test else parts.test[:0]])
        self.y, self.y_val, self.y_test = map(torch.from_numpy, (parts.y_train, parts.y_validation, parts.y_test))
        s = recipe.settings
        if s.augment == "flip":
            self.x, self.y = torch.cat([self.x, self.x.flip(2)]), self.y.repeat(2)
        if s.features == "pixels":
            transform = features.pixels(self.x)
            self.fetch = lambda i: transform(self.x[i])
        else:
            raw = self._transform(s, recipe.seed)
            learned = _in_parts(raw, self.x)
            mean, deviation = learned.mean(0), learned.std(0).clamp(min=1e-6)
            learned.sub_(mean).div_(deviation)
            transform = lambda x: (_in_parts(raw, x) - mean) / deviation  # noqa: E731
            self.fetch = lambda i: learned[i]
        self.transform, self.class_names = transform, parts.class_names
        self.x_val, self.x_test = (transform(x) if len(x) else torch.zeros(0, 1) for x in (x_val, x_test))
        self.noise: dict[tuple, float] = {}
        self.classes = len(parts.class_names)

    def _transform(self, s: Linear, seed: int):
        if s.features == "whitened":
            return features.whitened(self.x, s.feature_count)
        return features.patches(self.x, s.feature_count, s.patch_size, seed)


def produce(group: list[Recipe], execution) -> list[Record]:
    """One record for each recipe of a group, in order. The group's identity stands in each record's provenance."""
    first = group[0]
    check(first)  # a group differs in nothing that is checked
    label = f"{first.report} seed {first.seed}: {len(group)} runs together" if len(group) > 1 else str(first)
    execution.progress(label, 0.0)
    started, clock = datetime.now(UTC), time.perf_counter()
    images = Images(first, execution.data_dir, test=any(r.settings.test for r in group))
    identity = hashlib.sha256("".join(r.id for r in group).encode()).hexdigest()[:16]
    known = {"runs": [r.id for r in group], "data": images.source.digest}
    checkpoint = checkpoint_for(f"linear-{identity}", known, execution)
    members = train(
        [r.settings for r in group], images.fetch, images.y, (images.x_val, images.y_val), first.seed,
        classes=images.classes, snapshots=12 if any(r.keep == "evidence" for r in group) else 0,
        progress=lambda share: execution.progress(label, share), checkpoint=checkpoint,
    )  # fmt: skip
    seconds = time.perf_counter() - clock
    examples, learning = len(images.y) * first.settings.epochs * len(group), max(members[0].seconds, 1e-9)
    told = provenance(
        images.source.digest, started, seconds, examples=int(examples), examples_per_second=round(examples / learning),
        group={"id": identity, "members": len(group)}, precision="float32", resumed_from=checkpoint.resumed_from,
    )  # fmt: skip
    passed = _over_training_set(*zip(*((m.settings, m.weights, m.biases) for m in members), strict=True), images)
    records = [
        _record(r, m, p, images, told | keep_weights(r, m, images, execution.runs_dir))
        for r, m, p in zip(group, members, passed, strict=True)
    ]
    return filed(records, execution, [checkpoint])


def _over_training_set(settings, weights, biases, images: Images) -> list[tuple[float, float, float]]:
    """(accuracy, loss, noise) of each member on the training set.

    noise is the standard deviation of a mini-batch's gradient about the full gradient, over the full gradient's norm,
    from the images' own gradients g_i: sqrt((mean |g_i|² − |mean g|²) / M) / |mean g|, exact for draws
    with replacement.
    """
    wide, bias, c = torch.cat(weights, 1), torch.cat(biases), images.classes
    total, squares = torch.zeros_like(wide), torch.zeros(len(settings), dtype=torch.float64)
    loss, right = torch.zeros(len(settings), dtype=torch.float64), torch.zeros(len(settings))
    for part in torch.arange(len(images.y)).split(CHUNK):
        x, y = images.fetch(part), images.y[part]
        scores = torch.addmm(bias, x, wide).view(len(x), -1, c)
        norms, gradients = x.square().sum(1), torch.empty_like(scores)
        for k, s in enumerate(settings):
            value, gradients[:, k] = loss_and_gradient(scores[:, k], y, s.loss)
            loss[k] += value.double().sum()
            right[k] += (scores[:, k].argmax(-1) == y).sum()
        squares += (gradients.square().sum(-1) * norms[:, None]).double().sum(0)
        total.addmm_(x.T, gradients.flatten(1))
    n = len(images.y)
    full = (total / n).view(len(wide), -1, c).square().sum((0, 2)).double()
    sizes = torch.tensor([s.batch_size for s in settings], dtype=torch.float64)
    noise = ((squares / n - full).clamp(min=0) / sizes).sqrt() / full.sqrt()
    return [(float(right[k] / n), float(loss[k] / n), float(noise[k])) for k in range(len(settings))]


def _record(recipe: Recipe, member: Member, passed: tuple, images: Images, told: dict) -> Record:
    s = recipe.settings
    metrics = dict(zip(("train_accuracy", "train_loss", "gradient_noise_final"), passed))
    metrics |= {"steps": member.steps, "penalty": float(penalty(member.weights, s.penalty, s.strength))}
    if len(images.x_val):
        scores = images.x_val @ member.weights + member.biases
        metrics["validation_loss"] = float(loss_and_gradient(scores, images.y_val, s.loss)[0].mean())
        metrics["validation_accuracy"] = float((scores.argmax(1) == images.y_val).double().mean())
    metrics["gradient_error"] = gradient_error(s, images, recipe.seed)
    metrics["gradient_noise"] = _initial_noise(recipe, images)
    if member.diverged_step is not None:
        metrics |= {"diverged_step": member.diverged_step, "diverged_learning_rate": s.learning_rate}
    arrays = {}
    if s.test:
        more, arrays = _test(recipe, member, images)
        metrics |= more
    colours = s.features == "pixels" and images.source.x_train.shape[1:] == (32, 32, 3)  # which are seen as images
    if colours and bool(member.weights.isfinite().all()):
        metrics |= template_measures(member.weights)
    if colours and recipe.keep == "evidence":
        arrays |= {
            "templates": _template_sheet(member),
            "template_steps": np.array([i for i, _ in member.snapshots], np.int32),
        }
    history = {name: np.array(values, np.float32) for name, values in member.history.items()}
    status = "finished" if member.diverged_step is None else "diverged"
    return Record(recipe, status, {k: rounded(v) for k, v in metrics.items()}, history, arrays, told)


def _test(recipe: Recipe, member: Member, images: Images) -> tuple[dict, dict]:
    """Metrics and arrays of the test set, opened once."""
    scores = (images.x_test @ member.weights + member.biases).numpy()
    labels = images.y_test.numpy()
    predictions = scores.argmax(1)
    right = predictions == labels
    metrics = {"test_accuracy": float(right.mean())}
    if len(labels) > 1:
        size = min(SMALL, len(labels) // 2)
        small = right[hash_draws(DRAWS, size, len(labels))].mean(1)
        metrics["test_accuracy_small"] = float(small.mean())
        metrics["small_draws"] = {"mean": small.mean(), "sd": small.std(ddof=1), "low": np.quantile(small, 0.025),
                                  "high": np.quantile(small, 0.975), "size": size, "draws": DRAWS}  # fmt: skip
        metrics["small_draws"] = {k: rounded(float(v)) for k, v in metrics["small_draws"].items()}
    arrays = {}
    if recipe.keep != "metrics":
        arrays = {"predictions": predictions.astype(np.uint8), "labels": labels.astype(np.uint8)}
    occur = len(np.unique(labels)) == images.classes  # a class without images has no curve
    if recipe.keep == "evidence" and occur and np.isfinite(scores).all():
        curves = measure.roc_one_vs_rest(labels, scores)
        areas = [measure.auc_interval(labels == c, scores[:, c]) for c in range(scores.shape[1])]
        metrics |= {
            "auc": [a.value for a in areas],
            "auc_low": [a.low for a in areas],
            "auc_high": [a.high for a in areas],
        }
        arrays["roc"] = measure.pack_curves(curves)
    return metrics, arrays


def keep_weights(recipe: Recipe, member: Member, images: Images, runs_dir) -> dict:
    """Writes a headline's classifier as one linear map of pixels in [0, 1]; returns the digest for its provenance.

    Features are affine in the pixels, so b + W·f(x) = (b + W·f(0)) + (W·(f(1) − f(0)))·x; the activations of patches
    are not and leave nothing, nor does `smoke`.
    """
    patches = recipe.settings.features == "patches"
    if recipe.keep != "evidence" or patches or recipe.profile == "smoke" or not member.weights.isfinite().all():
        return {}
    shape = images.x.shape[1:] if images.x.ndim == 4 else (*images.x.shape[1:], 1)
    black, each = torch.zeros(1, *images.x.shape[1:], dtype=torch.uint8), 255 * torch.eye(math.prod(shape)).byte()
    zero = images.transform(black)
    slopes = (_in_parts(images.transform, each.view(-1, *images.x.shape[1:])) - zero) @ member.weights
    table = {"name": "linear", "image_size": shape[0], "num_classes": images.classes, "in_channels": shape[2]}
    model = LinearClassifier(**{k: v for k, v in table.items() if k != "name"})
    with torch.no_grad():
        model.output.weight.copy_(slopes.view(*shape, -1).permute(3, 2, 0, 1).flatten(1))
        model.output.bias.copy_((zero @ member.weights + member.biases)[0])
    about = {"table": table, "image_size": shape[0], "mean": [0.0] * shape[2], "std": [1.0] * shape[2],
             "class_names": images.class_names, "precision": "float32"}  # fmt: skip
    save(runs_path(runs_dir, recipe.id), model, about)
    return {"weights": digest(model.state_dict())}


def gradient_error(s: Linear, images: Images, seed: int, count: int = 64) -> float:
    """Largest relative difference between the gradient written out here and autograd's, float64, on `count` images."""
    index = draws.integers(seed, "gradient check", 0, count, len(images.y), device="cpu")
    x, y = images.fetch(index).double(), images.y[index]
    weights = (
        draws.normal(seed, "gradient weights", torch.arange(x.shape[1] * images.classes)).double().view(x.shape[1], -1)
        * 1e-3
    )
    by_hand = x.T @ loss_and_gradient(x @ weights, y, s.loss)[1] / count
    if s.penalty_gradient == "full":
        by_hand = by_hand + penalty_gradient(weights, s)
    leaf = weights.clone().requires_grad_()
    scores = leaf_scores = x @ leaf
    if s.loss == "softmax":
        loss = torch.nn.functional.cross_entropy(scores, y)
    else:
        margins = leaf_scores - leaf_scores.gather(1, y[:, None]) + 1
        margins = margins.masked_fill(torch.nn.functional.one_hot(y, images.classes).bool(), 0.0).clamp(min=0)
        loss = (margins.max(1).values if s.loss == "crammer_singer" else margins.sum(1)).mean()
    if s.penalty_gradient == "full":
        loss = loss + penalty(leaf, s.penalty, s.strength)
    loss.backward()
    return float((by_hand - leaf.grad).abs().max() / leaf.grad.abs().max())


def template_measures(weights: Tensor) -> dict:
    """Colour of the centre (16×16) and of the border of each template, and its likeness to its mirror image.

    weights (3072, C) in (row, column, channel) order. Colours are mean weights [R, G, B] per class in units of the
    template's standard deviation; the symmetry is the correlation of a template with its left–right mirror.
    """
    images = weights.double().T.view(-1, 32, 32, 3)
    images = (images - images.mean((1, 2, 3), keepdim=True)) / images.std((1, 2, 3), keepdim=True)
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[8:24, 8:24] = True
    mirror = (images * images.flip(2)).mean((1, 2, 3))
    colours = lambda t: [[round(v, 4) for v in row] for row in t.tolist()]  # noqa: E731
    return {
        "template_centre": colours(images[:, inside].mean(1)),
        "template_border": colours(images[:, ~inside].mean(1)),
        "template_symmetry": [round(v, 4) for v in mirror.tolist()],
    }


def _template_sheet(member: Member) -> np.ndarray:
    """WebP bytes of all templates at all snapshots: rows are moments, columns classes; one grey scale for a row."""
    rows = []
    for _, weights in member.snapshots:
        images = weights.T.reshape(-1, 32, 32, 3).nan_to_num(0.0, 0.0, 0.0)  # a run that diverged ends in grey
        low, high = torch.quantile(images.flatten(), torch.tensor([0.001, 0.999]))
        rows.append(torch.cat(list(((images - low) / (high - low).clamp(min=1e-30)).clamp(0, 1)), 1))
    sheet = (torch.cat(rows) * 255).round().to(torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "WEBP", quality=90, method=6)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _initial_noise(recipe: Recipe, images: Images) -> float:
    """The gradient noise at the initial weights; it scales as 1/√M, so one pass serves all batch sizes of a loss."""
    s = recipe.settings
    if (s.loss, s.initial_std) not in images.noise:
        features_ = images.fetch(torch.zeros(1, dtype=torch.int64)).shape[1]
        start = draws.normal(recipe.seed, "initial weights", torch.arange(features_ * images.classes)).view(
            features_, -1
        )
        one, biases = Linear(loss=s.loss, batch_size=1), torch.zeros(images.classes)
        images.noise[s.loss, s.initial_std] = _over_training_set([one], [start * s.initial_std], [biases], images)[0][2]
    return images.noise[s.loss, s.initial_std] / s.batch_size**0.5


@lru_cache(maxsize=1)
def _load(data: Data, data_dir: str):
    return load(data, data_dir)


def _in_parts(transform, x: Tensor) -> Tensor:
    return torch.cat([transform(part) for part in x.split(CHUNK)])
