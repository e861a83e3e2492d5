"""Tables that people write, checked: an error says where, what was wrong, what was expected and the nearest word."""

import difflib
import re
from dataclasses import fields

from pydantic import ConfigDict, ValidationError

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
MENTIONED = 12  # of known words in an error message
NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,79}$"  # of what becomes part of a path
NAME_RULE = "letters, digits and . _ + - alone, a letter or digit first, at most 80 in all"


class RecipeError(ValueError):
    """A recipe that cannot be: says what was wrong, what was expected, what to do."""


def checked(kind: type, values: dict, where: str):
    """An instance of the STRICT dataclass `kind`, every key known, every value of its type and in its range.

    Raises RecipeError naming `where`, the key, what it holds, and what was expected.
    """
    if not isinstance(values, dict):
        raise RecipeError(f"{where} must be a table, not {shown(values)}")
    try:
        return kind(**values)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_fault(error.errors(include_url=False)[0], kind)}") from None


def chosen(kind: type, table: dict, options: dict[str, tuple[str, ...]], where: str):
    """As `checked`, for a table whose `name`, a key of `options`, says which of the other fields it may set."""
    name = table.get("name")
    if not isinstance(name, str) or name not in options:
        raise RecipeError(f"{where}: unknown name {shown(name)}{nearest(name, options)}")
    for key in table:
        if key not in ("name", *options[name]):
            raise RecipeError(f"{where} {name!r}: {key} is no option of it{nearest(key, ('name', *options[name]))}")
    return checked(kind, table, f"{where} {name!r}")


def _fault(fault: dict, kind: type) -> str:
    """One of pydantic's errors as a sentence."""
    key, value = ".".join(map(str, fault["loc"])), shown(fault["input"])
    match fault["type"]:
        case "unexpected_keyword_argument":
            return f"unknown key {key!r}{nearest(key, [f.name for f in fields(kind)])}"
        case "missing":
            return f"{key} is missing"
        case "literal_error":
            choices = re.findall("'(.*?)'", fault["msg"])
            return f"{key} {value} is unknown{nearest(fault['input'], choices)}"
        case "string_pattern_mismatch":
            return f"{key} {value} cannot be part of a file's name; expected {NAME_RULE}"
        case "value_error":
            return f"{key}: {fault['msg'].removeprefix('Value error, ')}"
    expected = fault["msg"].partition(" should ")[2].replace("valid dictionary", "table")
    return f"{key} must {expected}, not {value}"


def shown(value) -> str:
    """The value as an error message shows it, cut short."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python writes no more than 4,300 digits
        return "a number of thousands of digits"


def nearest(word: str, known) -> str:
    """The end of an error message: the nearest known word, or all of them, but no more than MENTIONED."""
    known = [str(k) for k in known]
    if not known:
        return "; there is none to choose from"
    if close := difflib.get_close_matches(word if isinstance(word, str) else shown(word), known, 1):
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(known) - MENTIONED} more" if len(known) > MENTIONED else ""
    return f"; expected one of {', '.join(known[:MENTIONED])}{more}"
