"""What several figures are drawn from: dots with intervals, lines, rows with labels, and pictures laid on the axes."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.figures.template import MEASURED, PUBLISHED, faded, finish, menu
from secondlook.figures.values import NothingToDraw

QUALITY = 85  # of WebP


def means(figure: go.Figure, at, found: Sequence[tuple[float, float]], hover: str, *, across: bool = False,
          name: str = "", least: float = -np.inf, **more) -> None:  # fmt: skip
    """Adds dots at (mean, half-width) of `found`: beside rows `at`, or above places `at` where `across`.

    No interval goes below `least`.
    """
    name = name or ("mean, 95 % interval" if any(h > 0 for _, h in found) else "mean")
    values, half = np.array(found, float).reshape(-1, 2).T
    error = {"array": half, "thickness": 2}
    if (values - half < least).any():
        error |= {"symmetric": False, "arrayminus": np.clip(values - least, 0, half)}
    places = {"x": at, "y": values, "error_y": error} if across else {"x": values, "y": at, "error_x": error}
    look = {"mode": "markers", "marker": {"size": 10, "color": MEASURED}, **more}
    figure.add_scatter(**places, name=name, hovertemplate=f"{hover}<extra></extra>", **look)


def seeds(figure: go.Figure, values: Sequence[np.ndarray], digits: str = ".2%") -> None:
    """Adds a small dot for each seed of each row, below the row's mean."""
    rows = np.repeat(np.arange(len(values)) + 0.22, [len(v) for v in values])
    figure.add_scatter(x=np.concatenate(values), y=rows, mode="markers", name="a seed",
                       marker={"size": 6, "color": faded(MEASURED, 0.7)},
                       hovertemplate=f"%{{x:{digits}}}<extra></extra>")  # fmt: skip


def diamonds(figure: go.Figure, x, y, texts: Sequence[str] | None, name: str = "published", size: int = 11,
             **more) -> None:  # fmt: skip
    """Adds the numbers that somebody else published or logged, as `texts` say them."""
    look = {"mode": "markers", "hovertemplate": f"{name} %{{text}}<extra></extra>", **more}
    marker = {"color": PUBLISHED, "symbol": "diamond", "size": size}
    figure.add_scatter(x=x, y=y, text=texts, name=name, marker=marker, **look)


def line_at(figure: go.Figure, value: float, span: Sequence[float], name: str, colour: str, dash: str = "dash") -> None:
    """Adds a vertical line at `value` from span[0] to span[1], named in the legend."""
    figure.add_scatter(x=[value, value], y=list(span), mode="lines", name=name, hovertemplate=f"{name}<extra></extra>",
                       line={"color": colour, "dash": dash, "width": 2})  # fmt: skip


def label_rows(figure: go.Figure, labels: Sequence[str], above: bool = True, **more) -> None:
    """Labels the rows 0, 1, … of the y axis, the first on top; on a telephone above their rows, if `above`."""
    n = len(labels)
    if above:
        figure.update_layout(meta={"secondlook": {"rows": True}})
    figure.update_yaxes(tickvals=list(range(n)), ticktext=list(labels), range=[n - 0.5, -0.5], zeroline=False, **more)


def within(figure: go.Figure, values: Sequence, found: Sequence[tuple[float, float]] = (), low=0.0, high=1.0) -> None:
    """Fits the x axis to all `values` and to what lies between `low` and `high` of the intervals (mean, half-width).

    Raises NothingToDraw where none of them is finite.
    """
    ends = np.concatenate([*map(np.ravel, values), *((m - h, m + h) for m, h in found)]).astype(float)
    ends = np.clip(ends[np.isfinite(ends)], low, high)
    if not len(ends):
        raise NothingToDraw("there is no finite number to draw: every seed diverged, or left no value")
    room = max(0.05 * np.ptp(ends), 0.005 * (high - low))
    figure.update_xaxes(range=[ends.min() - room, ends.max() + room])


def around(traces: Sequence[go.Scatter]) -> list[float] | None:
    """The x axis that fits the traces and their intervals, with some room; None where there is nothing to fit.

    Where labels of rows move into the plot, on a telephone, an axis that fits itself would leave them half of it.
    """
    ends = [np.array([])]
    for t in traces:
        above = 0.0 if t.error_x.array is None else np.asarray(t.error_x.array, float)
        below = above if t.error_x.arrayminus is None else np.asarray(t.error_x.arrayminus, float)
        ends += [np.asarray(t.x, float) + above, np.asarray(t.x, float) - below]
    ends = np.concatenate(ends)
    ends = ends[np.isfinite(ends)]
    if not len(ends):
        return None
    room = 0.06 * (np.ptp(ends) or abs(ends[0]) or 1.0)
    return [float(ends.min() - room), float(ends.max() + room)]


def picture(figure: go.Figure, source: str, width: float, height: float, toward: str = "center", **more) -> None:
    """Lays a picture on the axes, `width` by `height` units from the upper left corner, its proportions kept.

    `more` is the y axis's, which is not shown otherwise.
    """
    figure.add_layout_image(source=source, x=0, y=0, sizex=width, sizey=height, xref="x", yref="y", sizing="stretch",
                            yanchor="top", layer="below")  # fmt: skip
    still = {"constrain": "domain", "fixedrange": True, "showgrid": False, "zeroline": False}
    figure.update_xaxes(range=[0, width], visible=False, constraintoward=toward, **still)
    down = {"range": [height, 0], "scaleanchor": "x", "constraintoward": "top", "visible": False, **still, **more}
    figure.update_yaxes(down)


def spots(figure: go.Figure, columns, rows, size: int, hover: str, **more) -> None:
    """Adds a mark that nobody sees in the middle of each tile of a picture, for what is said on hover."""
    x, y = (np.ravel(places) + 0.5 for places in (columns, rows))
    figure.add_scatter(x=x, y=y, mode="markers", marker={"opacity": 0, "size": size},
                       hovertemplate=f"{hover}<extra></extra>", **more)  # fmt: skip


def choose_picture(figure: go.Figure, sources: dict[str, str], traces: bool = False) -> None:
    """Adds a menu of pictures by label where there are several; with `traces` each shows the trace of its number."""
    if len(sources) > 1:
        shown = [
            {"visible": [k == view for k in range(len(sources))]} if traces else {} for view in range(len(sources))
        ]
        changes = [(label, own, {"images[0].source": s}) for own, (label, s) in zip(shown, sources.items())]
        figure.update_layout(updatemenus=[menu(changes)])


def webp(pixels: np.ndarray, **options) -> str:
    """Pixels uint8 (h, w, 3 or 4) as a data-URI; `options` are Pillow's, such as quality or lossless."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", method=4, **(options or {"quality": QUALITY}))
    return data_uri(buffer.getvalue())


def data_uri(encoded: bytes) -> str:
    """The bytes of a WebP picture as a data-URI."""
    return "data:image/webp;base64," + base64.b64encode(encoded).decode()


def decoded(encoded: np.ndarray, mode: str = "RGB") -> Image.Image:
    """The picture whose WebP bytes a record keeps as uint8 (n,)."""
    return Image.open(io.BytesIO(np.asarray(encoded, np.uint8).tobytes())).convert(mode)


def sprite(images: np.ndarray, columns: int) -> str:
    """One picture of all images, `columns` in a row, as a data-URI of WebP.

    images uint8 (n, h, w) or (n, h, w, 3). Raises ValueError for another type or shape.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images) or columns < 1:
        raise ValueError(f"a sprite needs uint8 images (n, h, w[, 3]) and a column, not {images.dtype} {images.shape}")
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, -1)
    n, h, w, _ = images.shape
    rows = -(-n // columns)
    padded = np.zeros((rows * columns, h, w, 3), np.uint8)
    padded[:n] = images
    return webp(padded.reshape(rows, columns, h, w, 3).swapaxes(1, 2).reshape(rows * h, columns * w, 3))


def hover_sprite(images: np.ndarray, columns: int = 32) -> dict:
    """What `finish(…, hover_sprite=…)` takes: the tile whose number is the first of a point's customdata is shown."""
    return {"src": sprite(images, columns), "columns": columns, "tile": int(images.shape[2])}


def placeholder(data_name: str, data_set: str, id: str, caption: str = "", text: str = "") -> go.Figure:
    """A quiet figure in the place of one that needs images: says what is missing and which command makes it."""
    text = text or f"The images of {data_name} are not here."
    command = f"secondlook data fetch {data_set}"
    figure = go.Figure(go.Scatter(x=[0], y=[0], mode="text", text=[f"{text}<br>Fetch them with<br><b>{command}</b>"],
                                  hoverinfo="skip"))  # fmt: skip
    figure.update_xaxes(visible=False, fixedrange=True)
    figure.update_yaxes(visible=False, fixedrange=True)
    title = f"Not shown: {text[:1].lower()}{text[1:].rstrip('.')}"
    return finish(figure, id, title, f"Fetch them with: {command}", caption or data_name, 180)
