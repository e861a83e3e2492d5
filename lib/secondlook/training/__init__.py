"""Training: loops, optimisers, schedules, losses, checkpoints."""

import os


def patient_threads() -> None:
    """Lets this process' threads sleep while they wait for each other, unless its environment says otherwise.

    OpenMP's threads turn in circles instead, which on cores that other programs use as well makes a net slower than one
    thread would. OpenMP reads the setting when torch is first imported; afterwards this does nothing.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
