"""Trains random narrow networks for two steps each, in every memory format, and says which one ended the process.

    python tools/fuzz_models.py --models 300

Each network trains as the library would choose, in the contiguous format and, where the library allows it, in
channels last; then its activations and their gradients are read. Once with this processor's instructions, once with
AVX2 alone. Exit code 1 where a process crashed or a loss was not finite.
"""

import argparse
import copy
import os
import random
import subprocess
import sys
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from secondlook.data.loader import DeviceLoader
from secondlook.insight.maps import activations, private_copy
from secondlook.models.layers import Net
from secondlook.recipe import Classifier
from secondlook.training.loop import train
from secondlook.training.precision import channels_last_is_safe, placement

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


class Block(nn.Module):
    """A convolution and its shortcut, a 1×1 convolution of the same stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, norm: bool):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)) + self.shortcut(x))


class Narrow(Net):
    """One to four blocks of 1 to 16 channels, drawn at random."""

    def __init__(self, chance: random.Random, channels: int):
        super().__init__()
        widths = [channels, *(chance.randint(1, 16) for _ in range(chance.randint(1, 4)))]
        self.blocks = nn.ModuleList(
            Block(a, b, chance.choice((1, 3, 5)), chance.choice((1, 1, 2, 2, 3)), chance.random() < 0.5)
            for a, b in pairwise(widths)
        )
        self.output = nn.Linear(widths[-1], 10)

    def features(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x.mean((-2, -1))

    def cam_layers(self) -> dict[str, nn.Module]:
        return {f"block{i}": block for i, block in enumerate(self.blocks)}


def attempt(number: int) -> str:
    """Two steps of network `number` in each format; the formats it trained in."""
    chance, numbers = random.Random(number), np.random.default_rng(number)
    torch.manual_seed(number)
    channels, side, batch = chance.choice((1, 3)), chance.randint(8, 40), chance.randint(2, 30)
    net = Narrow(chance, channels)
    x = numbers.integers(0, 256, (2 * batch, side, side, channels), np.uint8)
    y = numbers.integers(0, 10, 2 * batch)
    optimizer = {"name": chance.choice(("sgd", "adam", "adamw")), "learning_rate": 1e-3}
    settings, trained = Classifier(optimizer=optimizer, epochs=1, batch_size=batch), []
    formats = {"chosen": placement(net, settings, "cpu")["memory_format"], "contiguous": torch.contiguous_format}
    if channels_last_is_safe(net):
        formats["last"] = torch.channels_last
    for name, layout in formats.items():
        loader = DeviceLoader(x, y, batch_size=batch, seed=0, memory_format=layout)
        run = train(copy.deepcopy(net).to(memory_format=layout), loader, settings, 0, test=loader)
        assert run.status == "finished", "a loss was not finite"
        activations(private_copy(run.net), *loader.take(loader.rows(0)), list(net.cam_layers()))
        trained.append(name)
    return " ".join(trained)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--here", action="store_true", help="in this process, with its own settings alone")
    arguments = parser.parse_args()
    if arguments.here:
        torch.set_num_threads(1)
        for number in range(arguments.models):
            print(number, end=" ", flush=True)
            print(attempt(number), flush=True)
        return 0
    failed = False
    for title, more in {"this processor's instructions": {}, "AVX2 alone": AVX2}.items():
        command = [sys.executable, __file__, "--here", "--models", str(arguments.models)]
        ended = subprocess.run(command, env={**os.environ, **more}, stdout=subprocess.PIPE, text=True)
        lines = ended.stdout.splitlines()
        last = sum(line.endswith("last") for line in lines)
        print(f"{title}: {len(lines)} networks, {last} of them also in channels last, exit code {ended.returncode}")
        if ended.returncode:
            print(f"  it ended in network {lines[-1] if lines else 0}")
        failed |= ended.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
