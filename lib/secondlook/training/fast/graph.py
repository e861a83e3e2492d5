"""A step on CUDA that is captured once and then replayed: one launch for loading, forward, backward and update."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM = 3  # calls that run as they are, so that every buffer and choice of algorithm exists


def captured(run, step: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
    """`step` of a loop.Run as a CUDA graph. Batches that are not whole run as they are.

    The learning rate is a constant of the graph: when it changes, the step is captured again.
    """
    calls, graph, static_rows, rate = 0, None, None, None

    def capture(rows: Tensor) -> None:
        nonlocal graph, static_rows, rate
        static_rows, rate = rows.clone(), run.learning_rate
        graph = None  # frees the memory of the one before
        torch.cuda.synchronize()
        new = torch.cuda.CUDAGraph()
        with torch.cuda.graph(new):
            step(static_rows)
        graph = new

    def replayed(rows: Tensor) -> None:
        nonlocal calls
        whole = rows.shape[-1] == run.loader.batch_size
        if not whole or calls < WARM:
            calls += whole
            _on_another_stream(step, rows)
            return
        if rate != run.learning_rate:
            capture(rows)
        static_rows.copy_(rows)
        graph.replay()

    return replayed


def _on_another_stream(step: Callable[[Tensor], None], rows: Tensor) -> None:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step(rows)
    torch.cuda.current_stream().wait_stream(stream)
