"""What the forms cannot say of the CNNs and the VAE: counts behind percentages, epochs to a level, sides of a plane.

Some claims need no run: what the report or its stored outputs print settles them by arithmetic.
"""

from dataclasses import replace
from itertools import product

import numpy as np
from scipy.stats import fisher_exact, spearmanr

from secondlook.claims import forms
from secondlook.claims.evidence import Evidence
from secondlook.claims.forms import Verdict
from secondlook.evaluation.curves import epochs_to
from secondlook.evaluation.statistics import holm, paired_test


def alike(e: Evidence, heads: list, nets: list, images: int) -> Verdict:
    """Printed accuracies of `heads` are similar to those of `nets`: as errors in so many test images, by arithmetic.

    A pair is alike where Fisher's exact test cannot tell its errors apart (Holm over the pairs). All pairs alike bear
    the claim out by any measure; where some are told apart, similar needs one that the text does not give.
    """
    numbers = e.printed(*heads), e.printed(*nets)
    errors = [[round((1 - value) * images) for value in own] for own in numbers]
    pairs = list(product(*errors))
    tests = [fisher_exact([[a, images - a], [b, images - b]]).pvalue for a, b in pairs]
    apart = [pair for pair, p in zip(pairs, holm(tests)) if p < forms.ALPHA]
    more = sum(a > b for a, b in apart)
    said = [" and ".join(map(str, own)) for own in errors]
    gap = max(abs(a - b) for a, b in pairs) / images
    why = (
        f"of {images:,} test images the VAE's heads miss {said[0]}, the CNNs {said[1]}: beyond chance (Fisher, Holm) "
        f"the head misses more in {more} of {len(pairs)} pairs and fewer in {len(apart) - more}, by at most "
        f"{100 * gap:.1f} points"
    )
    return Verdict(forms.UNDERSPECIFIED if apart else forms.REPRODUCED, why, *numbers, rests_on=forms.ARITHMETIC)


def smaller(e: Evidence, small: int, large: dict) -> Verdict:
    """A net of `small` parameters has fewer than each net of `large` (name → parameters); counts, no run."""
    least = min(large, key=large.get)
    times = large[least] / small
    why = f"{small:,} parameters against {large[least]:,} of {least}, the smallest of the others: {times:.2g} times"
    return forms.fact(small < large[least], why, large[least], small)


def trade_off(e: Evidence, model: str, others: list, sets: list) -> Verdict:
    """`model` has a smaller sum of printed estimation and approximation error than each of `others`, in every set.

    The numbers are published ones called SET_ee_MODEL and SET_ae_MODEL. Contradicted where it has the largest sum in
    every set.
    """
    sums = {s: [sum(e.printed(f"{s}_ee_{m}", f"{s}_ae_{m}")) for m in (model, *others)] for s in sets}
    best, worst = ([own == extreme(own, *rest) for own, *rest in sums.values()] for extreme in (min, max))
    word = forms.REPRODUCED if all(best) else forms.CONTRADICTED if all(worst) else forms.INCONCLUSIVE
    said = [f"{s}: {own:.3f} against {min(rest):.3f} to {max(rest):.3f}" for s, (own, *rest) in sums.items()]
    why = f"sum of the two errors, {'; '.join(said)}"
    return Verdict(word, why, None, [own for own, *_ in sums.values()], rests_on=forms.ARITHMETIC)


def transfers(e: Evidence, p, run: str, than_run: str, published: list, tolerance: float) -> Verdict:
    """The VAE of `run` does better than that of `than_run`, by k-means, whose two printed accuracies are `published`.

    `why` adds the linear head as coded, whose luck is not the images'.
    """
    a, b = e.gather(run, than_run)
    clusters = [e.numbers(records, "kmeans_accuracy") for records in (a, b)]
    size = e.gap(clusters[0] - clusters[1], *published, tolerance)
    outcome = forms.greater(*clusters, p=p, size=size)
    head = forms.greater(*(e.numbers(records, "svm_accuracy") for records in (a, b)))
    return replace(outcome, why=f"k-means: {outcome.why}. Linear head as coded: {head.why}")


def weak_encoder(e: Evidence, p, run: str, than: list) -> Verdict:
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
    return replace(outcome, word=forms.NOT_REPRODUCED if rescued else outcome.word, why=why)


def rises(e: Evidence, models: dict, sets: list) -> Verdict:
    """The printed estimation errors rise with the parameters of `models`, in every set: by their rank correlation.

    The numbers are published ones called SET_ee_MODEL. Contradicted where none of the sets rises; of a few points a
    rise that chance explains decides nothing. `measured` are the correlations (Spearman).
    """
    found = {s: spearmanr(list(models.values()), e.printed(*(f"{s}_ee_{m}" for m in models))) for s in sets}
    falls = all(r.statistic <= 0 for r in found.values())
    sure = all(r.statistic > 0 and r.pvalue < forms.ALPHA for r in found.values())
    word = forms.CONTRADICTED if falls else forms.REPRODUCED if sure else forms.INCONCLUSIVE
    said = ", ".join(f"{s} {r.statistic:+.2f} (p = {r.pvalue:.2g})" for s, r in found.items())
    why = f"rank correlation of error and parameters over {len(models)} models: {said}"
    return Verdict(word, why, None, [float(r.statistic) for r in found.values()], rests_on=forms.ARITHMETIC)


def easier(e: Evidence, seconds: list, faster_than: list, accuracy: list, steadier_than: list) -> Verdict:
    """Easier to train, by the report's own numbers: fewer printed seconds, and no greater change with the rate.

    `seconds` and each entry of `faster_than` are published numbers of the same settings; `accuracy` and each entry of
    `steadier_than` are the accuracies at one rate and at another. Where the two disagree, easier is underspecified.
    """
    own = e.printed(*seconds)
    quick = all(a < b for names in faster_than for a, b in zip(own, e.printed(*names), strict=True))
    change = [float(abs(np.subtract(*e.printed(*names)))) for names in (accuracy, *steadier_than)]
    steady = change[0] <= max(change[1:])
    word = {2: forms.REPRODUCED, 1: forms.UNDERSPECIFIED, 0: forms.CONTRADICTED}[quick + steady]
    why = (
        f"{'fewer' if quick else 'not fewer'} seconds than each CNN in Table 2; from rate 1e-3 to 1e-5 its accuracy "
        f"changes by {100 * change[0]:.1f} points, that of a CNN by at most {100 * max(change[1:]):.1f}"
    )
    return Verdict(word, why, None, change, rests_on=forms.ARITHMETIC)


def sooner(e: Evidence, p, runs: list, level: float) -> Verdict:
    """`runs` are listed from the one that needs most epochs to a training accuracy of `level` to the one that needs
    least; a seed that never gets there counts as one epoch more than were trained."""
    needed = {run: [min(epochs_to(curve, level), len(curve) + 1) for curve in curves]
              for run, curves in zip(runs, e.drawn("train_accuracy", *runs))}  # fmt: skip
    return forms.order(needed, p)


def fits_alike(e: Evidence, runs: list, most: float) -> Verdict:
    """In each of `runs` test accuracy ends less than `most` below training accuracy: no overfitting to speak of."""
    found = {}
    for run, records in zip(runs, e.gather(*runs)):
        found[run] = most - (e.numbers(records, "train_accuracy") - e.numbers(records, "test_accuracy"))
    return forms.every(found)


def explodes(e: Evidence, clean: str, noisy: str) -> Verdict:
    """The squared error of reconstructions is larger under noise, and most of it is noise that nobody can predict:
    σ² for each pixel."""
    calm, wild = e.measured("train_reconstruction", clean, noisy)
    data = e.recipes(noisy)[0].data
    floor = data.noise_std**2 * data.image_size**2
    outcome = forms.every({"larger under noise": wild - calm, "mostly noise": floor - wild / 2})
    why = (
        f"{outcome.why}; an image costs {calm.mean():,.0f} clean and {wild.mean():,.0f} noisy, of which σ² on "
        f"{data.image_size**2:,} pixels is {floor:,.0f}"
    )
    return Verdict(outcome.word, why, None, forms.means(calm, wild))


def separate(e: Evidence, clean: str, noisy: str, well: float, close: float) -> Verdict:
    """Zeros and ones are apart in the clean latent and merged in the noisy one.

    Apart: a linear probe on the means is right in more than `well`. Merged: it gains less than `close` over always
    giving the commoner answer. And the silhouette of the true classes is larger on clean images.
    """
    groups = e.gather(clean, noisy)
    probe = [e.numbers(records, "probe_accuracy") for records in groups]
    silhouette = [e.numbers(records, "silhouette") for records in groups]
    gain = probe[1] - e.numbers(groups[1], "majority_accuracy")
    outcome = forms.every({"apart on clean images": probe[0] - well, "merged on noisy ones": close - gain,
                           "larger silhouette on clean images": silhouette[0] - silhouette[1]})  # fmt: skip
    why = (
        f"{outcome.why}; a linear probe reaches {probe[0].mean():.3f} clean and {probe[1].mean():.3f} noisy, "
        f"{gain.mean():+.3f} over the commoner answer"
    )
    return Verdict(outcome.word, why, outcome.published, forms.means(*probe, *silhouette))


def between(e: Evidence, run: str) -> Verdict:
    """The mean latents of the two classes lie on opposite sides of the hyperplane that the public code draws, that of
    the head's first output alone; reproduced in all seeds, in most the direction is."""
    (records,) = e.gather(run)
    apart = {k: e.numbers(records, k).prod(1) < 0 for k in ("row_distances", "class_distances")}
    held, seeds = int(apart["row_distances"].sum()), len(records)
    word = forms.REPRODUCED if held == seeds else forms.DIRECTION if 2 * held > seeds else forms.NOT_REPRODUCED
    why = (
        f"the plane of the first output separates the classes' means in {held} of {seeds} seeds, the plane that "
        f"decides, between the two outputs, in {int(apart['class_distances'].sum())}"
    )
    return Verdict(word, why, seeds, held)


def probably(e: Evidence, clean: list, noisy: list) -> Verdict:
    """A convolutional VAE is more accurate, more robust to noise, slower and more prone to overfit than an MLP's:
    four paired tests. `clean` and `noisy` are each [run, variant] of the convolutional VAE and of the MLP."""
    conv, mlp, conv_noisy, mlp_noisy = e.gather(*map(tuple, (*clean, *noisy)))
    e.one_machine(conv, mlp)

    def gap(records) -> np.ndarray:
        return e.numbers(records, "svm_train_accuracy") - e.numbers(records, "svm_accuracy")

    def lead(metric: str, of, over) -> np.ndarray:
        return e.numbers(of, metric) - e.numbers(over, metric)

    return forms.every({"more accurate": lead("svm_accuracy", conv, mlp),
                        "more robust": lead("svm_accuracy", conv_noisy, mlp_noisy),
                        "slower": lead("train_seconds", conv, mlp),
                        "more prone to overfit": gap(conv) - gap(mlp)})  # fmt: skip
