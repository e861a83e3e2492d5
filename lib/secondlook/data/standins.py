"""Stand-ins: images drawn by code in the shape of a real data set, with a Bayes error that is known.

An image is grey plus 8×8 cosine waves a colour, whose amplitudes are Gaussian: every class has its own means in the
slowest waves, and all share one diagonal covariance, amplitudes falling with frequency. The map from amplitudes to
pixels loses nothing, so the Bayes error is that of equal-covariance Gaussians with equal priors: the nearest mean in
whitened amplitudes is the best rule. Rounding to uint8, and clipping of the few pixels beyond 0 and 255, come after
and are not counted in it.

Amplitudes and waves are whole numbers, so the sums are exact and a stand-in is the same on every machine.
"""

import functools

import numpy as np

from secondlook.data import draws
from secondlook.data.images import DATA_SETS, Images, canonical

WAVES = 8  # cosines a side: frequencies 0 … 7
MODELS = {  # waves a side with class means · their spread in standard deviations · grey levels of the slowest wave
    "cifar10": (3, 0.65, 24.0),
    "cifar100": (4, 0.6, 24.0),
    "mnist": (4, 1.1, 18.0),
}
_UNIT = 64  # steps a grey level, and a wave's value, is rounded to


def draw(name: str, train: int = 2000, test: int = 1000, seed: int = 0) -> Images:
    """The stand-in for the data set `name`: same shape, type and classes, `train` and `test` images.

    Classes are equally frequent. The same arguments give the same bytes everywhere.
    """
    shape, classes = DATA_SETS[name].shape, len(DATA_SETS[name].class_names)
    scale, waves, count = _scale(name), MODELS[name][0], train + test
    noise = draws.normal(seed, f"{name} noise", np.arange(count * scale.size)).reshape(count, *scale.shape)
    labels = np.concatenate([np.arange(train) % classes, np.arange(test) % classes]).astype(np.uint8)
    noise[:, :waves, :waves] += means(name, seed)[labels]
    x = _pixels(np.rint(noise * scale * _UNIT), shape[0]).reshape(count, *shape)
    arrays = {"x_train": x[:train], "y_train": labels[:train], "x_test": x[train:], "y_test": labels[train:]}
    error, standard_error = bayes_error(name, seed=seed)
    return canonical(name, "standin", arrays, bayes_error=error, bayes_error_se=standard_error)


def means(name: str, seed: int = 0) -> np.ndarray:
    """The classes' mean amplitudes in the slowest waves, in standard deviations of the noise, float32 (k, w, w, c)."""
    shape, (waves, spread, _) = DATA_SETS[name].shape, MODELS[name]
    size = (len(DATA_SETS[name].class_names), waves, waves, (*shape, 1)[2])
    return np.float32(spread) * draws.normal(seed, f"{name} means", np.arange(np.prod(size))).reshape(size)


@functools.cache
def bayes_error(name: str, classes: tuple[int, ...] = (), seed: int = 0, samples: int = 20_000) -> tuple[float, float]:
    """The smallest error any classifier can have on the stand-in, and its standard error, both in [0, 1].

    The mean of 1 − max posterior over images drawn from the exact model; `classes` as in the recipe, () is all.
    """
    centres = means(name, seed).reshape(len(DATA_SETS[name].class_names), -1).astype(np.float64)
    centres = centres[list(classes)] if classes else centres
    labels = np.arange(samples) % len(centres)
    noise = draws.normal(seed, f"{name} bayes", np.arange(samples * centres.shape[1])).reshape(samples, -1)
    scores = (centres[labels] + noise) @ centres.T - (centres**2).sum(1) / 2
    scores -= scores.max(1, keepdims=True)
    losses = 1 - 1 / np.exp(scores).sum(1)
    return float(losses.mean()), float(losses.std(ddof=1) / samples**0.5)


def _scale(name: str) -> np.ndarray:
    """Standard deviations of the amplitudes, float32 (waves, waves, colours), falling with frequency."""
    colours = (*DATA_SETS[name].shape, 1)[2]
    falling = MODELS[name][2] / (1 + np.add.outer(np.arange(WAVES), np.arange(WAVES)))
    return np.repeat(falling[:, :, None], colours, axis=2).astype(np.float32)


def _pixels(amplitudes: np.ndarray, side: int) -> np.ndarray:
    """uint8 (n, side, side, c) of whole-number amplitudes (n, waves, waves, c); exact in float64 in any order."""
    phase = np.outer(np.arange(side) + 0.5, np.arange(WAVES)) * np.pi / side
    waves = np.rint(np.cos(phase) * _UNIT).astype(np.float64)
    rows = np.tensordot(waves, amplitudes.astype(np.float64), (1, 1))  # (side, n, waves, c)
    grey = np.tensordot(waves, rows, (1, 2)).transpose(2, 1, 0, 3) / _UNIT**3  # a power of two: exact
    return np.clip(np.floor(grey + 128.5), 0, 255).astype(np.uint8)
