"""What the forms cannot say of the VGG chapter: mistakes by rank, heat maps, shuffled borders, counts by arithmetic."""

import numpy as np

from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import ARITHMETIC, CONTRADICTED, INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Outcome
from secondlook.data.names import CIFAR10
from secondlook.evaluation.costs import total, vgg_layers
from secondlook.evaluation.metrics import confusion
from secondlook.evaluation.statistics import holm, paired_test
from secondlook.recipe import RecipeError, nearest

METRICS = ("accuracy", "precision", "recall", "f1")
EVEN_MIDDLE = 64 / 196  # share of an even map, or of random peaks, in the middle 8 × 8 of 14 × 14 cells


def outperforms(e: Evidence, run: str, than_run: str, tolerance: float) -> Outcome:
    """`run` is above `than_run` in accuracy, precision, recall and F1: paired over seeds, Holm over the four.

    Reproduced where every lead is significant and the published lead in accuracy is consistent with ours; with every
    lead but another size the direction is. Recall is the mean over classes and equals accuracy where these are even.
    """
    a, b = e.gather(run, than_run)
    names = ["accuracy", *(m for m in METRICS if m != "accuracy")]
    leads = [_metric(e, a, m) - _metric(e, b, m) for m in names]
    tests = [paired_test(lead) for lead in leads]
    adjusted = holm([t.p for t in tests])
    size = e.gap(leads[0], f"{run}_accuracy", f"{than_run}_accuracy", tolerance)
    if any(t.mean < 0 and p < forms.ALPHA for t, p in zip(tests, adjusted)):
        verdict = NOT_REPRODUCED
    elif max(adjusted) < forms.ALPHA:
        verdict = REPRODUCED if size.verdict == REPRODUCED else forms.DIRECTION
    else:
        verdict = NOT_REPRODUCED if size.verdict == NOT_REPRODUCED else INCONCLUSIVE
    said = ", ".join(f"{m} {t.mean:+.4f} (p = {p:.2g})" for m, t, p in zip(names, tests, adjusted))
    why = f"leads over {len(a)} seeds, p adjusted for the four: {said}; size: {size.why}"
    return Outcome(verdict, why, size.published, tests[0].mean, [tests[0].low, tests[0].high], max(adjusted))


def areas_above(e: Evidence, run: str, classes: list, above: float, published: list) -> Outcome:
    """The AUC of each of `classes` is significantly above `above`, the least that rounds to what is printed."""
    (records,) = e.gather(run)
    printed = [e.published(name).value for name in published]
    auc = e.numbers(records, "auc")
    columns = {name: auc[:, _class(e, name)] for name in classes}
    outcome = forms.count({name: column - above for name, column in columns.items()}, len(columns))
    four = ", ".join(f"{name} {column.mean():.4f}" for name, column in columns.items())
    means = [float(column.mean()) for column in columns.values()]
    return Outcome(outcome.verdict, f"{outcome.why}; to four decimals: {four}", printed, means)


def lowest_area(e: Evidence, run: str, lowest: str, published: str, tolerance: float) -> Outcome:
    """`lowest` has the smallest AUC of the ten classes, and it is consistent with the published one."""
    (records,) = e.gather(run)
    auc, k = e.numbers(records, "auc"), _class(e, lowest)
    number = e.published(published)
    ranked = forms.rank({name: -auc[:, c] for c, name in enumerate(CIFAR10)}, lowest)
    sized = forms.value(auc[:, k], number.value, number.half_unit, tolerance)
    both = forms.several([("lowest", ranked), ("value", sized)])
    return Outcome(both.verdict, both.why, number.value, sized.measured, sized.interval)


def more_recognised(e: Evidence, run: str, than_run: str, least: int) -> Outcome:
    """At least `least` classes have more true positives under `run` than under `than_run`, paired over seeds."""
    a, b = e.gather(run, than_run)
    gain = _recalls(a) - _recalls(b)
    return forms.count(dict(zip(CIFAR10, gain.T)), least)


def among_largest(e: Evidence, runs: list, values: list) -> Outcome:
    """Each pair in `values`, (label, prediction, count), is among the `count` most frequent mistakes of each of `runs`.

    A pair is when its share exceeds that of the count-th most frequent other mistake: paired over seeds, Holm over
    the pairs and runs. Mistakes are ordered by their mean over seeds.
    """
    found = {}
    for run, records in zip(runs, e.gather(*runs)):
        found |= {f"{run}: {name}": lead for name, lead in _margins(e, _mistakes(records), values).items()}
    return forms.count(found, len(found))


def less_frequent(e: Evidence, runs: list, pair: list, than: list) -> Outcome:
    """The mistake `pair` is less frequent than each of the mistakes `than`, in each of `runs`."""
    found = {}
    for run, records in zip(runs, e.gather(*runs)):
        shares = _mistakes(records)
        own = shares[:, _class(e, pair[0]), _class(e, pair[1])]
        found |= {f"{run}: below {a} → {b}": shares[:, _class(e, a), _class(e, b)] - own for a, b in than}
    return forms.count(found, len(found))


def largest_pair(e: Evidence, runs: list, pair: list) -> Outcome:
    """The two classes of `pair`, both directions together, are the pair most often confused in every one of `runs`."""
    groups, found = e.gather(*runs), {}
    i, j = sorted(_class(e, name) for name in pair)
    for run, records in zip(runs, groups):
        shares = _mistakes(records)
        both = np.triu(shares.mean(0) + shares.mean(0).T, 1)
        both[i, j] = -1.0
        a, b = np.unravel_index(both.argmax(), both.shape)
        lead = shares[:, i, j] + shares[:, j, i] - shares[:, a, b] - shares[:, b, a]
        found[f"{run}, ahead of {CIFAR10[a]} and {CIFAR10[b]}"] = lead
    return forms.count(found, len(found))


def in_the_middle(e: Evidence, runs: list) -> Outcome:
    """Right answers' maps of each of `runs` have more of their mass in the middle box than an even map has."""
    shares = {run: e.numbers(records, "cam_centre_right") for run, records in zip(runs, e.gather(*runs))}
    outcome = forms.count({run: share - EVEN_MIDDLE for run, share in shares.items()}, len(shares))
    means = [float(share.mean()) for share in shares.values()]
    said = ", ".join(f"{run} {mean:.3f}" for run, mean in zip(runs, means))
    return Outcome(outcome.verdict, f"share in the middle: {said}; {outcome.why}", EVEN_MIDDLE, means)


def more_diffuse(e: Evidence, runs: list, measures: list) -> Outcome:
    """Wrong answers' maps measure higher than right ones' in more than half of the pairs, for each of `measures`, in
    each of `runs`."""
    groups = dict(zip(runs, e.gather(*runs)))
    found = {f"{run}, {m}": e.numbers(own, f"cam_effect.{m}") for run, own in groups.items() for m in measures}
    outcome = forms.count({m: v - 0.5 for m, v in found.items()}, len(found))
    means = [float(v.mean()) for v in found.values()]
    said = ", ".join(f"{m}: {v:.3f} of pairs" for m, v in zip(found, means))
    return Outcome(outcome.verdict, f"{outcome.why}; {said}, 0.5 is no difference", 0.5, means)


def pair_more_diffuse(e: Evidence, run: str, pair: list) -> Outcome:
    """The maps of one mistake, (label, prediction), are more even than those of right answers of the same label."""
    (records,) = e.gather(run)
    wanted, effects = [_class(e, name) for name in pair], []
    for record in records:
        pairs = [list(p) for p in record.metrics.get("cam_pairs", [])]
        effect = record.metrics["cam_pair_effect"][pairs.index(wanted)] if wanted in pairs else None
        if effect is None:
            why = f"seed {record.recipe.seed} of {run} has too few {pair[0]} → {pair[1]} mistakes measured"
            raise Unjudged(INCONCLUSIVE, why)
        effects.append(effect)
    outcome = forms.greater(effects, 0.5)
    return Outcome(outcome.verdict, f"share of pairs: {outcome.why}", 0.5, float(np.mean(effects)), None, outcome.p)


def background(e: Evidence, run: str) -> Outcome:
    """Shuffling the border's pixels changes more wrong answers than shuffling as large a centre: paired over seeds."""
    (records,) = e.gather(run)
    border, centre = (e.numbers(records, f"shuffled.changed_{part}") for part in ("border", "centre"))
    mended = [float(e.numbers(records, f"shuffled.mended_{part}").mean()) for part in ("border", "centre")]
    outcome = forms.greater(border, centre)
    why = (
        f"of wrong answers {border.mean():.3f} change with a shuffled border and {centre.mean():.3f} with a shuffled "
        f"centre, {mended[0]:.3f} and {mended[1]:.3f} become right: {outcome.why}"
    )
    return Outcome(outcome.verdict, why, None, [float(border.mean()), float(centre.mean())], outcome.interval)


def stops_early(e: Evidence, runs: list, published: str) -> Outcome:
    """The two runs need different numbers of epochs, and both fewer than the published number."""
    a, b = (e.numbers(records, "epochs") for records in e.gather(*runs))
    limit = e.published(published).value
    differ = paired_test(a, b)
    verdict = REPRODUCED if differ.p < forms.ALPHA else INCONCLUSIVE
    why = f"{a.mean():.1f} and {b.mean():.1f} epochs, p = {differ.p:.2g} over {differ.n} seeds"
    other = Outcome(verdict, why, None, differ.mean, [differ.low, differ.high])
    shorter = [(f"{run} below {limit:g}", forms.greater(limit - own)) for run, own in zip(runs, (a, b))]
    both = forms.several([("different", other), *shorter])
    return Outcome(both.verdict, both.why, limit, [float(a.mean()), float(b.mean())])


def where_classes_peak(e: Evidence, classes: dict, uneven: list) -> Outcome:
    """Right answers of a run's `classes` peak in the middle box more often than chance, and one's layers agree least.

    The box has a third of the image. `uneven`, a run and a class, must agree less across layers than the other classes
    do on average.
    """
    groups, found = dict(zip(classes, e.gather(*classes))), {}
    for run, records in groups.items():
        peaks = _lists(e, records, "cam_peak_centre", classes[run])
        found |= {
            f"{run}: {name} peaks in the middle": column - EVEN_MIDDLE for name, column in zip(classes[run], peaks.T)
        }
    run, name = uneven
    agreement, k = _lists(e, groups[run], "cam_agreement", CIFAR10), _class(e, name)
    found[f"{run}: {name} agrees least across layers"] = np.delete(agreement, k, 1).mean(1) - agreement[:, k]
    return forms.count(found, len(found))


def more_work(e: Evidence, depths: list, image_size: int) -> Outcome:
    """The first depth needs more multiply-adds for an image than the second: by arithmetic, no run."""
    works = [total(vgg_layers(depth, image_size), "macs") / 1e9 for depth in depths]
    said = " and ".join(f"VGG{d} {w:.2f}" for d, w in zip(depths, works))
    verdict = REPRODUCED if works[0] > works[1] else CONTRADICTED
    why = f"thousand million multiply-adds at {image_size} pixels: {said}"
    return Outcome(verdict, why, None, works, rests_on=ARITHMETIC)


def _metric(e: Evidence, records: list, name: str) -> np.ndarray:
    return _recalls(records).mean(1) if name == "recall" else e.numbers(records, f"test_{name}")


def _counts(records: list) -> np.ndarray:
    """Confusion counts, (seeds, 10, 10). Raises Unjudged for a record without predictions."""
    lost = [r for r in records if "predictions" not in r.arrays]
    if lost:
        raise Unjudged(forms.NOT_RUN, f"{lost[0].recipe} keeps no predictions")
    return np.stack([confusion(r.arrays["labels"], r.arrays["predictions"], len(CIFAR10)) for r in records])


def _recalls(records: list) -> np.ndarray:
    return np.stack([np.diag(counts) / np.maximum(counts.sum(1), 1) for counts in _counts(records)])


def _mistakes(records: list) -> np.ndarray:
    """Shares of each label's images by prediction, (seeds, 10, 10), the diagonal 0."""
    counts = _counts(records).astype(float)
    shares = counts / np.maximum(counts.sum(2, keepdims=True), 1)
    shares[:, range(len(CIFAR10)), range(len(CIFAR10))] = 0.0
    return shares


def _margins(e: Evidence, shares: np.ndarray, values: list) -> dict[str, np.ndarray]:
    """By how much each pair leads the count-th of the other mistakes, by what is said of it."""
    found, mean = {}, shares.mean(0)
    for label, said, count in values:
        own = (_class(e, label), _class(e, said))
        others = mean.copy()
        others[own] = -1.0
        rival = np.unravel_index(np.argsort(-others, axis=None, kind="stable")[count - 1], mean.shape)
        name = f"{label} → {said} among the {count} largest" if count > 1 else f"{label} → {said} the largest"
        found[f"{name}, against {CIFAR10[rival[0]]} → {CIFAR10[rival[1]]}"] = (
            shares[(slice(None), *own)] - shares[(slice(None), *rival)]
        )
    return found


def _lists(e: Evidence, records: list, metric: str, classes) -> np.ndarray:
    """The entries of a list over classes, (seeds, classes). Raises Unjudged where one is missing."""
    rows = [[(r.metrics.get(metric) or [None] * len(CIFAR10))[_class(e, name)] for name in classes] for r in records]
    return e.finite(records, [[np.nan if v is None else v for v in row] for row in rows], metric)


def _class(e: Evidence, name: str) -> int:
    if name not in CIFAR10:
        raise RecipeError(f"{e.where}: unknown class {name!r}{nearest(name, CIFAR10)}")
    return CIFAR10.index(name)
