"""The excess risk of a model by its two errors, as published and as measured."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.statistics import LEAST_SEEDS
from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import diamonds, label_rows, means, within
from secondlook.figures.template import Views, finish, mark
from secondlook.figures.values import flat, mean_interval, numbers
from secondlook.record import Record
from secondlook.reports import Report

ERRORS = {"estimation_error": "estimation error", "approximation_error": "approximation error",
          "excess_risk": "both together"}  # fmt: skip
SETS = {"plotted": "as plotted in Figure 10", "printed": "as its ten runs printed", "second": "a second stored set"}
KINDS = {"estimation_error": "ee", "approximation_error": "ae"}


def published_errors(report: Report, models: Mapping[str, str], id: str = "published-risk") -> go.Figure:
    """The report's own two errors of each model, three sets of them: as plotted and as two stored outputs.

    `models` maps the word in the published numbers' names (SET_ee_WORD) to a label.
    """
    figure, labels = go.Figure(), list(models.values())
    views = Views(figure)
    found = {s: {m: [report.published[f"{s}_{k}_{m}"].value for k in KINDS.values()] for m in models} for s in SETS}
    for view, errors in enumerate(found.values()):
        for k, name in enumerate(ERRORS.values()):
            values = np.array([sum(v) if k == 2 else v[k] for v in errors.values()])
            figure.add_scatter(x=values, y=np.arange(len(labels)) + 0.18 * (k - 1), mode="markers", name=name,
                               marker=mark(k, 10 + k), hovertemplate=f"{name}: %{{x:.4f}}<extra></extra>")  # fmt: skip
        views.own(view)
    views.menu(list(SETS.values()))
    _rows(figure, labels)
    sums = [{models[m]: sum(v) for m, v in errors.items()} for errors in found.values()]
    orders = [words.ends(own, "{:.4f}".format) for own in sums]
    worst = dict.fromkeys(words.few(order.first, "models") for order in orders if not order.tied)
    title = f"The sum of the two errors is {orders[0].best} as plotted"
    if worst:
        same = len(worst) == 1 and not any(order.tied for order in orders)
        have = "has" if len(worst) == 1 else "have"
        title = f"{words.sentence(words.joined(worst))} {have} the largest sum of both errors "
        title += f"in {'all' if same else 'some'} of the report's {len(found)} sets"
    moved = [models[m] for m in models if found["plotted"][m] != found["printed"][m]]
    title += f"; plotted other than printed: {words.joined(moved)}" if moved else ""
    shows = "Dot plot of estimation and approximation error of "
    shows += f"{words.joined(labels)}, from the report's own numbers"
    source = "numbers of the report and of its stored outputs"
    return finish(figure, id, title, shows, source, 150 + 46 * len(labels))


@drawn
def decomposition(groups: dict[str, list[Record]], report: Report | None = None,
                  models: Mapping[str, str] | None = None, id: str = "risk") -> go.Figure:  # fmt: skip
    """Both errors of each labelled model with their 95 % intervals over draws; a menu chooses the error.

    `models` give by label the word of the published numbers (plotted_ee_WORD), diamonds where `report` is given.
    """
    everything, labels = flat(groups, "the decomposition of the risk"), list(groups)
    figure, shown = go.Figure(), []
    views = Views(figure)
    for view, (metric, name) in enumerate(ERRORS.items()):
        values = [numbers(records, metric) for records in groups.values()]
        found = [mean_interval(v) for v in values]
        name += ", mean" + " and 95 % interval" * any(h > 0 for _, h in found)
        means(figure, np.arange(len(labels)), found, "%{y}: %{x:.3f}", name=name)
        shown += values
        if report is not None and metric in KINDS:
            printed = [report.published[f"plotted_{KINDS[metric]}_{m}"] for m in map((models or {}).get, labels)]
            shown.append([p.value for p in printed])
            diamonds(figure, shown[-1], np.arange(len(printed)) + 0.25, [p.text for p in printed], "as plotted", 10,
                     hovertemplate="plotted %{text}<extra></extra>")  # fmt: skip
        views.own(view)
    views.menu(list(ERRORS.values()))
    _rows(figure, [f"{label}<br>{words.counted(len(own), 'draw')}" for label, own in groups.items()])
    within(figure, shown, low=-1.0)
    title = f"{_smallest(groups)}; {_floor(everything)}"
    shows = f"Dot plot of estimation error, approximation error and their sum for {words.joined(labels)}"
    return finish(figure, id, title, shows, words.caption(everything, "two Gaussians"), 190 + 46 * len(labels))


def _smallest(groups: dict[str, list[Record]]) -> str:
    """How large both errors together are, and for whom, where intervals keep the first from the last."""
    sums = {label: mean_interval(numbers(records, "excess_risk")) for label, records in groups.items()}
    order = words.ends({label: mean for label, (mean, _) in sums.items()}, "{:.3f}".format, lowest=True)
    if not order.first:
        return "No model has finite errors"
    surely = min(len(own) for own in groups.values()) >= LEAST_SEEDS and len(order.first) == len(order.last) == 1
    if surely and sum(sums[order.first[0]]) < np.subtract(*sums[order.last[0]]):
        least, most = words.sentence(order.first[0]), order.last[0]
        return f"{least} has the smallest sum of both errors, {order.best}; {most} has {order.worst}"
    return f"The sum of both errors is {order.best}" + f" to {order.worst}" * (not order.tied)


def _floor(records: list[Record]) -> str:
    floor = float(np.mean(numbers(records, "bayes_error")))
    share = words.percent(floor) if floor > 1e-6 else "fewer than a millionth"
    return f"the best possible rule errs in {share} of images"


def _rows(figure: go.Figure, labels: list[str]) -> None:
    label_rows(figure, labels)
    figure.update_xaxes(title="share of test images", zeroline=True)
