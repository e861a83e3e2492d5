"""Tables on zeros and ones: accuracies as counts of errors, paired errors, costs, the simplest baseline."""

from collections.abc import Mapping

import numpy as np

from secondlook.evaluation.statistics import mcnemar, wilson
from secondlook.figures.tables import Notice, Table, notice
from secondlook.figures.values import NothingToDraw, at_best, counted, numbers, percent, told_mean
from secondlook.record import Record
from secondlook.reports import Report


def accuracies(report: Report, rows: Mapping[str, tuple[str, str, list[Record]]], images: int,
               heading: str) -> Table:  # fmt: skip
    """A table of accuracies: printed, as errors of `images` with Wilson's interval, and measured over seeds.

    `rows` maps a label to (published id, metric, records); without records the measured cells are empty.
    """
    told = []
    for label, (id_, metric, records) in rows.items():
        printed = report.published[id_]
        errors = round((1 - printed.value) * images)
        low, high = wilson(images - errors, images)
        ours = ""
        if records:
            values = numbers(records, metric)
            ours = told_mean(values, 2)
        note = "" if not records else f"{counted(len(records), 'seed')}, {records[0].recipe.profile}"
        told.append((label, printed.text, errors, f"{percent(low, 2)} to {percent(high, 2)}", ours, note))
    heads = ("model", "printed", f"errors of {images:,}", "95 % interval (Wilson)", "measured", "from")
    return Table(heads, tuple(told), heading)


def paired_errors(pairs: Mapping[str, tuple[Record, str]], heading: str) -> Table:
    """Each model against the first on the same test images: errors that only one of the two makes, McNemar's p.

    `pairs` maps a label to (record, name of its predictions). Records on other test images are left out.
    """
    (first, (base, name)), *others = pairs.items()
    labels = np.asarray(base.arrays["labels"])
    right = np.asarray(base.arrays[name]) == labels
    told = [(first, int((~right).sum()), "", "", "")]
    for label, (record, own) in others:
        if np.array_equal(record.arrays["labels"], labels):
            test = mcnemar(right, np.asarray(record.arrays[own]) == labels)
            wrong = int((np.asarray(record.arrays[own]) != labels).sum())
            told.append((label, wrong, test.only_b, test.only_a, f"{test.p:.2g}"))
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
            macs = f"{first.metrics['macs'] / 1e6:,.1f}"
            on = f"{first.provenance.get('device', '')}, {counted(len(records), 'seed')}, {first.recipe.profile}"
            cells = [macs, f"{np.nanmedian(seconds):,.0f}", on]
        told.append((label, report.published[id_].text, f"{parameters:,}", *cells))
    heads = ("model", "seconds, printed", "parameters", "million multiply-adds", "median seconds, measured", "on")
    return Table(heads, tuple(told), heading)


def clusters_by_share(records: list[Record], ones: int = 9) -> Table:
    """k-means on the latents that a record keeps, fitted on all of them and on `ones` ones for each zero.

    Two clusters without labels, turned so that most of the latents they were fitted on agree; the accuracy is that of
    all latents either way. Raises ValueError where no record keeps latents.
    """
    from sklearn.cluster import KMeans

    if not (kept := [r for r in records if "latents" in r.arrays]):
        raise NothingToDraw("no record keeps its latents; its run needs keep = 'evidence'")
    told = []
    for record in kept:
        z, labels = np.asarray(record.arrays["latents"], float), np.asarray(record.arrays["labels"], int)
        of = [np.flatnonzero(labels == c) for c in (0, 1)]
        reached = []
        for chosen in (np.arange(len(z)), np.r_[of[0][: len(of[1]) // ones], of[1]]):
            found = KMeans(2, random_state=42, n_init="auto").fit(z[chosen])
            turned = np.mean(found.labels_ == labels[chosen]) < 0.5
            reached.append(percent(np.mean((found.predict(z) != labels) == turned)))
        told.append((record.recipe.seed, record.recipe.profile, *reached))
    heads = ("seed", "profile", "fitted on all", f"fitted on {ones} ones for a zero")
    return Table(heads, tuple(told), "k-means on one and the same latent of clean test digits")


def pixel_baseline(images, classes: tuple[int, int] = (0, 1)) -> Table | Notice:
    """Logistic regression on the pixels of two digits, fitted here: its errors of the official test images.

    `images` is the data set, or None, for which a notice names the command. Takes a few seconds.
    """
    if images is None:
        return notice("The images of MNIST are not here. Fetch them with `secondlook data fetch mnist`.")
    from sklearn.linear_model import LogisticRegression

    parts = []
    for x, y in ((images.x_train, images.y_train), (images.x_test, images.y_test)):
        own = np.isin(y, classes)
        parts.append((x[own].reshape(int(own.sum()), -1).astype(np.float32) / 255, np.asarray(y)[own]))
    fitted = LogisticRegression(C=0.1, max_iter=200).fit(*parts[0])
    wrong, count = int(np.sum(fitted.predict(parts[1][0]) != parts[1][1])), len(parts[1][1])
    low, high = wilson(count - wrong, count)
    share = (percent(1 - wrong / count, 2), f"{percent(low, 2)} to {percent(high, 2)}")
    row = ("logistic regression on pixels", wrong, *share)
    heads = ("model", f"errors of {count:,}", "accuracy", "95 % interval (Wilson)")
    return Table(heads, (row,), f"The simplest baseline, fitted on this page: {images.title}")
