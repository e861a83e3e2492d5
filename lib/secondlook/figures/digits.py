"""Zeros and ones: what a setting shows a net, heads over many starts, distances, accuracies and costs as tables."""

import os
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.statistics import mcnemar, wilson
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import label_rows, line_at, means, picture, placeholder, spots, sprite
from secondlook.figures.tables import Notice, Table
from secondlook.figures.template import COLOURS, QUIET, SHARE, Views, faded, finish
from secondlook.figures.values import NothingToDraw, at_best, flat, mean_interval, needed, numbers
from secondlook.record import Record
from secondlook.reports import Report

SETTINGS = {"clean": "none", "as coded": "as_coded", "before normalisation": "before_normalisation",
            "white noise and crop": "white_noise_crop"}  # fmt: skip
HEADS = {
    "as_coded_lottery": "as coded: one target for both outputs",
    "hinge_lottery": "corrected: a target for each output",
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
        return placeholder("MNIST", "mnist", id, text=told)
    rows = np.concatenate([np.flatnonzero(np.asarray(labels) == c)[:across] for c in (0, 1)])
    drawn = [_as_seen(images[rows], rows, side=side, noise=noise) for noise in SETTINGS.values()]
    figure = go.Figure()
    x, y = np.meshgrid(np.arange(len(rows)), np.arange(len(SETTINGS)))
    text = np.repeat(list(SETTINGS), len(rows)).tolist()
    spots(figure, x, y, 24, "%{text}", showlegend=False, text=text)
    ticks = {"tickvals": np.arange(len(SETTINGS)) + 0.5, "ticktext": list(SETTINGS)}
    sheet = sprite(_lit(np.concatenate(drawn)), len(rows))
    picture(figure, sheet, len(rows), len(SETTINGS), toward="left", visible=True, **ticks)
    outside = words.percent(float(np.mean(np.abs(drawn[1]) > 1)), 0)
    title = f"Under noise {outside} of the values leave the range from −1 to 1 that clean images keep"
    shows = f"The same {len(rows)} digits under {words.joined(SETTINGS)}"
    return finish(figure, id, title, shows, "MNIST · values from −1 to 1 as black to white", 330)


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


@drawn
def lottery(records: list[Record], id: str = "lottery") -> go.Figure:
    """The accuracy of linear heads over their starts, as coded and corrected, every start of every VAE a dot.

    Read from the metrics as_coded_lottery and hinge_lottery, lists of accuracies on the test images.
    """
    records = [r for r in needed(records, "the lottery of heads") if "hinge_lottery" in r.metrics]
    if not records:
        raise NothingToDraw("no record tried several starts of the linear head")
    kinds = {k: label for k, label in HEADS.items() if k in records[0].metrics}
    figure, said = go.Figure(), []
    for row, (kind, label) in enumerate(kinds.items()):
        values = np.concatenate([r.metrics[kind] for r in records])
        spread = row + 0.32 * (2 * ((np.arange(len(values)) * 0.618) % 1) - 1)  # apart, the same every time
        figure.add_scatter(x=values, y=spread, mode="markers", name=label, hovertemplate="%{x:.2%}<extra></extra>",
                           marker={"size": 7, "color": faded(COLOURS[row], 0.6)}, showlegend=False)  # fmt: skip
        low, high = words.percent(values.min()), words.percent(values.max())
        said.append(f"at {low} to {high} {label.split(':')[0]}")
    starts = words.counted(sum(len(r.metrics[kind]) for r in records), "start")
    majority = float(np.mean(numbers(records, "majority_accuracy")))
    chance = f"always the majority class, {words.percent(majority)}"
    line_at(figure, majority, (-0.5, len(kinds) - 0.5), chance, QUIET)
    figure.update_xaxes(title="test accuracy", tickformat=SHARE, range=[-0.02, 1.02])
    label_rows(figure, [label.replace(": ", ":<br>") for label in kinds.values()])
    title = (
        f"The linear head ends {words.joined(said)}; {starts} on the latents of {words.counted(len(records), 'VAE')}"
    )
    shows = f"Dot plot of test accuracies of linear heads: {words.joined(kinds.values())}"
    return finish(figure, id, title, shows, words.caption(records, "a dot a start"), 280)


@drawn
def distances(groups: dict[str, list[Record]], id: str = "distances") -> go.Figure:
    """Sliced Wasserstein distances of digits from their reconstructions and of zeros from ones, beside their floor.

    The floor is the distance of two random halves of the same originals. A menu: over rows, as coded, or whole images.
    """
    everything, figure = flat(groups, "distances"), go.Figure()
    views = Views(figure)
    labels = [f"{pair}<br>{label}" for pair in PAIRS.values() for label in groups]
    for view, kind in enumerate(SWD):
        values = [mean_interval(numbers(r, f"{kind}_{p}")) for p in PAIRS for r in groups.values()]
        means(figure, np.arange(len(labels)), values, "%{x:.4f}")
        floors = [mean_interval(numbers(r, f"{kind}_floor_{p}"))[0] if p != "between" else np.nan
                  for p in PAIRS for r in groups.values()]  # fmt: skip
        figure.add_scatter(x=floors, y=np.arange(len(labels)), mode="markers", name="two halves of the originals",
                           marker={"symbol": "line-ns", "size": 14, "line": {"width": 3, "color": QUIET}},
                           hovertemplate="floor %{x:.4f}<extra></extra>")  # fmt: skip
        views.own(view)
    views.menu(list(SWD.values()))
    figure.update_xaxes(title="sliced Wasserstein distance", rangemode="tozero")
    label_rows(figure, labels)
    near, far, floor = (words.digits(float(np.mean(numbers(next(iter(groups.values())), f"row_swd_{p}"))))
                        for p in ("zeros", "between", "floor_zeros"))  # fmt: skip
    title = f"Over rows of pixels rebuilt zeros are {near} from zeros, ones {far}; other zeros {floor}"
    shows = f"Dot plot of sliced Wasserstein distances for {words.joined(groups)}"
    return finish(figure, id, title, shows, words.caption(everything), 140 + 44 * len(labels))


def accuracies(report: Report, rows: Mapping[str, tuple[str, str, list[Record]]], images: int,
               heading: str) -> Table:  # fmt: skip
    """A table of accuracies: printed, as errors of `images` with Wilson's interval, and measured over seeds.

    `rows` maps a label to (published id, metric, records); without records the measured cells are empty.
    """
    told = []
    for label, (id_, metric, records) in rows.items():
        printed = report.published[id_]
        errors = round((1 - printed.value) * images)
        ours = ("", "")
        if records:
            seeds = f"{words.counted(len(records), 'seed')}, {records[0].recipe.profile}"
            ours = (words.told_mean(numbers(records, metric), 2), seeds)
        told.append((label, printed.text, errors, _wilson(errors, images), *ours))
    heads = ("model", "printed", f"errors of {images:,}", "95 % interval (Wilson)", "measured", "from")
    return Table(heads, tuple(told), heading)


def _wilson(errors: int, images: int) -> str:
    low, high = wilson(images - errors, images)
    return f"{words.percent(low, 2)} to {words.percent(high, 2)}"


@drawn
def paired_errors(pairs: Mapping[str, tuple[Record, str]], heading: str) -> Table:
    """Each model against the first on the same test images: errors that only one of the two makes, McNemar's p.

    `pairs` maps a label to (record, name of its predictions). Records on other test images are left out.
    """
    if not pairs:
        needed([], "errors on the same images")
    (first, (base, name)), *others = pairs.items()
    labels = np.asarray(base.arrays["labels"])
    right = np.asarray(base.arrays[name]) == labels
    told = [(first, int((~right).sum()), "", "", "")]
    for label, (record, own) in others:
        if np.array_equal(record.arrays["labels"], labels):
            theirs = np.asarray(record.arrays[own]) == labels
            test = mcnemar(right, theirs)
            told.append((label, int((~theirs).sum()), test.only_b, test.only_a, f"{test.p:.2g}"))
    heads = ("model", f"errors of {len(labels):,}", f"only {first} misses", "only this one misses", "p (McNemar)")
    return Table(heads, tuple(told), heading)


def costs(report: Report, rows: Mapping[str, tuple[str, int, list[Record], str]], heading: str) -> Table:
    """Seconds as printed beside what was measured: multiply-adds of an image, median seconds and the device.

    `rows` maps a label to (published id, parameters of the net in full, records, metric of the seconds that a head
    takes besides, or ""). What is measured is of one profile, the best there is: other rows have no measured cells.
    """
    kept = at_best({label: records for label, (*_, records, _) in rows.items()})
    told = []
    for label, (id_, parameters, _, head) in rows.items():
        cells, records = [""] * 3, kept.get(label)
        if records:
            first = records[0]
            parameters = first.metrics["parameters"]
            seconds = numbers(records, "train_seconds") + (numbers(records, head) if head else 0)
            on = f"{first.provenance.get('device', '')}, {words.counted(len(records), 'seed')}, {first.recipe.profile}"
            cells = [f"{first.metrics['macs'] / 1e6:,.1f}", f"{np.nanmedian(seconds):,.0f}", on]
        told.append((label, report.published[id_].text, f"{parameters:,}", *cells))
    heads = ("model", "seconds, printed", "parameters", "million multiply-adds", "median seconds, measured", "on")
    return Table(heads, tuple(told), heading)


@drawn
def clusters_by_share(records: list[Record], ones: int = 9) -> Table:
    """k-means on the latents that a record keeps, fitted on all of them and on `ones` ones for each zero.

    Two clusters without labels, turned so that most of the latents they were fitted on agree; the accuracy is that of
    all latents either way. Raises ValueError where no record keeps latents.
    """
    from sklearn.cluster import KMeans

    if not (records := [r for r in records if "latents" in r.arrays]):
        raise NothingToDraw("no record keeps its latents; its run needs keep = 'evidence'")
    told = []
    for record in records:
        z, labels = np.asarray(record.arrays["latents"], float), np.asarray(record.arrays["labels"], int)
        zeros, others = (np.flatnonzero(labels == c) for c in (0, 1))
        reached = []
        for chosen in (np.arange(len(z)), np.r_[zeros[: len(others) // ones], others]):
            found = KMeans(2, random_state=42, n_init="auto").fit(z[chosen])
            turned = np.mean(found.labels_ == labels[chosen]) < 0.5
            reached.append(words.percent(np.mean((found.predict(z) != labels) == turned)))
        told.append((record.recipe.seed, record.recipe.profile, *reached))
    heads = ("seed", "profile", "fitted on all", f"fitted on {ones} ones for a zero")
    return Table(heads, tuple(told), "k-means on one and the same latent of clean test digits")


def pixel_baseline(images) -> Table | Notice:
    """Logistic regression on the pixels of zeros and ones, fitted here: its errors of the official test images.

    `images` is the data set, or None, for which a notice names the command. Takes a few seconds.
    """
    if images is None:
        return Notice("The images of MNIST are not here. Fetch them with `secondlook data fetch mnist`.")
    from sklearn.linear_model import LogisticRegression

    parts = []
    for x, y in ((images.x_train, images.y_train), (images.x_test, images.y_test)):
        own = np.asarray(y) < 2
        parts.append((x[own].reshape(int(own.sum()), -1).astype(np.float32) / 255, np.asarray(y)[own]))
    (train, (test, labels)) = parts
    fitted = LogisticRegression(C=0.1, max_iter=200).fit(*train)
    wrong, count = int(np.sum(fitted.predict(test) != labels)), len(labels)
    row = ("logistic regression on pixels", wrong, words.percent(1 - wrong / count, 2), _wilson(wrong, count))
    heads = ("model", f"errors of {count:,}", "accuracy", "95 % interval (Wilson)")
    return Table(heads, (row,), f"The simplest baseline, fitted on this page: {images.title}")
