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
