"""The path of a net's weights through training, and the loss around it, for the figure of trajectories.

After Li, Xu, Taylor, Studer and Goldstein 2018, section 7: a plane through the path's two largest principal components.
Every run has a plane of its own. To lay the paths of several optimisers that start from one net on one map, each
record also keeps a sketch of its path: distances survive a random projection (Johnson and Lindenstrauss 1984).
"""

import copy
import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

MOST_WEIGHTS = 500_000  # of a net whose path is kept, in memory and in checkpoints, until the training ends
MOST_POINTS = 31
SKETCH = 64  # dimensions
SIDE = 13  # points of the slice along each axis
IMAGES = 200  # on which the loss is taken
ROOM = 0.25  # of the path's extent, around it


class Path:
    """The trainable weights at the start and after epochs, up to 31 of them, evenly; (points, weights) on the CPU."""

    def __init__(self, net: nn.Module, epochs: int):
        self.every = max(1, math.ceil(epochs / (MOST_POINTS - 1)))
        self.rows, self.epochs = [flat_weights(net)], [0]

    def add(self, net: nn.Module, epoch: int) -> None:
        """To be called after each epoch, `epoch` being how many are over; a step pays nothing."""
        if epoch % self.every == 0:
            self.rows.append(flat_weights(net))
            self.epochs.append(epoch)


def fits(net: nn.Module) -> bool:
    """Whether the path of this net is small enough to be kept."""
    return sum(p.numel() for p in trained(net)) <= MOST_WEIGHTS


def trained(net: nn.Module) -> list[nn.Parameter]:
    return [p for p in net.parameters() if p.requires_grad]


def flat_weights(net: nn.Module) -> Tensor:
    """The trainable weights one after another, float32 (weights,) on the CPU, a copy."""
    return parameters_to_vector([p.detach().contiguous() for p in trained(net)]).float().cpu().clone()


def collect(path: Path, net: nn.Module, batches: Iterable) -> dict:
    """Arrays for a record; `batches` give (images, labels) as they are evaluated. Empty for a path that is not finite.

    path_epochs (n,) · path_moves (n − 1,), the distance between neighbours · path_plane (n, 2), places on the two
    principal directions from the end of training · path_shares (2,), their share of the path's variance · path_axes
    (2, 13) and path_loss (13 down, 13 across), the mean cross-entropy of 200 images on that plane · path_sketch
    (n, 64), a random projection of the path from its start that is the same for every net of equal size.
    """
    rows = torch.stack(path.rows)
    if len(rows) < 3 or not rows.isfinite().all():
        return {}
    places, directions, shares = plane(rows)
    low, high = places.amin(0), places.amax(0)
    room = ROOM * (high - low).clamp(min=1e-6)
    axes = torch.stack([torch.linspace(float(a), float(b), SIDE) for a, b in zip(low - room, high + room)])
    loss = loss_slice(net, rows[-1], directions, axes, *_images(batches))
    found = {
        "path_epochs": torch.tensor(path.epochs, dtype=torch.int16), "path_moves": (rows[1:] - rows[:-1]).norm(dim=1),
        "path_plane": places, "path_shares": shares, "path_axes": axes, "path_loss": loss.clamp(max=6e4).half(),
        "path_sketch": sketch(rows - rows[0]),
    }  # fmt: skip
    return {name: value.numpy() for name, value in found.items()}


def plane(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places (n, 2) of rows − last row, two orthonormal directions (2, weights), their shares (2,) of the variance."""
    away = (rows - rows[-1]).double()
    values, vectors = torch.linalg.eigh(away @ away.T)  # n × n: there are far fewer points than weights
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    length = values[:2].sqrt().clamp(min=1e-12)
    directions = (vectors[:, :2] / length).T @ away
    return (away @ directions.T).float(), directions.float(), (values[:2] / values.sum().clamp(min=1e-30)).float()


@torch.no_grad()
def loss_slice(net: nn.Module, origin: Tensor, directions: Tensor, axes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The mean cross-entropy at origin + a·d₀ + b·d₁, shape (b, a), on a copy of the net.

    Batch normalisation takes the statistics of these images, for those of training belong to one point alone.
    """
    net = copy.deepcopy(net).float().eval()
    for module in net.modules():
        module.train(isinstance(module, nn.modules.batchnorm._BatchNorm))
    found = torch.empty(axes.shape[1], axes.shape[1])
    for i, b in enumerate(axes[1]):
        for j, a in enumerate(axes[0]):
            vector_to_parameters((origin + a * directions[0] + b * directions[1]).to(x.device), trained(net))
            found[i, j] = F.cross_entropy(net(x.float()), y).cpu()
    return found.nan_to_num(nan=6e4, posinf=6e4)


def sketch(rows: Tensor) -> Tensor:
    """A random projection (n, 64) of rows (n, weights), the same for every call; distances stay within about 10 %."""
    generator, total = torch.Generator().manual_seed(0), torch.zeros(len(rows), SKETCH)
    for part in rows.split(8192, dim=1):
        total += part @ torch.randn(part.shape[1], SKETCH, generator=generator)
    return total / math.sqrt(SKETCH)


def _images(batches: Iterable) -> tuple[Tensor, Tensor]:
    xs, ys = [], []
    for x, y in batches:
        xs, ys = [*xs, x], [*ys, y]
        if sum(map(len, ys)) >= IMAGES:
            break
    return torch.cat(xs)[:IMAGES], torch.cat(ys)[:IMAGES]
