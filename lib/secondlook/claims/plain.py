"""Reasons in plain words: runs as their report says them, metrics and variants without underscores."""

import re
from collections.abc import Mapping

from secondlook import names
from secondlook.claims.evidence import Evidence
from secondlook.recipe import Recipe

CODE = re.compile(r"(`[^`]*`)")
NAME = re.compile(r"\b[A-Za-z]\w*(?:[-.]\w+)*")


def in_words(text: str, e: Evidence) -> str:
    """The reason of a claim with every name that code gives put into words; what stands between backticks is code."""
    runs = {recipe.run: recipe for recipe in e.asked}
    parts = CODE.split(text)
    parts[::2] = [NAME.sub(lambda found: _word(found[0], runs), part) for part in parts[::2]]
    return "".join(parts)


def _word(name: str, runs: Mapping[str, Recipe]) -> str:
    if name in runs and re.search("[_-]", name):
        return _run(runs[name], runs)
    return names.name(name) if "_" in name else name


def _run(recipe: Recipe, runs: Mapping[str, Recipe]) -> str:
    """What its report says of a run, up to the first comma where that tells it apart, and its point of a grid."""
    alike = {other.sweep for other in runs.values() if _head(other) == _head(recipe)}
    words = _head(recipe) if len(alike) == 1 else recipe.says
    point = recipe.run.removeprefix(recipe.sweep).strip("-").replace("_", " ")
    return f"{words} ({point})" if point else words


def _head(recipe: Recipe) -> str:
    return re.split(r"[,:;(]", recipe.says)[0].strip()
