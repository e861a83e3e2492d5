"""A memory format is chosen only where every processor survives it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from secondlook.recipe import Classifier
from secondlook.training.precision import placement

FUZZ = Path(__file__).parent.parent / "tools" / "fuzz_models.py"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}


def test_narrow_networks_train_on_a_processor_with_avx2_alone():
    command = [sys.executable, str(FUZZ), "--here", "--models", "25"]
    ended = subprocess.run(command, env={**os.environ, **AVX2}, capture_output=True, text=True)
    assert ended.returncode == 0, f"it ended in network {ended.stdout.splitlines()[-1:]}\n{ended.stderr}"
    formats = [line.split()[1:] for line in ended.stdout.splitlines()]
    assert len(formats) == 25
    assert {"last" in words for words in formats} == {True, False}, "networks of both kinds are tried"


@pytest.mark.parametrize(
    ("layer", "safe"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(12, 8, 1, stride=3), False),
        (nn.Conv2d(32, 3, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(3, 8, 11, stride=4), True),
    ],
)
def test_channels_last_is_chosen_only_where_it_is_safe(layer, safe):
    chosen = placement(nn.Sequential(nn.ReLU(), layer), Classifier(), "cpu")["memory_format"]
    assert chosen == (torch.channels_last if safe else torch.contiguous_format)
