"""Several seeds of one net trained side by side, for nets so small that a GPU waits for launches.

The K members have their own weights, images, losses and gradients; only the launches are shared. What is done to a
gradient is done element by element, so a member takes the steps it would take alone, up to rounding. Dropout is one
stream for all members: with it a group has draws of its own.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


class SideBySide(nn.Module):
    """K nets of one architecture as one: images (K, B, C, S, S) to logits (K, B, classes)."""

    def __init__(self, nets: Sequence[nn.Module]):
        super().__init__()
        self.members = (len(nets),)
        parameters, buffers = stack_module_state(list(nets))
        self.names, self.buffer_names = list(parameters), list(buffers)
        self.weights = nn.ParameterList([nn.Parameter(p.detach()) for p in parameters.values()])
        for i, buffer in enumerate(buffers.values()):
            self.register_buffer(f"buffer{i}", buffer)
        self._one = [nets[0]]  # in a list, so that its weights are no parameters of this net

    def forward(self, x: Tensor) -> Tensor:
        one = self._one[0].train(self.training)

        def single(weights: dict, buffers: dict, x: Tensor) -> Tensor:
            return functional_call(one, (weights, buffers), (x,), tie_weights=False)

        return vmap(single, randomness="different")(dict(self.named_weights()), self._buffers_by_name(), x)

    def named_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights of all members, (K, …), under the names they have in one net."""
        return zip(self.names, self.weights)

    def _buffers_by_name(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"buffer{i}") for i, name in enumerate(self.buffer_names)}

    @torch.no_grad()
    def member(self, k: int) -> nn.Module:
        """Net k by itself, with a copy of its weights."""
        net = copy.deepcopy(self._one[0]).to(self.weights[0].device, self.weights[0].dtype)
        state = dict(self.named_weights()) | self._buffers_by_name()
        for name, values in [*net.named_parameters(), *net.named_buffers()]:
            values.copy_(state[name][k])
        return net


class Loaders:
    """The loaders of K members as one, whose batches are (K, B, …); all have as many images.

    `shared` tells that all hold the same images and draw nothing, so one of them can serve all rows at once.
    """

    def __init__(self, loaders: Sequence, shared: bool = False):
        self.loaders, self.shared, first = list(loaders), shared, loaders[0]
        if len({len(loader) for loader in loaders}) > 1:
            raise ValueError("members of a group must have as many images each")
        self.batch_size, self.steps_per_epoch = first.batch_size, first.steps_per_epoch
        self.count, self.device, self.to = first.count, first.device, first.to

    def __len__(self) -> int:
        return len(self.loaders[0])

    def begin(self, epoch: int) -> None:
        for loader in self.loaders:
            loader.begin(epoch)

    def rows(self, step: int) -> Tensor:
        return torch.stack([loader.rows(step) for loader in self.loaders])

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if self.shared:
            x, y = self.loaders[0].take(rows.flatten())
            return x.unflatten(0, rows.shape), y.view(rows.shape)
        return _stacked([loader.take(members) for loader, members in zip(self.loaders, rows)])

    def evaluation_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batches in zip(*(loader.evaluation_batches() for loader in self.loaders), strict=True):
            yield _stacked(batches)


def first(net: nn.Module) -> nn.Module:
    """Net 0 of several side by side, or the net itself."""
    return net.member(0) if isinstance(net, SideBySide) else net


def alone(run, k: int):
    """Member k of a finished run, as a run by itself."""
    one = copy.copy(run)
    one.net, one.members, one.path = run.net.member(k), (), run.path if k == 0 else None
    one.history = {
        name: [value[k] if isinstance(value, list) else value for value in values]
        for name, values in run.history.items()
    }
    one.diverged = {0: run.diverged[k]} if k in run.diverged else {}
    one.status = "diverged" if one.diverged else "finished"
    return one


def _stacked(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])
