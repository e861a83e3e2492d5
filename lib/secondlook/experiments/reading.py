"""What is read from a trained VAE's latent space: classifiers, pictures, distances, and where the classes lie."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from secondlook.data import draws
from secondlook.evaluation import distances
from secondlook.evaluation import metrics as measure
from secondlook.insight import embeddings as latents
from secondlook.insight import heads as readers
from secondlook.insight.maps import evaluating, first_kernels
from secondlook.recipe import Recipe
from secondlook.training.precision import flags

LOTTERY = 20  # linear heads of each loss, from different starts
NAMED = 100  # choices of one labelled image a class, to name clusters by
CHUNK = 500  # images at once
DIGITS = ("zeros", "ones")


class Latents:
    """Latents of a set of images: means and log-variances, float32 (n, L), and labels (n,), on the CPU."""

    def __init__(self, net: nn.Module, loader, recipe: Recipe, name: str):
        self.net, self.loader, self.name, self.seed = net, loader, name, recipe.seed
        self.how = getattr(recipe.settings, "latent", "sample")
        self.labels = loader.y.cpu()
        self.mu, self.log_var = latents.encode(net, (x for x, _ in loader.evaluation_batches(CHUNK)))

    def z(self, epoch: int = -1, of: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """What a classifier reads, (n, L): the means, or draws from q(z|x), other ones in each epoch."""
        mu, log_var = of or (self.mu, self.log_var)
        if self.how == "mean":
            return mu
        noise = draws.normal(self.seed, f"latent {self.name}", torch.arange(mu.numel()), epoch).view_as(mu)
        return mu + torch.exp(0.5 * log_var) * noise

    def anew(self, epoch: int) -> Tensor:
        """`z` of the images as they are drawn in an epoch of training."""
        self.loader.begin(epoch)
        rows = torch.arange(len(self.labels), device=self.loader.device).split(CHUNK)
        return self.z(epoch, latents.encode(self.net, (self.loader.take(r)[0] for r in rows)))

    @property
    def finite(self) -> bool:
        return all(bool(t.isfinite().all()) for t in (self.mu, self.log_var, self.z()))


def starts(head: nn.Linear, seed: int, classes: int) -> readers.Heads:
    """The heads of both losses, LOTTERY of each: the first starts as the net's own, the others as PyTorch would start
    one. The loss as coded is for two classes only."""
    size, bound = head.weight.numel() + classes, head.in_features**-0.5
    drawn = draws.uniform(seed, "head starts", torch.arange((LOTTERY - 1) * size)).view(LOTTERY - 1, size)
    own = torch.cat([head.weight.detach().cpu().float().T.reshape(-1), head.bias.detach().cpu().float()])
    values = torch.cat([own[None], (2 * drawn - 1) * bound])
    kinds = [True, False] if classes == 2 else [False]
    values = values.repeat(len(kinds), 1)
    coded = torch.tensor(kinds).repeat_interleave(LOTTERY)
    return readers.Heads(values[:, :-classes].reshape(-1, head.in_features, classes).clone(),
                         values[:, -classes:].clone(), coded)  # fmt: skip


class Reading:
    """Everything measured on a trained VAE for one way to read its latent and one set of test images.

    `clean` gives the test images without noise, what a denoising VAE is held against. Nothing is measured of a VAE that
    diverged or whose latents are not finite.
    """

    def __init__(self, recipe: Recipe, task, run, checkpoint, clean):
        self.recipe, self.task, self.run, self.checkpoint = recipe, task, run, checkpoint
        self.metrics: dict = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.predictions: dict[str, np.ndarray] = {}
        self.linear: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.heads: readers.Heads | None = None
        if run.status == "diverged":
            return
        with flags(recipe.settings.precision, task.device):
            self.train, self.test = (
                Latents(run.net, task.loader(part, task.recipe.settings, **run.loader.to), recipe, part)
                for part in ("train", "test")
            )
            if not (self.train.finite and self.test.finite):
                self.metrics["latents_finite"] = False
                return
            self.heads = self._heads()
            self._classify()
            self._rebuild(clean if recipe.settings.denoising else self.test.loader)

    def told(self, recipe: Recipe) -> tuple[dict, dict, dict]:
        """Metrics, curves of the linear head and arrays for the record of `recipe`, by its head and what it keeps."""
        if self.heads is None:
            return dict(self.metrics), {}, {}
        chosen, labels = recipe.settings.svm_head, self.test.labels.numpy().astype(np.uint8)
        metrics = {**self.metrics, **{f"svm_{k}": self.metrics[f"{chosen}_{k}"] for k in
                                      ("accuracy", "train_accuracy", "seconds")}}  # fmt: skip
        weights, biases = self.linear[chosen]
        direction, offset = weights[:, -1] - weights[:, 0], float(biases[-1] - biases[0])
        if len(biases) == 2:
            metrics |= self._sides(direction, offset, weights[:, 0], float(biases[0]))
        curves, arrays = self._curves(chosen), {}
        if recipe.keep != "metrics":
            arrays = {"labels": labels, "svm_predictions": self.predictions[chosen],
                      "kmeans_predictions": self.predictions["kmeans"]}  # fmt: skip
        if recipe.keep == "evidence":
            plane = latents.on_hyperplane(self.test.mu.numpy(), direction, offset) if len(biases) == 2 else None
            more, places = latents.placed(self.test.mu.numpy(), self.test.log_var.numpy(), plane)
            metrics |= more
            arrays |= {**places, **latents.made(self.run.net, self.test.mu.numpy(), self.rebuilt, labels)}
            arrays["test_index"] = np.asarray(self.task.parts.test, np.int32)
            kernels = first_kernels(self.run.net)
            arrays |= {"kernels": kernels} if kernels.size else {}
        return metrics, curves, arrays

    def _heads(self) -> readers.Heads:
        recipe, train, own = self.recipe, self.train, self.recipe.settings
        noisy = recipe.data.noise != "none" and recipe.data.noise_on != "test"

        def seen(epoch: int) -> Tensor:
            return train.anew(own.epochs + epoch) if noisy else train.z(epoch)

        return readers.train_heads(
            starts(self.run.net.head, recipe.seed, self.task.classes), seen, train.labels,
            lambda epoch: draws.permutation(recipe.seed, epoch, len(train.labels), "heads", "cpu"),
            learning_rate=own.head_learning_rate, batch_size=own.batch_size, epochs=own.epochs,
            test=(self.test.z(), self.test.labels), checkpoint=self.checkpoint,
            progress=lambda share: self.task.execution.progress(f"{recipe}, linear heads", share),
        )  # fmt: skip

    def _classify(self) -> None:
        """Accuracies of all that reads the latent, and where the classes lie in it."""
        from sklearn.metrics import adjusted_rand_score

        z, labels, told = self.train.z().numpy(), self.train.labels.numpy(), self.metrics
        truth, means = self.test.labels.numpy(), self.test.mu.numpy()
        for name, kind in (("as_coded", True), ("hinge", False)):
            members = torch.nonzero(self.heads.coded == kind).flatten()
            if len(members):
                own = [t[members].numpy() for t in (self.heads.weights, self.heads.biases)]
                self.linear[name] = own[0][0], own[1][0]
                reached = readers.accuracies(self.heads, self.test.z(), self.test.labels)[members]
                told |= {f"{name}_lottery": reached.tolist(), f"{name}_seconds": self.heads.seconds}
        self.linear["linear_svc"], told["linear_svc_seconds"] = _timed(lambda: readers.linear_svc(z, labels))
        for name, parameters in self.linear.items():
            self._judge(name, lambda x, p=parameters: _classes(x, p))
        clusters, told["kmeans_seconds"] = _timed(lambda: readers.kmeans(z, labels, self.task.classes))
        self.centres = clusters.centres
        self._judge("kmeans", clusters.predict)
        told["kmeans_ari"] = float(adjusted_rand_score(truth, self.predictions["kmeans"]))
        shares = draws.uniform(self.recipe.seed, "named images", torch.arange(NAMED * self.task.classes))
        told["kmeans_one_label_accuracy"] = readers.one_label_accuracy(
            (clusters.predict(z), labels), (self.predictions["kmeans"], truth), shares.view(NAMED, -1).numpy()
        )
        probe = readers.linear_svc(self.train.mu.numpy(), labels)
        told["probe_accuracy"] = measure.accuracy(truth, _classes(means, probe))
        told["majority_accuracy"] = float(np.bincount(truth).max() / len(truth))
        told |= latents.latent_measures(means, self.test.log_var.numpy(), truth)

    def _judge(self, name: str, predict: Callable) -> None:
        for part, prefix, own in (("test", "", self.test), ("train", "train_", self.train)):
            predictions = predict(own.z().numpy())
            self.metrics[f"{name}_{prefix}accuracy"] = measure.accuracy(own.labels.numpy(), predictions)
            if part == "test":
                self.predictions[name] = predictions.astype(np.uint8)

    @torch.no_grad()
    def _rebuild(self, targets) -> None:
        """Reconstructions of the test images: errors, and sliced Wasserstein distances as coded and of whole images."""
        net = self.run.net
        weight = next(net.parameters())
        with evaluating(net):
            z = self.test.z().to(weight.device, weight.dtype)
            self.rebuilt = torch.cat([net.decode(part) for part in z.split(CHUNK)]).float()
        wanted = torch.cat([x for x, _ in targets.evaluation_batches(CHUNK)]).float()
        error = float((self.rebuilt - wanted).double().square().flatten(1).sum(1).mean())
        kl = float(latents.divergence(self.test.mu.double(), self.test.log_var.double()).sum(1).mean())
        self.metrics |= {"test_loss": error + self.recipe.settings.beta * kl, "test_reconstruction": error,
                         "test_kl": kl}  # fmt: skip
        labels = self.test.labels.numpy()
        if self.task.classes == 2 and min(np.bincount(labels, minlength=2)) > 1:
            originals, rebuilt = (distances.rescaled(t[:, 0].cpu().numpy()) for t in (wanted, self.rebuilt))
            self.metrics |= swd(originals, rebuilt, labels, self.recipe.seed)

    def _sides(self, direction: np.ndarray, offset: float, row: np.ndarray, row_offset: float) -> dict:
        """Signed distances, class by class, from the hyperplane between the two outputs, positive on the side of class
        1: of the mean latents and of the clusters' centres; and of the means from the first output's row alone, the
        hyperplane that the public code draws."""
        means = np.stack([self.test.mu.numpy()[self.test.labels.numpy() == c].mean(0) for c in (0, 1)])

        def signed(points: np.ndarray, w: np.ndarray, b: float) -> list[float]:
            return ((points @ w + b) / max(float(np.linalg.norm(w)), 1e-30)).astype(float).tolist()

        return {"class_distances": signed(means, direction, offset), "row_distances": signed(means, row, row_offset),
                "centre_distances": signed(self.centres, direction, offset)}  # fmt: skip

    def _curves(self, chosen: str) -> dict[str, list]:
        """The epochs of the recipe's own head."""
        if chosen not in ("as_coded", "hinge") or not self.heads.history:
            return {}
        member = int(torch.nonzero(self.heads.coded == (chosen == "as_coded"))[0])
        return {f"head_{name}": [row[member] for row in rows] for name, rows in self.heads.history.items()}


def swd(originals: np.ndarray, rebuilt: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Sliced Wasserstein distances of images (n, S, S) in [0, 1] from their reconstructions, for zeros and ones, and
    between zeros and ones; each with the floor that two random halves of the originals make.

    row_swd_… is as coded, over rows, with the standard error, row_swd_…_se, that the draws of one seed leave; swd_… is
    over whole images. Directions are drawn from `seed`.
    """
    by_class = [originals[labels == c] for c in (0, 1)]
    pairs = {digit: (by_class[c], rebuilt[labels == c]) for c, digit in enumerate(DIGITS)} | {"between": by_class}
    found = {}
    for name, (x, y) in pairs.items():
        repeats = distances.row_repeats(x, y, seed)
        found[f"row_swd_{name}"] = float(repeats.mean())
        found[f"row_swd_{name}_se"] = float(repeats.std(ddof=1) / np.sqrt(len(repeats)))
        found[f"swd_{name}"] = distances.sliced_wasserstein(x, y, seed=seed)
    for c, digit in enumerate(DIGITS):
        found[f"row_swd_floor_{digit}"] = distances.floor(
            lambda a, b: distances.row_repeats(a, b).mean(), by_class[c], seed
        )
        found[f"swd_floor_{digit}"] = distances.floor(distances.sliced_wasserstein, by_class[c], seed)
    return found


def _classes(z: np.ndarray, parameters: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    weights, biases = parameters
    return (z @ weights + biases).argmax(1)


def _timed(make: Callable) -> tuple:
    since = time.perf_counter()
    return make(), time.perf_counter() - since
