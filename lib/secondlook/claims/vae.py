"""What the forms cannot say of the CNNs and the VAE: counts behind percentages, epochs to a level, sides of a plane.

Some claims need no run: what the report or its stored outputs print settles them by arithmetic.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import fisher_exact, spearmanr

from secondlook.claims import forms
from secondlook.claims.evidence import Evidence
from secondlook.claims.forms import (
    ARITHMETIC,
    CONTRADICTED,
    DIRECTION,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    UNDERSPECIFIED,
    Outcome,
)
from secondlook.evaluation.statistics import holm, paired_test


def alike(e: Evidence, heads: list, nets: list, images: int) -> Outcome:
    """Printed accuracies of `heads` are similar to those of `nets`: as errors in so many test images, by arithmetic.

    A pair is alike where Fisher's exact test cannot tell its errors apart (Holm over the pairs). All pairs alike bear
    the claim out by any measure; where some are told apart, similar needs one that the text does not give.
    """
    errors = {name: round((1 - e.published(name).value) * images) for name in (*heads, *nets)}
    pairs = [(errors[head], errors[net]) for head in heads for net in nets]
    tests = [fisher_exact([[a, images - a], [b, images - b]]).pvalue for a, b in pairs]
    apart = [pair for pair, p in zip(pairs, holm(tests)) if p < forms.ALPHA]
    more = sum(a > b for a, b in apart)
    said = [" and ".join(str(errors[name]) for name in names) for names in (heads, nets)]
    gap = max(abs(a - b) for a, b in pairs) / images
    why = (
        f"of {images:,} test images the VAE's heads miss {said[0]}, the CNNs {said[1]}: beyond chance (Fisher, Holm) "
        f"the head misses more in {more} of {len(pairs)} pairs and fewer in {len(apart) - more}, by at most "
        f"{100 * gap:.1f} points"
    )
    numbers = [[e.published(n).value for n in names] for names in (heads, nets)]
    return Outcome(UNDERSPECIFIED if apart else REPRODUCED, why, *numbers, rests_on=ARITHMETIC)


def smaller(e: Evidence, small: int, large: dict) -> Outcome:
    """A net of `small` parameters has fewer than each net of `large` (name → parameters); counts, no run."""
    least = min(large, key=large.get)
    verdict = REPRODUCED if small < large[least] else CONTRADICTED
    times = large[least] / small
    why = f"{small:,} parameters against {large[least]:,} of {least}, the smallest of the others: {times:.2g} times"
    return Outcome(verdict, why, large[least], small, rests_on=ARITHMETIC)


def trade_off(e: Evidence, model: str, others: list, sets: list) -> Outcome:
    """`model` has a smaller sum of printed estimation and approximation error than each of `others`, in every set.

    The numbers are published ones called SET_ee_MODEL and SET_ae_MODEL. Contradicted where it has the largest sum in
    every set.
    """
    sums = {s: {m: sum(e.published(f"{s}_{kind}_{m}").value for kind in ("ee", "ae")) for m in (model, *others)}
            for s in sets}  # fmt: skip
    best, worst = ([(min, max)[k](found, key=found.get) == model for found in sums.values()] for k in (0, 1))
    verdict = REPRODUCED if all(best) else CONTRADICTED if all(worst) else INCONCLUSIVE
    said = [
        f"{s}: {found[model]:.3f} against {min(v for m, v in found.items() if m != model):.3f} to "
        f"{max(v for m, v in found.items() if m != model):.3f}" for s, found in sums.items()
    ]  # fmt: skip
    why = f"sum of the two errors, {'; '.join(said)}"
    return Outcome(verdict, why, None, [f[model] for f in sums.values()], rests_on=ARITHMETIC)


def transfers(e: Evidence, p, run: str, than_run: str, published: list, tolerance: float) -> Outcome:
    """The VAE of `run` does better than that of `than_run`, by k-means, whose two printed accuracies are `published`.

    `why` adds the linear head as coded, whose luck is not the images'.
    """
    a, b = e.gather(run, than_run)
    clusters = [e.numbers(records, "kmeans_accuracy") for records in (a, b)]
    size = e.gap(clusters[0] - clusters[1], *published, tolerance)
    outcome = forms.greater(*clusters, p=p, size=size)
    head = forms.greater(*(e.numbers(records, "svm_accuracy") for records in (a, b)))
    return replace(outcome, why=f"k-means: {outcome.why}. Linear head as coded: {head.why}")


def weak_encoder(e: Evidence, p, run: str, than: list) -> Outcome:
    """A failure under noise is the MLP's: `run`, with convolutions, is better than the MLP `than`, a run and its
    variant, which is no better than always giving the commoner answer.

    Where the mended MLP does better than that, the encoder it shares with the failing one is not what fails.
    """
    a, b = e.gather(run, tuple(than))
    conv, mlp = (e.numbers(records, "svm_accuracy") for records in (a, b))
    above = paired_test(mlp, e.numbers(b, "majority_accuracy"))
    outcome = forms.greater(conv, mlp, p=p)
    rescued = above.p < forms.ALPHA and above.mean > 0
    why = (
        f"{outcome.why}; the MLP, mended but for its encoder, reaches {mlp.mean():.1%}, {100 * above.mean:+.1f} points "
        f"from the commoner answer (p = {above.p:.2g})"
    )
    return replace(outcome, verdict=NOT_REPRODUCED if rescued else outcome.verdict, why=why)


def rises(e: Evidence, models: dict, sets: list) -> Outcome:
    """The printed estimation errors rise with the parameters of `models`, in every set: by their rank correlation.

    The numbers are published ones called SET_ee_MODEL. Contradicted where none of the sets rises; of a few points a
    rise that chance explains decides nothing. `measured` are the correlations (Spearman).
    """
    found = {s: spearmanr(list(models.values()), [e.published(f"{s}_ee_{m}").value for m in models]) for s in sets}
    if all(r.statistic <= 0 for r in found.values()):
        verdict = CONTRADICTED
    else:
        sure = all(r.statistic > 0 and r.pvalue < forms.ALPHA for r in found.values())
        verdict = REPRODUCED if sure else INCONCLUSIVE
    said = ", ".join(f"{s} {r.statistic:+.2f} (p = {r.pvalue:.2g})" for s, r in found.items())
    why = f"rank correlation of error and parameters over {len(models)} models: {said}"
    return Outcome(verdict, why, None, [float(r.statistic) for r in found.values()], rests_on=ARITHMETIC)


def easier(e: Evidence, seconds: list, faster_than: list, accuracy: list, steadier_than: list) -> Outcome:
    """Easier to train, by the report's own numbers: fewer printed seconds, and no greater change with the rate.

    `seconds` and each entry of `faster_than` are published numbers of the same settings; `accuracy` and each entry of
    `steadier_than` are the accuracies at one rate and at another. Where the two disagree, easier is underspecified.
    """
    own = [e.published(name).value for name in seconds]
    quick = all(a < e.published(b).value for names in faster_than for a, b in zip(own, names, strict=True))
    change = [abs(e.published(a).value - e.published(b).value) for a, b in (accuracy, *steadier_than)]
    steady = change[0] <= max(change[1:])
    verdict = {2: REPRODUCED, 1: UNDERSPECIFIED, 0: CONTRADICTED}[quick + steady]
    why = (
        f"{'fewer' if quick else 'not fewer'} seconds than each CNN in Table 2; from rate 1e-3 to 1e-5 its accuracy "
        f"changes by {100 * change[0]:.1f} points, that of a CNN by at most {100 * max(change[1:]):.1f}"
    )
    return Outcome(verdict, why, None, change, rests_on=ARITHMETIC)


def sooner(e: Evidence, p, runs: list, level: float) -> Outcome:
    """`runs` are listed from the one that needs most epochs to a training accuracy of `level` to the one that needs
    least; a seed that never gets there counts as one epoch more than were trained."""
    groups = e.gather(*runs)
    needed = {}
    for run, records in zip(runs, groups):
        curves = e.curves(records, "train_accuracy")
        needed[run] = np.array([np.argmax(np.r_[curve, np.inf] >= level) + 1.0 for curve in curves])
    return forms.order(needed, p)


def fits_alike(e: Evidence, runs: list, most: float) -> Outcome:
    """In each of `runs` test accuracy ends less than `most` below training accuracy: no overfitting to speak of."""
    found = {}
    for run, records in zip(runs, e.gather(*runs)):
        found[run] = most - (e.numbers(records, "train_accuracy") - e.numbers(records, "test_accuracy"))
    return forms.count(found, len(found))


def explodes(e: Evidence, clean: str, noisy: str) -> Outcome:
    """The squared error of reconstructions is larger under noise, and most of it is noise that nobody can predict:
    σ² for each pixel."""
    calm, wild = (e.numbers(records, "train_reconstruction") for records in e.gather(clean, noisy))
    data = e.recipes(noisy)[0].data
    floor = data.noise_std**2 * data.image_size**2
    outcome = forms.count({"larger under noise": wild - calm, "mostly noise": floor - wild / 2}, 2)
    why = (
        f"{outcome.why}; an image costs {calm.mean():,.0f} clean and {wild.mean():,.0f} noisy, of which σ² on "
        f"{data.image_size**2:,} pixels is {floor:,.0f}"
    )
    return Outcome(outcome.verdict, why, None, [float(calm.mean()), float(wild.mean())])


def separate(e: Evidence, clean: str, noisy: str, well: float, close: float) -> Outcome:
    """Zeros and ones are apart in the clean latent and merged in the noisy one.

    Apart: a linear probe on the means is right in more than `well`. Merged: it gains less than `close` over always
    giving the commoner answer. And the silhouette of the true classes is larger on clean images.
    """
    groups = e.gather(clean, noisy)
    probe = [e.numbers(records, "probe_accuracy") for records in groups]
    silhouette = [e.numbers(records, "silhouette") for records in groups]
    gain = probe[1] - e.numbers(groups[1], "majority_accuracy")
    outcome = forms.count({"apart on clean images": probe[0] - well, "merged on noisy ones": close - gain,
                           "larger silhouette on clean images": silhouette[0] - silhouette[1]}, 3)  # fmt: skip
    why = (
        f"{outcome.why}; a linear probe reaches {probe[0].mean():.3f} clean and {probe[1].mean():.3f} noisy, "
        f"{gain.mean():+.3f} over the commoner answer"
    )
    return Outcome(outcome.verdict, why, outcome.published, [float(v.mean()) for v in (*probe, *silhouette)])


def between(e: Evidence, run: str) -> Outcome:
    """The mean latents of the two classes lie on opposite sides of the hyperplane that the public code draws, that of
    the head's first output alone; reproduced in all seeds, in most the direction is."""
    (records,) = e.gather(run)
    apart = {k: e.numbers(records, k).prod(1) < 0 for k in ("row_distances", "class_distances")}
    held, seeds = int(apart["row_distances"].sum()), len(records)
    verdict = REPRODUCED if held == seeds else DIRECTION if 2 * held > seeds else NOT_REPRODUCED
    why = (
        f"the plane of the first output separates the classes' means in {held} of {seeds} seeds, the plane that "
        f"decides, between the two outputs, in {int(apart['class_distances'].sum())}"
    )
    return Outcome(verdict, why, seeds, held)


def probably(e: Evidence, clean: list, noisy: list) -> Outcome:
    """A convolutional VAE is more accurate, more robust to noise, slower and more prone to overfit than an MLP's:
    four paired tests. `clean` and `noisy` are each [run, variant] of the convolutional VAE and of the MLP."""
    conv, mlp, conv_noisy, mlp_noisy = e.gather(*map(tuple, (*clean, *noisy)))
    e.one_machine(conv, mlp)

    def gap(records) -> np.ndarray:
        return e.numbers(records, "svm_train_accuracy") - e.numbers(records, "svm_accuracy")

    return forms.count(
        {
            "more accurate": e.numbers(conv, "svm_accuracy") - e.numbers(mlp, "svm_accuracy"),
            "more robust": e.numbers(conv_noisy, "svm_accuracy") - e.numbers(mlp_noisy, "svm_accuracy"),
            "slower": e.numbers(conv, "train_seconds") - e.numbers(mlp, "train_seconds"),
            "more prone to overfit": gap(conv) - gap(mlp),
        },
        4,
    )
