"""How a notebook calls a figure: on records as they are there, with a notice in the place of what cannot be drawn."""

import functools
import inspect

from plotly.graph_objects import Figure

from secondlook.figures.tables import Notice
from secondlook.figures.values import NothingToDraw, is_custom, labels, needed, present


def drawn(figure):
    """The function as a page wants it: a `Notice` of what is missing where it raises NothingToDraw.

    Groups by label may have labels without records, which the line under the title then names; labels tell reduced
    records from full ones where both are shown; and a reader's own run, which may lack what the report's have, is
    left out of a comparison that cannot take it. Of a reader's own run alone the id ends in "-yours".
    """
    signature = inspect.signature(figure)

    @functools.wraps(figure)
    def called(*arguments, **options):
        bound = signature.bind(*arguments, **options)
        first = next(iter(bound.arguments))
        groups, left = present(bound.arguments[first])
        try:
            if groups is None or (isinstance(groups, list) and not groups):
                needed([], "this figure")
            return _with_labels(figure, signature, bound, groups, left)
        except NothingToDraw as error:
            reason = getattr(bound.arguments[first], "reason", "") or str(error)
            theirs = {k: own for k, own in groups.items() if not is_custom(own)} if isinstance(groups, dict) else {}
            if theirs and len(theirs) < len(groups):
                return called(**{**bound.arguments, first: theirs})
            return Notice(reason)

    return called


def _with_labels(figure, signature: inspect.Signature, bound: inspect.BoundArguments, groups, left: str):
    names = labels(groups)
    first, *others = bound.arguments
    chosen = {first: groups, **{name: bound.arguments[name] for name in others}}
    chosen = {name: {names.get(k, k): v for k, v in value.items()} if isinstance(value, dict) and names else value
              for name, value in chosen.items()}  # fmt: skip
    if not isinstance(groups, dict) and is_custom(groups) and "id" in signature.parameters:
        chosen["id"] = chosen.get("id", signature.parameters["id"].default).removesuffix("-yours") + "-yours"
    shown = figure(*inspect.BoundArguments(signature, chosen).args, **inspect.BoundArguments(signature, chosen).kwargs)
    if left and isinstance(shown, Figure):
        shown.layout.title.subtitle.text += f" · without {left}, not run yet"
    return shown
