"""What a device can do at most, measured on random numbers: products of matrices."""

import time
from collections.abc import Callable
from functools import lru_cache

import torch

from secondlook.training.modes import Mode

SIDE = {"cuda": 8192, "cpu": 1536}  # of the matrices


@lru_cache
def matrix_rate(device: str, precision: str) -> float:
    """Operations a second of a large square product, two for each multiply-add; measured once a process."""
    side = SIDE[_kind(device)]
    dtype = {"bf16": torch.bfloat16, "float64": torch.float64}.get(precision, torch.float32)
    a, b, to = (torch.randn(side, side, device=device).to(dtype) for _ in range(3))
    with Mode(device, precision).flags():
        return 2 * side**3 / min(times(lambda: torch.mm(a, b, out=to), device))


def times(work: Callable[[], object], device: str, rounds: int = 9) -> list[float]:
    """Seconds of each of `rounds` calls of `work`, the device's own work included; two calls before warm up."""
    taken = []
    for _ in range(rounds + 2):
        synchronize(device)
        clock = time.perf_counter()
        work()
        synchronize(device)
        taken.append(time.perf_counter() - clock)
    return taken[2:]


def synchronize(device: str) -> None:
    if _kind(device) == "cuda":
        torch.cuda.synchronize(device)


def _kind(device: str) -> str:
    return device.split(":")[0]
