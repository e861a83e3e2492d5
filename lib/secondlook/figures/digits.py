"""Zeros and ones: what a setting shows a net, heads over many starts, distances, ROC where alarms are few."""

import os

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.metrics import roc
from secondlook.figures.images import placeholder, sprite
from secondlook.figures.marks import label_rows, line_at, means, picture
from secondlook.figures.roc import curves_and_areas
from secondlook.figures.template import CLASS_COLOURS, DASHES, QUIET, faded, finish, views
from secondlook.figures.values import (
    NothingToDraw,
    agree,
    caption,
    counted,
    digits,
    ends,
    few,
    flat,
    joined,
    mean_interval,
    needed,
    numbers,
    percent,
)
from secondlook.record import Record

SETTINGS = {"clean": "none", "as coded": "as_coded", "before normalisation": "before_normalisation",
            "white noise and crop": "white_noise_crop"}  # fmt: skip
HEADS = {
    "as_coded_lottery": "as coded: one target for both outputs",
    "hinge_lottery": "mended: a target for each output",
}
SWD = {"row_swd": "rows of pixels, as coded", "swd": "whole images"}
PAIRS = {"zeros": "zeros, rebuilt", "ones": "ones, rebuilt", "between": "zeros and ones"}


def building() -> bool:
    """Whether a book is being built, the only time at which a page may take the seconds that torch needs."""
    return bool(os.environ.get("SECONDLOOK_ASSETS"))


def settings_samples(images: np.ndarray | None, labels: np.ndarray | None, side: int = 64, across: int = 4,
                     id: str = "settings-samples") -> go.Figure:  # fmt: skip
    """The same zeros and ones as each setting shows them, a row a setting; a placeholder without the images.

    images uint8 (n, h, w), labels (n,) 0 or 1. The noise is the one of seed 0's evaluation. Imports torch.
    """
    if images is None or labels is None:
        told = "The images of MNIST are not here, or no page is being built."
        return placeholder(told, "secondlook data fetch mnist", "MNIST", id)
    rows = np.concatenate([np.flatnonzero(np.asarray(labels) == c)[:across] for c in (0, 1)])
    drawn = [_as_seen(images[rows], rows, side=side, noise=noise) for noise in SETTINGS.values()]
    lit = _lit(np.concatenate(drawn))
    figure = go.Figure()
    x, y = np.meshgrid(np.arange(len(rows)) + 0.5, np.arange(len(SETTINGS)) + 0.5)
    figure.add_scatter(x=x.ravel(), y=y.ravel(), mode="markers", marker={"opacity": 0, "size": 24}, showlegend=False,
                       text=np.repeat(list(SETTINGS), len(rows)).tolist(),
                       hovertemplate="%{text}<extra></extra>")  # fmt: skip
    picture(figure, sprite(lit, len(rows)), len(rows), len(SETTINGS), toward="left")
    figure.update_yaxes(visible=True, tickvals=np.arange(len(SETTINGS)) + 0.5, ticktext=list(SETTINGS))
    outside = [float(np.mean(np.abs(part) > 1)) for part in drawn]
    title = f"Under noise {percent(outside[1], 0)} of the values leave the range from −1 to 1 that clean images keep"
    alt = f"The same {len(rows)} digits under {joined(SETTINGS)}. {title}."
    return finish(figure, id, title, alt, "MNIST · values from −1 to 1 as black to white", 330)


def seen_column(record: Record, images: np.ndarray | None, index: np.ndarray) -> str | None:
    """Test images as the record's net saw them, noise included, one below the other as a data-URI; imports torch.

    images uint8 (n, h, w) are those of canonical `index`. None without them, or where no page is being built.
    """
    if images is None or not building():
        return None
    data = record.recipe.data
    drawn = _as_seen(images, np.asarray(index), side=data.image_size, noise=data.noise, noise_std=data.noise_std,
                     seed=record.recipe.seed)  # fmt: skip
    return sprite(_lit(drawn), 1)


def _as_seen(images: np.ndarray, index: np.ndarray, *, side: int, seed: int = 0, **noise) -> np.ndarray:
    """Grey test images of canonical `index` as they are evaluated: float (n, side, side), from −1 to 1 before noise."""
    from secondlook.data.loader import DeviceLoader

    loader = DeviceLoader(images, np.zeros(len(images), np.int64), batch_size=len(images), seed=seed, image_size=side,
                          mean=0.5, std=0.5, index=index, **noise)  # fmt: skip
    return next(iter(loader.evaluation_batches()))[0][:, 0].numpy()


def _lit(values: np.ndarray) -> np.ndarray:
    """Values from −1 to 1 as uint8; those beyond are cut."""
    return np.rint(255 * np.clip((values + 1) / 2, 0, 1)).astype(np.uint8)


def lottery(records: list[Record], id: str = "lottery") -> go.Figure:
    """The accuracy of linear heads over their starts, as coded and mended, every start of every VAE a dot.

    Read from the metrics as_coded_lottery and hinge_lottery, lists of accuracies on the test images.
    """
    records = [r for r in needed(records, "the lottery of heads") if "hinge_lottery" in r.metrics]
    if not records:
        raise NothingToDraw("no record tried several starts of the linear head")
    kinds = {k: label for k, label in HEADS.items() if k in records[0].metrics}
    figure, found = go.Figure(), {}
    for row, (kind, label) in enumerate(kinds.items()):
        values = np.concatenate([r.metrics[kind] for r in records])
        spread = row + 0.32 * (2 * ((np.arange(len(values)) * 0.618) % 1) - 1)  # apart, the same every time
        figure.add_scatter(x=values, y=spread, mode="markers", name=label, hovertemplate="%{x:.2%}<extra></extra>",
                           marker={"size": 7, "color": faded(CLASS_COLOURS[row], 0.6)}, showlegend=False)  # fmt: skip
        found[kind] = values
    majority = float(np.mean(numbers(records, "majority_accuracy")))
    line_at(figure, majority, (-0.5, len(kinds) - 0.5), f"always the commoner digit, {percent(majority)}", QUIET)
    figure.update_xaxes(title="test accuracy", tickformat=".2~%", range=[-0.02, 1.02])
    label_rows(figure, [label.replace(": ", ":<br>") for label in kinds.values()])
    said = [f"{percent(v.min())} to {percent(v.max())} {'as coded' if 'coded' in k else 'mended'}"
            for k, v in found.items()]  # fmt: skip
    total = sum(len(v) for v in found.values()) // len(found)
    title = f"{counted(total, 'start')} of the linear head on the latents of {counted(len(records), 'VAE')} end at "
    title += joined(said)
    alt = f"Dot plot of test accuracies of linear heads: {joined(kinds.values())}. {title}."
    return finish(figure, id, title, alt, caption(records, "a dot a start"), 280)


def distances(groups: dict[str, list[Record]], id: str = "distances") -> go.Figure:
    """Sliced Wasserstein distances of digits from their reconstructions and of zeros from ones, beside their floor.

    The floor is the distance of two random halves of the same originals. A menu: over rows, as coded, or whole images.
    """
    everything, figure, owners = flat(groups, "distances"), go.Figure(), []
    labels = [f"{pair}<br>{label}" for pair in PAIRS.values() for label in groups]
    for view, kind in enumerate(SWD):
        values = [mean_interval(numbers(r, f"{kind}_{p}")) for p in PAIRS for r in groups.values()]
        means(figure, np.arange(len(labels)), values, "%{x:.4f}", visible=view == 0)
        floors = [mean_interval(numbers(r, f"{kind}_floor_{p}"))[0] if p != "between" else np.nan
                  for p in PAIRS for r in groups.values()]  # fmt: skip
        figure.add_scatter(x=floors, y=np.arange(len(labels)), mode="markers", name="two halves of the originals",
                           marker={"symbol": "line-ns", "size": 14, "line": {"width": 3, "color": QUIET}},
                           hovertemplate="floor %{x:.4f}<extra></extra>", visible=view == 0)  # fmt: skip
        owners += [view, view]
    figure.update_layout(updatemenus=[views(owners, list(SWD.values()))])
    figure.update_xaxes(title="sliced Wasserstein distance", rangemode="tozero")
    label_rows(figure, labels)
    first = next(iter(groups.values()))
    shown = next(iter(SWD))
    near, far = (float(np.mean(numbers(first, f"{shown}_{p}"))) for p in ("zeros", "between"))
    floor = float(np.mean(numbers(first, f"{shown}_floor_zeros")))
    title = f"Over rows of pixels, rebuilt zeros are {digits(near)} from zeros; zeros are {digits(far)} from ones, "
    title += f"and {digits(floor)} from other zeros"
    alt = f"Dot plot of sliced Wasserstein distances for {joined(groups)}. {title}."
    return finish(figure, id, title, alt, caption(everything), 140 + 44 * len(labels))


def roc_edge(groups: dict[str, Record], id: str = "roc-edge") -> go.Figure:
    """ROC curves of ones against zeros on a logarithmic axis, where the false alarms are few; a line a record.

    From scores, or as a single point from svm_predictions where a record has no scores. The left edge, where no zero is
    called a one, is drawn at half a zero.
    """
    records = needed(groups.values(), "ROC curves")
    figure, areas = go.Figure(), {}
    for k, (label, record) in enumerate(groups.items()):
        if "scores" in record.arrays:
            curves, intervals = curves_and_areas(record)
            areas[label] = intervals[-1]
            x, y = curves[-1].false_positive_rate, curves[-1].true_positive_rate
        elif "svm_predictions" in record.arrays:
            one = roc(record.arrays["labels"] == 1, record.arrays["svm_predictions"])
            x, y = one.false_positive_rate[1:-1], one.true_positive_rate[1:-1]
        else:
            raise NothingToDraw(f"the record of {record.recipe} keeps no scores; its run needs keep = 'evidence'")
        negatives = int(np.sum(record.arrays["labels"] == 0))
        area = f" {areas[label].value:.4f} [{areas[label].low:.4f}, {areas[label].high:.4f}]" if label in areas else ""
        figure.add_scatter(x=np.maximum(x, 0.5 / negatives), y=y, mode="lines+markers", name=label + area,
                           customdata=x,
                           line={"color": CLASS_COLOURS[k % 10], "dash": DASHES[k % 3], "shape": "hv"},
                           marker={"size": 5, "color": CLASS_COLOURS[k % 10]},
                           hovertemplate=f"{label}: %{{y:.2%}} of the ones,"
                           " %{customdata:.2%} of the zeros<extra></extra>")  # fmt: skip
    figure.update_xaxes(title="zeros called ones (logarithmic)", type="log",
                        tickvals=[0.001, 0.01, 0.1, 1], tickformat=".1~%")  # fmt: skip
    figure.update_yaxes(title="ones called ones", tickformat=".1~%")
    title = f"ROC curves of {joined(groups)}"
    if areas:
        order = ends({name: area.value for name, area in areas.items()}, "{:.4f}".format)
        title = f"{few(order.first)} {agree(order.first, 'tells')} ones from zeros"
        title += f"{'' if order.tied else ' best,'} with an AUC of {order.best}"
        title += "" if order.tied else f"; {few(order.last)} {agree(order.last, 'has')} {order.worst}"
    alt = f"ROC curves on a logarithmic axis. {title}."
    return finish(figure, id, title, alt, caption(records, "the left edge is no zero at all"), 440)
