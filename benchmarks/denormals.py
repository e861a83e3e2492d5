"""What an optimiser's step costs early and late in a run whose units have partly died, with denormals and without.

python benchmarks/denormals.py [--steps 1000]: milliseconds of a step over two matrices of 500 × 500, one thread.
"""

import argparse
import time

import torch

from secondlook.training import optimizers
from secondlook.training.fast.cpu import denormals_flushed

DEAD = 0.3  # of the rows; their gradients are exactly zero from the second step on
TABLES = (
    {"name": "sgd", "momentum": 0.9},
    {"name": "adam"},
    {"name": "adamw"},
    {"name": "adamax"},
    {"name": "rmsprop"},
)


def step_times(table: dict, steps: int) -> tuple[float, float]:
    """Milliseconds of a step, medians of ten: the first ones, and after `steps`."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(500, 500)) for _ in range(2)]
    optimizer = optimizers.build({**table, "learning_rate": 1e-3}, weights)
    alive, times = torch.rand(500, 1) >= DEAD, []
    for step in range(steps + 10):
        for p in weights:
            p.grad = torch.randn(500, 500) * (alive if step else 1.0)
        clock = time.perf_counter()
        optimizer.step()
        times.append(1e3 * (time.perf_counter() - clock))
    return sorted(times[1:11])[5], sorted(times[-10:])[5]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    print(f"| optimiser | first steps, ms | after {steps} | after {steps}, flushed |\n|---|---|---|---|")
    for table in TABLES:
        early, late = step_times(table, steps)
        with denormals_flushed():
            mended = step_times(table, steps)[1]
        print(f"| {table['name']} | {early:.2f} | {late:.2f} | {mended:.2f} |")


if __name__ == "__main__":
    main()
