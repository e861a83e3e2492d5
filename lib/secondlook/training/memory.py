"""Memory that a training on a CPU keeps between its steps.

glibc gives every large block back to the system when it is freed and asks for it again at the next step, page by page:
with weights of hundreds of megabytes that is half of a step's time. Inside `kept`, freed blocks stay in the process.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # of mallopt(3)
DEFAULTS = {TRIM_THRESHOLD: 128 * 1024, TOP_PAD: 0, MMAP_MAX: 65536}
KEPT = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * 2**20, MMAP_MAX: 0}


@contextmanager
def kept() -> Iterator[None]:
    """Inside, the process keeps the memory it frees; afterwards it is given back. Without glibc nothing happens."""
    libc = _glibc()
    if libc is None:
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


def _glibc():
    """The C library of this process, if it has both functions that are needed."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
