"""Chance as a function: every draw is a hash of (seed, stream, counters, index), so nothing has to be remembered.

Order, augmentation and noise come from here. A run that is cut and continued, or read in batches of another size,
meets the same draws. The arithmetic is on 64-bit integers that wrap around, and the few floating-point steps are
exact, so NumPy, torch on the CPU and torch on CUDA agree bit for bit. Functions of an `index` array return the same
kind of array on the same device; functions that make their own index take `device` (None is NumPy).

The mixing is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) with a second key between its rounds.
"""

import functools
import hashlib
import operator
from statistics import NormalDist

import numpy as np

_NORMAL_CELLS = 7  # bits: each octave of the tail probability is cut into 128 cells
_NORMAL_SCALE = 26  # bits after the binary point of a tabulated quantile


def integers(seed: int, stream: str, start: int, count: int, high: int, device=None):
    """Positions start … start + count − 1 of an endless stream of whole numbers in [0, high), as int64 (count,).

    Batches of any size consume the same sequence. high is at most 2³¹; no value's probability is off by more than
    2⁻³². Raises ValueError for a bad range.
    """
    if not 1 <= high <= 2**31 or start < 0 or count < 0:
        raise ValueError(f"start and count must be ≥ 0 and high in [1, 2**31], not {start}, {count}, {high}")
    return ((bits(seed, stream, _range(start, count, device)) >> 32 & 0xFFFFFFFF) * high) >> 32


def permutation(seed: int, epoch: int, n: int, stream: str = "order", device=None):
    """A random order of 0 … n − 1 as int64 (n,): the hashed keys' order, equal keys by index."""
    keys = bits(seed, stream, _range(0, n, device), epoch)
    return np.argsort(keys, kind="stable") if device is None else keys.argsort(stable=True)


def uniform(seed: int, stream: str, index, *counters: int):
    """Values in [0, 1), multiples of 2⁻²⁴ as float32, one for each whole number in `index` (array or tensor)."""
    return _float32(bits(seed, stream, index, *counters) >> 40 & 0xFFFFFF) * 2.0**-24


def normal(seed: int, stream: str, index, *counters: int):
    """Standard normal values as float32, one for each whole number in `index` (array or tensor).

    The quantile of a 53-bit tail probability, interpolated in a table by integer arithmetic: within 1e-5 of the true
    quantile, at most 8.3 in size.
    """
    word = bits(seed, stream, index, *counters)
    tail = (word & (2**52 - 1)) * 2 + 1  # odd, below 2**53: the conversion to float64 is exact
    code = _float64_code(tail) - (1023 << 52)
    table = _quantiles(None if isinstance(word, np.ndarray) else str(word.device))
    cell, part = code >> (52 - _NORMAL_CELLS), code >> 25 & (2 ** (27 - _NORMAL_CELLS) - 1)
    low = table[cell]
    size = low + ((table[cell + 1] - low) * part >> (27 - _NORMAL_CELLS))
    return _float32(size * (1 - 2 * (word >> 63 & 1))) * 2.0**-_NORMAL_SCALE


def generator_seed(seed: int, epoch: int, step: int) -> int:
    """A seed in [0, 2⁶³) for torch's default generator before a step, so that dropout too is a pure function."""
    return _keys(seed, "generator", epoch, step)[0] & (2**63 - 1)


def bits(seed: int, stream: str, index, *counters: int):
    """64 hashed bits as int64 for each whole number in `index`; `counters` (epoch, step, …) are single numbers."""
    first, second = _keys(seed, stream, *counters)
    word = _int64(index) * -0x61C8864680B583EB + first
    word = (word ^ (word >> 30 & (2**34 - 1))) * -0x40A7B892E31B1A47 ^ second
    word = (word ^ (word >> 27 & (2**37 - 1))) * -0x6B2FB644ECCEEE15  # >> carries the sign down: mask it away
    return word ^ (word >> 31 & (2**33 - 1))


def _keys(seed: int, stream: str, *counters: int) -> tuple[int, int]:
    if not isinstance(stream, str) or not stream:
        raise ValueError(f"a stream is named by a word, such as 'order', not {stream!r}")
    numbers = "/".join(str(operator.index(number)) for number in (seed, *counters))
    digest = hashlib.sha256(f"{stream}/{numbers}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True), int.from_bytes(digest[8:16], "big", signed=True)


def _range(start: int, count: int, device):
    if device is None:
        return np.arange(start, start + count, dtype=np.int64)
    import torch

    return torch.arange(start, start + count, dtype=torch.int64, device=device)


def _int64(index):
    """At least one dimension for NumPy, whose scalars warn where its arrays wrap around."""
    return index.long() if _is_tensor(index) else np.atleast_1d(np.asarray(index)).astype(np.int64)


def _float32(values):
    return values.float() if _is_tensor(values) else values.astype(np.float32)


def _float64_code(values):
    """The bit pattern of the values as float64: exponent in the upper bits, fraction in the lower 52."""
    if not _is_tensor(values):
        return values.astype(np.float64).view(np.int64)
    import torch

    return values.double().view(torch.int64)


def _is_tensor(values) -> bool:
    return hasattr(values, "device") and hasattr(values, "long")  # NumPy 2 arrays have a device, but no long


@functools.lru_cache(maxsize=16)
def _quantiles(device: str | None):
    """Normal quantiles at tail probabilities (1 + c/128)·2^(e − 54), for cells c of octaves e = 0 … 52, fixed point."""
    if device is not None:
        import torch

        return torch.from_numpy(_quantiles(None)).to(device)
    cells, inverse = 2**_NORMAL_CELLS, NormalDist().inv_cdf
    tails = [(1 + k % cells / cells) * 2.0 ** (k // cells - 54) for k in range(53 * cells + 1)]
    return np.array([round(-inverse(p) * 2**_NORMAL_SCALE) for p in tails], np.int64)
