"""Numbers too small for float32's exponent, with which a CPU reckons slowly.

A unit that has died gets gradients of exactly zero, and what an optimiser remembers of it shrinks by a tenth a step
until it is such a number, for good. With three units in ten dead, a step of Adam takes twice as long after 1000 of them
(benchmarks/denormals.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed() -> Iterator[None]:
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
