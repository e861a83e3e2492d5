"""From a trained classifier to its record: curves, metrics of the test set, scores, kernels, speed and cost."""

import math

import numpy as np
import torch
from sklearn.metrics import top_k_accuracy_score
from torch import nn

from secondlook import insight, models, weights
from secondlook.data.loader import DeviceLoader
from secondlook.evaluation import metrics as measure
from secondlook.insight import trajectory
from secondlook.insight.maps import first_kernels
from secondlook.record import Record
from secondlook.training import fast
from secondlook.training.precision import autocast
from secondlook.training.run import Run

NOT_METRICS = ("seconds", "learning_rate", "step_loss")  # curves whose last value says nothing
MANY = 10  # classes; with more of them a record keeps the five best scores of an image and coarser curves


def outcome(task, run: Run, before: Run | None = None) -> Record:
    """The record of a finished run, still without provenance. The test set is opened here, once, if it is at all.

    `task` is the recipe with its images (see `classifier.Task`), `before` the phase trained before, if any.
    """
    recipe, settings, net = task.recipe, task.recipe.settings, run.net
    last = {name: values[-1] for name, values in run.history.items() if name not in NOT_METRICS}
    metrics = {**last, "epochs": run.epoch, "steps": run.steps, "parameters": models.parameter_count(net),
               "trainable_parameters": models.parameter_count(net, trainable=True), "macs": task.macs,
               "train_seconds": sum(run.history.get("seconds", []))}  # fmt: skip
    if run.best_epoch >= 0:
        metrics |= {"best_epoch": run.best_epoch, "best_validation_loss": run.best_loss}
        metrics["stopped_early"] = run.stopped_early
        if settings.restore_best:
            metrics["validation_accuracy"] = run.history["validation_accuracy"][run.best_epoch]
            metrics["validation_loss"] = run.best_loss
    if run.status == "diverged":
        metrics |= dict(zip(("diverged_step", "diverged_learning_rate"), run.diverged[0]))
    history, arrays = dict(run.history), {}
    if before is not None:
        metrics["first_seconds"] = sum(before.history["seconds"])
        history |= {f"first_{name}": values for name, values in before.history.items()}
    if settings.test:
        tested, arrays = _test(task, run)
        metrics |= tested
    if recipe.keep == "evidence":
        arrays.setdefault("kernels", first_kernels(net))
    metrics = {name: rounded(value) for name, value in metrics.items()}
    history = {name: np.array(values, np.float32) for name, values in history.items()}
    return Record(recipe, run.status, metrics, history, arrays)


def _test(task, run: Run) -> tuple[dict, dict]:
    """Metrics and arrays of the test set, from one pass over it with the weights that the run ended with."""
    recipe = task.recipe
    loader = task.loader("test", recipe.settings, **run.loader.to)
    logits, labels = predict(run, loader)
    loss = float(nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)))
    predictions = logits.argmax(1)
    metrics = {"test_accuracy": measure.accuracy(labels, predictions), "test_loss": loss}
    names = ("test_precision", "test_recall", "test_f1")
    metrics |= dict(zip(names, measure.macro(labels, predictions)))
    arrays: dict[str, np.ndarray] = {}
    if recipe.keep != "metrics":
        arrays = {"predictions": predictions.astype(np.uint8), "labels": labels.astype(np.uint8)}
    if not np.isfinite(logits).all():  # a run that diverged has no scores, and nothing to look into
        return metrics, arrays
    more, scores = _scores(recipe.keep, logits, labels)
    metrics, arrays = metrics | more, arrays | scores
    if recipe.keep == "evidence":
        more, seen = insight.collect(run.net, loader, task.parts.test)
        metrics, arrays = metrics | more, arrays | seen
        if run.path is not None:
            arrays |= trajectory.collect(run.path, run.net, loader.evaluation_batches())
    elif recipe.keep == "predictions":
        metrics |= insight.measure(run.net, loader)
    return metrics, arrays


@torch.no_grad()
def predict(run: Run, loader: DeviceLoader) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, C), float32 or float64, and labels (n,) of a loader's images, the net in evaluation mode."""
    run.net.eval()
    logits, labels = [], []
    for x, y in loader.evaluation_batches():
        with autocast(run.settings.precision, run.loader.device):
            logits.append(run.net(x))
        labels.append(y)
    logits = torch.cat(logits)
    return (logits if logits.dtype == torch.float64 else logits.float()).cpu().numpy(), torch.cat(labels).cpu().numpy()


def _scores(keep: str, logits: np.ndarray, labels: np.ndarray) -> tuple[dict, dict]:
    """AUCs, calibration and, as evidence, the scores themselves; the AUC is of the scores before they are rounded."""
    probabilities = torch.from_numpy(logits).double().softmax(1).numpy()
    classes = logits.shape[1]
    metrics: dict = {"calibration_error": measure.calibration(labels, probabilities).ece}
    if len(np.unique(labels)) == classes:
        area = measure.macro_auc(labels, probabilities)
        metrics |= {"auc_macro": area.value, "auc_macro_low": area.low, "auc_macro_high": area.high}
    if classes > 5:
        metrics["test_top5_accuracy"] = float(
            top_k_accuracy_score(labels, probabilities, k=5, labels=np.arange(classes))
        )
    few = keep == "predictions" and classes <= MANY  # claims about single classes are judged on every seed
    if "auc_macro" not in metrics or not (keep == "evidence" or few):
        return metrics, {}
    intervals = [measure.auc_interval(labels == c, probabilities[:, c]) for c in range(classes)]
    metrics |= {"auc": [i.value for i in intervals], "auc_low": [i.low for i in intervals]}
    metrics["auc_high"] = [i.high for i in intervals]
    if keep != "evidence":
        return metrics, {}
    if classes <= MANY:
        return metrics, {"scores": measure.encode_scores(probabilities)}
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    kept = measure.encode_scores(np.take_along_axis(probabilities, best, 1))
    curves = measure.pack_curves(measure.roc_one_vs_rest(labels, probabilities, points=60))
    return metrics, {"top5": best.astype(np.uint8), "top5_scores": kept, "roc": curves}


def telemetry(run: Run, task) -> dict:
    """Speed and cost of a run's training, for its provenance.

    A step's arithmetic is counted as three forward passes of two operations a multiply-add.
    """
    images, seconds = len(task.parts.train) * run.epoch, sum(run.history.get("seconds", []))
    told = {**fast.described(run.net, run.settings, task.device), "examples": images}
    told["weights"] = weights.digest(run.net.state_dict())
    if seconds:
        rate = images / seconds
        told |= {"examples_per_second": rounded(rate), "flop_per_second": rounded(6.0 * task.macs * rate)}
    if torch.device(task.device).type == "cuda":
        told["peak_memory_bytes"] = torch.cuda.max_memory_allocated(task.device)
    return told


def rounded(value):
    """Six digits; None for what is not finite, which JSON has no word for."""
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
