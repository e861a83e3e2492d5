"""Records of the excess risk on two Gaussians: what too few images cost, and what the kind of net costs.

With R the share of test images told wrongly, h the net trained on few images, h̄ the same net fitted on the reference
and h* the Bayes rule: estimation error R(h) − R(h̄), approximation error R(h̄) − R(h*). One record is one draw of all
images; standard errors come from the seeds.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import numpy as np
import torch
from torch import nn

from secondlook import models, weights
from secondlook.data import draws
from secondlook.evaluation.metrics import bayes_rule, log_bayes_error
from secondlook.experiments import vae
from secondlook.experiments.classifier import build, phases
from secondlook.experiments.filing import checkpoint_for, filed
from secondlook.experiments.gaussians import FloatLoader, Sample, deviation, digest, sample
from secondlook.experiments.outcome import rounded
from secondlook.experiments.reading import Latents, starts
from secondlook.insight import heads as readers
from secondlook.provenance import provenance
from secondlook.recipe import VAE, Classifier, Recipe, RecipeError, Risk
from secondlook.record import Record
from secondlook.training import fast
from secondlook.training.loop import train
from secondlook.training.precision import autocast, flags, placement

SIDE = 32  # pixels, where the recipe names no other


def produce(group: list[Recipe], execution) -> list[Record]:
    """One record.

    Raises RecipeError for a recipe that cannot be, Stopped when asked to stop.
    """
    (recipe,) = group
    experiment = Experiment(recipe, execution)
    return filed([experiment.record()], execution, experiment.checkpoints)


@dataclass
class Fitted:
    """A net and what classifies by it: predictions of images, the seconds it took, what became of the run."""

    net: nn.Module
    predict: Callable[[Sample], np.ndarray]
    seconds: float
    diverged: list


class Experiment:
    """A recipe's samples, and the nets fitted on them."""

    classes, channels = 2, 1

    def __init__(self, recipe: Recipe, execution):
        if recipe.data.name != "gaussians":
            raise RecipeError(f"{recipe}: kind 'risk' draws its own images; set data.name to 'gaussians'")
        self.recipe, self.execution, self.device = recipe, execution, execution.resolved_device()
        self.settings: Risk = recipe.settings
        self.side = recipe.data.image_size or SIDE
        self.started, self.clock = datetime.now(UTC), time.perf_counter()
        self.latent = issubclass(models.MODELS.get(self.settings.model.get("name"), nn.Module), models.vae.VAE)
        if self.latent != (self.settings.head != "network"):
            told = "reads a VAE's latent" if self.settings.head != "network" else "needs a classifier"
            raise RecipeError(f"{recipe}: head {self.settings.head!r} {told}; the model is {self.settings.model}")
        if self.settings.head == "network":
            self.words = self._classifier()
        else:
            s = self.settings
            self.words = VAE(s.model, s.optimizer, batch_size=s.batch_size, epochs=s.epochs, precision=s.precision,
                             decoder=s.decoder)  # fmt: skip
        own = {"train": self.settings.train_size, "test": self.settings.test_size}
        if self.settings.reference == "third_sample":
            own["reference"] = self.settings.reference_size
        self.samples = {name: sample(self.settings, self.side, recipe.seed, name, n) for name, n in own.items()}
        self.digest = digest(self.samples)
        self.checkpoints: list = []

    def record(self) -> Record:
        """Everything measured, and where it came from."""
        test, told = self.samples["test"], self.bayes()
        reference = "test" if self.settings.reference == "test" else "reference"
        few, best = self.fitted("train"), self.fitted(reference)
        labels = test.y.numpy()
        predictions = {"few": few.predict(test), "best": best.predict(test)}
        risks = {name: float(np.mean(own != labels)) for name, own in predictions.items()}
        told |= {
            "risk_few": risks["few"], "risk_best": risks["best"],
            "estimation_error": risks["few"] - risks["best"], "approximation_error": risks["best"] - told["rule_error"],
            "excess_risk": risks["few"] - told["rule_error"],
            "train_error_few": float(np.mean(few.predict(self.samples["train"]) != self.samples["train"].y.numpy())),
            "train_error_best": float(np.mean(best.predict(self.samples[reference])
                                              != self.samples[reference].y.numpy())),
            "ones_in_train": int(self.samples["train"].y.sum()),
            "parameters": models.parameter_count(few.net), "train_seconds": few.seconds, "best_seconds": best.seconds,
        }  # fmt: skip
        diverged = few.diverged or best.diverged
        if diverged:
            told |= dict(zip(("diverged_step", "diverged_learning_rate"), diverged))
        arrays = {}
        if self.recipe.keep != "metrics":
            arrays = {f"predictions_{name}": own.astype(np.uint8) for name, own in predictions.items()}
            arrays["labels"] = labels.astype(np.uint8)
        metrics = {name: rounded(value) for name, value in told.items()}
        return Record(self.recipe, "diverged" if diverged else "finished", metrics, {}, arrays, self._provenance(best))

    def bayes(self) -> dict:
        """The exact Bayes error, the error of the Bayes rule on the test images, and of the rule as coded: the sign of
        the mean pixel after the loader's x → 2x − 1, which moved the threshold."""
        s, pixels = self.settings, self.side**2
        means, variance = (np.full(pixels, -s.mean_gap), np.full(pixels, s.mean_gap)), deviation(s) ** 2
        log_error = log_bayes_error(*means, variance)
        x, y = self.samples["test"].x.flatten(1).double().numpy(), self.samples["test"].y.numpy()
        rule = bayes_rule(*means, variance)
        seen = 2 * x - 1 if s.normalise else x
        return {
            "bayes_error": float(np.exp(log_error)), "bayes_log10_error": log_error / np.log(10),
            "rule_error": float(np.mean(rule(x) != y)), "coded_rule_error": float(np.mean((seen.mean(1) > 0) != y)),
        }  # fmt: skip

    def fitted(self, name: str) -> Fitted:
        """The recipe's net and head, fitted on the sample `name`."""
        return self._read_latent(name) if self.latent else self._network(name)

    def _network(self, name: str) -> Fitted:
        s, seconds, run = self.settings, 0.0, None
        for words in phases(self.recipe, self.words):
            net = build(words, self)
            if run is not None:
                net.take_encoder(run.net)
            run = self._train(net, words, name, "" if words is self.words else ".first")
            seconds += sum(run.history["seconds"])

        @torch.no_grad()
        def predict(images: Sample) -> np.ndarray:
            net.eval()
            with flags(s.precision, self.device), autocast(s.precision, self.device):
                parts = [net(x) for x, _ in self.loader(images, "test", run.loader.to).evaluation_batches()]
            return torch.cat(parts).argmax(1).cpu().numpy()

        return Fitted(net, predict, seconds, run.diverged.get(0, []))

    def _train(self, net: nn.Module, words: Classifier, name: str, phase: str):
        to = placement(net, words, self.device)
        with flags(words.precision, self.device):
            return train(net.to(**to), self.loader(self.samples[name], name, to), words, self.recipe.seed,
                         accelerate=fast.best(net, words, self.device), checkpoint=self._checkpoint(name + phase),
                         progress=self._progress(name + phase))  # fmt: skip

    def _read_latent(self, name: str) -> Fitted:
        """A VAE of the images, without labels, then the recipe's head on draws from its latent, as the report does."""
        words, seed = self.words, self.recipe.seed
        net = build(vae.as_classifier(replace(self.recipe, kind="vae", settings=words)).settings, self)
        to = placement(net, self._classifier(), self.device)
        with flags(words.precision, self.device):
            loader = self.loader(self.samples[name], name, to)
            run = vae.fit(net.to(**to), loader, words, seed, checkpoint=self._checkpoint(name),
                          progress=self._progress(name))  # fmt: skip
            since = time.perf_counter()
            reader = self._reader(Latents(net, loader, self.recipe, name), name)
        seconds = sum(run.history["seconds"]) + time.perf_counter() - since

        def predict(images: Sample) -> np.ndarray:
            which = next(k for k, v in self.samples.items() if v is images)
            with flags(words.precision, self.device):
                return reader(Latents(net, self.loader(images, which, to), self.recipe, which).z().numpy())

        return Fitted(net, predict, seconds, run.diverged.get(0, []))

    def _reader(self, latents: Latents, name: str):
        """The head as a function of latents (n, L); a VAE whose latents are not finite answers 0."""
        s, z, labels = self.settings, latents.z().numpy(), latents.labels
        if not latents.finite or len(np.unique(labels)) < 2:
            return lambda points: np.full(len(points), int(labels[0]) if latents.finite else 0)
        if s.head == "kmeans":
            return readers.kmeans(z, labels.numpy(), 2).predict
        if s.head == "linear_svc":
            weights, biases = readers.linear_svc(z, labels.numpy())
            return lambda points: (points @ weights + biases).argmax(1)
        begun = starts(latents.net.head, self.recipe.seed, 2)
        heads = readers.train_heads(
            begun.only(int((begun.coded == (s.head == "svm_head")).nonzero()[0])), latents.z, labels,
            lambda epoch: draws.permutation(self.recipe.seed, epoch, len(labels), f"heads {name}", "cpu"),
            learning_rate=float(s.optimizer["learning_rate"]), batch_size=s.batch_size, epochs=s.epochs,
            test=(latents.z(), labels),
        )  # fmt: skip
        return lambda points: heads.scores(torch.from_numpy(points))[0].argmax(1).numpy()

    def loader(self, images: Sample, name: str, to: dict) -> FloatLoader:
        return FloatLoader(images, self.settings.batch_size, self.recipe.seed, self.settings.normalise, name, **to)

    def _classifier(self) -> Classifier:
        s = self.settings
        return Classifier(s.model, s.optimizer, batch_size=s.batch_size, epochs=s.epochs, precision=s.precision)

    def _checkpoint(self, phase: str):
        identity = {"phase": phase, **{f"settings.{k}": v for k, v in asdict(self.settings).items()}}
        identity |= {"kind": "risk", "seed": self.recipe.seed, "side": self.side, "images": self.digest}
        name = f"risk-{self.recipe.id}.{phase}"
        self.checkpoints.append(checkpoint_for(name, identity, self.execution, device=self.device))
        return self.checkpoints[-1]

    def _progress(self, phase: str):
        return lambda share: self.execution.progress(f"{self.recipe}, on {phase}", share)

    def _provenance(self, best: Fitted) -> dict:
        more = {
            "device": self.device,
            "precision": self.settings.precision,
            "weights": weights.digest(best.net.state_dict()),
        }
        more["resumed_from"] = next((c.resumed_from for c in self.checkpoints if c.resumed_from), None)
        return provenance(self.digest, self.started, time.perf_counter() - self.clock, **more)
