"""What runs are set to, side by side, from their recipes."""

from secondlook.figures.tables import Table, table
from secondlook.figures.values import short
from secondlook.reports import Report

HEADS = ("run", "net", "optimiser", "rate", "momentum", "schedule", "L2", "epochs")


def settings_table(report: Report, runs: list[str], variant: str, caption: str = "Settings, by the recipes") -> Table:
    """A row a run with the settings of its first seed. Raises RecipeError for a run that the report does not have."""
    rows = []
    for run in runs:
        s = report.recipes(run, variant)[0].settings
        net = ", ".join(f"{k} {v}" for k, v in s.model.items() if k != "name") or s.model["name"]
        momentum, l2 = s.optimizer.get("momentum"), s.penalty.get("l2_dense")
        rows.append((run, net, s.optimizer["name"], short(s.optimizer["learning_rate"]),
                     "" if momentum is None else short(momentum), s.schedule["name"].replace("_", " "),
                     "" if l2 is None else short(l2), s.epochs))  # fmt: skip
    return table(rows, HEADS, caption)
