"""Heat maps put to the test: deletion and insertion, random weights, shuffled borders."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.statistics import paired_test
from secondlook.figures.cam import METHODS
from secondlook.figures.marks import means
from secondlook.figures.template import CLASS_COLOURS, DASHES, QUIET, SYMBOLS, finish, views
from secondlook.figures.values import NothingToDraw, caption, flat, joined, mean_interval, needed, percent, sentence
from secondlook.record import Record

ALPHA = 0.05
SHUFFLED = {"plain": "as it is", "border": "border<br>shuffled", "centre": "centre<br>shuffled"}


def deletion_insertion(groups: dict[str, Record], id: str = "deletion-insertion") -> go.Figure:
    """The probability of the predicted class while places are taken from an image, or put back, the hottest first.

    A curve a method, and a random order that it has to beat; a menu of nets and of the two tests. Read from the array
    faith_curves (kinds, orders, points) and the metrics faith_…. Raises ValueError for records without them.
    """
    records = [r for r in needed(groups.values(), "deletion and insertion") if _has(r, "faith_curves")]
    figure, owners, labels = go.Figure(), [], []
    for label, record in groups.items():
        curves, orders = np.asarray(record.arrays["faith_curves"], float), record.metrics["faith_orders"]
        for kind, word in enumerate(record.metrics["faith_kinds"]):
            for m, order in enumerate(orders):
                colour = QUIET if order == "random" else CLASS_COLOURS[m]
                name = METHODS.get(order, "random order")
                figure.add_scatter(x=np.linspace(0, 1, curves.shape[-1]), y=curves[kind, m], name=name,
                                   mode="lines+markers", visible=not labels, marker_symbol=SYMBOLS[m],
                                   line={"color": colour, "dash": "dot" if order == "random" else DASHES[m % 3]},
                                   hovertemplate=f"{name}, %{{x:.0%}}: %{{y:.3f}}<extra></extra>")  # fmt: skip
                owners.append(len(labels))
            labels.append(f"{label}, {word}")
    shares = [f"share of the image {'taken away' if k % 2 == 0 else 'put back'}" for k in range(len(labels))]
    layouts = [{"xaxis.title.text": text} for text in shares]
    figure.update_layout(updatemenus=[views(owners, labels, layouts)], yaxis_title="probability of the predicted class")
    figure.update_xaxes(title=shares[0], tickformat=".2~%")
    figure.update_yaxes(rangemode="tozero")
    said = joined(_better(label, record) for label, record in groups.items())
    title = f"With Grad-CAM's hottest places taken first, {said}"
    alt = f"Curves of the predicted class's probability against the share of the image, for {joined(groups)}. {title}."
    layer, images = records[0].metrics["faith_layer"], records[0].metrics["faith_images"]
    return finish(figure, id, title, alt, caption(records, f"{images} images, maps of {layer}"), 420)


def random_weights(groups: dict[str, Record], id: str = "random-weights") -> go.Figure:
    """How alike Grad-CAM stays to the trained net's while layers become random from the logits down.

    Read from the metrics sanity_stages and sanity_likeness. Raises ValueError for records without them.
    """
    records = needed(groups.values(), "the check with random weights")
    for record in records:
        if "sanity_likeness" not in record.metrics:
            raise NothingToDraw(f"the record of {record.recipe} has no check with random weights")
    figure, told = go.Figure(), []
    for k, (label, record) in enumerate(groups.items()):
        alike = np.array([np.nan if v is None else v for v in record.metrics["sanity_likeness"]], float)
        stages = record.metrics["sanity_stages"]
        text = ["trained", *(f"random down to {stage}" for stage in stages[1:])]
        figure.add_scatter(x=np.arange(len(alike)) / (len(alike) - 1), y=alike, name=label, mode="lines+markers",
                           text=text, line={"color": CLASS_COLOURS[k], "dash": DASHES[k % 3]}, marker_size=9,
                           marker_symbol=SYMBOLS[k],
                           hovertemplate=f"{label}, %{{text}}: %{{y:.2f}}<extra></extra>")  # fmt: skip
        told.append(f"{alike[-1]:.2f} in {label}")
    figure.update_xaxes(title="share of the layers made random", tickformat=".2~%")
    figure.update_yaxes(title="correlation with the trained map", range=[-0.2, 1.05])
    title = f"With every layer random the maps keep a correlation of {joined(told)} with the trained net's"
    alt = f"Line chart of the correlation of heat maps while weights become random, for {joined(groups)}. {title}."
    return finish(figure, id, title, alt, caption(records, f"maps of {records[0].metrics['faith_layer']}"), 380)


def shuffled_parts(groups: dict[str, list[Record]], id: str = "shuffled-parts") -> go.Figure:
    """The accuracy on images as they are, with their border shuffled and with as large a centre shuffled.

    Means over seeds with 95 % intervals, from the metric `shuffled`. Raises ValueError for records without it.
    """
    everything = flat(groups, "shuffled images")
    lost = [r for r in everything if "shuffled" not in r.metrics]
    if lost:
        raise NothingToDraw(f"the record of {lost[0].recipe} has no answers to shuffled images")
    figure, ends = go.Figure(), {}
    for k, (label, records) in enumerate(groups.items()):
        found = [mean_interval([r.metrics["shuffled"][part] for r in records]) for part in SHUFFLED]
        at = np.arange(len(found)) + 0.12 * (k - (len(groups) - 1) / 2)
        means(figure, at, found, f"{label}, %{{x}}: %{{y:.1%}}", across=True, name=label,
              marker={"color": CLASS_COLOURS[k], "symbol": SYMBOLS[k], "size": 11})  # fmt: skip
        ends[label] = [m for m, _ in found]
    figure.update_traces(hovertemplate="%{y:.1%}<extra>%{fullData.name}</extra>")
    figure.update_xaxes(tickvals=list(range(len(SHUFFLED))), ticktext=list(SHUFFLED.values()), showgrid=False)
    figure.update_yaxes(title="accuracy", tickformat=".2~%", rangemode="tozero")
    said = [f"{label} loses {100 * (p - b):.1f} points without its border and {100 * (p - c):.1f} without its centre"
            for label, (p, b, c) in ends.items()]  # fmt: skip
    title = sentence("; ".join(said))
    alt = f"Dot plot of the accuracy of {joined(groups)} on images as they are and with parts shuffled. {title}."
    table = everything[0].metrics["shuffled"]
    note = f"{table['images']:,} test images, the border is {percent(table['border_share'], 0)} of an image"
    return finish(figure, id, title, alt, caption(everything, note), 380)


def _has(record: Record, name: str) -> bool:
    if name not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no {name}; its run needs keep = 'evidence'")
    return True


def _better(label: str, record: Record) -> str:
    """Whether Grad-CAM's order beats a random one, paired over images."""
    areas = np.asarray(record.arrays["faith_areas"], float)
    orders = list(record.metrics["faith_orders"])
    own, chance = orders.index("gradcam"), orders.index("random")
    lost = paired_test(areas[:, 0, chance], areas[:, 0, own])
    word = "no faster than" if lost.p >= ALPHA else "faster than" if lost.mean > 0 else "more slowly than"
    numbers = f"area {areas[:, 0, own].mean():.2f} against {areas[:, 0, chance].mean():.2f}, p = {lost.p:.1g}"
    return f"{label} loses its answer {word} in random order ({numbers})"
