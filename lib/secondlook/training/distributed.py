"""One run in several processes, as `torchrun` starts them: each rank takes its part of every batch.

Rank 0 decides when to save or to stop and is the only one that writes; all ranks hold equal weights at every step.
"""

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from secondlook.training.checkpoint import Checkpoint, Stopped

GO_ON, SAVE, STOP = 0, 1, 2  # STOP + n is a stop that signal n asked for


@dataclass(frozen=True)
class Team:
    """The processes of a run; alone where there is one."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def join(self, net: nn.Module) -> nn.Module:
        """`net` as DistributedDataParallel where there are several ranks; batch normalisation sees the whole batch."""
        if self.world == 1:
            return net
        cuda = self.device.startswith("cuda")
        if cuda:
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        return nn.parallel.DistributedDataParallel(net, [torch.device(self.device)] if cuda else None)

    def total(self, values: Tensor) -> Tensor:
        """The sum of every rank's `values`, on all ranks."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def agreed(self, values: Tensor) -> Tensor:
        """Rank 0's `values`, on all ranks."""
        if self.world > 1:
            dist.broadcast(values, 0)
        return values

    def wait(self) -> None:
        """Returns when every rank is here."""
        self.agreed(torch.zeros(()))

    def load(self, checkpoint: Checkpoint) -> dict | None:
        """The checkpoint's state, the same on all ranks."""
        state = checkpoint.load()
        self.wait()  # or rank 0 could write the next one before the others have read this one
        return state

    def offer(self, checkpoint: Checkpoint, state: Callable[[], dict]) -> None:
        """`checkpoint.offer(state)`, which all ranks make or none. Raises Stopped on all ranks at the same step."""
        if self.world == 1:
            checkpoint.offer(state)
            return
        decision = self.agreed(torch.tensor(_decision(checkpoint) if self.leads else 0)).item()
        if decision == GO_ON:
            return
        self.save(checkpoint, state())
        if decision >= STOP:
            raise Stopped(checkpoint.path, decision - STOP or None)

    def save(self, checkpoint: Checkpoint, state: dict) -> None:
        """Rank 0 writes; the state was made by all."""
        if self.leads:
            checkpoint.save(state)


ALONE = Team()


def team(device: str) -> Team:
    """This process's place among those that `torchrun` started, from its environment; Team(device=device) without.

    Joins the process group on the first call: gloo for CPU tensors, NCCL for CUDA's. With several CUDA devices each
    rank takes the one of its LOCAL_RANK.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Team(device=device)
    rank = int(os.environ["RANK"])
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', rank)}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
        atexit.register(dist.destroy_process_group)
    return Team(rank, world, device)


def _decision(checkpoint: Checkpoint) -> int:
    due, signal = checkpoint.due()
    return {"": GO_ON, "save": SAVE, "stop": STOP + (signal or 0)}[due]
