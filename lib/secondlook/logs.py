"""The curves that the authors of a report logged, as arrays, from `reports/logs/`."""

from pathlib import Path

import numpy as np

from secondlook.reports import log

Curves = dict[str, np.ndarray]  # by the name a history has: train_loss, test_accuracy, seconds …; a value an epoch


def keras_curves(root: Path | None = None) -> dict[tuple[int, str], Curves]:
    """The twelve logs of the four optimisers, by (stage, optimiser): stage 1 to 3, adam, sgd, rmsprop or adamax."""
    found: dict[tuple[int, str], dict[str, list[float]]] = {}
    for row in log("optimizers_keras", root):
        curves = found.setdefault((int(row.pop("stage")), row.pop("optimizer")), {})
        del row["epoch"]
        for name, value in row.items():
            curves.setdefault(name, []).append(float(value))
    return {key: {name: np.array(values) for name, values in curves.items()} for key, curves in found.items()}


def against_epochs(curves: Curves) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves as `training_curves` draws them: epochs from 1, and values."""
    return {name: (np.arange(1.0, len(values) + 1), values) for name, values in curves.items()}
