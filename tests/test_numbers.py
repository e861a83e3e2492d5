"""The tables of numbers behind a figure say what it shows, in every view of its menus."""

import json
import re

import numpy as np
import plotly.graph_objects as go
import pytest

from secondlook.publish.numbers import number, numbers_html, views


def tables_of(*traces, **layout):
    """The only view of a figure that has no menu, as (caption, head, rows); nothing where it has no numbers."""
    found = views(json.loads(go.Figure(traces, layout).to_json()))
    assert len(found) <= 1
    return [(t.caption, t.head, [list(row) for row in t.rows]) for _, tables in found for t in tables]


DOTS = [
    go.Scatter(x=[0.25, 0.5], y=[0, 1], error_x={"array": [0.125, 0]}, name="mean", mode="markers"),
    go.Scatter(x=[0.2, 0.3], y=[0.22, 0.22], name="a seed", mode="markers"),
    go.Scatter(x=[0.75, 0.75], y=[-1, 2], name="published", mode="lines"),
    go.Scatter(x=[0, 1], y=[0, 1], hoverinfo="skip", mode="lines"),
]
ROWS = {"tickvals": [0, 1], "ticktext": ["Adam", "SGD<br>plain"]}
SHARES = {"title": {"text": "accuracy"}, "tickformat": ".0%"}


def test_dots_stand_under_their_rows_with_intervals_and_lines_apart():
    assert tables_of(*DOTS, xaxis=SHARES, yaxis=ROWS) == [
        ("Lines", ("line", "at"), [["published", "75 %"]]),
        ("accuracy", ("row", "mean"), [["SGD plain", "50 %"], ["Adam", "25 % ± 12 %"]][::-1]),
        ("accuracy", ("row", "a seed"), [["Adam", "20 %"], ["Adam", "30 %"]]),
    ]


def test_a_long_curve_is_told_at_evenly_spaced_places():
    curve = go.Scatter(x=np.arange(119), y=np.arange(119) ** 2)
    figure = go.Figure(curve, {"xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": "loss"}}})
    text = numbers_html(json.loads(figure.to_json()), "A curve")
    assert "<caption>loss: 60 of 119 rows, evenly spaced</caption>" in text
    assert [int(step) for step in re.findall(r"<th scope=row>(\d+)", text)] == list(range(0, 119, 2))


def test_the_text_of_a_total_stands_for_its_value_and_its_row_is_named_once():
    bars = go.Waterfall(x=["none", "all"], y=[0.5, 0], measure=["absolute", "total"], hoverinfo="text",
                        hovertext=["none: 50.00 %", "with all: 50.00 %"])  # fmt: skip
    assert tables_of(bars, yaxis_title="gain") == [
        ("gain", ("row", "gain"), [["none", "50.00 %"], ["all", "with all: 50.00 %"]])
    ]


def test_curves_over_named_places_share_a_table_in_the_order_of_the_axis():
    one, two = go.Scatter(x=[0.005], y=[1], name="one"), go.Scatter(x=[0, 0.0005], y=[102764544, 3], name="two")
    ticks = {"tickvals": [0, 0.0005, 0.005], "ticktext": ["0", "5e-4", "5e-3"]}
    ((caption, head, rows),) = tables_of(one, two, xaxis=ticks, yaxis_title="count")
    assert (caption, head) == ("count", ("row", "one", "two"))
    assert rows == [["0", "", "102,764,544"], ["5e-4", "", "3"], ["5e-3", "1", ""]]


def test_between_the_ticks_of_a_logarithmic_axis_a_place_keeps_its_number():
    ticks = {"type": "log", "tickvals": [1e-4, 1e-2], "ticktext": ["1e-4", "1e-2"]}
    ((_, _, rows),) = tables_of(go.Scatter(x=np.float32([1e-4, 1e-3]), y=[1, 2]), xaxis=ticks)
    assert rows == [["1e-4", "1"], ["0.001", "2"]]


def test_differences_bear_their_sign():
    grid = go.Heatmap(z=[[1.5, -2]], x=["a", "b"], y=["c"], name="points", hovertemplate="%{z:+.1f}<extra></extra>")
    assert tables_of(grid) == [("points", ("", "a", "b"), [["c", "+1.5", "-2"]])]


@pytest.mark.parametrize(
    "trace",
    [
        go.Scatter(x=[1, 2], y=[1, 2]),  # axes without a name: a map of points
        go.Heatmap(z=np.zeros((40, 40)), x=[str(k) for k in range(40)]),
        go.Scatter(x=["a"], y=[1], mode="text", text=["a"]),
        go.Scatter(x=["a"], y=[1], visible="legendonly"),
        go.Scatter(y=["a"]),
    ],
)
def test_pictures_maps_and_hidden_traces_have_no_numbers(trace):
    assert tables_of(trace) == []
    assert numbers_html(json.loads(go.Figure(trace).to_json()), "A map") == ""


def menu(*changes):
    return {
        "buttons": [{"label": f"view {k}", "method": "update", "args": list(args)} for k, args in enumerate(changes)]
    }


def test_every_view_of_a_menu_has_its_tables_under_its_label_and_its_titles():
    traces = [go.Bar(x=["a"], y=[0.5]), go.Bar(x=["a"], y=[3], visible=False)]
    menus = [menu([{"visible": [True, False]}, {"yaxis.title.text": "accuracy", "yaxis.tickformat": ".0%"}],
                  [{"visible": [False, True]}, {"yaxis.title.text": "loss", "yaxis.tickformat": None}])]  # fmt: skip
    found = views(json.loads(go.Figure(traces, {"updatemenus": menus}).to_json()))
    assert [(label, t.caption, t.rows) for label, (t,) in found] == [
        ("view 0", "accuracy", (("a", "50 %"),)),
        ("view 1", "loss", (("a", "3"),)),
    ]


def test_a_menu_that_only_enlarges_repeats_nothing():
    menus = [menu([{}, {"xaxis.range": [0, 1]}], [{}, {"xaxis.range": [0, 0.1]}])]
    ((label, tables),) = views(json.loads(go.Figure(go.Bar(x=["a"], y=[1]), {"updatemenus": menus}).to_json()))
    assert (label, len(tables)) == ("", 1)


def test_words_of_a_figure_are_text_in_its_tables():
    text = numbers_html(json.loads(go.Figure(go.Bar(x=["<b>a</b> & b < c"], y=[1], name="x")).to_json()), "a < b")
    assert "<th scope=row>a &amp; b &lt; c<td>1" in text
    assert 'aria-label="The numbers of this figure: a &lt; b"' in text


@pytest.mark.parametrize(
    ("value", "percent", "expected"),
    [(0, False, "0"), (0.123456, True, "12.35 %"), (1234567, False, "1,234,567"), (1234.5678, False, "1,235"),
     (0.00001234567, False, "1.235e-05"), (-0.5, True, "-50 %"), (None, True, ""), (float("nan"), False, "")],
)  # fmt: skip
def test_numbers_are_rounded_to_four_digits_and_whole_ones_are_not(value, percent, expected):
    assert number(value, percent) == expected


def test_means_come_before_the_seeds_they_are_of():
    seeds = go.Scatter(x=[0.2, 0.3], y=[0.2, 0.2], name="a seed", mode="markers")
    mean = go.Scatter(x=[0.25], y=[0], name="mean", mode="markers")
    assert [head[1] for _, head, _ in tables_of(seeds, mean, xaxis=SHARES, yaxis=ROWS)] == ["mean", "a seed"]
