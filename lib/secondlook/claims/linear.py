"""What the forms cannot say of the linear chapter: shapes of curves, colours of templates, which loss was trained."""

from dataclasses import replace

import numpy as np

from secondlook.checks import RecipeError, nearest
from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import Verdict
from secondlook.evaluation.statistics import paired_test

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CHANNELS = ("red", "green", "blue")
CENTRE_SHARE = 0.25  # the central 16×16 of 32×32 pixels


def falls_then_levels(e: Evidence, run: str, share: float, drift: float) -> Verdict:
    """The validation loss has made `share` of its fall by half of the iterations and then moves less than `drift`.

    Drift is the straight line through the second half, over the length of that half, as a share of the whole fall.
    Every seed must show both; a loss that falls otherwise reproduces the direction.
    """
    (records,) = e.gather(run)
    steps, losses = e.curves(records, "iteration"), e.curves(records, "validation_loss")
    e.finite(records, [loss.sum() for loss in losses], "validation_loss")  # curves may differ in length
    early, late, fell = np.array([_shape(x, y) for x, y in zip(steps, losses)]).T
    good = int(np.sum((fell > 0) & (early >= share) & (np.abs(late) <= drift)))
    falls, seeds, test = int(np.sum(fell > 0)), len(records), paired_test(fell)
    word = forms.decided(test.p < forms.ALPHA and test.mean < 0, good == seeds)
    if word == forms.INCONCLUSIVE and test.p < forms.ALPHA:
        word = forms.DIRECTION
    why = (
        f"the loss falls in {falls} of {seeds} seeds and has this shape in {good}; on average {early.mean():.3g} of "
        f"the fall lies in the first half ({share:g} asked), drift after it {late.mean():.2g} (at most {drift:g})"
    )
    return Verdict(word, why, None, forms.means(early, late))


def without_penalty(e: Evidence, run: str, free: str, iterations: int, share: float) -> Verdict:
    """Without the penalty, as in `free`, the validation loss falls by more than `share` of its fall in `run`.

    From the start to the last point within `iterations`, paired over seeds.
    """
    falls = []
    for records in e.gather(run, free):
        curves = zip(e.curves(records, "iteration"), e.curves(records, "validation_loss"))
        ends = [y[0] - y[np.flatnonzero(x <= iterations)[-1]] for x, y in curves]
        falls.append(e.finite(records, ends, "validation_loss"))
    outcome = forms.greater(falls[1] - share * falls[0])
    shares = falls[1] / falls[0]
    why = (
        f"within {iterations} iterations the loss falls by {falls[0].mean():.3g} with the penalty and by "
        f"{falls[1].mean():.3g} without, {100 * shares.mean():.0f} % of it ({100 * share:g} % asked): {outcome.why}"
    )
    return replace(outcome, why=why, measured=float(shares.mean()), interval=None)


def losses_fall(e: Evidence, run: str, curves: list) -> Verdict:
    """Every one of the loss curves is lower at its end than at its start; paired over seeds, Holm over the curves."""
    (records,) = e.gather(run)
    pairs = {}
    for name in curves:
        # A running mean has no value before the first step: its start is the first number there is.
        ends = [(y[np.argmax(np.isfinite(y))], y[-1]) for y in e.curves(records, name)]
        pairs[name] = e.finite(records, ends, name).T
    found = forms.tested(pairs)
    against = any(t.mean < 0 and p < forms.ALPHA for t, p in found.values())
    word = forms.decided(against, max(p for _, p in found.values()) < forms.ALPHA)
    why = ", ".join(f"{name} falls by {t.mean:.3g} (p = {p:.2g})" for name, (t, p) in found.items())
    tests = [t for t, _ in found.values()]
    return Verdict(word, why, None, [t.mean for t in tests], [[t.low, t.high] for t in tests])


def templates(e: Evidence, run: str, values: list) -> Verdict:
    """The testable statements about colour and symmetry of the templates, in `values`; all must hold.

    A statement names a `class` and either `symmetric` or, in an `area` (centre, border, whole), the channels `high`:
    the lowest of these minus the mean of the others (`over = "mean"`) or minus their largest (`over = "largest"`).
    """
    (records,) = e.gather(run)
    symmetry = e.numbers(records, "template_symmetry")
    areas = {area: e.numbers(records, f"template_{area}") for area in ("centre", "border")}
    areas["whole"] = CENTRE_SHARE * areas["centre"] + (1 - CENTRE_SHARE) * areas["border"]
    found = {}
    for statement in values:
        c = _index(e, statement["class"], CLASSES)
        if statement.get("symmetric"):
            found[statement["says"]] = symmetry[:, c] - np.delete(symmetry, c, axis=1).mean(1)
        else:
            found[statement["says"]] = _lead(e, areas[statement["area"]][:, c], statement)
    return forms.every(found)


def adjectives(e: Evidence, best: str, runs: list, first: str) -> Verdict:
    """Whether the report's own settings bear out 'higher rate', 'moderate strength' and 'larger batch'; no training.

    The text says of none of the three than what. Two readings: among `runs`, higher and larger is above the median and
    moderate neither the smallest nor the largest; against the `first` run, a higher rate, a weaker penalty and a larger
    batch. `measured` is how many hold by both.
    """
    settings = {run: e.recipes(run)[0].settings for run in (first, *runs)}
    ours, before = settings[best], settings[first]

    def values(name: str) -> tuple:
        """Those of the best run, the first one, and all."""
        return getattr(ours, name), getattr(before, name), [getattr(settings[run], name) for run in runs]

    (rate, old_rate, rates), (strength, old_strength, strengths), (batch, old_batch, batches) = map(
        values, ("learning_rate", "strength", "batch_size")
    )
    middle, middle_batch, least, most = np.median(rates), np.median(batches), min(strengths), max(strengths)
    said = {
        f"rate {rate:g}, median {middle:g}, first {old_rate:g}": (rate > middle, rate > old_rate),
        f"strength {strength:g}, range {least:g} to {most:g}, first {old_strength:g}": (
            least < strength < most, strength < old_strength),
        f"batch {batch}, median {middle_batch:g}, first {old_batch}": (batch > middle_batch, batch > old_batch),
    }  # fmt: skip
    true, possible = sum(map(all, said.values())), all(map(any, said.values()))
    word = forms.REPRODUCED if true == len(said) else forms.UNDERSPECIFIED if possible else forms.CONTRADICTED
    why = "; ".join(
        f"{name}: {str(bool(among)).lower()} among the eight, {str(bool(against)).lower()} against the first run"
        for name, (among, against) in said.items()
    )
    return Verdict(word, why, len(said), true, rests_on=forms.TEXT)


def among_peers(e: Evidence, run, published: str, metric: str, sampling: str, tolerance: float, peers: list) -> Verdict:
    """The published number lies between the `peers`' two, and is consistent with ours."""
    (records,) = e.gather(run)
    number, (low, high) = e.published(published), (e.published(name).value for name in peers)
    ours = e.compare(records, published, metric, tolerance, sampling=sampling)
    inside = low <= number.value <= high
    place = f"{number.text} is {'inside' if inside else 'outside'} the {low:g} to {high:g} that peers print"
    word = ours.word if inside else forms.worst(ours.word, forms.NOT_REPRODUCED)
    return replace(ours, word=word, why=f"{ours.why}; {place}")


def which_loss(e: Evidence, runs: list, fits: str, fits_not: str, values: list) -> Verdict:
    """All published numbers are consistent with variant `fits` in at least one run, and with `fits_not` in none.

    Where no run of `fits` is sharp enough for every tolerance, only the direction is: one fits, the other does not.
    `measured` and `interval` list the runs of `fits`, then those of `fits_not`, each with its numbers.
    """
    pairs = [(run, variant) for variant in (fits, fits_not) for run in runs]
    numbers, held, said = [], {fits: False, fits_not: False}, []
    for (run, variant), records in zip(pairs, e.gather(*pairs)):
        parts = [(v["metric"], e.compare(records, **v)) for v in values]
        numbers.append(forms.several(parts))
        off = [name for name, part in parts if part.word == forms.NOT_REPRODUCED]
        held[variant] |= not off
        said.append(f"{variant}, {run}: " + (f"off in {', '.join(off)}" if off else "all consistent"))
    if held[fits] == held[fits_not]:
        word = forms.decided(not held[fits], False)
    else:
        word = forms.decided(held[fits_not], any(v.word == forms.REPRODUCED for v in numbers[: len(runs)]))
        word = forms.DIRECTION if word == forms.INCONCLUSIVE else word
    why = "; ".join(said) + forms.joint(len(values))
    return Verdict(word, why, numbers[0].published, [v.measured for v in numbers], [v.interval for v in numbers])


def _shape(steps: np.ndarray, loss: np.ndarray) -> tuple[float, float, float]:
    """Share of the fall by half of the iterations, drift of the second half, and the fall itself."""
    late = steps >= steps[-1] / 2
    if late.sum() < 2 or late.all():
        raise Unjudged(forms.INCONCLUSIVE, "the curve has too few points for two halves")
    fell = loss[0] - loss[-1]
    scale = abs(fell) or 1.0
    slope = np.polyfit(steps[late], loss[late], 1)[0]
    return (loss[0] - loss[late][0]) / scale, slope * (steps[-1] - steps[late][0]) / scale, fell


def _lead(e: Evidence, colours: np.ndarray, statement: dict) -> np.ndarray:
    """By how much the channels called high lead the others, from colours of shape (seeds, 3)."""
    high = [_index(e, name, CHANNELS) for name in statement["high"]]
    others = np.delete(colours, high, axis=1)
    return colours[:, high].min(1) - (others.max(1) if statement.get("over") == "largest" else others.mean(1))


def _index(e: Evidence, name: str, known: tuple) -> int:
    if name not in known:
        raise RecipeError(f"{e.where}: unknown {name!r}{nearest(name, known)}")
    return known.index(name)
