"""Speed against the loop a user would otherwise write: torchvision transforms, a DataLoader, eager float32.

Both sides run in one process, in turns, on the same images; what counts is the ratio of their medians. A case is a
function of (images, quick) that gives a `Case`; before anything is timed both sides take 20 equal steps, and their
losses must agree.
"""

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from secondlook.record import replace_file

MODULES = ("linear", "nets")
ENOUGH = 12.0  # seconds of a case after which a quick benchmark begins no further round


@dataclass
class Case:
    """What is measured. `ours` and `plain` run once and return (examples trained on, seconds)."""

    name: str
    unit: str
    ours: Callable[[], tuple[int, float]]
    plain: Callable[[], tuple[int, float]]
    losses: Callable[[], tuple[float, float]]  # of both sides, after 20 equal steps in float32
    precision: str = "float32 / float32"
    floor: float | None = None  # examples per second at the speed of a large matrix product here, where it is known
    rounds: int = 5
    device: str = "cpu"
    tolerance: float = 1e-5  # of the losses, relative
    more: Callable[[float], dict] = lambda rate: {}  # facts of our side, from its median examples a second


def measure(case: Case, quick: bool, told: Callable[[str], None]) -> dict:
    """Medians over alternating rounds. Raises RuntimeError where the two sides do not train the same thing."""
    told(f"{case.name}: 20 equal steps")
    mine, theirs = case.losses()
    if not abs(mine - theirs) <= case.tolerance * abs(theirs):
        raise RuntimeError(f"{case.name}: after 20 equal steps the losses differ, {mine:g} here and {theirs:g} there")
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    clock = time.perf_counter()
    for turn in range(2 if quick else case.rounds):
        if quick and turn and time.perf_counter() - clock > ENOUGH:
            break
        told(f"{case.name}: round {turn + 1}")
        for side in rates:
            examples, seconds = getattr(case, side)()
            rates[side].append(examples / seconds)
    ours, plain = (statistics.median(r) for r in rates.values())
    return {
        "name": case.name, "device": case.device, "unit": case.unit, "precision": case.precision,
        "ours": _digits(ours), "plain": _digits(plain), "ratio": round(ours / plain, 2),
        "floor": case.floor and _digits(case.floor), "losses": [mine, theirs], "rounds": len(rates["ours"]),
        "spread": [round(min(r) / max(r), 2) for r in rates.values()], **case.more(ours),
    }  # fmt: skip


def cases(report: str | None, quick: bool, data_dir: Path) -> Iterator[Case]:
    for name in MODULES:
        module = importlib.import_module(f"secondlook.bench.{name}")
        yield from module.cases(report, quick, data_dir)


def rows(report: str | None, quick: bool, data_dir: Path, told: Callable[[str], None]) -> list[dict]:
    """The measured figures of a report's cases, or of all."""
    return [measure(case, quick, told) for case in cases(report, quick, data_dir)]


def table(rows: list[dict]) -> str:
    """The figures as Markdown; rates are medians, `floor` the rate at the speed of a large matrix product here."""
    lines = ["| work | device | unit | precision | ours | plain | ratio | floor |", "|---|---|---|---|---|---|---|---|"]
    for r in rows:
        rates = [f"{r[k]:g}" if r[k] is not None else "" for k in ("ours", "plain", "ratio", "floor")]
        lines.append(f"| {' | '.join([r['name'], r['device'], r['unit'], r['precision'], *rates])} |")
    return "\n".join(lines)


def command(report: str | None, quick: bool, to: Path | None, data_dir: Path) -> int:
    """Prints the table; with `to` also writes the figures as a list of objects. Raises OSError, before any measurement,
    where that file cannot be."""
    from secondlook.experiments.provenance import commit, device_name, versions

    if to is not None and (to.is_dir() or not to.resolve().parent.is_dir()):
        raise OSError(f"{to} cannot be written: name a file in a folder that is there")
    found = rows(report, quick, data_dir, lambda text: print(text, file=sys.stderr, flush=True))
    if not found:
        print(f"secondlook: no benchmark for report {report!r}", file=sys.stderr)
        return 2
    devices = "; ".join(device_name(device) for device in dict.fromkeys(row["device"] for row in found))
    print(f"machine: {devices}; torch {versions()['torch']}; commit {str(commit()['commit'])[:12]}\n")
    print(table(found))
    if to is not None:
        replace_file(to.resolve(), (json.dumps(found, indent=1) + "\n").encode())
    return 0


def _digits(rate: float) -> float:
    return float(f"{rate:.4g}")
