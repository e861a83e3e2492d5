"""The check of a site's titles finds what is false of a figure's own numbers, and nothing in what is true."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest
from check_titles import LONGEST, check
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook import figures
from secondlook.figures import words
from secondlook.figures.template import finish, shortened
from secondlook.publish.render import figure_html
from secondlook.record import Record
from secondlook.reports import read


def page(title: str, values: dict[str, float]) -> str:
    figure = go.Figure(go.Scatter(x=[*values.values()], y=np.arange(len(values)), name="mean", mode="markers"))
    figure.update_yaxes(tickvals=[*range(len(values))], ticktext=[*values])
    figure.update_xaxes(title="test accuracy", tickformat=".2~%")
    return figure_html(json.loads(finish(figure, "one", title, "Dot plot", "made up").to_json()), "one")


def curves(title: str, values: dict[str, float]) -> str:
    figure = go.Figure([go.Scatter(x=[1, 2], y=[0.5, v], name=name, mode="lines") for name, v in values.items()])
    figure.update_layout(xaxis_title="epoch", yaxis_title="training loss", hovermode="x")
    return figure_html(json.loads(finish(figure, "one", title, "Line chart", "made up").to_json()), "one")


@pytest.mark.parametrize(
    "title",
    ["B reaches the higher test accuracy, 80.0 %", "A reaches the higher test accuracy, 70.0 %",
     "A reaches the lower test accuracy, 80.0 %", "A reaches the higher test accuracy, 81.0 %"],
)  # fmt: skip
def test_a_false_first_is_found(title):
    assert len(check(page(title, {"A": 0.8, "B": 0.7}))) == 1


def test_of_one_row_none_is_first_and_a_true_title_passes():
    assert "none is first" in check(page("A reaches the highest test accuracy, 80.0 %", {"A": 0.8}))[0]
    assert not check(page("A reaches the higher test accuracy, 80.0 %", {"A": 0.8, "B": 0.7}))
    assert not check(curves("A ends with the lower training loss, 0.100", {"A": 0.1, "B": 0.2}))
    assert check(curves("B ends with the lower training loss, 0.200", {"A": 0.1, "B": 0.2}))


def test_a_class_that_is_not_recognised_most_is_found():
    labels = np.repeat(np.arange(10), 6)
    predictions = np.where((labels == 5) & (np.arange(60) % 2 == 0), 3, labels)
    predictions[labels == 3] = 3
    predictions[[k for k in range(60) if labels[k] not in (3, 5) and k % 6 == 0]] = 0
    predictions[0] = 1
    recipe = read("vgg").recipes("vgg16", "as_published")[0]
    record = Record(recipe, "finished", {}, {}, {"labels": labels, "predictions": predictions})
    drawn = figure_html(json.loads(figures.confusion([record]).to_json()), "one")
    assert "recognised most often" in drawn
    assert not check(drawn)
    for true, false in ((">Cat is", ">Dog is"), ("(100 %", "(90 %"), ("dog least", "cat least")):
        assert true in drawn
        assert check(drawn.replace(true, false))


@settings(deadline=None)
@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=6), st.floats(0, 1), min_size=1, max_size=6))
def test_what_titles_say_of_any_numbers_passes(values):
    title = words.sentence(words.leads(values, "reaches", "test accuracy"))
    assert not [told for told in check(page(title, values)) if "characters" not in told]


@given(st.lists(st.text("abc ", min_size=1, max_size=60), min_size=1, max_size=6))
def test_a_title_keeps_its_first_clause_and_as_many_as_fit(clauses):
    kept = shortened("; ".join(clauses))
    assert "; ".join(clauses).startswith(kept)
    assert len(kept) <= max(LONGEST, len(clauses[0]))
    rest = "; ".join(clauses)[len(kept) :].removeprefix("; ").split("; ")[0]
    assert not rest or len(f"{kept}; {rest}") > LONGEST
