"""How a step is executed: device, precision, memory format, fused kernels, compilation, a CUDA graph.

The plain step is the reference. A mode changes speed and, where it says so, rounding; precision alone is part of the
recipe, everything else stands in the record's provenance.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from secondlook.recipe import Classifier
from secondlook.training import fast

GRAPH_PARAMETERS = 5_000_000  # nets up to this size wait for launches, not for arithmetic
PROBED = range(5, 15)  # the steps whose host synchronisations are counted


@dataclass(frozen=True)
class Mode:
    """A device and a precision (float32, tf32, bf16, float64), and what makes the same mathematics faster."""

    device: str = "cpu"
    precision: str = "float32"
    channels_last: bool = False
    fused: bool = False
    compile: bool = False
    graph: bool = False
    whole: bool = False  # the step as one compiled function (training/fast)

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and images; under bf16 both stay float32 and the layers cast."""
        return torch.float64 if self.precision == "float64" else torch.float32

    def place(self, net: nn.Module) -> nn.Module:
        """`net` on the device, in the mode's type and memory format; changed in place.

        Raises ValueError where channels last is asked for and not safe.
        """
        if self.channels_last and not channels_last_is_safe(net):
            raise ValueError("channels_last is not safe for a net with a strided 1×1 convolution of channels that are "
                             "no multiple of 8; use the contiguous format")  # fmt: skip
        return net.to(self.device, self.dtype, memory_format=torch.channels_last if self.channels_last else None)

    def autocast(self) -> AbstractContextManager:
        """Inside, layers that can compute in bf16 do so, if that is the precision."""
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.split(":")[0], torch.bfloat16)

    @contextmanager
    def flags(self) -> Iterator[None]:
        """Inside, TF32 is on for `tf32` and off for every other precision, in convolutions and products alike."""
        cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
        before = cudnn.allow_tf32, products.allow_tf32, cudnn.benchmark
        cudnn.allow_tf32 = products.allow_tf32 = self.precision == "tf32"
        cudnn.benchmark = self.is_cuda
        try:
            yield
        finally:
            cudnn.allow_tf32, products.allow_tf32, cudnn.benchmark = before

    def seed(self, number: int) -> None:
        """Seeds the generators that dropout draws from; 1 µs on the CPU."""
        torch.default_generator.manual_seed(number)
        if self.is_cuda:
            torch.cuda.default_generators[torch.device(self.device).index or 0].manual_seed(number)

    def executed(self, step: Callable, full: int, rate: Callable[[], float]) -> Callable:
        """`step(rows, …)` as this mode executes it; `full` is the rows of a whole batch, `rate` the current rate."""
        if not self.is_cuda:
            return step
        return Graphed(step, full, rate) if self.graph else Probed(step)

    def words(self) -> dict:
        """For the provenance and for a checkpoint's circumstances."""
        names = ("channels_last", "fused", "compile", "graph", "whole")
        told = {name: getattr(self, name) for name in names}
        return {"precision": self.precision, **{name: True for name, on in told.items() if on}}


def choose(net: nn.Module, settings: Classifier, device: str) -> Mode:
    """The fastest mode that is known to be right for `net` on `device`; a function of its arguments and the machine.

    A graph holds the whole step, so it is for a rate that changes once an epoch at most. On a CPU channels last, where
    it is safe, was never slower, and up to a quarter faster; members side by side have no such format, and a step that
    is one function takes images as they lie.
    """
    members = getattr(net, "members", ())
    small = sum(p.numel() for p in net.parameters()) <= GRAPH_PARAMETERS * math.prod(members)
    mode = Mode(device, settings.precision, fused=True, channels_last=not members and channels_last_is_safe(net))
    if not mode.is_cuda:
        return replace(mode, whole=True, channels_last=False) if fast.fits(net, settings) else mode
    graph = small and settings.schedule.get("name") != "one_cycle"
    return replace(mode, channels_last=mode.channels_last and not small and settings.precision in ("bf16", "tf32"),
                   graph=graph)  # fmt: skip


def channels_last_is_safe(net: nn.Module) -> bool:
    """Whether no layer of `net` is a strided 1×1 convolution whose input channels are no multiple of 8.

    On a processor without AVX-512, the backward pass of such a layer with fewer than 8 channels writes past its buffers
    in oneDNN 3.13 (torch 2.15), and nowhere else: not with other kernels or strides, not in the contiguous format
    (tools/fuzz_models.py).
    """
    strided = (m for m in net.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) == 1 < max(m.stride))
    return all(m.in_channels // m.groups % 8 == 0 for m in strided)


class Probed:
    """A step on CUDA that counts the host synchronisations of a few of its calls: `syncs` is their mean, or None."""

    def __init__(self, step: Callable):
        self.step, self.calls, self.found = step, 0, 0
        self.syncs: float | None = None

    def __call__(self, *arguments) -> None:
        self.calls += 1
        if self.calls not in PROBED:
            self.step(*arguments)
            return
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                self.step(*arguments)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        self.found += sum("synchroniz" in str(w.message) for w in caught)
        self.syncs = self.found / (self.calls - PROBED.start + 1)


class Graphed:
    """A step on CUDA that is captured once and then replayed: one launch for loading, forward, backward and update.

    The first calls run as they are, so that every buffer and choice of algorithm exists. The rate is a constant of the
    graph: when it changes, the step is captured again. Batches that are not whole run as they are.
    """

    WARM = 3
    syncs = 0.0  # a captured step that synchronised would be an error

    def __init__(self, step: Callable, full: int, rate: Callable[[], float]):
        self.step, self.full, self.rate = step, full, rate
        self.calls, self.captured = 0, None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.rows: Tensor | None = None

    def __call__(self, rows: Tensor, *more) -> None:
        if rows.shape[-1] != self.full or self.calls < self.WARM:
            self.calls += rows.shape[-1] == self.full
            self._aside(rows, *more)
            return
        if self.graph is None or self.captured != (self.rate(), more):
            self._capture(rows, *more)
        self.rows.copy_(rows)
        self.graph.replay()

    def _aside(self, rows: Tensor, *more) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.step(rows, *more)
        torch.cuda.current_stream().wait_stream(stream)

    def _capture(self, rows: Tensor, *more) -> None:
        self.rows, self.captured = rows.clone(), (self.rate(), more)
        self.graph = None  # frees the memory of the one before
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step(self.rows, *more)
        self.graph = graph
