"""What a figure says where nothing draws it."""

import plotly.graph_objects as go
import plotly.io as pio

from secondlook.figures.template import finish


def test_title_data_and_description_stand_for_a_figure():
    figure = finish(go.Figure(go.Scatter(y=[1, 2])), "a", "Loss < 1 & <b>falls</b>", "A line that falls", "CIFAR-10")
    told = pio.renderers["secondlook"].to_mimebundle(figure.to_dict())
    assert [" ".join(line.split()) for line in told["text/plain"].splitlines()] == [
        "Loss < 1 & falls", "CIFAR-10", "A line that falls. Loss < 1 & falls .",
    ]  # fmt: skip
    assert "<strong>Loss &lt; 1 &amp;" in told["text/html"]
    assert "<p>A line that falls. Loss &lt; 1" in told["text/html"]


def test_a_figure_without_a_title_is_still_said_to_be_one():
    assert "A figure" in pio.renderers["secondlook"].to_mimebundle(go.Figure(layout_meta=[1]).to_dict())["text/html"]
