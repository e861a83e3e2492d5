"""What the chapter on CNNs and a VAE rests on: divergences, distances of Gaussians, heads over twenty seeds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.evaluation import distances, metrics
from secondlook.experiments import reading
from secondlook.insight import heads
from secondlook.insight.embeddings import divergence

FINITE = st.floats(-20, 20, allow_nan=False, width=32)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_the_divergence_is_never_negative(pairs):
    mu, log_var = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    kl = divergence(mu, log_var)
    assert float(kl.min()) >= -1e-12
    assert divergence(torch.zeros(1), torch.zeros(1)).item() == 0


@given(st.integers(0, 100), st.floats(0.5, 3), st.floats(0.5, 3))
@settings(max_examples=10, deadline=None)
def test_two_round_gaussians_are_as_far_as_their_widths_differ(seed, a, b):
    """On every direction N(0, a²) and N(0, b²) are |a − b|·√(2/π) apart."""
    generator = np.random.default_rng(seed)
    x, y = (width * generator.normal(size=(4000, 6)) for width in (a, b))
    exact = abs(a - b) * np.sqrt(2 / np.pi)
    assert distances.sliced_wasserstein(x, y, 100, seed) == pytest.approx(exact, abs=0.06 * max(a, b))


@pytest.mark.parametrize("pixels", [1, 100])
def test_the_bayes_error_of_the_report_agrees_with_simulation(pixels):
    """As coded, ±1 with standard deviation 3; with the report's 1,024 pixels no simulation would see an error."""
    means = np.full(pixels, -1.0), np.full(pixels, 1.0)
    exact = np.exp(metrics.log_bayes_error(*means, 9.0))
    rule, generator = metrics.bayes_rule(*means, 9.0), np.random.default_rng(1)
    y = np.arange(20_000) % 2
    x = np.where(y[:, None] == 1, *means[::-1]) + 3 * generator.standard_normal((len(y), pixels))
    assert np.mean(rule(x) != y) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / len(y)))


def test_over_twenty_seeds_the_head_as_coded_is_a_lottery_and_the_mended_one_is_not():
    reached = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(200) % 2
        z = torch.randn(200, 8, generator=generator)
        z[:, seed % 8] += 7.0 * labels
        both = reading.starts(torch.nn.Linear(8, 2), seed, 2)
        kept = [int((both.coded == kind).nonzero()[1]) for kind in (True, False)]
        own = heads.Heads(*(t[kept].clone() for t in (both.weights, both.biases, both.coded)))
        order = lambda epoch, g=generator: torch.randperm(200, generator=g)  # noqa: E731
        heads.train_heads(own, lambda epoch, z=z: z, labels, order, learning_rate=0.02, batch_size=16, epochs=12,
                          test=(z, labels))  # fmt: skip
        reached.append(heads.accuracies(own, z, labels).tolist())
    coded, mended = np.transpose(reached)
    assert mended.min() >= 0.95
    assert coded.min() < 0.3
    assert coded.max() > 0.7
