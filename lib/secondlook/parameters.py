"""The parameters that every chapter has, however they come: from its notebook, papermill, or a command line."""

import math
import re
from pathlib import Path

from secondlook import reports
from secondlook.recipe import CAM_METHODS, PROFILES, VARIANTS, nearest
from secondlook.runs import TRAIN

TYPES = {"profile": str, "variant": str, "train": str, "seeds": str, "device": str, "data_dir": str,
         "records_dir": str, "cam_method": str, "max_minutes": float}  # fmt: skip
MOST_SEEDS, MOST_MINUTES = 10_000, 1e7


class ParameterError(ValueError):
    """A parameter that cannot be: says what was wrong, what was expected, what to do."""


def check_values(values: dict, report: str | None = None, root: Path | None = None) -> None:
    """Returns nothing when the parameters that every chapter has can be; names it does not know are left alone.

    `report` makes the variants those of that report. A chapter's opening cell calls it too, since plain papermill
    checks nothing. Raises ParameterError naming the parameter, its value, and what was expected.
    """
    for name, kind in TYPES.items():
        if name in values and not is_a(values[name], kind):
            way_out = f"; to pass it as text through papermill: -r {name} {values[name]}" if kind is str else ""
            raise ParameterError(f"{name} must be of type {kind.__name__}, not {values[name]!r}{way_out}")
    variants = reports.read(report, root).variants() if report and values.get("variant") else VARIANTS[:-1]
    choices = {"profile": PROFILES, "train": TRAIN, "variant": ("", *variants), "cam_method": ("", *CAM_METHODS)}
    for name, allowed in choices.items():
        value = values.get(name, allowed[0])
        if value not in allowed:
            hint = nearest(value, [word for word in allowed if word])
            raise ParameterError(f"unknown {name} {value!r}{hint}{' (or empty for all)' * (name == 'variant')}")
    seeds(values.get("seeds", ""))
    minutes = values.get("max_minutes", 1.0)
    if not 0 < minutes <= MOST_MINUTES:
        raise ParameterError(f"max_minutes must be above 0, not {minutes}; to train nothing pass train=never")
    device = values.get("device", "auto")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ParameterError(f"unknown device {device!r}; expected auto, cpu, cuda or cuda:N, for instance cuda:0")
    for name in ("data_dir", "records_dir"):
        if (folder := values.get(name)) and not Path(folder).is_dir():
            raise ParameterError(
                f"{name} {folder!r}: there is no folder {Path(folder).absolute()}; name one that exists, or leave it "
                "empty (a relative one begins where papermill or secondlook is called, in JupyterLab at the notebook)"
            )


def seeds(text: str) -> list[int] | None:
    """The seeds of a text such as "0-5" or "0,2,4", in its order; None for "", which is as the report."""
    if text == "":
        return None
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + MOST_SEEDS - len(found):
            raise ParameterError(f"seeds cannot be {text!r}; expected '0-5', '0,2,4' or nothing for the report's own")
        found += range(first, last + 1)
    if len(set(found)) != len(found):
        raise ParameterError(f"seeds {text!r} names a seed twice; name each once")
    return found


def parse(assignments: list[str], defaults: dict) -> dict:
    """The values of texts `name=value`, each of the type of its default; only those that were passed.

    Raises ParameterError for an unknown name (with the nearest), a value of another type, and a name passed twice.
    """
    values: dict = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"parameter {text!r} has no value; write it as name=value")
        if name not in defaults:
            raise ParameterError(f"unknown parameter {name!r}{nearest(name, defaults)}")
        if name in values:
            raise ParameterError(f"parameter {name!r} is passed twice, as {values[name]!r} and {value!r}; pass it once")
        values[name] = _typed(name, value, type(defaults[name]))
    return values


def is_a(value, kind: type) -> bool:
    """Whether a value is of a type; a whole number is a float too, true and false are neither number."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _typed(name: str, text: str, kind: type):
    if kind is str:
        return text
    try:
        value = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        if math.isfinite(value):
            return value
    except (ValueError, KeyError, OverflowError):  # the last of a whole number beyond every other
        pass
    expected = {int: "int, a whole number", float: "float, a number", bool: "bool, true or false"}[kind]
    raise ParameterError(f"parameter {name!r} must be of type {expected}, not {text[:50]!r}")
