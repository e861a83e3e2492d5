"""Every figure of every chapter, from the made-up records of its own tests: whole, small, its controls in order."""

import plotly.graph_objects as go
import pytest
import test_figures as linear
import test_figures_alexnet as alexnet
import test_figures_insight as insight
import test_figures_optimizers as optimizers
import test_figures_training as training
import test_figures_vae as vae

LINEAR, INSIGHT = linear.seeds(), [insight.made_up(s) for s in range(2)]
DRAWN = {
    **{f"linear {name}": lambda d=draw: d(LINEAR) for name, draw in linear.DRAWN.items()},
    **{f"insight {name}": lambda d=draw: d(INSIGHT) for name, draw in insight.DRAWN.items()},
    **{f"optimizers {name}": draw for name, draw in optimizers.DRAWN.items()},
    **{f"vae {name}, {n}": lambda d=draw, n=n: d(n) for name, draw in vae.DRAWN.items() for n in (1, 3, 6)},
    **{f"alexnet {name}": draw for name, draw in alexnet.DRAWN.items()},
    "training": training.of_two,
}


@pytest.fixture(scope="module", params=DRAWN)
def drawn(request):
    return DRAWN[request.param]()


def controls(figure):
    """The control, its active step, and (method, changes of traces, changes of the layout) of every step."""
    for control in (*figure.layout.updatemenus, *figure.layout.sliders):
        steps = control.buttons if hasattr(control, "buttons") else control.steps
        yield control.active, [(s.method, *s.args) for s in steps]


def test_every_figure_is_whole(drawn):
    declared = drawn.layout.meta["secondlook"]
    assert isinstance(drawn, go.Figure)
    assert declared["id"]
    assert len(declared["alt"]) > 60
    assert any(character.isdigit() for character in declared["alt"]), "an alternative text has the numbers"
    assert drawn.layout.title.text
    assert drawn.layout.title.subtitle.text
    assert drawn.data
    assert all(len(trace.to_plotly_json()) > 1 and "nan" not in (trace.name or "") for trace in drawn.data)


def test_every_figure_is_small(drawn):
    text = drawn.to_json()
    assert len(text) < 300_000
    for word in ('"dtype":"f8"', "NaN", "Infinity"):
        assert word not in text


def test_controls_change_traces_and_axes_that_exist(drawn):
    for _, steps in controls(drawn):
        for method, traces, layout in steps:
            assert method == "update"
            assert all(len(values) == len(drawn.data) for values in traces.values())
            assert any(traces.get("visible", [True]))
            after = go.Figure(drawn)
            after.update_layout({k.replace(".", "_"): v for k, v in layout.items() if not k.startswith("images")})
            assert all(int(k[7]) < len(drawn.layout.images) for k in layout if k.startswith("images"))


def test_a_control_starts_where_the_figure_stands(drawn):
    visible = [trace.visible in (None, True) for trace in drawn.data]
    for active, steps in controls(drawn):
        _, traces, layout = steps[active]
        assert traces.get("visible", visible) == visible
        for key, value in layout.items():
            if key.endswith(".range") and value is not None:
                assert list(drawn.layout[key.removesuffix(".range")].range) == pytest.approx(list(value))
            if key == "images[0].source":
                assert value == drawn.layout.images[0].source


def test_no_control_undoes_another(drawn):
    changed = [{key for _, *changes in steps for part in changes for key in part} for _, steps in controls(drawn)]
    assert all(not own & other for k, own in enumerate(changed) for other in changed[:k])


def test_ids_are_unique_in_a_chapter_and_figures_weigh_a_hundred_kilobytes_on_average():
    for module, argument in ((linear, LINEAR), (vae, 1)):
        figures = [draw(argument) for draw in module.DRAWN.values()]
        ids = [figure.layout.meta["secondlook"]["id"] for figure in figures]
        assert len(set(ids)) == len(ids)
        assert sum(len(figure.to_json()) for figure in figures) / len(figures) < 100_000
