"""Images a net is most certain of and wrong about, one of each of several classes."""

import numpy as np
import plotly.graph_objects as go

from secondlook.evaluation.metrics import decode_scores
from secondlook.figures.images import placeholder, sprite
from secondlook.figures.marks import picture
from secondlook.figures.template import finish
from secondlook.figures.values import NothingToDraw, caption, class_names, joined, needed, percent, sentence
from secondlook.record import Record

LINES = 1.0  # heights of an image that four lines below it take, on the narrowest page


def misclassified(record: Record, images: np.ndarray | None, count: int = 5, id: str = "misclassified") -> go.Figure:
    """One wrong answer of each of the `count` classes with the most of them: the one given most probability.

    `images` are the record's test images in the order of its labels (`Chapter.pixels`); without them a placeholder
    names the command. Raises ValueError for a record without scores, or without mistakes.
    """
    (record,) = needed(record, "misclassified images")
    rows, certain = mistaken_rows(record, count)
    if images is None:
        return placeholder(f"The images of {record.data_name} are not here.",
                           f"secondlook data fetch {record.recipe.data.name}", caption([record]), id)  # fmt: skip
    names = class_names(record)
    labels, said = record.arrays["labels"][rows], record.arrays["predictions"][rows]
    x = np.arange(len(rows)) + 0.5
    text = [f"{names[a]}<br>→<br>{names[b]}<br>{percent(p, 0)}" for a, b, p in zip(labels, said, certain)]
    figure = go.Figure(go.Scatter(x=x, y=np.full(len(rows), 1.04), mode="text", text=text, hoverinfo="skip",
                                  textposition="bottom center", textfont_size=11))  # fmt: skip
    picture(figure, sprite(_framed(images[rows]), len(rows)), len(rows), 1)
    figure.update_yaxes(visible=False, range=[1 + LINES, 0])
    sure = int(np.argmax(certain))
    title = sentence(
        f"{names[labels[sure]]} called {names[said[sure]]} with a probability of {percent(certain[sure], 0)}"
    )
    title += f": the most certain mistakes about {joined(names[k] for k in labels)}"
    alt = f"{len(rows)} test images with their label, the prediction and its probability. {title}."
    return finish(figure, id, title, alt, caption([record]), 250)


def mistaken_rows(record: Record, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the record's test images and their probabilities, the classes with the most mistakes first."""
    if "scores" not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no scores; its run needs keep = 'evidence'")
    labels, said = (np.asarray(record.arrays[k], int) for k in ("labels", "predictions"))
    wrong = labels != said
    if not wrong.any():
        raise NothingToDraw(f"the record of {record.recipe} has no mistake to show")
    certain = decode_scores(record.arrays["scores"])[np.arange(len(labels)), said]
    mistakes = np.bincount(labels[wrong], minlength=labels.max() + 1)
    classes = [c for c in np.argsort(-mistakes, kind="stable")[:count] if mistakes[c]]
    rows = np.array([np.flatnonzero(wrong & (labels == c))[certain[wrong & (labels == c)].argmax()] for c in classes])
    return rows, certain[rows]


def _framed(images: np.ndarray, scale: int = 4, edge: int = 6) -> np.ndarray:
    """Images made larger by whole pixels, so that a browser does not blur them, with a white frame between them."""
    large = np.asarray(images).repeat(scale, 1).repeat(scale, 2)
    around = [(0, 0), (edge, edge), (edge, edge)] + [(0, 0)] * (large.ndim - 3)
    return np.pad(large, around, constant_values=255)
