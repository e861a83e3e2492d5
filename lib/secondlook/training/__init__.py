"""Training: loops, optimisers, schedules, losses, checkpoints."""

import os

SPINS = 30_000  # of GNU's OpenMP, which makes 300,000; about 0.1 ms


def patient_threads() -> None:
    """Lets this process' threads sleep soon when they wait for each other, unless its environment says otherwise.

    OpenMP's threads turn in circles for about a millisecond first, which on cores that other programs use as well makes
    a chapter six times slower; never to turn costs a third on quiet ones. OpenMP reads the setting when torch is first
    imported; afterwards this does nothing.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(profile: str) -> int:
    """How many runs this machine trains at a time: one a core, if there are 2 GiB of memory for each.

    One where a run takes less time than a process to begin, and in a run that torchrun shares out itself.
    """
    if profile == "smoke" or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not everywhere
        memory = 0
    return max(1, min(cores(), memory // 2**31))
