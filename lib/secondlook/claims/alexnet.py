"""What the forms cannot say of the AlexNet chapter: the authors' logs, the two nets by arithmetic, the trade-off."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from secondlook import reports
from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import Verdict
from secondlook.evaluation import curves
from secondlook.evaluation.costs import NETS, UPDATES, layers, share_of_step, smallest_image, total
from secondlook.evaluation.statistics import paired_test
from secondlook.names import OPTIMIZERS as WORDS

LOSSES = "alexnet_training_loss"  # the name of the log
OPTIMIZERS = ("sgd", "adamw")


def identified(e: Evidence, candidates: dict, tolerance: float, rivals: dict | None = None) -> Verdict:
    """Some of the one-epoch runs of each optimiser fit its logged first epoch, and all runs of other nets do not.

    `candidates` gives the runs of the report for each optimiser; every point of their grids is a candidate. A fit is
    not excluded by the log and has a mean within `tolerance` of it. `rivals` gives runs of other nets in the same way:
    without one excluded for each optimiser a fit is consistent with the net and does not identify it. `measured` are
    the smallest distances, in the order of `candidates`.
    """
    found = {optimizer: misfits(e, optimizer, runs) for optimizer, runs in candidates.items()}
    others = [misfits(e, o, rivals[o]) if o in (rivals or {}) else {} for o in candidates]
    said, distances, fit = [], [], []
    for o, own in found.items():
        left = [m for m in own.values() if not m.excluded]
        fit.append([m for m in left if m.distance <= tolerance] if left else None)
        nearest = min(own, key=lambda run, own=own: own[run].distance)
        distances.append(own[nearest].distance)
        said.append(
            f"{WORDS[o]}: {len(left)} of {len(own)} settings are not excluded at the 95 % level, {len(fit[-1] or [])} "
            f"of them within {tolerance:g}; nearest {nearest}, {distances[-1]:.2g} from the log"
        )
    excluded = [[m.excluded for m in own.values()] for own in others]
    word = forms.decided(None in fit, all(fit) and all(own and all(own) for own in excluded))
    said.append(f"{sum(map(len, excluded))} runs of other nets, {sum(map(sum, excluded))} of them excluded")
    return Verdict(word, "; ".join(said), None, distances)


def misfits(e: Evidence, optimizer: str, runs: list[str]) -> dict[str, curves.Misfit]:
    """The misfit of every point of the grids of `runs` to the log's first epoch."""
    names, log = e.runs(*runs), first_epoch(optimizer)
    return {name: curves.misfit(log, own) for name, own in zip(names, e.drawn("step_loss", *names))}


def nearer_to_log(e: Evidence, runs: dict) -> Verdict:
    """Of two runs of each optimiser the first follows the log more closely: paired over seeds, Holm over optimisers.

    A seed's distance is the root mean square over all logged epochs. `measured` are the means of the nearer runs.
    """
    log, own = log_losses(e.root), iter(e.drawn("train_loss", *(run for pair in runs.values() for run in pair)))
    gains, told, near = {}, [], []
    for optimizer, pair in runs.items():
        a, b = (np.array([curves.misfit(log[optimizer], [x]).distance for x in next(own)]) for _ in pair)
        gains[f"{pair[0]} is nearer than {pair[1]}"] = b - a
        told.append(f"{WORDS[optimizer]}: {pair[0]} {a.mean():.2g} from the log, {pair[1]} {b.mean():.2g}")
        near.append(float(a.mean()))
    found = forms.every(gains)
    return replace(found, why=f"{'; '.join(told)}; {found.why}", published=None, measured=near)


def first_epoch(optimizer: str) -> list[float]:
    """The losses the authors logged in their first epoch, one for 2,000 steps."""
    return [float(row[optimizer]) for row in reports.log(LOSSES) if row["epoch"] == "1"]


def log_losses(root: Path | None = None) -> dict[str, np.ndarray]:
    """The mean training loss of each of the 300 logged epochs, by optimiser."""
    rows = reports.log(LOSSES, root)
    return {optimizer: curves.epoch_losses(rows, optimizer) for optimizer in OPTIMIZERS}


def schedule_of_log(e: Evidence, milestones: list, steady: list) -> Verdict:
    """The two logged curves break most after the epochs `milestones`, and after `steady` no more than around them: by
    arithmetic."""
    logs = log_losses(e.root)
    found = {o: curves.milestones(x, len(milestones)) for o, x in logs.items()}
    ratios = {o: {epoch: curves.prominence(x, epoch) for epoch in (*milestones, *steady)} for o, x in logs.items()}
    sharp = all(own[epoch] > 1 for own in ratios.values() for epoch in milestones)
    calm = all(own[epoch] <= 1 for own in ratios.values() for epoch in steady)
    true = sharp and calm and all(own == milestones for own in found.values())
    why = "; ".join(
        f"{WORDS[o]} falls faster than before, most of all after epochs {own}; as a multiple of the largest change of "
        f"pace around it {', '.join(f'{v:.2g} after {epoch}' for epoch, v in ratios[o].items())}"
        for o, own in found.items()
    )
    return forms.fact(true, why, milestones, found["sgd"], rests_on=forms.LOG)


def last_epoch_of_log(e: Evidence, published: list) -> Verdict:
    """The published losses are the means of the log's last epoch, to the last printed digit: by arithmetic."""
    numbers, ends = [e.published(name) for name in published], [float(x[-1]) for x in log_losses().values()]
    same = all(abs(n.value - end) <= n.half_unit + forms.ROUNDING for n, end in zip(numbers, ends, strict=True))
    why = ", ".join(f"{WORDS[o]}: logged {end:.4f}, printed {n.text}" for o, n, end in zip(OPTIMIZERS, numbers, ends))
    return forms.fact(same, why, [n.value for n in numbers], ends, forms.LOG)


def architecture(e: Evidence, evaluated: str, claimed: str, side: int) -> Verdict:
    """The net that is evaluated has as many weights as the claimed one, which can take such images: by arithmetic."""
    own, other = (total(layers(NETS[name]), "parameters") for name in (evaluated, claimed))
    least = smallest_image(NETS[claimed])
    why = (
        f"the public inference code builds a {evaluated} of {own:,} parameters and feeds it images of {side} pixels; "
        f"{claimed} has {other:,} and takes none below {least} pixels"
    )
    return forms.fact(own == other and side >= least, why, None, [own, other], forms.CODE)


def trade_off(e: Evidence, p, lower_loss: str, higher_accuracy: str) -> Verdict:
    """One run ends with the lower training loss, the other with the higher test accuracy: both, paired, Holm.

    `why` adds the difference at each seed's best epoch, which says whether the accuracy is a matter of when to stop.
    """
    low, high = e.gather(lower_loss, higher_accuracy)
    found = forms.tested({m: (e.numbers(high, m), e.numbers(low, m)) for m in ("train_loss", "test_accuracy")}).values()
    tests, against = [t for t, _ in found], any(t.mean < 0 and q < forms.ALPHA for t, q in found)
    worst = float(max(q for _, q in found) if p is None else p)
    best = [np.array([np.nanmax(curve) for curve in e.curves(group, "test_accuracy")]) for group in (high, low)]
    early = paired_test(*best)
    points, low_end, high_end = (100 * v for v in (early.mean, early.low, early.high))
    why = (
        f"at the last epoch {higher_accuracy} is {tests[0].mean:+.3g} in loss and {100 * tests[1].mean:+.1f} points in "
        f"accuracy from {lower_loss} (p = {worst:.2g}, {len(low)} seeds); at each one's best epoch "
        f"{points:+.1f} points in accuracy ({low_end:+.1f} to {high_end:+.1f})"
    )
    word = forms.decided(against, worst < forms.ALPHA)
    return Verdict(word, why, None, [t.mean for t in tests], [[t.low, t.high] for t in tests], worst)


def overfits(e: Evidence, p, run: str, than_run: str) -> Verdict:
    """A run's test accuracy falls further from its best epoch to its last than another's: paired over seeds."""
    a, b = e.gather(run, than_run)
    ends = [[np.nanmax(curve) - curve[-1] for curve in e.curves(group, "test_accuracy")] for group in (a, b)]
    falls = [e.finite(group, own, "test_accuracy") for group, own in zip((a, b), ends)]
    outcome, (lost, other) = forms.greater(*falls, p=p), (100 * f.mean() for f in falls)
    why = f"from best to last epoch {run} loses {lost:.1f} points, {than_run} {other:.1f}; {outcome.why}"
    return replace(outcome, why=why, measured=forms.means(*falls))


def less_sensitive(e: Evidence, p, run: str, than_run: str) -> Verdict:
    """Validation accuracy varies less over the rates of `run` than over those of `than_run`, paired over seeds.

    The range from the best to the worst rate. Raises Unjudged where the two grids do not span the same factor.
    """
    spans, ranges = [], []
    grids = [e.runs(own) for own in (run, than_run)]
    found = np.stack(e.measured("validation_accuracy", *grids[0], *grids[1]))
    for names, accuracy in zip(grids, np.split(found, [len(grids[0])])):
        rates = [e.recipes(name)[0].settings.optimizer["learning_rate"] for name in names]
        spans.append(max(rates) / min(rates))
        ranges.append(np.ptp(accuracy, 0))
    if not np.isclose(*spans):
        why = f"the rates of {run} span a factor of {spans[0]:g}, of {than_run} {spans[1]:g}"
        raise Unjudged(forms.INCONCLUSIVE, why)
    outcome = forms.greater(ranges[1], ranges[0], p=p)
    why = (
        f"over rates that span a factor of {spans[0]:g} the accuracy covers {100 * ranges[0].mean():.1f} points for "
        f"{run} and {100 * ranges[1].mean():.1f} for {than_run}; {outcome.why}"
    )
    return replace(outcome, why=why, measured=forms.means(*ranges))


def costlier(e: Evidence, run: str, than_run: str) -> Verdict:
    """An update of AdamW takes more arithmetic and memory than one of SGD: counted. `why` adds the measured seconds,
    which depend on what else a machine does, and of runs side by side are one reading of the clock."""
    (plain, kept), (adaptive, more) = (UPDATES[o] for o in OPTIMIZERS)
    extra = share_of_step("LeNet", 32, e.recipes(run)[0].settings.batch_size)
    why = (
        f"SGD takes about {plain} operations a weight and keeps {kept} numbers of it, AdamW {adaptive} and {more}: "
        f"{100 * extra:.1f} % more arithmetic in a step of this net"
    )
    holds = adaptive > plain and more >= kept
    try:
        groups = e.gather(run, than_run)
        e.one_machine(*groups)
        slow, fast = (e.numbers(group, "train_seconds") for group in groups)
    except Unjudged:
        return forms.fact(holds, f"{why} (counted; seconds of all seeds on one machine are not there yet)")
    told = f"measured {100 * (slow.mean() / fast.mean() - 1):+.1f} % seconds"
    return forms.fact(holds, f"{why}; {told}", None, extra)


def slower_somewhere(e: Evidence, run: str, than_run: str, levels: list) -> Verdict:
    """There is a training loss that `run` reaches in a later epoch than `than_run`: by our seeds, else by the log."""
    log = log_losses()
    theirs = {level: [curves.epochs_to(-log[o], -level) for o in ("adamw", "sgd")] for level in levels}
    cases = [level for level, (a, b) in theirs.items() if a > b]
    said = "; ".join(f"loss {level:g}: epoch {a:g} against {b:g}" for level, (a, b) in theirs.items())
    why = f"in the authors' log AdamW is the slower one to {len(cases)} of {len(levels)} losses ({said})"
    try:
        a, b = e.drawn("train_loss", run, than_run)
    except Unjudged:
        return forms.fact(bool(cases), why, rests_on=forms.LOG)
    epochs = {level: [[_capped(x, level) for x in own] for own in (a, b)] for level in levels}
    tests = {level: t for level, (t, q) in forms.tested(epochs).items() if q < forms.ALPHA}
    ours = [f"loss {level:g} by {t.mean:.3g} epochs" for level, t in tests.items() if t.mean > 0]
    slower = f"slower to {', '.join(ours)}" if ours else "slower to none of these losses"
    word = forms.decided(not ours and len(tests) == len(levels), bool(ours))
    return Verdict(word, f"{len(a)} seeds of ours: {slower}, on average; {why}")


def smoother(e: Evidence, p, run: str, than_run: str, or_log=False) -> Verdict:
    """The training loss of `run` changes more evenly than that of `than_run`, at the first rate of the schedule.

    The standard deviation of the changes from epoch to epoch in the first of curves.WINDOWS, paired over our seeds;
    with `or_log`, where these are not there, in the authors' log (F of variances). `why` adds the other windows, and
    all of them relative to the loss.
    """
    try:
        groups = e.drawn("train_loss", run, than_run)
    except Unjudged:
        if not or_log:
            raise
        log = log_losses(e.root)
        groups = [[log["adamw"]], [log["sgd"]]]
    seeds, found, said = len(groups[0]), [], []
    for start, end in curves.WINDOWS:
        for told in ("", ", relative to the loss"):
            own = [[np.log(x) if told else x for x in group] for group in groups]
            a, b = (np.array([curves.roughness(x, start, end) for x in group]) for group in own)
            own_p = paired_test(a, b).p if seeds > 1 else curves.rougher(a[0], b[0], end - start + 1)
            found.append((float(a.mean()), float(b.mean()), float(own_p)))
            said.append(f"epochs {start} to {end}{told}: AdamW {a.mean():.2g}, SGD {b.mean():.2g} (p = {own_p:.2g})")
    adamw, sgd, first = found[0]
    q = first if p is None else p
    rests_on, against = (forms.MEASUREMENT, forms.NOT_REPRODUCED) if seeds > 1 else (forms.LOG, forms.CONTRADICTED)
    word = forms.INCONCLUSIVE if q >= forms.ALPHA else forms.REPRODUCED if adamw < sgd else against
    source = f"in {seeds} seeds of ours" if seeds > 1 else "in the authors' log"
    why = f"change of the loss from epoch to epoch, {source}, {'; '.join(said)}"
    return Verdict(word, why, None, [adamw, sgd], None, float(q), rests_on=rests_on)


def _capped(losses: np.ndarray, level: float) -> float:
    """The epoch that reaches `level`; the one after the last where none does."""
    return min(curves.epochs_to(-losses, -level), len(losses) + 1)
