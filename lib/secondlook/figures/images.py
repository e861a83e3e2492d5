"""Pictures for figures: sprites as data-URIs, and a grid of sample images where the data set is there."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.figures.marks import picture
from secondlook.figures.template import finish
from secondlook.figures.values import joined

QUALITY = 85  # of WebP


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


def webp(pixels: np.ndarray, quality: int = QUALITY) -> str:
    """Pixels uint8 (h, w, 3 or 4) as a data-URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def hover_sprite(images: np.ndarray, columns: int = 32) -> dict:
    """What `finish(…, hover_sprite=…)` takes: the tile whose number is the first of a point's customdata is shown."""
    return {"src": sprite(images, columns), "columns": columns, "tile": int(images.shape[2])}


def sample_grid(images: np.ndarray | None, labels: np.ndarray | None, class_names: tuple[str, ...], data_name: str,
                data_set: str = "cifar10", across: int = 10, id: str = "samples") -> go.Figure:  # fmt: skip
    """The first `across` images of each class, a row a class; without images a note that names the command for them.

    images uint8 (n, h, w[, 3]), labels (n,) in 0 … k − 1. At most twenty classes are shown.
    """
    if images is None or labels is None:
        return placeholder(
            f"The images of {data_name} are not here.", f"secondlook data fetch {data_set}", data_name, id
        )
    labels, names = np.asarray(labels), class_names[:20]
    found = [np.flatnonzero(labels == k)[:across] for k in range(len(names))]
    short = [name for name, own in zip(names, found) if not len(own)]
    if short:
        raise ValueError(f"no image of {joined(short)} among {len(labels)}; give images of every class")
    tiles = np.zeros((len(names), across, *images.shape[1:]), np.uint8)
    for row, own in zip(tiles, found):
        row[: len(own)] = images[own]
    x, y = np.meshgrid(np.arange(across) + 0.5, np.arange(len(names)) + 0.5)
    figure = go.Figure(go.Scatter(x=x.ravel(), y=y.ravel(), mode="markers", marker_opacity=0, marker_size=20,
                                  text=np.repeat(names, across).tolist(),
                                  hovertemplate="%{text}<extra></extra>"))  # fmt: skip
    picture(figure, sprite(tiles.reshape(-1, *images.shape[1:]), across), across, len(names), toward="left")
    figure.update_yaxes(tickvals=[k + 0.5 for k in range(len(names))], ticktext=list(names))
    sizes = np.bincount(labels, minlength=len(class_names))
    even = f"{sizes[0]:,} each" if len(set(sizes.tolist())) == 1 else f"{sizes.min():,} to {sizes.max():,} each"
    side = " × ".join(str(n) for n in images.shape[1:3])
    title = f"{len(labels):,} images of {side} pixels in {len(class_names)} classes, {even}"
    alt = f"Sample images in {len(names)} rows: {joined(names)}. {title}."
    return finish(figure, id, title, alt, data_name, 130 + 40 * len(names))


def placeholder(text: str, command: str, data_name: str, id: str) -> go.Figure:
    """A quiet figure in the place of one that needs images: says what is missing and which command makes it."""
    figure = go.Figure(go.Scatter(x=[0], y=[0], mode="text", text=[f"{text}<br>Fetch them with<br><b>{command}</b>"],
                                  hoverinfo="skip"))  # fmt: skip
    figure.update_xaxes(visible=False, fixedrange=True)
    figure.update_yaxes(visible=False, fixedrange=True)
    title = f"Not shown: {text[:1].lower()}{text[1:].rstrip('.')}"
    return finish(figure, id, title, f"{text} Fetch them with: {command}.", data_name, 180)
