"""What becomes of a net's answers when the border of its images is shuffled, or their centre."""

import math

import torch
from torch import Tensor, nn

from secondlook.insight.activations import private_copy

IMAGES = 1000
FINE = 32  # cells a side that are shuffled, at least: about one pixel of a small image that was made larger


@torch.no_grad()
def shuffling(net: nn.Module, loader, count: int = IMAGES) -> dict:
    """A table of the first `count` images: accuracy as they are (`plain`), with `border` and with `centre` shuffled.

    `changed_border`, `changed_centre`: the share of wrong answers that change; `mended_…`: of those that become right
    (None where no answer is wrong); `border_share`: the border's share of the image, about half. The net stays as it
    was: a float32 copy is asked.
    """
    copied, parts = private_copy(net), {"plain": [], "border": [], "centre": []}
    labels, seen = [], 0
    generator = torch.Generator().manual_seed(0)
    for x, y in loader.evaluation_batches():
        x, y = x[: count - seen].float(), y[: count - seen]
        for name, said in parts.items():
            said.append(copied(x if name == "plain" else shuffled(x, name, generator)).argmax(1).cpu())
        labels.append(y.cpu())
        seen += len(y)
        if seen >= count:
            break
    labels, answers = torch.cat(labels), {name: torch.cat(said) for name, said in parts.items()}
    found = {"images": seen, "border_share": round(1 - _centre(cells(x.shape[-1]))[1] / cells(x.shape[-1]) ** 2, 4)}
    found |= {name: round(float((said == labels).double().mean()), 6) for name, said in answers.items()}
    wrong = answers["plain"] != labels
    for name in ("border", "centre"):
        own = answers[name][wrong]
        for word, happened in (("changed", own != answers["plain"][wrong]), ("mended", own == labels[wrong])):
            found[f"{word}_{name}"] = round(float(happened.double().mean()), 6) if wrong.any() else None
    return found


def shuffled(x: Tensor, part: str, generator: torch.Generator) -> Tensor:
    """Images (n, C, S, S) whose `part` ("border" or "centre") has its cells in random order, another for each image."""
    n, channels, side = x.shape[:3]
    count = cells(side)
    size, inside = side // count, torch.zeros(count, count, dtype=torch.bool)
    edge, _ = _centre(count)
    inside[edge : count - edge, edge : count - edge] = True
    own = torch.nonzero(inside.flatten() == (part == "centre"))[:, 0]
    order = torch.arange(count**2).repeat(n, 1)
    order[:, own] = own[torch.rand((n, len(own)), generator=generator).argsort(1)]
    tiles = x.reshape(n, channels, count, size, count, size).permute(0, 2, 4, 1, 3, 5).reshape(n, count**2, -1)
    tiles = tiles.gather(1, order[:, :, None].expand_as(tiles).to(x.device))
    return tiles.reshape(n, count, count, channels, size, size).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


def cells(side: int) -> int:
    """Cells a side: the fewest that are at least 32 and divide the image evenly; its pixels where none are."""
    sizes = [s for s in range(1, side + 1) if side % s == 0 and side // s >= FINE]
    return side // max(sizes, default=1)


def _centre(count: int) -> tuple[int, int]:
    """Cells from the edge to a centred square of about half the area, and how many that square has."""
    edge = round(count * (1 - math.sqrt(0.5)) / 2)
    return edge, (count - 2 * edge) ** 2
