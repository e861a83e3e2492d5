"""Two Gaussian classes: the best rule there is, and how often it errs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

Rule = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Risk:
    """An estimated error with its standard error, both in [0, 1]."""

    error: float
    se: float


def separation(mean0, mean1, covariance) -> float:
    """√(Δμᵀ Σ⁻¹ Δμ), the distance of two means in standard deviations.

    covariance is one variance, the variances (d,) of independent coordinates, or a matrix (d, d). Raises ValueError
    where it is not positive.
    """
    difference = np.atleast_1d(np.asarray(mean1, float) - np.asarray(mean0, float))
    precision, _ = _inverse(covariance, len(difference))
    return float(np.sqrt(np.sum(difference * precision(difference))))


def log_error(mean0, mean1, covariance) -> float:
    """The natural logarithm of the Bayes error of two equally frequent Gaussians of one covariance: log Φ(−Δ/2).

    Exact where the error itself is below the smallest float. Covariances as in `separation`.
    """
    return float(log_ndtr(-separation(mean0, mean1, covariance) / 2))


def error(mean0, mean1, covariance) -> float:
    """exp of `log_error`: Φ(−‖Δμ‖/2σ) for a variance σ²; 0.5 for equal means."""
    return float(np.exp(log_error(mean0, mean1, covariance)))


def rule(mean0, covariance0, mean1, covariance1, prior1: float = 0.5) -> Rule:
    """The Bayes rule of two Gaussians, as a function of x (n, d) that gives the class of each, int64 (n,).

    Class 0 where (x−μ₀)ᵀΣ₀⁻¹(x−μ₀) − (x−μ₁)ᵀΣ₁⁻¹(x−μ₁) < log(|Σ₁|/|Σ₀|) + 2 log(π₀/π₁), which with equal priors is
    equation 11 of the report on CNNs and a VAE; a point on the boundary goes to class 1. Covariances as in
    `separation`. Raises ValueError for a prior outside (0, 1) or a covariance that is not positive.
    """
    if not 0 < prior1 < 1:
        raise ValueError(f"prior1 is the share of class 1, between 0 and 1, not {prior1}")
    margin = _margin(mean0, covariance0, mean1, covariance1, prior1)
    return lambda x: (margin(np.asarray(x, float)) >= 0).astype(np.int64)


def monte_carlo_error(mean0, covariance0, mean1, covariance1, count: int = 100_000, seed: int = 0) -> Risk:
    """The Bayes error of two equally frequent Gaussians, from `count` drawn points.

    The mean of min(P(0|x), P(1|x)), which varies less than counted errors do. Covariances as in `separation`.
    """
    generator = np.random.default_rng(seed)
    means = [np.atleast_1d(np.asarray(m, float)) for m in (mean0, mean1)]
    margin = _margin(mean0, covariance0, mean1, covariance1, 0.5)
    least = []
    for mean, covariance in zip(means, (covariance0, covariance1)):
        noise = generator.standard_normal((count // 2, len(mean)))
        least.append(1 / (1 + np.exp(np.minimum(np.abs(margin(mean + _coloured(noise, covariance))) / 2, 700))))
    losses = np.concatenate(least)
    return Risk(float(losses.mean()), float(losses.std(ddof=1) / np.sqrt(len(losses))))


def _margin(mean0, covariance0, mean1, covariance1, prior1: float) -> Rule:
    """Twice the log posterior odds of class 1."""
    mean0, mean1 = (np.atleast_1d(np.asarray(m, float)) for m in (mean0, mean1))
    (precision0, logdet0), (precision1, logdet1) = (_inverse(c, len(mean0)) for c in (covariance0, covariance1))
    threshold = logdet1 - logdet0 + 2 * np.log((1 - prior1) / prior1)

    def margin(x: np.ndarray) -> np.ndarray:
        from0, from1 = x - mean0, x - mean1
        return np.sum(from0 * precision0(from0), -1) - np.sum(from1 * precision1(from1), -1) - threshold

    return margin


def _inverse(covariance, size: int) -> tuple[Rule, float]:
    """Multiplication by Σ⁻¹ from the right, and log |Σ|."""
    c = np.asarray(covariance, float)
    if c.ndim < 2:
        variances = np.broadcast_to(c, (size,))
        if not np.all(variances > 0):
            raise ValueError(f"variances must be positive, not {variances.min()}")
        return lambda x: x / variances, float(np.log(variances).sum())
    sign, logdet = np.linalg.slogdet(c)
    if c.shape != (size, size) or not np.allclose(c, c.T) or np.linalg.eigvalsh(c).min() <= 0 or sign <= 0:
        raise ValueError(f"a covariance of {size} coordinates is symmetric and positive definite; this one is not")
    inverse = np.linalg.inv(c)
    return lambda x: x @ inverse, float(logdet)


def _coloured(noise: np.ndarray, covariance) -> np.ndarray:
    c = np.asarray(covariance, float)
    return noise * np.sqrt(c) if c.ndim < 2 else noise @ np.linalg.cholesky(c).T
