"""What a training on a CPU runs in: no denormal numbers, and memory that is kept between steps.

A unit that has died gets gradients of exactly zero, and what an optimiser remembers of it shrinks by a tenth a step
until it is too small for float32's exponent, for good; with such numbers a CPU computes slowly. With three units in ten
dead, a step of Adam takes twice as long after 1000 of them (benchmarks/denormals.py).

glibc gives every large block back to the system when it is freed and asks for it again at the next step, page by page:
with weights of hundreds of megabytes that is half of a step's time.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # of mallopt(3)
DEFAULTS = {TRIM_THRESHOLD: 128 * 1024, TOP_PAD: 0, MMAP_MAX: 65536}
KEPT = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * 2**20, MMAP_MAX: 0}


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Inside, this thread and those it starts take results below 1.2e-38 for zero; afterwards all is as before.

    Threads that torch has started earlier keep their ways, so a program enters this before its first parallel work.
    """
    before = is_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def is_flushed() -> bool:
    """Whether this thread takes them for zero now; torch does not tell."""
    return (torch.tensor(1e-39) * 1.0).item() == 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Inside, the process keeps the memory it frees; afterwards it is given back. Without glibc nothing happens."""
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    for option, value in KEPT.items():
        libc.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in DEFAULTS.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)
