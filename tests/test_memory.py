"""Memory kept between steps: large blocks are used again, and given back afterwards."""

import resource
import sys

import numpy as np
import pytest

from secondlook.training.memory import kept

BLOCK = 64 * 2**20  # bytes

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")


def faults(times: int = 6) -> int:
    """Pages the system handed out while a large block was filled and freed so many times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(BLOCK // 8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_freed_blocks_are_used_again_inside_and_given_back_outside():
    outside = faults()
    with kept():
        faults(1)
        inside = faults()
    after = faults()
    assert inside < outside / 10
    assert after > outside / 2


def test_an_error_inside_restores_the_defaults():
    outside = faults()
    with pytest.raises(RuntimeError), kept():
        raise RuntimeError
    assert faults() > outside / 2
