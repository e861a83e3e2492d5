"""The excess risk split in two: what too few images cost, and what the kind of net costs."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.statistics import LEAST_SEEDS
from secondlook.figures.marks import label_rows, means, within
from secondlook.figures.template import CLASS_COLOURS, DASHES, PUBLISHED, SYMBOLS, finish, views
from secondlook.figures.values import (
    caption,
    counted,
    ends,
    few,
    flat,
    joined,
    mean_interval,
    needed,
    numbers,
    percent,
    reach,
    short,
)
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
    found = {s: {m: [report.published[f"{s}_{k}_{m}"].value for k in KINDS.values()] for m in models} for s in SETS}
    owners = []
    for view, of in enumerate(found.values()):
        for k, name in enumerate(ERRORS.values()):
            values = np.array([sum(v) if k == 2 else v[k] for v in of.values()])
            figure.add_scatter(x=values, y=np.arange(len(labels)) + 0.18 * (k - 1), mode="markers", name=name,
                               marker={"size": 10 + k, "symbol": SYMBOLS[k], "color": CLASS_COLOURS[k]},
                               hovertemplate=f"{name}: %{{x:.4f}}<extra></extra>", visible=view == 0)  # fmt: skip
            owners.append(view)
    figure.update_layout(updatemenus=[views(owners, [f"{SETS[s]}" for s in found])])
    _rows(figure, labels)
    worst = [few([models[m] for m in ends({m: sum(v) for m, v in of.items()}, "{:.4f}".format).first], "models")
             for of in found.values()]  # fmt: skip
    title = f"The sum of the two errors is largest for {joined(dict.fromkeys(worst))} in "
    title += f"{'all' if len(set(worst)) == 1 else 'some'} of the report's own {len(found)} sets"
    moved = [models[m] for m in models if found["plotted"][m] != found["printed"][m]]
    title += f"; plotted other than printed: {joined(moved)}" if moved else ""
    alt = f"Dot plot of estimation and approximation error of {joined(labels)}, from the report's own numbers. {title}."
    return finish(figure, id, title, alt, "numbers of the report and of its stored outputs", 150 + 46 * len(labels))


def decomposition(groups: dict[str, list[Record]], report: Report | None = None, words: Mapping[str, str] | None = None,
                  id: str = "risk") -> go.Figure:  # fmt: skip
    """Both errors of each labelled model with their 95 % intervals over draws; a menu chooses the error.

    `words` give by label the word of the published numbers (plotted_ee_WORD), diamonds where `report` is given.
    """
    everything, labels = flat(groups, "the decomposition of the risk"), list(groups)
    figure, owners = go.Figure(), []
    shown: list = []
    for view, (metric, name) in enumerate(ERRORS.items()):
        values = [numbers(records, metric) for records in groups.values()]
        found, shown = [mean_interval(v) for v in values], [*shown, *values]
        name += ", mean" + " and 95 % interval" * any(h > 0 for _, h in found)
        means(figure, np.arange(len(labels)), found, "%{y}: %{x:.3f}", name=name,
              visible=view == 0)  # fmt: skip
        owners.append(view)
        if report is not None and metric in KINDS:
            printed = [report.published[f"plotted_{KINDS[metric]}_{w}"] for w in map((words or {}).get, labels)]
            figure.add_scatter(x=[p.value for p in printed], y=np.arange(len(printed)) + 0.25, mode="markers",
                               name="as plotted", marker={"symbol": "diamond", "size": 10, "color": PUBLISHED},
                               text=[p.text for p in printed], visible=view == 0,
                               hovertemplate="plotted %{text}<extra></extra>")  # fmt: skip
            owners.append(view)
            shown.append([p.value for p in printed])
    figure.update_layout(updatemenus=[views(owners, list(ERRORS.values()))])
    _rows(figure, [f"{label}<br>{counted(len(own), 'draw')}" for label, own in groups.items()])
    within(figure, shown, low=-1.0)
    sums = {label: mean_interval(numbers(records, "excess_risk")) for label, records in groups.items()}
    order = ends({label: mean for label, (mean, _) in sums.items()}, "{:.3f}".format, lowest=True)
    surely = min(len(own) for own in groups.values()) >= LEAST_SEEDS and len(order.first) == len(order.last) == 1
    title = f"Both errors together are {order.best}" + f" to {order.worst}" * (not order.tied)
    if surely and sum(sums[order.first[0]]) < np.subtract(*sums[order.last[0]]):
        title = f"Both errors together are {order.best} for {order.first[0]}, the smallest, "
        title += f"and {order.worst} for {order.last[0]}"
    if not order.first:
        title = "No model has finite errors"
    title += f"; {_floor(everything)}"
    alt = f"Dot plot of estimation error, approximation error and their sum for {joined(labels)}. {title}."
    return finish(figure, id, title, alt, caption(everything, "two Gaussians"), 190 + 46 * len(labels))


def risk_curves(records: list[Record], id: str = "risk-curves") -> go.Figure:
    """Estimation and approximation error against the number of training images, a line for each width of the net.

    Means with 95 % intervals over draws; a menu chooses the error, the excess risk of the net included.
    """
    records = needed(records, "errors over training images")
    by: dict[float, dict[int, list[Record]]] = {}
    for r in records:
        width = float(r.recipe.settings.model.get("width", 1.0))
        by.setdefault(width, {}).setdefault(reach(r, "settings.train_size"), []).append(r)
    figure, owners = go.Figure(), []
    for view, metric in enumerate(ERRORS):
        for k, (width, own) in enumerate(sorted(by.items())):
            at = sorted(own)
            found = [mean_interval(numbers(own[n], metric)) for n in at]
            means(figure, at, found, f"width {width:g}, %{{x:,}} images: %{{y:.3f}}", across=True, mode="lines+markers",
                  name=f"width {short(width)}", line={"color": CLASS_COLOURS[k % 10], "dash": DASHES[k % 3]},
                  marker={"color": CLASS_COLOURS[k % 10], "size": 9, "symbol": SYMBOLS[k % 10]},
                  visible=view == 0)  # fmt: skip
            owners.append(view)
    figure.update_layout(updatemenus=[views(owners, list(ERRORS.values()))], yaxis_title="share of test images")
    places = sorted({n for own in by.values() for n in own})
    figure.update_xaxes(title="training images (logarithmic)", type="log", tickvals=places,
                        ticktext=[f"{n:,}" for n in places], minor={"showgrid": False})  # fmt: skip
    few, many = ([r for own in by.values() for r in own.get(n, [])] for n in (places[0], places[-1]))
    ends = [float(np.nanmean(numbers(own, "estimation_error"))) for own in (few, many)]
    title = (
        f"The estimation error goes from {ends[0]:.3f} with {places[0]:,} images to {ends[1]:.3f} with {places[-1]:,}"
    )
    title += f"; {_floor(records)}"
    alt = f"Line chart of the parts of the excess risk against training images. {title}."
    return finish(figure, id, title, alt, caption(records, "two Gaussians"), 440)


def _floor(records: list[Record]) -> str:
    floor = float(np.mean(numbers(records, "bayes_error")))
    return f"the best possible rule errs in {percent(floor) if floor > 1e-6 else 'fewer than a millionth'} of images"


def _rows(figure: go.Figure, labels: list[str]) -> None:
    label_rows(figure, labels)
    figure.update_xaxes(title="share of test images", zeroline=True)
