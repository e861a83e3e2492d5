"""Speed against the loop a user would otherwise write: torchvision transforms, a DataLoader, eager float32.

Both sides run in one process, in turns, on the same images; what counts is the ratio of their medians. A case is a
function of (images, quick) that gives a `Case`; before anything is timed both sides take 20 equal steps, and their
losses must agree.
"""

import importlib
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from secondlook.record import replace_file

MODULES = ("linear",)


@dataclass
class Case:
    """What is measured. `ours` and `plain` run once and return (examples trained on, seconds)."""

    name: str
    unit: str
    ours: Callable[[], tuple[int, float]]
    plain: Callable[[], tuple[int, float]]
    losses: Callable[[], tuple[float, float]]  # of both sides, after 20 equal steps in float32
    precision: str = "float32 / float32"
    floor: float | None = None  # examples per second nothing could exceed here, where it is known
    rounds: int = 5


def measure(case: Case, quick: bool, told: Callable[[str], None]) -> dict:
    """Medians over alternating rounds. Raises RuntimeError where the two sides do not train the same thing."""
    mine, theirs = case.losses()
    if abs(mine - theirs) > 1e-3 * abs(theirs):
        raise RuntimeError(f"{case.name}: after 20 equal steps the losses differ, {mine:g} here and {theirs:g} there")
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(2 if quick else case.rounds):
        told(f"{case.name}: round {turn + 1}")
        for side in rates:
            examples, seconds = getattr(case, side)()
            rates[side].append(examples / seconds)
    ours, plain = (statistics.median(r) for r in rates.values())
    return {
        "name": case.name, "device": "cpu", "unit": case.unit, "precision": case.precision, "ours": round(ours, 1),
        "plain": round(plain, 1), "ratio": round(ours / plain, 2), "floor": case.floor, "losses": [mine, theirs],
        "rounds": len(rates["ours"]), "spread": [round(min(r) / max(r), 2) for r in rates.values()],
    }  # fmt: skip


def cases(report: str | None, quick: bool, data_dir: Path) -> Iterator[Case]:
    for name in MODULES:
        module = importlib.import_module(f"secondlook.bench.{name}")
        yield from module.cases(report, quick, data_dir)


def command(report: str | None, quick: bool, to: Path | None, data_dir: Path) -> int:
    """Prints the table; with `to` also writes the figures as a list of objects."""
    from secondlook.experiments.provenance import commit, device_name, versions

    rows = []
    for case in cases(report, quick, data_dir):
        rows.append(measure(case, quick, lambda text: print(text, file=sys.stderr, flush=True)))
    if not rows:
        print(f"secondlook: no benchmark for report {report!r}", file=sys.stderr)
        return 2
    print(f"machine: {device_name('cpu')}; torch {versions()['torch']}; commit {str(commit()['commit'])[:12]}\n")
    print("| work | unit | precision | ours | plain | ratio | floor |\n|---|---|---|---|---|---|---|")
    for r in rows:
        floor = "" if r["floor"] is None else f"{r['floor']:.0f}"
        rates = [f"{r['ours']:.0f}", f"{r['plain']:.0f}", f"{r['ratio']:.1f}"]
        print(f"| {' | '.join([r['name'], r['unit'], r['precision'], *rates, floor])} |")
    if to is not None:
        replace_file(to.resolve(), (json.dumps(rows, indent=1) + "\n").encode())
    return 0
