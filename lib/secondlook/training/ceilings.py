"""What a device can do at most, measured on random numbers: products of matrices, copies, launches."""

import time
from collections.abc import Callable
from functools import lru_cache

import torch

from secondlook.training.modes import Mode

SIDE = {"cuda": 8192, "cpu": 1536}  # of the matrices
COPIED = {"cuda": 2**31, "cpu": 2**27}  # bytes, well beyond any cache
LAUNCHES = 1000


def ceilings(device: str) -> dict[str, float]:
    """TFLOP/s of products by precision, GB/s of a copy (read and written), µs of a launch, alone and in a CUDA graph.

    The best of several tries. TF32 and graphs are CUDA's only. A few seconds on either kind of device.
    """
    found = {f"{precision}_tflops": matrix_rate(device, precision) / 1e12 for precision in ("bf16", "float32")}
    if _kind(device) == "cuda":
        found["tf32_tflops"] = matrix_rate(device, "tf32") / 1e12
    return found | {"copy_gb_per_s": copy_rate(device) / 1e9, **launches(device)}


@lru_cache
def matrix_rate(device: str, precision: str) -> float:
    """Operations a second of a large square product, two for each multiply-add; measured once a process."""
    side = SIDE[_kind(device)]
    dtype = {"bf16": torch.bfloat16, "float64": torch.float64}.get(precision, torch.float32)
    a, b, to = (torch.randn(side, side, device=device).to(dtype) for _ in range(3))
    with Mode(device, precision).flags():
        return 2 * side**3 / min(times(lambda: torch.mm(a, b, out=to), device))


def copy_rate(device: str) -> float:
    """Bytes a second, those read and those written."""
    source = torch.empty(COPIED[_kind(device)] // 4, device=device).normal_()
    to = torch.empty_like(source)
    return 2 * 4 * source.numel() / min(times(lambda: to.copy_(source), device))


def launches(device: str) -> dict[str, float]:
    """Microseconds of one operation too small to take any time of its own."""
    x = torch.randn(32, device=device)

    def small() -> None:
        for _ in range(LAUNCHES):
            x.add_(1.0)

    found = {"launch_us": min(times(small, device)) / LAUNCHES * 1e6}
    if _kind(device) == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            small()
        found["graph_launch_us"] = min(times(graph.replay, device)) / LAUNCHES * 1e6
    return found


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
