import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtri

from secondlook.data import draws

seeds = st.integers(-(2**70), 2**70)
N = 100_000


def bit_array(seed, stream, index, *counters) -> np.ndarray:
    """The hashed bits as 0 and 1, float64 (n, 64)."""
    words = draws.bits(seed, stream, index, *counters).view(np.uint64)
    return (words[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(np.float64)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(0, 10**9), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40))
def test_numpy_and_torch_draw_the_same_bits(seed, epoch, index):
    for draw in (draws.bits, draws.uniform, draws.normal):
        ours, theirs = draw(seed, "x", np.array(index), epoch), draw(seed, "x", torch.tensor(index), epoch)
        assert ours.tobytes() == theirs.numpy().tobytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_draws_the_same_bits():
    index = np.arange(N)
    for draw in (draws.bits, draws.uniform, draws.normal):
        theirs = draw(7, "x", torch.from_numpy(index).cuda(), 3)
        assert draw(7, "x", index, 3).tobytes() == theirs.cpu().numpy().tobytes()
    assert (draws.permutation(1, 2, N, device="cuda").cpu().numpy() == draws.permutation(1, 2, N)).all()


def test_integers_and_permutations_are_the_same_on_a_torch_device():
    assert (
        draws.integers(3, "batch", 5, 1000, 49_000, "cpu").numpy() == draws.integers(3, "batch", 5, 1000, 49_000)
    ).all()
    assert (draws.permutation(3, 1, 1000, device="cpu").numpy() == draws.permutation(3, 1, 1000)).all()


def test_draws_stay_what_they_were():
    """Records depend on these values: a change of the hash is a change of every result."""
    assert draws.bits(0, "order", np.arange(2)).tolist() == [3426229479025515556, -3979624082825674127]
    assert draws.integers(1, "batch", 10, 5, 1000).tolist() == [793, 397, 203, 487, 616]
    assert draws.permutation(0, 3, 6).tolist() == [4, 2, 5, 0, 3, 1]
    assert draws.generator_seed(1, 2, 3) == 7432014858877448877
    assert int(draws._quantiles(None).sum()) == 2434750106676


@given(seeds, st.integers(0, 2**40), st.lists(st.integers(0, 50), max_size=5), st.integers(1, 2**31))
def test_batches_of_any_size_consume_one_sequence(seed, start, sizes, high):
    parts, at = [], start
    for size in sizes:
        parts.append(draws.integers(seed, "batch", at, size, high))
        at += size
    whole = draws.integers(seed, "batch", start, at - start, high)
    assert np.concatenate([*parts, whole[:0]]).tolist() == whole.tolist()
    assert ((whole >= 0) & (whole < high)).all()


@given(seeds, st.integers(0, 1000), st.integers(0, 300))
def test_a_permutation_has_every_index_once(seed, epoch, n):
    assert sorted(draws.permutation(seed, epoch, n).tolist()) == list(range(n))


def test_every_first_place_is_equally_likely():
    first = [draws.permutation(0, epoch, 5)[0] for epoch in range(2000)]
    assert stats.chisquare(np.bincount(first, minlength=5)).pvalue > 1e-4


@pytest.mark.parametrize("high", [2, 10, 1000])
def test_integers_are_uniform(high):
    counts = np.bincount(draws.integers(0, "batch", 0, N, high), minlength=high)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_every_bit_is_fair_and_independent_of_the_others():
    bits = bit_array(0, "x", np.arange(N))
    assert abs(bits.mean(0) - 0.5).max() < 5 / (2 * N**0.5)
    others = np.corrcoef(bits.T) - np.eye(64)
    assert abs(others).max() < 5.5 / N**0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "x", 0), (1, "x", 0)),  # neighbouring seeds
        ((0, "x", 4), (0, "x", 5)),  # neighbouring epochs
        ((0, "x", 0), (0, "y", 0)),  # streams
        ((0, "x", 1, 12), (0, "x", 11, 2)),  # counters that look alike when written side by side
    ],
)
def test_neighbouring_seeds_steps_and_streams_are_uncorrelated(one, other):
    a, b = (bit_array(*key[:2], np.arange(N), *key[2:]) - 0.5 for key in (one, other))
    assert abs(a.T @ b / (N / 4)).max() < 5.5 / N**0.5


def test_neighbouring_indices_are_uncorrelated():
    bits = bit_array(0, "x", np.arange(N + 1)) - 0.5
    assert abs(bits[1:].T @ bits[:-1] / (N / 4)).max() < 5.5 / N**0.5


def test_flipping_one_bit_of_the_index_flips_half_of_the_bits():
    index = np.arange(2000)
    for bit in range(0, 63, 7):
        flipped = bit_array(0, "x", index) != bit_array(0, "x", index ^ (1 << bit))
        assert abs(flipped.mean(0) - 0.5).max() < 0.07


def test_uniform_values_are_uniform_and_below_one():
    values = draws.uniform(2, "flip", np.arange(N), 1)
    assert values.dtype == np.float32
    assert 0 <= values.min() < values.max() < 1
    assert stats.kstest(values.astype(np.float64), "uniform").pvalue > 1e-4


def test_normal_values_are_normal():
    values = draws.normal(2, "noise", np.arange(N), 1)
    assert values.dtype == np.float32
    assert stats.kstest(values.astype(np.float64), "norm").pvalue > 1e-4
    assert abs(stats.kurtosis(values)) < 0.1


def test_a_normal_value_is_the_quantile_of_its_bits():
    words = draws.bits(2, "noise", np.arange(N))
    quantiles = -ndtri(((words & (2**52 - 1)) * 2 + 1) / 2.0**54)
    assert abs(abs(draws.normal(2, "noise", np.arange(N))) - quantiles).max() < 1e-5


def test_the_farthest_tail_is_finite_and_exact(monkeypatch):
    for tail in (0, 1, 2**52 - 1):
        monkeypatch.setattr(draws, "bits", lambda *_, tail=tail: np.array([tail, tail - 2**63]))
        expected = -ndtri((2 * tail + 1) / 2**54)
        assert draws.normal(0, "x", None) == pytest.approx([expected, -expected], abs=1e-5)


@given(seeds, st.integers(0, 1000), st.integers(0, 10**6))
def test_generator_seeds_are_accepted_by_torch_and_differ_from_step_to_step(seed, epoch, step):
    found = draws.generator_seed(seed, epoch, step)
    assert 0 <= found < 2**63
    assert found not in (draws.generator_seed(seed, epoch, step + 1), draws.generator_seed(seed, epoch + 1, step))
    torch.Generator().manual_seed(found)


@pytest.mark.parametrize(("start", "count", "high"), [(0, 1, 0), (0, 1, 2**31 + 1), (-1, 1, 5), (0, -1, 5)])
def test_an_impossible_range_is_refused(start, count, high):
    with pytest.raises(ValueError, match="not"):
        draws.integers(0, "batch", start, count, high)


def test_a_stream_without_a_word_is_refused():
    with pytest.raises(ValueError, match="word"):
        draws.bits(0, "", np.arange(2))


def test_data_imports_no_torch():
    code = "import sys, secondlook.data, secondlook.data.draws; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
