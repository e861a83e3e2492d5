"""What a unit of training costs on this machine: four small pieces of a training step, timed in about two seconds."""

import time
from collections.abc import Callable

import torch
from torch import nn

from secondlook.models.counting import count


def unit_costs(device: str, precision: str) -> list[float]:
    """Seconds of a multiply-add, a number written, an operation called, a weight changed; see `estimates.work`."""
    cuda = device.startswith("cuda")
    many, dtype = 512 if cuda else 16, torch.float64 if precision == "float64" else torch.float32
    tiny = [layer for _ in range(8) for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())]
    pieces = (  # each heavy in one unit
        (nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)), (many, 64, 32, 32), "macs"),
        (nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)), (many, 32, 32, 32), "values"),
        (nn.Sequential(*tiny), (2, 4, 8, 8), "calls"),
        (nn.Sequential(nn.Flatten(), nn.Linear(1024, 2048, bias=False)), (4, 1, 32, 32), "trainable"),
    )
    costs, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with (
            torch.random.fork_rng([device] if cuda else []),
            torch.backends.cudnn.flags(benchmark=True, allow_tf32=precision != "float32"),
        ):
            for net, shape, unit in pieces:
                counted, images = count(net, shape[1:]), shape[0] if unit in ("macs", "values") else 1
                done = getattr(counted, unit) * images * (1 if unit == "trainable" else 3)
                costs.append(_best(_step(net.to(device, dtype), shape, precision == "bf16"), device) / done)
    finally:
        torch.set_num_threads(threads)
    return costs


def _step(net: nn.Module, shape: tuple[int, ...], bf16: bool) -> Callable[[], None]:
    """A step of training by Adam where there are large weights, forward and backward where there are not."""
    p = next(net.parameters())
    x = torch.rand(shape, device=p.device, dtype=p.dtype, requires_grad=True)
    adam = torch.optim.Adam(net.parameters(), fused=True) if p.numel() > 10**6 else None

    def step() -> None:
        with torch.autocast(p.device.type, torch.bfloat16, enabled=bf16):
            out = net(x)
        out.sum().backward()
        if adam is not None:
            adam.step()
            adam.zero_grad()

    return step


def _best(step: Callable[[], None], device: str) -> float:
    """The shortest of some times of a step: of this process' own time on a CPU, where others may run as well."""
    cuda, times = device.startswith("cuda"), []
    for _ in range(8):
        since = time.perf_counter() if cuda else time.process_time()
        step()
        if cuda:
            torch.cuda.synchronize(device)
        times.append((time.perf_counter() if cuda else time.process_time()) - since)
    return min(times)
