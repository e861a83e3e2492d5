"""What the forms cannot say of the AlexNet chapter: the authors' logs, the two nets by arithmetic, the trade-off."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from secondlook import reports
from secondlook.claims import forms
from secondlook.claims.evidence import Evidence, Unjudged
from secondlook.claims.forms import (
    ARITHMETIC,
    CODE,
    CONTRADICTED,
    INCONCLUSIVE,
    LOG,
    MEASUREMENT,
    NOT_REPRODUCED,
    REPRODUCED,
    Outcome,
)
from secondlook.evaluation import curves
from secondlook.evaluation.costs import NETS, UPDATES, layers, share_of_step, smallest_image, total
from secondlook.evaluation.statistics import holm, paired_test

LOSSES = "alexnet_training_loss"  # the name of the log
OPTIMIZERS = ("sgd", "adamw")


def identified(e: Evidence, candidates: dict, tolerance: float, rivals: dict | None = None) -> Outcome:
    """Some of the one-epoch runs of each optimiser fit its logged first epoch, and all runs of other nets do not.

    `candidates` gives the runs of the report for each optimiser; every point of their grids is a candidate. A fit is
    not excluded by the log and has a mean within `tolerance` of it. `rivals` gives runs of other nets in the same way:
    without one excluded for each optimiser a fit is consistent with the net and does not identify it. `measured` are
    the smallest distances, in the order of `candidates`.
    """
    found = {optimizer: misfits(e, optimizer, runs) for optimizer, runs in candidates.items()}
    others = [misfits(e, o, rivals[o]) if o in (rivals or {}) else {} for o in candidates]
    left = {o: [run for run, m in own.items() if not m.excluded] for o, own in found.items()}
    fits = {o: [run for run in own if found[o][run].distance <= tolerance] for o, own in left.items()}
    if not all(left.values()):
        verdict = NOT_REPRODUCED
    else:
        told_apart = all(own and all(m.excluded for m in own.values()) for own in others)
        verdict = REPRODUCED if all(fits.values()) and told_apart else INCONCLUSIVE
    nearest = {o: min(own, key=lambda run, own=own: own[run].distance) for o, own in found.items()}
    why = "; ".join(
        f"{o}: {len(left[o])} of {len(own)} settings are not excluded at the 95 % level, {len(fits[o])} of them within "
        f"{tolerance:g}; nearest {nearest[o]}, {own[nearest[o]].distance:.2g} from the log"
        for o, own in found.items()
    )
    tried = sum(map(len, others))
    why += f"; {tried} runs of other nets, {sum(m.excluded for own in others for m in own.values())} of them excluded"
    return Outcome(verdict, why, None, [own[nearest[o]].distance for o, own in found.items()])


def misfits(e: Evidence, optimizer: str, runs: list[str]) -> dict[str, curves.Misfit]:
    """The misfit of every point of the grids of `runs` to the log's first epoch."""
    names, log = e.runs(*runs), first_epoch(optimizer)
    groups = e.gather(*names)
    return {name: curves.misfit(log, e.curves(group, "step_loss")) for name, group in zip(names, groups)}


def nearer_to_log(e: Evidence, runs: dict) -> Outcome:
    """Of two runs of each optimiser the first follows the log more closely: paired over seeds, Holm over optimisers.

    A seed's distance is the root mean square over all logged epochs. `measured` are the means of the nearer runs.
    """
    log, groups = log_losses(e.report.path.parents[1]), iter(e.gather(*(run for pair in runs.values() for run in pair)))
    gains, told, near = {}, [], []
    for optimizer, pair in runs.items():
        a, b = (
            np.array([curves.misfit(log[optimizer], [x]).distance for x in e.curves(next(groups), "train_loss")])
            for _ in pair
        )
        gains[f"{pair[0]} is nearer than {pair[1]}"] = b - a
        told.append(f"{optimizer}: {pair[0]} {a.mean():.2g} from the log, {pair[1]} {b.mean():.2g}")
        near.append(float(a.mean()))
    outcome = forms.count(gains, len(gains))
    return replace(outcome, why=f"{'; '.join(told)}; {outcome.why}", published=None, measured=near)


def first_epoch(optimizer: str) -> list[float]:
    """The losses the authors logged in their first epoch, one for 2,000 steps."""
    return [float(row[optimizer]) for row in reports.log(LOSSES) if row["epoch"] == "1"]


def log_losses(root: Path | None = None) -> dict[str, np.ndarray]:
    """The mean training loss of each of the 300 logged epochs, by optimiser."""
    rows = reports.log(LOSSES, root)
    return {optimizer: curves.epoch_losses(rows, optimizer) for optimizer in OPTIMIZERS}


def schedule_of_log(e: Evidence, milestones: list, steady: list) -> Outcome:
    """The two logged curves break most after the epochs `milestones`, and after `steady` no more than around them: by
    arithmetic."""
    logs = log_losses(e.report.path.parents[1])
    found = {o: curves.milestones(x, len(milestones)) for o, x in logs.items()}
    ratios = {o: {epoch: curves.prominence(x, epoch) for epoch in (*milestones, *steady)} for o, x in logs.items()}
    sharp = all(own[epoch] > 1 for own in ratios.values() for epoch in milestones)
    calm = all(own[epoch] <= 1 for own in ratios.values() for epoch in steady)
    true = sharp and calm and all(own == milestones for own in found.values())
    why = "; ".join(
        f"{o} falls faster than before, most of all after epochs {own}; as a multiple of the largest change of pace "
        f"around it {', '.join(f'{v:.2g} after {epoch}' for epoch, v in ratios[o].items())}"
        for o, own in found.items()
    )
    return Outcome(REPRODUCED if true else CONTRADICTED, why, milestones, found["sgd"], rests_on=LOG)


def last_epoch_of_log(e: Evidence, published: list) -> Outcome:
    """The published losses are the means of the log's last epoch, to the last printed digit: by arithmetic."""
    numbers, ends = [e.published(name) for name in published], [float(x[-1]) for x in log_losses().values()]
    same = all(abs(n.value - end) <= n.half_unit + forms.ROUNDING for n, end in zip(numbers, ends, strict=True))
    why = ", ".join(f"{o}: logged {end:.4f}, printed {n.text}" for o, n, end in zip(OPTIMIZERS, numbers, ends))
    return Outcome(REPRODUCED if same else CONTRADICTED, why, [n.value for n in numbers], ends, rests_on=LOG)


def architecture(e: Evidence, evaluated: str, claimed: str, side: int) -> Outcome:
    """The net that is evaluated has as many weights as the claimed one, which can take such images: by arithmetic."""
    own, other = (total(layers(NETS[name]), "parameters") for name in (evaluated, claimed))
    least = smallest_image(NETS[claimed])
    why = (
        f"the public inference code builds a {evaluated} of {own:,} parameters and feeds it images of {side} pixels; "
        f"{claimed} has {other:,} and takes none below {least} pixels"
    )
    verdict = REPRODUCED if own == other and side >= least else CONTRADICTED
    return Outcome(verdict, why, None, [own, other], rests_on=CODE)


def trade_off(e: Evidence, p, lower_loss: str, higher_accuracy: str) -> Outcome:
    """One run ends with the lower training loss, the other with the higher test accuracy: both, paired, Holm.

    `why` adds the difference at each seed's best epoch, which says whether the accuracy is a matter of when to stop.
    """
    low, high = e.gather(lower_loss, higher_accuracy)
    tests = [paired_test(e.numbers(high, "train_loss"), e.numbers(low, "train_loss")),
             paired_test(e.numbers(high, "test_accuracy"), e.numbers(low, "test_accuracy"))]  # fmt: skip
    adjusted = holm([t.p for t in tests])
    against = any(t.mean < 0 and q < forms.ALPHA for t, q in zip(tests, adjusted))
    worst = float(max(adjusted) if p is None else p)
    verdict = NOT_REPRODUCED if against else REPRODUCED if worst < forms.ALPHA else INCONCLUSIVE
    best = [np.array([np.nanmax(curve) for curve in e.curves(group, "test_accuracy")]) for group in (high, low)]
    early = paired_test(*best)
    points, low_end, high_end = (100 * v for v in (early.mean, early.low, early.high))
    why = (
        f"at the last epoch {higher_accuracy} is {tests[0].mean:+.3g} in loss and {100 * tests[1].mean:+.1f} points in "
        f"accuracy from {lower_loss} (p = {worst:.2g}, {len(low)} seeds); at each one's best epoch "
        f"{points:+.1f} points in accuracy ({low_end:+.1f} to {high_end:+.1f})"
    )
    return Outcome(verdict, why, None, [t.mean for t in tests], [[t.low, t.high] for t in tests], worst)


def overfits(e: Evidence, p, run: str, than_run: str) -> Outcome:
    """A run's test accuracy falls further from its best epoch to its last than another's: paired over seeds."""
    a, b = e.gather(run, than_run)
    ends = [[np.nanmax(curve) - curve[-1] for curve in e.curves(group, "test_accuracy")] for group in (a, b)]
    falls = [e.finite(group, own, "test_accuracy") for group, own in zip((a, b), ends)]
    outcome, (lost, other) = forms.greater(*falls, p=p), (100 * f.mean() for f in falls)
    why = f"from best to last epoch {run} loses {lost:.1f} points, {than_run} {other:.1f}; {outcome.why}"
    return replace(outcome, why=why, measured=[float(f.mean()) for f in falls])


def less_sensitive(e: Evidence, p, run: str, than_run: str) -> Outcome:
    """Validation accuracy varies less over the rates of `run` than over those of `than_run`, paired over seeds.

    The range from the best to the worst rate. Raises Unjudged where the two grids do not span the same factor.
    """
    spans, ranges = [], []
    grids = [e.runs(own) for own in (run, than_run)]
    found = iter(e.gather(*grids[0], *grids[1]))
    for names in grids:
        rates = [e.recipes(name)[0].settings.optimizer["learning_rate"] for name in names]
        spans.append(max(rates) / min(rates))
        accuracy = np.stack([e.numbers(group, "validation_accuracy") for _, group in zip(names, found)])
        ranges.append(accuracy.max(0) - accuracy.min(0))
    if not np.isclose(*spans):
        raise Unjudged(INCONCLUSIVE, f"the rates of {run} span a factor of {spans[0]:g}, of {than_run} {spans[1]:g}")
    outcome = forms.greater(ranges[1], ranges[0], p=p)
    why = (
        f"over rates that span a factor of {spans[0]:g} the accuracy covers {100 * ranges[0].mean():.1f} points for "
        f"{run} and {100 * ranges[1].mean():.1f} for {than_run}; {outcome.why}"
    )
    return replace(outcome, why=why, measured=[float(r.mean()) for r in ranges])


def costlier(e: Evidence, run: str, than_run: str) -> Outcome:
    """An update of AdamW takes more arithmetic and memory than one of SGD: counted. `why` adds the measured seconds,
    which depend on what else a machine does, and of runs side by side are one reading of the clock."""
    (plain, kept), (adaptive, more) = (UPDATES[o] for o in OPTIMIZERS)
    extra = share_of_step("LeNet", 32, e.recipes(run)[0].settings.batch_size)
    why = (
        f"SGD takes about {plain} operations a weight and keeps {kept} numbers of it, AdamW {adaptive} and {more}: "
        f"{100 * extra:.1f} % more arithmetic in a step of this net"
    )
    verdict = REPRODUCED if adaptive > plain and more >= kept else CONTRADICTED
    try:
        groups = e.gather(run, than_run)
        e.one_machine(*groups)
        slow, fast = (e.numbers(group, "train_seconds") for group in groups)
    except Unjudged:
        told = " (counted; seconds of all seeds on one machine are not there yet)"
        return Outcome(verdict, why + told, rests_on=ARITHMETIC)
    told = f"; measured {100 * (slow.mean() / fast.mean() - 1):+.1f} % seconds"
    return Outcome(verdict, why + told, None, extra, rests_on=ARITHMETIC)


def slower_somewhere(e: Evidence, run: str, than_run: str, levels: list) -> Outcome:
    """There is a training loss that `run` reaches in a later epoch than `than_run`: by our seeds, else by the log."""
    log = log_losses()
    theirs = {level: [curves.epochs_to(-log[o], -level) for o in ("adamw", "sgd")] for level in levels}
    cases = [level for level, (a, b) in theirs.items() if a > b]
    said = "; ".join(f"loss {level:g}: epoch {a:g} against {b:g}" for level, (a, b) in theirs.items())
    why = f"in the authors' log AdamW is the slower one to {len(cases)} of {len(levels)} losses ({said})"
    try:
        a, b = (e.curves(group, "train_loss") for group in e.gather(run, than_run))
    except Unjudged:
        return Outcome(REPRODUCED if cases else CONTRADICTED, why, rests_on=LOG)
    later = [np.array([_capped(x, level) - _capped(y, level) for x, y in zip(a, b)]) for level in levels]
    tests = [paired_test(differences) for differences in later]
    sure = holm([t.p for t in tests]) < forms.ALPHA
    ours = [f"loss {level:g} by {t.mean:.3g} epochs" for level, t, s in zip(levels, tests, sure) if s and t.mean > 0]
    faster = all(s and t.mean < 0 for t, s in zip(tests, sure))
    verdict = REPRODUCED if ours else NOT_REPRODUCED if faster else INCONCLUSIVE
    slower = f"slower to {', '.join(ours)}" if ours else "slower to none of these losses"
    return Outcome(verdict, f"{len(a)} seeds of ours: {slower}, on average; {why}")


def smoother(e: Evidence, p, run: str, than_run: str, or_log=False) -> Outcome:
    """The training loss of `run` changes more evenly than that of `than_run`, at the first rate of the schedule.

    The standard deviation of the changes from epoch to epoch in the first of curves.WINDOWS, paired over our seeds;
    with `or_log`, where these are not there, in the authors' log (F of variances). `why` adds the other windows, and
    all of them relative to the loss.
    """
    try:
        groups = [e.curves(group, "train_loss") for group in e.gather(run, than_run)]
    except Unjudged:
        if not or_log:
            raise
        log = log_losses(e.report.path.parents[1])
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
    rests_on, against = (MEASUREMENT, NOT_REPRODUCED) if seeds > 1 else (LOG, CONTRADICTED)
    verdict = INCONCLUSIVE if q >= forms.ALPHA else REPRODUCED if adamw < sgd else against
    source = f"in {seeds} seeds of ours" if seeds > 1 else "in the authors' log"
    why = f"change of the loss from epoch to epoch, {source}, {'; '.join(said)}"
    return Outcome(verdict, why, None, [adamw, sgd], None, float(q), rests_on=rests_on)


def _capped(losses: np.ndarray, level: float) -> float:
    """The epoch that reaches `level`; the one after the last where none does."""
    return min(curves.epochs_to(-losses, -level), len(losses) + 1)
