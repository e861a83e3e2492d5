"""What a notebook declares, what a person passes, and which values can be."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.publish.parameters import Parameter, ParameterError, check_values, declared, parse, seeds

CELL = """profile = "full"  # smoke, quick or full
epochs = -1  # -1 is as the report
learning_rate = -1.0  # -1 is as the report
beta: float = 1  # weight of the divergence
augment = False  # flips # and crops
"""
KNOWN = {
    "profile": Parameter("profile", str, "full", ""),
    "epochs": Parameter("epochs", int, -1, ""),
    "learning_rate": Parameter("learning_rate", float, -1.0, "the step"),
    "augment": Parameter("augment", bool, False, ""),
}


def notebook(path, *sources, tag="parameters"):
    cells = [{"cell_type": "code", "metadata": {"tags": [tag]}, "source": s, "outputs": []} for s in sources]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    return path


def test_declarations_are_read_with_type_default_and_comment(tmp_path):
    found = declared(notebook(tmp_path / "a.ipynb", CELL))
    assert list(found.values()) == [
        Parameter("profile", str, "full", "smoke, quick or full"),
        Parameter("epochs", int, -1, "-1 is as the report"),
        Parameter("learning_rate", float, -1.0, "-1 is as the report"),
        Parameter("beta", float, 1.0, "weight of the divergence"),
        Parameter("augment", bool, False, "flips # and crops"),
    ]
    assert type(found["beta"].default) is float


def test_declarations_are_read_without_running_them(tmp_path):
    with pytest.raises(ParameterError, match="expected `name = value"):
        declared(notebook(tmp_path / "a.ipynb", "a = 1  # fine\nopen('ran', 'w')  # not"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "line",
    ["a = (1, 2)", "a = None", "a = b", "a = b = 1", "a, b = 1, 2", "a: str = 1", "a: int = 1.5", "a: int = True",
     "import os", "a += 1", "a: int", "a.b = 1", "a = [", "%matplotlib inline", "a = 1\na = 2"],
)  # fmt: skip
def test_anything_but_a_flat_typed_scalar_is_refused(tmp_path, line):
    with pytest.raises(ParameterError, match=r"a\.ipynb"):
        declared(notebook(tmp_path / "a.ipynb", line))


def test_a_notebook_without_one_parameters_cell_is_refused(tmp_path):
    for name, sources, tag in (("none", [CELL], "other"), ("two", [CELL, CELL], "parameters")):
        with pytest.raises(ParameterError, match="tag exactly one"):
            declared(notebook(tmp_path / f"{name}.ipynb", *sources, tag=tag))
    (tmp_path / "torn.ipynb").write_text('{"cells": [')
    for name in ("torn.ipynb", "absent.ipynb"):
        with pytest.raises(ParameterError, match=name):
            declared(tmp_path / name)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ParameterError, match="unknown parameter 'profil'; did you mean 'profile'"):
        parse(["profil=smoke"], KNOWN)


def test_a_name_passed_twice_or_without_a_value_is_refused():
    with pytest.raises(ParameterError, match="passed twice"):
        parse(["epochs=1", "epochs=1"], KNOWN)
    with pytest.raises(ParameterError, match="name=value"):
        parse(["epochs"], KNOWN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("epochs=2.0", "int"), ("epochs=", "int"), ("epochs=1_0", "int"), ("epochs=true", "int"),
     ("epochs=" + "9" * 30, "int"),
     ("learning_rate=fast", "float"), ("learning_rate=nan", "float"), ("learning_rate=1e999", "float"),
     ("augment=1", "bool"), ("augment=yes", "bool")],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_naming_the_type(text, expected):
    with pytest.raises(ParameterError, match=f"must be of type {expected}"):
        parse([text], KNOWN)


def test_the_comment_explains_an_ill_typed_value():
    with pytest.raises(ParameterError, match="the step"):
        parse(["learning_rate=fast"], KNOWN)


@given(st.integers(-(10**17), 10**17), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text())
def test_every_value_comes_back_as_it_was_written(whole, number, switch, text):
    values = parse([f"epochs={whole}", f"learning_rate={number!r}", f"augment={switch}", f"profile={text}"], KNOWN)
    assert values == {"epochs": whole, "learning_rate": number, "augment": switch, "profile": text}
    assert [type(v) for v in values.values()] == [int, float, bool, str]
    assert type(parse([f"learning_rate={whole}"], KNOWN)["learning_rate"]) is float


@given(st.text(), st.sampled_from(sorted(KNOWN)))
def test_any_text_is_a_value_of_the_declared_type_or_an_error(text, name):
    try:
        value = parse([f"{name}={text}"], KNOWN)[name]
    except ParameterError:
        return
    assert type(value) is KNOWN[name].type


@given(st.lists(st.integers(0, 999), min_size=1, max_size=20, unique=True))
def test_a_list_of_seeds_is_read_back(numbers):
    assert seeds(",".join(map(str, numbers))) == numbers


def test_seeds_are_ranges_lists_or_the_reports_own():
    assert seeds("") is None
    assert seeds("0-5") == [0, 1, 2, 3, 4, 5]
    assert seeds("0, 2,4-5") == [0, 2, 4, 5]
    for text in ("5-0", "a", "0,", "-1", "0-2,1", "1.5", "0-999999999", "٣"):
        with pytest.raises(ParameterError, match="seeds"):
            check_values({"seeds": text})


@pytest.mark.parametrize(
    ("values", "says"),
    [({"profile": "smok"}, "did you mean 'smoke'"), ({"profile": ""}, "unknown profile"), ({"train": "ever"}, "never"),
     ({"variant": "corected"}, "did you mean 'corrected'"), ({"variant": "custom"}, "unknown variant"),
     ({"device": "gpu"}, "cuda:0"), ({"device": "cuda:"}, "cuda:0"), ({"max_minutes": 0}, "above 0"),
     ({"max_minutes": float("nan")}, "above 0"), ({"max_minutes": "10"}, "of type float"),
     ({"max_minutes": True}, "of type float"), ({"seeds": 3}, "-r seeds 3"),
     ({"cam_method": "layercm"}, "did you mean 'layercam'"), ({"cam_method": 1}, "of type str")],
)  # fmt: skip
def test_a_bad_value_is_an_error_that_says_what_to_do(values, says):
    with pytest.raises(ParameterError, match=says):
        check_values(values)


def test_good_values_pass_and_unknown_names_are_left_alone():
    good = {"profile": "smoke", "variant": "", "train": "never", "seeds": "0-5", "max_minutes": 10, "device": "cuda:1",
            "cam_method": "hirescam"}  # fmt: skip
    check_values({**good, "something": object()})
    check_values({})


def test_a_variant_must_be_one_of_the_report(tmp_path):
    (tmp_path / "reports").mkdir()
    toml = '[base]\nkind = "linear"\n[run.first]\nvariants = ["as_published", "corrected"]\n'
    (tmp_path / "reports" / "tiny.toml").write_text(toml)
    check_values({"variant": "corrected"}, "tiny", tmp_path)
    check_values({"variant": "further"})
    with pytest.raises(ParameterError, match="unknown variant 'further'"):
        check_values({"variant": "further"}, "tiny", tmp_path)


def test_importing_it_loads_neither_torch_nor_papermill():
    code = "import sys, secondlook.publish.parameters; print([m for m in ('torch', 'papermill') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
