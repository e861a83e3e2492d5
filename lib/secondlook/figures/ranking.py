"""Who is first, by how much, and how surely: accuracies, paired differences of all pairs, and wins over seeds."""

from itertools import combinations

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.statistics import LEAST_SEEDS, holm, mcnemar, paired_test
from secondlook.figures.marks import means, seeds
from secondlook.figures.template import MEASURED, PUBLISHED, QUIET, finish, views
from secondlook.figures.values import (
    NothingToDraw,
    agree,
    caption,
    counted,
    ends,
    few,
    flat,
    joined,
    number_of,
    numbers,
    percent,
    printed,
    sentence,
    share_interval,
    spread,
    words,
)
from secondlook.record import Record
from secondlook.reports import Published

ALPHA = 0.05
VIEWS = ("each", "paired differences", "how often first")


def ranking(
    groups: dict[str, list[Record]],
    metric: str = "test_accuracy",
    published: dict[str, Published | list[Published]] | None = None,
    id: str = "ranking",
) -> go.Figure:
    """Labelled runs, a menu of three views: each with interval and published values; every pair; wins over seeds.

    Pairs are compared on the seeds that all groups have: t-tests with Holm's correction, or, of one seed whose
    predictions are kept, McNemar's test. The metric is a share. Raises NothingToDraw where no group has a finite value.
    """
    everything = flat(groups, "a ranking")
    found = {label: share_interval(numbers(records, metric)) for label, records in groups.items()}
    if not any(np.isfinite(m) for m, _ in found.values()):
        raise NothingToDraw(f"{joined(found)}: no finite {metric}")
    reported = {k: own for k, own in groups.items() if not all(r.recipe.variant == "custom" for r in own)}
    shared = _shared(reported or groups)  # a reader's own seeds decide nothing about the report's
    pairs = _pairs(shared, metric)
    figure, owners = go.Figure(), []
    for view, add in enumerate((_each, _differences, _wins)):
        before = len(figure.data)
        add(figure, groups if view == 0 else shared, metric, pairs, found, published or {})
        owners += [view] * (len(figure.data) - before)
    for trace, owner in zip(figure.data, owners):
        trace.visible = owner == 0
    names = [f"{a} − {b}" for a, b, *_ in pairs]
    rows, word = (list(groups), names, list(shared)), words(metric)
    titles = (word, f"difference of {word}, points", "share of seeds")
    layouts = [_rows(r, t, ".2~%" if k != 1 else "") for k, (r, t) in enumerate(zip(rows, titles))]
    shown = [k for k in range(3) if k in owners]
    menus = [views([shown.index(o) for o in owners], [VIEWS[k] for k in shown], [layouts[k] for k in shown])]
    figure.update_layout(updatemenus=menus, **{k.replace(".", "_"): v for k, v in layouts[0].items()})
    figure.update_yaxes(zeroline=False)
    title = _finding(found, pairs, shared)
    alt = f"Dot plot of the {word} of {joined(groups)}, of the differences of all pairs, and of wins. {title}."
    return finish(figure, id, title, alt, caption(everything), 130 + 44 * max(len(groups), len(pairs)))


def _shared(groups: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """The records of the seeds that all groups have, in one order; none where a group has a seed twice."""
    by_seed = {label: {r.recipe.seed: r for r in records} for label, records in groups.items()}
    common = sorted(set.intersection(*(set(own) for own in by_seed.values())))
    return {label: [own[s] for s in common] for label, own in by_seed.items()}


def _pairs(shared: dict[str, list[Record]], metric: str) -> list[tuple]:
    """(a, b, mean difference, half its interval, p after Holm or NaN, name of the test) of every pair."""
    values = {label: numbers(records, metric) for label, records in shared.items()}
    found = []
    for a, b in combinations(values, 2):
        there = np.isfinite(values[a]) & np.isfinite(values[b])
        if there.sum() >= LEAST_SEEDS:
            test = paired_test(values[a][there], values[b][there])
            found.append((a, b, test.mean, test.high - test.mean, test.p, f"paired t-test, {test.n} seeds"))
        elif there.sum() == 1:
            p = _mcnemar(shared[a][0], shared[b][0])
            found.append((a, b, float((values[a] - values[b])[there][0]), 0.0, p, "McNemar, one seed"))
        elif there.any():
            mean = float((values[a] - values[b])[there].mean())
            found.append((a, b, mean, 0.0, np.nan, "two seeds, too few for a test"))
    tested = [k for k, row in enumerate(found) if np.isfinite(row[4])]
    for k, p in zip(tested, holm([found[k][4] for k in tested]) if tested else ()):
        found[k] = (*found[k][:4], float(p), found[k][5])
    return found


def _mcnemar(a: Record, b: Record) -> float:
    if not all("predictions" in r.arrays for r in (a, b)):
        return np.nan
    right = [np.asarray(r.arrays["predictions"]) == np.asarray(r.arrays["labels"]) for r in (a, b)]
    return mcnemar(*right).p if right[0].shape == right[1].shape else np.nan


def _each(figure, groups, metric, pairs, found, published) -> None:
    seeds(figure, [numbers(records, metric) for records in groups.values()])
    texts = [f"{label}: {percent(m, 2)}{spread(h, 2)}, {counted(len(groups[label]), 'seed')}"
             for label, (m, h) in found.items()]  # fmt: skip
    means(figure, np.arange(len(found)), list(found.values()), "%{text}", text=texts)
    points = [(list(found).index(label), p) for label, own in published.items() if label in found
              for p in (own if isinstance(own, list) else [own])]  # fmt: skip
    if points:
        figure.add_scatter(x=[number_of(p) for _, p in points], y=[k - 0.16 for k, _ in points], mode="markers",
                           name="published", text=[printed(p) for _, p in points],
                           marker={"color": PUBLISHED, "symbol": "diamond", "size": 11},
                           hovertemplate="published %{text}<extra></extra>")  # fmt: skip


def _differences(figure, groups, metric, pairs, found, published) -> None:
    for certain, name, colour in ((True, "p < 0.05 after Holm", MEASURED), (False, "not certain", QUIET)):
        own = [(k, row) for k, row in enumerate(pairs) if (row[4] < ALPHA) == certain]
        if own:
            texts = [f"{a} − {b}: {100 * d:+.2f}{spread(h, 2, False)} points<br>{test}"
                     + (f", p = {p:.2g}" if np.isfinite(p) else "") for _, (a, b, d, h, p, test) in own]  # fmt: skip
            look = {"color": colour, "size": 10, "symbol": "circle" if certain else "circle-open"}
            means(figure, [k for k, _ in own], [(100 * row[2], 100 * row[3]) for _, row in own], "%{text}", name=name,
                  text=texts, marker=look)  # fmt: skip


def _wins(figure, shared, metric, pairs, found, published) -> None:
    if not any(shared.values()):
        return
    shares = _won(shared, metric)
    figure.add_bar(x=list(shares.values()), y=list(range(len(shares))), orientation="h", marker_color=MEASURED,
                   width=0.6, name="first", text=[percent(s, 0) for s in shares.values()], showlegend=False,
                   hovertemplate="first in %{text} of the seeds<extra></extra>")  # fmt: skip


def _won(shared: dict[str, list[Record]], metric: str) -> dict[str, float]:
    """The share of seeds in which each label is highest; a tie is divided."""
    values = np.nan_to_num(np.array([numbers(records, metric) for records in shared.values()]), nan=-np.inf)
    first = values == values.max(0)
    return dict(zip(shared, (first / first.sum(0)).mean(1).tolist()))


def _rows(labels: list[str], title: str, form: str) -> dict:
    return {
        "xaxis.title.text": title, "xaxis.tickformat": form, "yaxis.tickvals": list(range(len(labels))),
        "yaxis.ticktext": labels, "yaxis.range": [len(labels) - 0.5, -0.5],
    }  # fmt: skip


def _finding(found: dict, pairs: list[tuple], shared: dict) -> str:
    order = ends({label: mean for label, (mean, _) in found.items()})
    title = f"{sentence(few(order.first))} {agree(order.first, 'has' if order.tied else 'leads')} "
    title += f"{'with ' * (not order.tied)}{order.best}"
    title += "" if order.tied else f", {few(order.last)} {agree(order.last, 'has')} {order.worst}"
    count = len(next(iter(shared.values())))
    tested = [row for row in pairs if np.isfinite(row[4])]
    if not tested:
        why = {0: "no common seed ranks", 1: "one seed, whose predictions are not kept, ranks"}.get(
            count, f"{count} seeds rank"
        )
        return f"{title}; {why} nobody"
    certain = sum(row[4] < ALPHA for row in tested)
    how = "on one test set, of one seed" if count == 1 else f"over {count} seeds"
    return f"{title}; pairs told apart {how}: {certain} of {len(tested)}"
