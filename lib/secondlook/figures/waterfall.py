"""What each part of a recipe brings, from runs of every combination of the parts: a waterfall."""

from dataclasses import asdict
from itertools import permutations, product

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.template import CLASS_COLOURS, MEASURED, QUIET, finish, views
from secondlook.figures.values import (
    NothingToDraw,
    agree,
    caption,
    ends,
    few,
    flat,
    joined,
    mean_interval,
    percent,
    reach,
    sentence,
    spread,
)
from secondlook.record import Record

EARLY = 10  # epochs of the shorter training, which the first epochs of the longer one are
PARTS = {  # a setting: its word, and its value where the part is absent
    ("model", "stage"): ("larger net", 1),
    ("model", "batch_norm"): ("batch normalisation", False),
    ("model", "dropout"): ("dropout", False),
    ("schedule", "name"): ("schedule", "constant"),
}
LONGER = "more epochs"
WITH_ARTICLE = ("larger net", "schedule")
Cells = dict[tuple[bool, ...], np.ndarray]  # which parts are there → an accuracy a seed


def waterfall(groups: dict[str, list[Record]], finals: dict[str, list[Record]] | None = None,
              last: tuple[str, str] = ("penalty", "L2"), id: str = "waterfall") -> go.Figure:  # fmt: skip
    """For each label, from the test accuracy without any part to that with all, each part's share as a step.

    A group holds the runs of a factorial: every combination of the parts in PARTS that its records vary. Training for
    more than ten epochs is a part of its own where the schedule leaves the first ten alone, read off the curves. Two
    views a label: shares averaged over all orders of adding the parts (Shapley 1953), and added one by one. `finals`
    are the runs with one thing more, `last`: a setting and its word; those that differ in anything else are left out.
    Raises ValueError for a factorial that is not whole.
    """
    finals = {label: _with_one_more(own, groups.get(label, []), last[0]) for label, own in (finals or {}).items()}
    everything = flat(groups, "a waterfall") + [r for own in finals.values() for r in own]
    figure, labels, owners, told = go.Figure(), [], [], {}
    for label, records in groups.items():
        names, cells, seeds = factorial(records)
        more = _beyond(cells[(True,) * len(names)], seeds, finals.get(label, []))
        for how, shares in (("averaged over all orders", averaged(cells)), ("one by one", one_by_one(cells))):
            steps = {**dict(zip(names, shares)), **({last[1]: more} if more is not None else {})}
            _bars(figure, cells[(False,) * len(names)], steps, visible=not labels)
            owners.append(len(labels))
            labels.append(f"{label}, {how}")
            told.setdefault(label, steps)
    figure.update_layout(updatemenus=[views(owners, labels)], showlegend=False)
    heights = np.concatenate([np.cumsum(trace.y[:-1]) for trace in figure.data])
    span = [max(0, heights.min() - 0.05), heights.max() + 0.04]
    figure.update_yaxes(title="test accuracy", tickformat=".1~%", range=span)
    figure.update_xaxes(type="category", tickangle=-30)
    title = sentence("; ".join(_finding(label, steps) for label, steps in told.items()))
    alt = f"Waterfall chart of the test accuracy of {joined(groups)}, part by part. {title}."
    return finish(figure, id, title, alt, caption(everything), 440)


def factorial(records: list[Record]) -> tuple[list[str], Cells, list[int]]:
    """Names of the parts that vary, the accuracies of every combination on the seeds they share, and these seeds.

    Raises ValueError where a combination has no records, or nothing varies.
    """
    varied = [p for p in PARTS if len({_setting(r, p) for r in records}) > 1]
    found: dict[tuple, dict[int, Record]] = {}
    for r in records:
        found.setdefault(tuple(_setting(r, p) != PARTS[p][1] for p in varied), {})[r.recipe.seed] = r
    lost = [key for key in product((False, True), repeat=len(varied)) if key not in found]
    if lost or not varied:
        raise NothingToDraw(
            f"the factorial has {len(found)} of {2 ** len(varied)} combinations; train the rest of its runs"
        )
    seeds = sorted(set.intersection(*(set(own) for own in found.values())))
    if not seeds:
        raise NothingToDraw("the combinations of the factorial have no seed in common")
    names = [PARTS[p][0] for p in varied]
    cells = {key: np.array([reach(own[s], "test_accuracy") for s in seeds], float) for key, own in found.items()}
    long = all(len(r.history.get("test_accuracy", ())) > EARLY for r in records)
    if long:
        early = {key: [own[s].history["test_accuracy"][EARLY - 1] for s in seeds] for key, own in found.items()}
        cells = {(*key, False): np.array(v, float) for key, v in early.items()} | {
            (*key, True): v for key, v in cells.items()
        }
        names.append(LONGER)
    return names, cells, seeds


def _setting(record: Record, part: tuple[str, str]):
    """A setting of a record's recipe; None where it is left to the net, as dropout is in the quick profile."""
    return getattr(record.recipe.settings, part[0]).get(part[1])


def _with_one_more(finals: list[Record], records: list[Record], setting: str) -> list[Record]:
    """Those of `finals` that differ in one setting alone from the runs that have every part."""
    parted = {setting, *(owner for owner, _ in PARTS)}

    def other(record: Record) -> tuple[dict, list[bool]]:
        settings = {k: v for k, v in asdict(record.recipe.settings).items() if k not in parted}
        return settings, [_setting(record, p) != PARTS[p][1] for p in PARTS]

    whole = [other(r) for r in records]
    return [r for r in finals if all(other(r)[1]) and other(r) in whole]


def averaged(cells: Cells) -> list[np.ndarray]:
    """What each part brings, averaged over all orders in which the parts can be added; an array over seeds a part."""
    count = len(next(iter(cells)))
    orders = list(permutations(range(count)))
    return [sum(_added(cells, order, part) for order in orders) / len(orders) for part in range(count)]


def one_by_one(cells: Cells) -> list[np.ndarray]:
    """What each part brings to those before it."""
    order = tuple(range(len(next(iter(cells)))))
    return [_added(cells, order, part) for part in order]


def _added(cells: Cells, order: tuple[int, ...], part: int) -> np.ndarray:
    before = set(order[: order.index(part)])
    there = [tuple(k in own for k in range(len(order))) for own in (before, before | {part})]
    return cells[there[1]] - cells[there[0]]


def _beyond(whole: np.ndarray, seeds: list[int], finals: list[Record]) -> np.ndarray | None:
    """By how much the final runs differ from the whole factorial, on the seeds of both; None where there are none."""
    by_seed = {r.recipe.seed: reach(r, "test_accuracy") for r in finals}
    common = [(whole[k], by_seed[s]) for k, s in enumerate(seeds) if s in by_seed]
    return np.array([final - own for own, final in common], float) if common else None


def _bars(figure: go.Figure, start: np.ndarray, steps: dict[str, np.ndarray], visible: bool) -> None:
    found = {name: mean_interval(values) for name, values in steps.items()}
    first, half = mean_interval(start)
    heights = [first, *(m for m, _ in found.values())]
    texts = [percent(first), *(f"{100 * m:+.1f}" for m, _ in found.values()), percent(sum(heights))]
    hover = [f"without any: {percent(first, 2)}{spread(half, 2, False)}",
             *(f"{name}: {100 * m:+.2f}{spread(h, 2, False)} points" for name, (m, h) in found.items()),
             f"with all: {percent(sum(heights), 2)}"]  # fmt: skip
    figure.add_waterfall(
        x=["none", *found, "all"], y=[*heights, 0.0], measure=["absolute", *["relative"] * len(found), "total"], base=0,
        text=texts, textposition="outside", hovertext=hover, hoverinfo="text", visible=visible, cliponaxis=False,
        increasing={"marker": {"color": MEASURED}}, decreasing={"marker": {"color": CLASS_COLOURS[1]}},
        totals={"marker": {"color": QUIET}}, connector={"line": {"color": QUIET, "width": 1}},
    )  # fmt: skip


def _finding(label: str, steps: dict[str, np.ndarray]) -> str:
    """What lies between the ends, and the part that brings most of it."""
    means = {name: 100 * float(np.mean(v)) for name, v in steps.items()}
    rise = sum(means.values())
    order = ends(means, "{:+.1f}".format, lowest=rise < 0)
    parts = few([f"{'the ' if part in WITH_ARTICLE else ''}{part}" for part in order.first], "parts")
    brings = f"{agree(order.first, 'brings')} {order.best}{' each' * bool(order.first[1:])}"
    said = f"of {rise:+.1f} points with {label} {parts} {brings}"
    return said.replace("-", "−")
