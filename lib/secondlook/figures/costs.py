"""What a step of training costs, counted and measured."""

import numpy as np

from secondlook.evaluation.costs import UPDATES
from secondlook.figures.tables import Table, table
from secondlook.figures.values import at_best, caption, flat, joined
from secondlook.record import Record


def step_costs(groups: dict[str, list[Record]]) -> Table:
    """Arithmetic and memory of an update, its share of a step, and the measured time of a step, a row for each label.

    Of the best profile there is, since what runs of two sizes cost cannot be compared. Counted from the records'
    parameters and multiply-adds (a step is three forward passes); the time is the median over
    records with its range, the devices stand in the caption. Raises ValueError for an empty group.
    """
    groups = at_best(groups)
    rows = [_row(label, records) for label, records in groups.items()]
    heads = ("run", "parameters", "operations a weight", "numbers kept a weight", "share of a step's arithmetic",
             "median time of a step")  # fmt: skip
    everything = flat(groups, "the cost of a step")
    devices = joined(sorted({str(r.provenance.get("device", "unknown")) for r in everything}))
    return table(rows, heads, f"What a step costs: {caption(everything)} · {devices}")


def _row(label: str, records: list[Record]) -> tuple:
    first = records[0]
    settings, m = first.recipe.settings, first.metrics
    operations, kept = UPDATES[settings.optimizer["name"]]
    update = operations * m["parameters"]
    share = update / (update + 6 * m["macs"] * settings.batch_size)
    times = np.array([1e3 * r.metrics["train_seconds"] / max(r.metrics["steps"], 1) for r in records])
    span = f" ({times.min():.2f} to {times.max():.2f})" if len(times) > 1 else ""
    return label, f"{m['parameters']:,}", operations, kept, f"{100 * share:.1f} %", f"{np.median(times):.2f} ms{span}"
