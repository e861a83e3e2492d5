"""A notebook's parameters: what it declares, what a person passed, and whether the values can be.

papermill only warns of a parameter that the notebook does not have, and passes on a value of the wrong type. So the
declarations are read from the cell tagged `parameters` without running it, and everything is checked before any work.
"""

import ast
import io
import json
import math
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

from secondlook import reports
from secondlook.recipe import CAM_METHODS, PROFILES, VARIANTS, nearest

Scalar = str | int | float | bool
TYPES = {"str": str, "int": int, "float": float, "bool": bool}
TRAIN = ("missing", "always", "never")
KNOWN_TYPES = {"profile": str, "variant": str, "train": str, "seeds": str, "device": str, "max_minutes": float,
               "cam_method": str}  # fmt: skip


class ParameterError(ValueError):
    """A parameter that cannot be: says what was wrong, what was expected, what to do."""


@dataclass(frozen=True)
class Parameter:
    """One declaration: `name = default  # comment`."""

    name: str
    type: type
    default: Scalar
    comment: str


def declared(notebook: Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name, in the order of its cell tagged `parameters`.

    Raises ParameterError where the file is no notebook, has not exactly one such cell, or the cell holds anything but
    flat declarations `name = value` of text, whole numbers, numbers and true or false (papermill turns tuples into
    text and does not see unions).
    """
    notebook = Path(notebook)
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        cells = [c for c in content["cells"] if "parameters" in c.get("metadata", {}).get("tags", [])]
        sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParameterError(f"{notebook}: not a notebook that can be read ({error}); restore or re-save it") from None
    if len(sources) != 1:
        raise ParameterError(f"{notebook}: {len(sources)} code cells are tagged 'parameters'; tag exactly one")
    return _declarations(sources[0], notebook.name)


def parse(assignments: list[str], known: dict[str, Parameter]) -> dict[str, Scalar]:
    """The values of texts `name=value`, each of its declared type; only those that were passed.

    A whole number passes as a number; true and false are the two values of a bool. Raises ParameterError for an
    unknown name (with the nearest), a value of another type, and a name passed twice.
    """
    values: dict[str, Scalar] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise ParameterError(f"parameter {text!r} has no value; write it as name=value")
        if name not in known:
            raise ParameterError(f"unknown parameter {name!r}{nearest(name, known)}")
        if name in values:
            raise ParameterError(f"parameter {name!r} is passed twice, as {values[name]!r} and {value!r}; pass it once")
        values[name] = _typed(value, known[name])
    return values


def check_values(values: dict, report: str | None = None, root: Path | None = None) -> None:
    """Returns nothing when the parameters that every chapter has can be; names it does not know are left alone.

    `report` makes the variants those of that report. Also for a chapter's opening cell, since plain papermill
    checks nothing. Raises ParameterError naming the parameter, its value, and what was expected.
    """
    for name, kind in KNOWN_TYPES.items():
        if name in values and not _is_a(values[name], kind):
            way_out = f"; with papermill pass it as text: -r {name} {values[name]}" if kind is str else ""
            raise ParameterError(f"{name} must be of type {kind.__name__}, not {values[name]!r}{way_out}")
    variants = reports.read(report, root).variants() if report and values.get("variant") else VARIANTS[:-1]
    known = {"profile": PROFILES, "train": TRAIN, "variant": ("", *variants), "cam_method": ("", *CAM_METHODS)}
    for name, allowed in known.items():
        value = values.get(name, allowed[0])
        if value not in allowed:
            hint = nearest(value, [word for word in allowed if word])
            raise ParameterError(f"unknown {name} {value!r}{hint}{' (or empty for all)' if name == 'variant' else ''}")
    seeds(values.get("seeds", ""))
    minutes = values.get("max_minutes", 1.0)
    if not (minutes > 0 and math.isfinite(minutes)):
        raise ParameterError(f"max_minutes must be above 0, not {minutes}; to train nothing pass train=never")
    device = values.get("device", "auto")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ParameterError(f"unknown device {device!r}; expected auto, cpu, cuda or cuda:N, for instance cuda:0")


def seeds(text: str) -> list[int] | None:
    """The seeds of a text such as "0-5" or "0,2,4", in its order; None for "", which is as the report."""
    if text == "":
        return None
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + 10_000:
            raise ParameterError(f"seeds cannot be {text!r}; expected '0-5', '0,2,4' or nothing for the report's own")
        found += range(first, last + 1)
    if len(set(found)) != len(found):
        raise ParameterError(f"seeds {text!r} names a seed twice; name each once")
    return found


def _declarations(source: str, where: str) -> dict[str, Parameter]:
    try:
        body = ast.parse(source).body
        comments = {
            t.start[0]: t.string
            for t in tokenize.generate_tokens(io.StringIO(source).readline)
            if t.type == tokenize.COMMENT
        }
    except (SyntaxError, tokenize.TokenError) as error:
        raise ParameterError(f"{where}: the parameters cell is not plain Python ({error})") from None
    found: dict[str, Parameter] = {}
    for statement in body:
        line = ast.get_source_segment(source, statement)
        target, value, kind = _parts(statement)
        if target is None or type(value) not in TYPES.values() or not _is_a(value, kind or type(value)):
            raise ParameterError(f"{where}: parameters cell: expected `name = value  # what it is`, not `{line}`")
        if target in found:
            raise ParameterError(f"{where}: parameters cell: {target!r} is declared twice; keep one")
        kind = kind or type(value)
        found[target] = Parameter(
            target, kind, kind(value), comments.get(statement.end_lineno, "").lstrip("# ").strip()
        )
    return found


def _parts(statement: ast.stmt) -> tuple[str | None, object, type | None]:
    """Name, value and annotated type of a declaration; the name is None where it is none."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, kind = statement.targets[0], None
    elif isinstance(statement, ast.AnnAssign) and getattr(statement.annotation, "id", None) in TYPES:
        target, kind = statement.target, TYPES[statement.annotation.id]
    else:
        return None, None, None
    try:
        return getattr(target, "id", None), ast.literal_eval(statement.value), kind
    except (ValueError, TypeError):
        return None, None, None


def _typed(text: str, parameter: Parameter) -> Scalar:
    kind = parameter.type
    if kind is str:
        return text
    plain = text.strip().lower()
    if kind is bool and plain in ("true", "false"):
        return plain == "true"
    if kind is int and re.fullmatch(r"[+-]?\d{1,18}", plain, re.ASCII):
        return int(plain)
    if kind is float and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", plain, re.ASCII):
        value = float(plain)
        if math.isfinite(value):
            return value
    expected = {int: "int, a whole number", float: "float, a number", bool: "bool, true or false"}[kind]
    about = f" ({parameter.comment})" if parameter.comment else ""
    raise ParameterError(f"parameter {parameter.name!r}{about} must be of type {expected}, not {text!r}")


def _is_a(value, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
