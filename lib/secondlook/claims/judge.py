"""Every claim of a report with its verdict: `judge` hands each claim's records to its form.

`form` in the TOML is one of `value`, `greater`, `order`, `rank`, `count`, `equal`, or `text` (the verdict is the
TOML's own, for what needs no measurement), or `REPORT.NAME`, a function `NAME(evidence) -> Verdict` of
`claims/REPORT.py`. The forms' options are the keyword arguments of the functions here.
"""

import importlib.util
import inspect
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from secondlook import reports
from secondlook.checks import RecipeError, nearest
from secondlook.claims import forms
from secondlook.claims.evidence import PROFILE, Evidence, Protocol, Unjudged
from secondlook.claims.forms import Verdict
from secondlook.claims.indications import Indication, indication
from secondlook.claims.plain import in_words
from secondlook.evaluation.statistics import LEAST_SEEDS, holm
from secondlook.record import Record, Records
from secondlook.reports import Claim, Report


@dataclass(frozen=True)
class Judgement:
    """A claim and its verdict. `interval` is the one that decides, `records` are ids, `data` is "" without records.

    `rests_on` is one of forms.RESTS_ON, "" for a claim that is not run.
    """

    id: str
    report: str
    says: str
    verdict: str
    published: float | list | None
    measured: float | list | None
    interval: list | None
    seeds: list[int]
    profile: str
    data: str
    records: list[str]
    why: str
    rests_on: str
    indication: Indication | None = None

    def as_dict(self) -> dict:
        """Plain types for JSON, in the order of the fields."""
        return asdict(self)


def judge(report_name: str, records: Records, root: Path | None = None) -> list[Judgement]:
    """A judgement for every claim of the report, in the order of its file.

    Only `full` records on real data judge, and only where the whole protocol of a run is there; a published number may
    stand on the first three seeds of it before. Claims of one family are judged on p-values adjusted for it (Holm).
    A claim not run has the indication that reduced records give it.
    Raises RecipeError for a claim that names what does not exist.
    """
    report = reports.read(report_name, root)
    found = records.of(report_name)
    judged = _outcomes(report, Protocol(report), found, list(report.claims))
    open_ = [id_ for id_, (_, outcome) in judged.items() if outcome.word == forms.NOT_RUN]
    small = _outcomes(report, Protocol(report, is_reduced=True), found, open_)
    told = {id_: indication(*_as_seen(*both)) for id_, both in small.items()}
    return [replace(_judgement(*both), indication=told.get(id_)) for id_, both in judged.items()]


def _outcomes(report: Report, protocol: Protocol, found: dict, ids: list[str]) -> dict[str, tuple[Evidence, Verdict]]:
    """The evidence of each claim and what its form makes of it, adjusted for its family."""
    evidence = {id_: Evidence(report, report.claims[id_], protocol, found) for id_ in ids}
    outcomes = {id_: _outcome(e) for id_, e in evidence.items()}
    for name, ids in _families(report).items():
        # A claim not run yet keeps its place: verdicts of the others must not turn when it is.
        p_values = [1.0 if i not in outcomes or outcomes[i].p is None else outcomes[i].p for i in ids]
        for id_, p in zip(ids, holm(p_values)):
            if id_ in outcomes and outcomes[id_].p is not None:
                adjusted = _outcome(evidence[id_], float(p))
                said = f"{adjusted.why} (adjusted for the {len(ids)} tests of the family {name!r})"
                outcomes[id_] = replace(adjusted, why=said)
    return {id_: (evidence[id_], outcome) for id_, outcome in outcomes.items()}


def _as_seen(e: Evidence, outcome: Verdict) -> tuple[Evidence, Verdict]:
    """The same, or, where seeds are too few for a test, the values that these show."""
    if outcome.word != forms.TOO_FEW:
        return e, outcome
    e = Evidence(e.report, e.claim, e.protocol, e.found, few=True)
    shown = _outcome(e)
    return e, replace(outcome, measured=shown.measured, told=shown.told)


def value(e: Evidence, run="", values=(), **one) -> Verdict:
    """One published number, or several in `values`, each with the arguments of `Evidence.compare`, run and variant.

    What is given beside `values` holds for all of them. Each number has an interval of its own; the reason tells the
    level at which all of them hold together.

    Where a plan is not through, its first three seeds judge: their wide interval is part of the verdict.
    """
    entries, owners = [], []
    for entry in values or [{}]:
        entry = {"run": run, "variant": e.claim.variant, **one, **entry}
        owners.append((entry.pop("run"), entry.pop("variant")))
        _fits(e.compare, f"{e.where}: value", ([],), entry)
        e.published(entry["published"])
        entries.append(entry)
    e.gather(*dict.fromkeys(owners), first=LEAST_SEEDS)  # so that all that is missing is told at once
    groups = [e.gather(own, first=LEAST_SEEDS)[0] for own in owners]
    names = [e.published(entry["published"]).says or entry["metric"] for entry in entries]
    outcome = forms.several([(n, e.compare(group, **own)) for n, own, group in zip(names, entries, groups)])
    outcome = replace(outcome, why=outcome.why + forms.joint(len(entries)))
    planned = [len(e.recipes(*own)) for own in owners]
    early = {f"{len(g)} of {n}": None for g, n in zip(groups, planned) if len(g) < n}
    return replace(outcome, why=f"{outcome.why}; the first {' and '.join(early)} planned") if early else outcome


def greater(e: Evidence, p, run: str, metric: str, than_run="", than_metric="", than_variant="", margin=0.0,
            published=(), tolerance=math.inf) -> Verdict:  # fmt: skip
    """`metric` of `run` above `than_metric` of `than_run` by more than `margin`; `published` are the two printed."""
    a, b = e.gather((run, e.claim.variant), (than_run or run, than_variant or e.claim.variant))
    if metric.endswith("seconds"):
        e.one_machine(a, b)
    a, b = e.numbers(a, metric), e.numbers(b, than_metric or metric)
    size = e.gap(a - b, *published, tolerance) if published else None
    return forms.greater(a, b, margin, p, size)


def rank(e: Evidence, p, first: str, runs: list, metric: str, lowest=False) -> Verdict:
    """`first` has the highest `metric` of all `runs`, or the lowest."""
    if first not in runs:
        raise RecipeError(f"{e.where}: {first!r} is not among its runs{nearest(first, runs)}")
    return _turned(forms.rank(_groups(e, runs, metric, lowest), first, p), lowest)


def order(e: Evidence, p, runs: list, metric: str, lowest=False) -> Verdict:
    """`runs` are listed from the highest `metric` to the lowest, or from the lowest up."""
    return _turned(forms.order(_groups(e, runs, metric, lowest), p), lowest)


def count(e: Evidence, run: str, metric: str, least: int, than_run="", above=0.0, names=()) -> Verdict:
    """At least `least` entries of a list-valued `metric` (one a class) exceed those of `than_run`, or `above`."""
    groups = e.gather(run, than_run) if than_run else e.gather(run)
    lists = e.numbers(groups[0], metric) - (e.numbers(groups[1], metric) if than_run else above)
    names = names or [str(i) for i in range(lists.shape[1])]
    return forms.count(dict(zip(names, lists.T, strict=True)), least)


def equal(e: Evidence, runs: list, metric: str, expected=0.0, tolerance=0.0, otherwise=forms.CONTRADICTED) -> Verdict:
    """A fact: `metric` is `expected` within `tolerance` in every record of `runs`."""
    groups = e.gather(*runs, least=1)
    return forms.equal([e.numbers(g, metric).ravel() for g in groups], expected, tolerance, otherwise)


def text(e: Evidence, verdict: str, published="", rests_on=forms.TEXT) -> Verdict:
    """The verdict the TOML gives, with its reason and what that rests on."""
    if rests_on not in forms.RESTS_ON:
        raise RecipeError(f"{e.where}: rests_on {rests_on!r} is unknown{nearest(rests_on, forms.RESTS_ON)}")
    numbers = [e.published(name).value for name in ([published] if isinstance(published, str) else published) if name]
    return Verdict(verdict, "", numbers[0] if len(numbers) == 1 else numbers or None, rests_on=rests_on)


FORMS = {f.__name__: f for f in (value, greater, rank, order, count, equal, text)}


def _outcome(e: Evidence, p: float | None = None) -> Verdict:
    """The form's outcome; `p` replaces its primary p-value."""
    function = _function(e.claim, e.report.name, e.where)
    options = {k: v for k, v in e.claim.options.items() if k != "family"}
    if "p" in inspect.signature(function).parameters:
        options["p"] = p
    _fits(function, f"{e.where}: form {e.claim.form!r}", (e,), options)
    try:
        return function(e, **options)
    except Unjudged as unjudged:
        return Verdict(unjudged.word, unjudged.why)


def _fits(function, where: str, args: tuple, options: dict) -> None:
    """Raises RecipeError where the function does not take these options, with the nearest one it takes."""
    signature = inspect.signature(function)
    known = [k for k in list(signature.parameters)[len(args) :] if k != "p"]
    for key in options:
        if key not in (*known, "p") and "one" not in known:
            raise RecipeError(f"{where}: unknown option {key!r}{nearest(key, known)}")
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}; it takes {', '.join(known)}") from None


def _function(claim: Claim, report: str, where: str):
    """The function behind a claim's form; one that takes `p` has a primary p-value that a family may adjust."""
    return FORMS.get(claim.form) or _own_function(claim, report, where)


def _own_function(claim: Claim, report: str, where: str):
    module, _, name = claim.form.partition(".")
    if module != report or not name:
        raise RecipeError(f"{where}: unknown form {claim.form!r}{nearest(claim.form, [*FORMS, f'{report}.NAME'])}")
    if importlib.util.find_spec(f"secondlook.claims.{module}") is None:
        raise RecipeError(
            f"{where}: form {claim.form!r} needs a file claims/{module}.py; write it, or use a named form"
        )
    own = importlib.import_module(f"secondlook.claims.{module}")
    functions = {n: f for n, f in vars(own).items() if inspect.isfunction(f) and f.__module__ == own.__name__}
    known = {n: f for n, f in functions.items() if not n.startswith("_")}
    if name not in known:
        raise RecipeError(f"{where}: claims/{module}.py has no function {name!r}{nearest(name, known)}")
    return known[name]


def _families(report: Report) -> dict[str, list[str]]:
    """Ids of the claims of every family, named in `[family.NAME]` or by the claim's own key."""
    families = {}
    for name, table in report.families.items():
        named = [c.id for c in report.claims.values() if c.options.get("family") == name]
        families[name] = list(dict.fromkeys([*table.get("claims", []), *named]))
        for id_ in families[name]:
            if id_ not in report.claims:
                raise RecipeError(f"{report.path.name}: family.{name}: no claim {id_!r}{nearest(id_, report.claims)}")
            claim = report.claims[id_]
            if "p" not in inspect.signature(_function(claim, report.name, report.path.name)).parameters:
                raise RecipeError(f"{report.path.name}: family.{name}: claim {id_} has no primary p-value to adjust")
    return families


def _groups(e: Evidence, runs: list[str], metric: str, lowest: bool) -> dict[str, list]:
    sign, groups = -1.0 if lowest else 1.0, e.gather(*runs)
    if metric.endswith("seconds"):
        e.one_machine(*groups)
    return {run: sign * e.numbers(records, metric) for run, records in zip(runs, groups)}


def _turned(outcome: Verdict, lowest: bool) -> Verdict:
    return replace(outcome, measured=[-m for m in outcome.measured]) if lowest else outcome


def _judgement(e: Evidence, outcome: Verdict) -> Judgement:
    claim = e.claim
    used = list(e.used.values()) if outcome.word != forms.NOT_RUN else []
    reasons = [in_words(reason, e) for reason in (outcome.why, e.diverged() if used else "", claim.why)]
    if outcome.word == forms.NOT_RUN:  # what is known comes before the commands that are wanted
        reasons.reverse()
    return Judgement(
        id=claim.id,
        report=e.report.name,
        says=claim.says,
        verdict=outcome.word,
        published=_plain(outcome.published),
        measured=_plain(outcome.measured),
        interval=_plain(outcome.interval),
        seeds=sorted({record.recipe.seed for record in used}),
        profile=PROFILE,
        data=Record(e.asked[0], "", {}).data_name if e.asked else "",
        records=sorted(record.id for record in used),
        why=". ".join(r[0].upper() + r[1:].rstrip(".") for r in reasons if r) + ".",
        rests_on="" if outcome.word == forms.NOT_RUN else outcome.rests_on,
    )


def _plain(value):
    """Python numbers and lists; None for what JSON cannot say."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)
