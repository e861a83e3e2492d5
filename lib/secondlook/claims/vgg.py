"""What the forms cannot say of the VGG chapter: mistakes by rank, heat maps, shuffled borders, counts by arithmetic."""

import numpy as np

from secondlook.checks import RecipeError, nearest
from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import Verdict
from secondlook.data.names import CIFAR10
from secondlook.evaluation.costs import total, vgg_layers
from secondlook.evaluation.metrics import confusion
from secondlook.evaluation.statistics import paired_test

METRICS = ("accuracy", "precision", "recall", "f1")
EVEN_MIDDLE = 64 / 196  # share of an even map, or of random peaks, in the middle 8 × 8 of 14 × 14 cells


def outperforms(e: Evidence, run: str, than_run: str, tolerance: float) -> Verdict:
    """`run` is above `than_run` in accuracy, precision, recall and F1: paired over seeds, Holm over the four.

    Reproduced where every lead is significant and the published lead in accuracy is consistent with ours; with every
    lead but another size the direction is. Recall is the mean over classes and equals accuracy where these are even.
    """
    a, b = e.gather(run, than_run)
    pairs = {metric: (_metric(e, a, metric), _metric(e, b, metric)) for metric in METRICS}
    found = forms.tested(pairs)
    size = e.gap(np.subtract(*pairs["accuracy"]), f"{run}_accuracy", f"{than_run}_accuracy", tolerance)
    worst = max(p for _, p in found.values())
    word = forms.decided(any(t.mean < 0 and p < forms.ALPHA for t, p in found.values()), worst < forms.ALPHA)
    if word == forms.REPRODUCED and size.word != forms.REPRODUCED:
        word = forms.DIRECTION
    if word == forms.INCONCLUSIVE and size.word == forms.NOT_REPRODUCED:
        word = forms.NOT_REPRODUCED
    said = ", ".join(f"{metric} {t.mean:+.4f} (p = {p:.2g})" for metric, (t, p) in found.items())
    why = f"leads over {len(a)} seeds, p adjusted for the four: {said}; size: {size.why}"
    lead = found["accuracy"][0]
    return Verdict(word, why, size.published, lead.mean, [lead.low, lead.high], worst)


def areas_above(e: Evidence, run: str, classes: list, above: float, published: list) -> Verdict:
    """The AUC of each of `classes` is significantly above `above`, the least that rounds to what is printed."""
    (auc,) = e.measured("auc", run)
    columns = {name: auc[:, _class(e, name)] for name in classes}
    outcome, means = forms.every({name: own - above for name, own in columns.items()}), forms.means(*columns.values())
    four = ", ".join(f"{name} {mean:.4f}" for name, mean in zip(classes, means))
    return Verdict(outcome.word, f"{outcome.why}; to four decimals: {four}", e.printed(*published), means)


def lowest_area(e: Evidence, run: str, lowest: str, published: str, tolerance: float) -> Verdict:
    """`lowest` has the smallest AUC of the ten classes, and it is consistent with the published one."""
    (auc,), number, k = e.measured("auc", run), e.published(published), _class(e, lowest)
    ranked = forms.rank({name: -auc[:, c] for c, name in enumerate(CIFAR10)}, lowest)
    sized = forms.value(auc[:, k], number.value, number.half_unit, tolerance)
    both = forms.several([("lowest", ranked), ("value", sized)])
    return Verdict(both.word, both.why, number.value, sized.measured, sized.interval)


def more_recognised(e: Evidence, run: str, than_run: str, least: int) -> Verdict:
    """At least `least` classes have more true positives under `run` than under `than_run`, paired over seeds."""
    a, b = map(_recalls, e.gather(run, than_run))
    return forms.count(dict(zip(CIFAR10, (a - b).T)), least)


def among_largest(e: Evidence, runs: list, values: list) -> Verdict:
    """Each pair in `values`, (label, prediction, count), is among the `count` most frequent mistakes of each of `runs`.

    A pair is when its share exceeds that of the count-th most frequent other mistake: paired over seeds, Holm over
    the pairs and runs. Mistakes are ordered by their mean over seeds.
    """
    leads = {run: _margins(e, _mistakes(records), values) for run, records in zip(runs, e.gather(*runs))}
    return forms.every({f"{run}: {name}": lead for run, own in leads.items() for name, lead in own.items()})


def less_frequent(e: Evidence, runs: list, pair: list, than: list) -> Verdict:
    """The mistake `pair` is less frequent than each of the mistakes `than`, in each of `runs`."""
    found = {}
    for run, records in zip(runs, e.gather(*runs)):
        shares = _mistakes(records)
        own = shares[:, _class(e, pair[0]), _class(e, pair[1])]
        found |= {f"{run}: below {a} → {b}": shares[:, _class(e, a), _class(e, b)] - own for a, b in than}
    return forms.every(found)


def largest_pair(e: Evidence, runs: list, pair: list) -> Verdict:
    """The two classes of `pair`, both directions together, are the pair most often confused in every one of `runs`."""
    found, (i, j) = {}, sorted(_class(e, name) for name in pair)
    for run, records in zip(runs, e.gather(*runs)):
        shares = _mistakes(records)
        both = np.triu(shares.mean(0) + shares.mean(0).T, 1)
        both[i, j] = -1.0
        a, b = np.unravel_index(both.argmax(), both.shape)
        lead = shares[:, i, j] + shares[:, j, i] - shares[:, a, b] - shares[:, b, a]
        found[f"{run}, ahead of {CIFAR10[a]} and {CIFAR10[b]}"] = lead
    return forms.every(found)


def in_the_middle(e: Evidence, runs: list) -> Verdict:
    """Right answers' maps of each of `runs` have more of their mass in the middle box than an even map has."""
    shares = e.measured("cam_centre_right", *runs)
    outcome, means = forms.every({run: s - EVEN_MIDDLE for run, s in zip(runs, shares)}), forms.means(*shares)
    said = ", ".join(f"{run} {mean:.3f}" for run, mean in zip(runs, means))
    return Verdict(outcome.word, f"share in the middle: {said}; {outcome.why}", EVEN_MIDDLE, means)


def more_diffuse(e: Evidence, runs: list, measures: list) -> Verdict:
    """Wrong answers' maps measure higher than right ones' in more than half of the pairs, for each of `measures`, in
    each of `runs`."""
    groups = dict(zip(runs, e.gather(*runs)))
    found = {f"{run}, {m}": e.numbers(own, f"cam_effect.{m}") for run, own in groups.items() for m in measures}
    outcome, means = forms.every({m: v - 0.5 for m, v in found.items()}), forms.means(*found.values())
    said = ", ".join(f"{m}: {v:.3f} of pairs" for m, v in zip(found, means))
    return Verdict(outcome.word, f"{outcome.why}; {said}, 0.5 is no difference", 0.5, means)


def pair_more_diffuse(e: Evidence, run: str, pair: list) -> Verdict:
    """The maps of one mistake, (label, prediction), are more even than those of right answers of the same label."""
    (records,) = e.gather(run)
    wanted, effects = [_class(e, name) for name in pair], []
    for record in records:
        pairs = [list(p) for p in record.metrics.get("cam_pairs", [])]
        effect = record.metrics["cam_pair_effect"][pairs.index(wanted)] if wanted in pairs else None
        if effect is None:
            why = f"seed {record.recipe.seed} of {run} has too few {pair[0]} → {pair[1]} mistakes measured"
            raise Unjudged(forms.INCONCLUSIVE, why)
        effects.append(effect)
    outcome = forms.greater(effects, 0.5)
    return Verdict(outcome.word, f"share of pairs: {outcome.why}", 0.5, float(np.mean(effects)), None, outcome.p)


def background(e: Evidence, run: str) -> Verdict:
    """Shuffling the border's pixels changes more wrong answers than shuffling as large a centre: paired over seeds."""
    (records,) = e.gather(run)
    border, centre = (e.numbers(records, f"shuffled.changed_{part}") for part in ("border", "centre"))
    mended = [e.numbers(records, f"shuffled.mended_{part}").mean() for part in ("border", "centre")]
    outcome = forms.greater(border, centre)
    why = (
        f"of wrong answers {border.mean():.3f} change with a shuffled border and {centre.mean():.3f} with a shuffled "
        f"centre, {mended[0]:.3f} and {mended[1]:.3f} become right: {outcome.why}"
    )
    return Verdict(outcome.word, why, None, forms.means(border, centre), outcome.interval)


def stops_early(e: Evidence, runs: list, published: str) -> Verdict:
    """The two runs need different numbers of epochs, and both fewer than the published number."""
    a, b = e.measured("epochs", *runs)
    limit = e.published(published).value
    differ = paired_test(a, b)
    word = forms.REPRODUCED if differ.p < forms.ALPHA else forms.INCONCLUSIVE
    why = f"{a.mean():.1f} and {b.mean():.1f} epochs, p = {differ.p:.2g} over {differ.n} seeds"
    other = Verdict(word, why, None, differ.mean, [differ.low, differ.high])
    shorter = [(f"{run} below {limit:g}", forms.greater(limit - own)) for run, own in zip(runs, (a, b))]
    both = forms.several([("different", other), *shorter])
    return Verdict(both.word, both.why, limit, forms.means(a, b))


def where_classes_peak(e: Evidence, classes: dict, uneven: list) -> Verdict:
    """Right answers of a run's `classes` peak in the middle box more often than chance, and one's layers agree least.

    The box has a third of the image. `uneven`, a run and a class, must agree less across layers than the other classes
    do on average.
    """
    groups, found = dict(zip(classes, e.gather(*classes))), {}
    for run, records in groups.items():
        peaks = _lists(e, records, "cam_peak_centre", classes[run])
        for name, share in zip(classes[run], peaks.T):
            found[f"{run}: {name} peaks in the middle"] = share - EVEN_MIDDLE
    run, name = uneven
    agreement, k = _lists(e, groups[run], "cam_agreement", CIFAR10), _class(e, name)
    found[f"{run}: {name} agrees least across layers"] = np.delete(agreement, k, 1).mean(1) - agreement[:, k]
    return forms.every(found)


def more_work(e: Evidence, depths: list, image_size: int) -> Verdict:
    """The first depth needs more multiply-adds for an image than the second: by arithmetic, no run."""
    works = [total(vgg_layers(depth, image_size), "macs") / 1e9 for depth in depths]
    said = " and ".join(f"VGG{d} {w:.2f}" for d, w in zip(depths, works))
    why = f"thousand million multiply-adds at {image_size} pixels: {said}"
    return forms.fact(works[0] > works[1], why, None, works)


def _metric(e: Evidence, records: list, name: str) -> np.ndarray:
    return _recalls(records).mean(1) if name == "recall" else e.numbers(records, f"test_{name}")


def _counts(records: list) -> np.ndarray:
    """Confusion counts, (seeds, 10, 10). Raises Unjudged for a record without predictions."""
    if lost := [r for r in records if "predictions" not in r.arrays]:
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
        i, j = _class(e, label), _class(e, said)
        others = mean.copy()
        others[i, j] = -1.0
        a, b = np.unravel_index(np.argsort(-others, axis=None, kind="stable")[count - 1], mean.shape)
        name = f"{label} → {said} among the {count} largest" if count > 1 else f"{label} → {said} the largest"
        found[f"{name}, against {CIFAR10[a]} → {CIFAR10[b]}"] = shares[:, i, j] - shares[:, a, b]
    return found


def _lists(e: Evidence, records: list, metric: str, classes) -> np.ndarray:
    """The entries of a list over classes, (seeds, classes). Raises Unjudged where one is missing."""
    rows = [[(r.metrics.get(metric) or [None] * len(CIFAR10))[_class(e, name)] for name in classes] for r in records]
    return e.finite(records, [[np.nan if v is None else v for v in row] for row in rows], metric)


def _class(e: Evidence, name: str) -> int:
    if name not in CIFAR10:
        raise RecipeError(f"{e.where}: unknown class {name!r}{nearest(name, CIFAR10)}")
    return CIFAR10.index(name)
