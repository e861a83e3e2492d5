"""What this process may use of its machine: cores and memory, of which a container may have been given less."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

EACH = 2 * 2**30  # bytes of memory for a run


def cores(root: Path = Path("/")) -> int:
    """How many cores this process may use: of the system, its affinity and its control groups the fewest, at least 1.

    `root` is where the system's files lie.
    """
    most = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with suppress(OSError, ValueError):
        for file in _limits("cpu.max", root):
            quota, period = file.read_text().split()
            most = min(most, math.inf if quota == "max" else int(quota) / int(period))
        for file in _limits("cpu.cfs_quota_us", root):
            quota, period = int(file.read_text()), int(file.with_name("cpu.cfs_period_us").read_text())
            most = min(most, quota / period if quota > 0 else math.inf)
    return max(1, int(most))


def memory(root: Path = Path("/")) -> int:
    """Bytes of memory this process may use: of the system and its control groups the fewest; 0 where nobody tells."""
    most = 0.0
    with suppress(AttributeError, ValueError, OSError):  # not everywhere
        most = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        for name in ("memory.max", "memory.limit_in_bytes"):
            for file in _limits(name, root):
                limit = file.read_text().strip()
                most = min(most, math.inf if limit == "max" else int(limit))
    return int(most)


def side_by_side(profile: str) -> int:
    """How many runs this machine trains at a time: one a core, if there are 2 GiB of memory for each.

    One where a run takes less time than a process to begin.
    """
    return 1 if profile == "smoke" else max(1, min(cores(), memory() // EACH))


@contextmanager
def few_threads() -> Iterator[None]:
    """Inside, torch uses one thread, or as many as OMP_NUM_THREADS says: two on one run cost 1.6 times the work of one.

    On a core that others use as well they wait for each other most of the time.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if "OMP_NUM_THREADS" in os.environ else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _limits(name: str, root: Path) -> Iterator[Path]:
    """The files `name` of this process's control groups and of those above them, cgroup v1 and v2.

    Inside a container the groups' paths may be the host's, and the container's own group the top.
    """
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        for part in (PurePosixPath(group), *PurePosixPath(group).parents):
            file = root / "sys/fs/cgroup" / controllers / str(part).lstrip("/") / name
            if file.is_file():
                yield file
