"""Heat maps put to the test: how focused they are, deletion and insertion, random weights, shuffled borders."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation import metrics
from secondlook.evaluation.statistics import paired_test
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.maps import METHODS, read_at
from secondlook.figures.marks import means
from secondlook.figures.template import QUIET, SHARE, SYMBOLS, Views, finish, line, mark
from secondlook.figures.values import NothingToDraw, flat, kept, mean_interval, needed
from secondlook.record import Record

MEASURES = {  # name in records: words, unit
    "entropy": ("evenness (entropy)", "entropy, 1 is even"),
    "area": ("area above half of the maximum", "share of the image"),
    "centre": ("share in the middle third", "share of the map; 0.33 is even"),
}
ALPHA = 0.05
SHUFFLED = {"plain": "as it is", "border": "border<br>shuffled", "centre": "centre<br>shuffled"}


@drawn
def cam_focus(records: Record | list[Record], id: str = "cam-focus") -> go.Figure:
    """How focused the maps of right and of wrong answers are, layer by layer; a menu of measures and methods.

    Read from cam_focus (images, layers, methods, measures) and cam_focus_right. Means with 95 % intervals: over images
    where there is one record, over seeds where there are more. Raises ValueError for records without them.
    """
    records = [r for r in needed(records, "the focus of activation maps") if "cam_focus" in r.arrays]
    if not records:
        raise NothingToDraw("no record keeps the focus of activation maps; its run needs keep = 'evidence'")
    first = records[0].metrics
    names, layers = list(first["cam_measures"]), list(first["cam_layers"])
    figure, shown = go.Figure(), []
    views = Views(figure)
    for m, method in enumerate(first["cam_methods"]):
        for measure, (word, unit) in MEASURES.items():
            for k, kind in enumerate(("right answers", "wrong answers")):
                found = _by_layer(records, k == 0, m, names.index(measure))
                at = np.arange(len(found)) + (0.08 if k else -0.08)
                means(figure, at, found, f"{kind}: %{{y:.3f}}", across=True, name=kind, mode="lines+markers",
                      marker=mark(k, 9), line=line(k))  # fmt: skip
            views.own(len(shown))
            shown.append((f"{word}, {METHODS.get(method, method)}", {"yaxis.title.text": unit}))
    views.menu([label for label, _ in shown], [layout for _, layout in shown])
    figure.update_yaxes(title=shown[0][1]["yaxis.title.text"])
    figure.update_xaxes(tickvals=list(range(len(layers))), ticktext=layers)
    right = sum(int(np.sum(r.arrays["cam_focus_right"])) for r in records)
    wrong = sum(len(r.arrays["cam_focus_right"]) for r in records) - right
    note = words.caption(records, f"{words.counted(right, 'right answer')}, {wrong:,} wrong")
    shows = "Line chart of how focused heat maps are, right against wrong answers, by layer"
    return finish(figure, id, _more_even(records, names.index("entropy")), shows, note, 420)


def effect(record: Record, measure: int, layer: int) -> metrics.Interval | None:
    """How often a wrong answer's Grad-CAM measures higher than a right one's (ties count half), with DeLong's interval.

    None where there are too few of one of the two kinds.
    """
    values = np.asarray(record.arrays["cam_focus"][:, layer, 0, measure], float)
    there = np.isfinite(values)
    wrong = ~np.asarray(record.arrays["cam_focus_right"], bool)[there]
    return metrics.auc_interval(wrong, values[there]) if 2 <= wrong.sum() <= len(wrong) - 2 else None


def _by_layer(records: list[Record], right: bool, method: int, measure: int) -> list[tuple[float, float]]:
    """Mean and half-width for each layer."""
    each = []
    for r in records:
        own = np.asarray(r.arrays["cam_focus_right"], bool) == right
        each.append(np.asarray(r.arrays["cam_focus"][own][:, :, method, measure], float))
    if len(each) == 1:
        return [mean_interval(column) for column in each[0].T]
    layers = [[column[np.isfinite(column)] for column in columns] for columns in zip(*(v.T for v in each))]
    return [mean_interval([v.mean() for v in seeds if len(v)]) for seeds in layers]


def _more_even(records: list[Record], entropy: int) -> str:
    found = [e for r in records if (e := effect(r, entropy, read_at(r)))]
    layer = records[0].metrics["cam_layers"][read_at(records[0])]
    if not found:
        return f"In {layer} there are too few right or wrong answers to compare"
    share = words.percent(float(np.mean([e.value for e in found])), 0)
    if len(found) == 1:
        share += f" [{100 * found[0].low:.0f}, {100 * found[0].high:.0f}]"
    return (
        f"In {layer} a wrong answer's heat is more even than a right one's in {share} of pairs; 50 % is no difference"
    )


@drawn
def deletion_insertion(groups: dict[str, Record], id: str = "deletion-insertion") -> go.Figure:
    """The probability of the predicted class while places are taken from an image, or put back, the hottest first.

    A curve a method, and a random order that it has to beat; a menu of nets and of the two tests. Read from the array
    faith_curves (kinds, orders, points) and the metrics faith_…. Raises ValueError for records without them.
    """
    records, figure, labels = needed(groups.values(), "deletion and insertion"), go.Figure(), []
    views = Views(figure)
    for label, record in groups.items():
        curves = kept(record, "faith_curves").astype(float)
        for kind, word in enumerate(record.metrics["faith_kinds"]):
            for m, order in enumerate(record.metrics["faith_orders"]):
                name = METHODS.get(order, "random order")
                look = {"color": QUIET, "dash": "dot"} if order == "random" else line(m)
                figure.add_scatter(x=np.linspace(0, 1, curves.shape[-1]), y=curves[kind, m], name=name, line=look,
                                   mode="lines+markers", marker_symbol=SYMBOLS[m],
                                   hovertemplate=f"{name}, %{{x:.0%}}: %{{y:.3f}}<extra></extra>")  # fmt: skip
            views.own(len(labels))
            labels.append(f"{label}, {word}")
    shares = [f"share of the image {'taken away' if k % 2 == 0 else 'put back'}" for k in range(len(labels))]
    views.menu(labels, [{"xaxis.title.text": text} for text in shares])
    figure.update_xaxes(title=shares[0], tickformat=SHARE)
    figure.update_yaxes(title="probability of the predicted class", rangemode="tozero")
    said = {kind: {label: _against_random(r, k) for label, r in groups.items()}
            for k, kind in enumerate(records[0].metrics["faith_kinds"])}  # fmt: skip
    shows = "Curves of the predicted class's probability against the share of the image, for "
    layer, images = records[0].metrics["faith_layer"], records[0].metrics["faith_images"]
    areas = "; ".join(f"{kind}: {', '.join(f'{who} {t}' for who, (_, t) in own.items())}" for kind, own in said.items())
    return finish(figure, id, _beaten(said), shows + words.joined(groups),
                  words.caption(records, f"{images} images, maps of {layer}"), 420,
                  f"Areas below the curves, Grad-CAM against random order, {areas}.")  # fmt: skip


def _against_random(record: Record, kind: int) -> tuple[bool, str]:
    """Whether Grad-CAM's order beats a random one, paired over images: in deletion the area is the smaller one, in
    insertion the larger; and both areas."""
    areas = np.asarray(record.arrays["faith_areas"], float)[:, kind]
    orders = list(record.metrics["faith_orders"])
    own, chance = (areas[:, orders.index(name)] for name in ("gradcam", "random"))
    gain = paired_test(*((own, chance) if record.metrics["faith_kinds"][kind] == "insertion" else (chance, own)))
    return gain.p < ALPHA and gain.mean > 0, f"{own.mean():.2f} against {chance.mean():.2f}, p = {gain.p:.1g}"


def _beaten(said: dict[str, dict[str, tuple[bool, str]]]) -> str:
    """In which test, and for which nets, Grad-CAM's order is better than chance."""
    wins = {kind: [label for label, (better, _) in own.items() if better] for kind, own in said.items()}
    told = [f"in {kind} ({', '.join(who)})" for kind, who in wins.items() if who]
    told += [f"not in {kind}" for kind, who in wins.items() if not who]
    return f"Grad-CAM's hottest places beat random ones {', '.join(told)}"


@drawn
def random_weights(groups: dict[str, Record], id: str = "random-weights") -> go.Figure:
    """How alike Grad-CAM stays to the trained net's while layers become random from the logits down.

    Read from the metrics sanity_stages and sanity_likeness. Raises ValueError for records without them.
    """
    records = needed(groups.values(), "the check with random weights")
    figure, told = go.Figure(), {}
    for k, (label, record) in enumerate(groups.items()):
        if "sanity_likeness" not in record.metrics:
            raise NothingToDraw(f"the record of {record.recipe} has no check with random weights")
        alike = np.array(record.metrics["sanity_likeness"], float)  # None becomes NaN
        text = ["trained", *(f"random down to {stage}" for stage in record.metrics["sanity_stages"][1:])]
        figure.add_scatter(x=np.arange(len(alike)) / (len(alike) - 1), y=alike, name=label, mode="lines+markers",
                           text=text, line=line(k), marker_size=9, marker_symbol=SYMBOLS[k],
                           hovertemplate=f"{label}, %{{text}}: %{{y:.2f}}<extra></extra>")  # fmt: skip
        told[label] = alike[-1]
    figure.update_xaxes(title="share of the layers made random", tickformat=SHARE)
    figure.update_yaxes(title="correlation with the trained map", range=[-0.2, 1.05])
    said = words.ranged(told, lambda r: f"{r:.2f}".replace("-", "−"), "nets")
    title = f"Correlation of maps after randomising all weights: {said}"
    shows = "Line chart of the correlation of heat maps while weights become random, for "
    note = words.caption(records, f"maps of {records[0].metrics['faith_layer']}")
    return finish(figure, id, title, shows + words.joined(groups), note, 380)


@drawn
def shuffled_parts(groups: dict[str, list[Record]], id: str = "shuffled-parts") -> go.Figure:
    """The accuracy on images as they are, with their border shuffled and with as large a centre shuffled.

    Means over seeds with 95 % intervals, from the metric `shuffled`. Raises ValueError for records without it.
    """
    everything = flat(groups, "shuffled images")
    lost = [r for r in everything if "shuffled" not in r.metrics]
    if lost:
        raise NothingToDraw(f"the record of {lost[0].recipe} has no answers to shuffled images")
    figure, said = go.Figure(), {"centre": {}, "border": {}}
    for k, (label, records) in enumerate(groups.items()):
        found = [mean_interval([r.metrics["shuffled"][part] for r in records]) for part in SHUFFLED]
        at = np.arange(len(found)) + 0.12 * (k - (len(groups) - 1) / 2)
        means(figure, at, found, "", across=True, name=label, marker=mark(k, 11))
        whole, border, centre = (100 * m for m, _ in found)
        said["centre"][label], said["border"][label] = whole - centre, whole - border
    figure.update_traces(hovertemplate="%{y:.1%}<extra>%{fullData.name}</extra>")
    figure.update_xaxes(tickvals=list(range(len(SHUFFLED))), ticktext=list(SHUFFLED.values()), showgrid=False)
    figure.update_yaxes(title="accuracy", tickformat=SHARE, rangemode="tozero")
    table = everything[0].metrics["shuffled"]
    share = words.percent(table["border_share"], 0)
    note = words.caption(everything, f"{table['images']:,} test images, the border is {share} of an image")
    shows = f"Dot plot of the accuracy of {words.joined(groups)} on images as they are and with parts shuffled"
    centre = ", ".join(f"{label} {points:.1f}" for label, points in said["centre"].items())
    border = ", ".join(f"{points:.1f}" for points in said["border"].values())
    title = f"Points lost without the centre: {centre}; without the border: {border}"
    return finish(figure, id, title, shows, note, 380)
