"""What reduced runs say of a claim that has no verdict: an indication, which is never counted among verdicts."""

from dataclasses import dataclass

from secondlook.claims import forms
from secondlook.claims.evidence import Evidence
from secondlook.claims.forms import Verdict
from secondlook.claims.plain import in_words
from secondlook.sections import INDICATIONS

HOLDS, FAILS, UNDECIDED, TOO_FEW = INDICATIONS
WORDS = {
    forms.REPRODUCED: HOLDS,
    forms.DIRECTION: HOLDS,
    forms.NOT_REPRODUCED: FAILS,
    forms.CONTRADICTED: FAILS,
    forms.INCONCLUSIVE: UNDECIDED,
    forms.TOO_FEW: TOO_FEW,
}
SHOWN = 4  # measured numbers in a line


@dataclass(frozen=True)
class Indication:
    """The outcome of a claim's own check on reduced runs. `says` is all of it in a line, `reduced` what was reduced."""

    outcome: str
    says: str
    why: str
    seeds: list[int]
    reduced: str
    p: float | None
    records: list[str]


def indication(e: Evidence, outcome: Verdict) -> Indication | None:
    """The indication of reduced evidence and what the claim's form made of it; None where there is nothing to say."""
    if outcome.word not in WORDS or not e.used:
        return None
    word, used = WORDS[outcome.word], list(e.used.values())
    seeds = sorted({record.recipe.seed for record in used})
    count = f"{len(seeds)} seed{'s' * (len(seeds) != 1)}"
    if word == TOO_FEW:
        said = f"{word} ({len(seeds)})" + (f": {seen}" if (seen := _seen(outcome)) else "")
    else:
        basis = outcome.told if outcome.p is None else f"p = {outcome.p:.2g}"
        said = f"{word} ({', '.join(filter(None, (basis, count)))})"
    return Indication(
        outcome=word,
        says=in_words(f"{e.reduced}: {said}" if e.reduced else said, e),
        why=". ".join(w[0].upper() + w[1:] for w in (in_words(w, e) for w in (outcome.why, e.diverged())) if w) + ".",
        seeds=seeds,
        reduced=e.reduced,
        p=outcome.p,
        records=sorted(record.id for record in used),
    )


def _seen(outcome: Verdict) -> str:
    """The measured numbers in words; nothing where there are too many."""
    values = outcome.measured if isinstance(outcome.measured, list) else [outcome.measured]
    numbers = [f"{v:.4g}" for v in values if isinstance(v, float | int)]
    return outcome.told or (f"measured {' / '.join(numbers)}" if 0 < len(numbers) <= SHOWN else "")
