"""The front page's cards and its figure of published against measured shares."""

from types import SimpleNamespace

import numpy as np
import pytest

from secondlook.figures.front import Card, cards, mean, published_and_measured


def judged(id, published, measured, interval, verdict="reproduced", says="reaches an accuracy"):
    return SimpleNamespace(id=id, published=published, measured=measured, interval=interval, verdict=verdict, says=says)


JUDGED = [
    judged("A1", 0.5, 0.55, [0.45, 0.65]), judged("A2", [0.6, 0.7], [0.65, 0.4], [[0.55, 0.75], [0.3, 0.5]]),
    judged("A3f", 0.2, 0.3, [0.25, 0.35]), judged("A4", 0.9, 0.9, [0.8, 1.2], says="ends at a training loss"),
    judged("A5", 0.9, None, None, verdict="not run"), judged("A6", 40022850, 11568162, None),
    judged("A7", 3, [0.9, 0.5], [[0, 1], [0, 1]]), judged("A8", 0.9, 0.9, None, verdict="contradicted"),
]  # fmt: skip


def test_every_measured_share_is_a_point_and_nothing_else():
    figure = published_and_measured(JUDGED)
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert sorted(np.concatenate([t.x for t in points]).round(3)) == [0.2, 0.5, 0.6, 0.7]
    assert figure.layout.title.text.startswith("2 of 4 published shares")


def test_an_interval_of_half_the_axis_is_drawn_and_not_counted():
    figure = published_and_measured([*JUDGED, judged("A9", 0.5, 0.5, [0.1, 0.9])])
    assert figure.layout.title.text.startswith("2 of 4 published shares")
    assert "not counted: 1" in figure.layout.title.subtitle.text


def test_settings_fitted_to_the_report_are_marked():
    fitted = next(t for t in published_and_measured(JUDGED).data if "fitted" in (t.name or ""))
    assert fitted.customdata[0][0] == "A3f"


def test_without_a_measured_share_there_is_no_figure():
    with pytest.raises(ValueError, match="no claim"):
        published_and_measured(JUDGED[4:])


def test_a_card_has_its_number_and_one_without_a_measurement_is_left_out():
    whole = Card("9 %", "a < b", [("measured", 0.09, False)], "../notebooks/a.html", "A & B")
    shown = cards([whole, Card("?", "nothing", [("measured", mean([]), False)], "b.html", "C")])
    assert "a &lt; b" in shown._repr_html_()
    assert "A &amp; B" in shown.markup
    assert "b.html" not in shown.markup
    assert str(shown) == "A & B: 9 %. a < b"
