"""A VAE's latent space: where the images lie, what the decoder draws between them, and images rebuilt."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.figures.images import sprite, webp
from secondlook.figures.marks import picture
from secondlook.figures.template import CLASS_COLOURS, QUIET, SYMBOLS, finish, menu, views
from secondlook.figures.values import (
    NothingToDraw,
    caption,
    class_names,
    counted,
    digits,
    joined,
    needed,
    percent,
    sentence,
)
from secondlook.record import Record

PLACES = {"latent_tsne": "t-SNE", "latent_umap": "UMAP", "latent_pca": "principal components"}
COLOURS = {"labels": "digit", "kmeans_predictions": "cluster", "svm_predictions": "side of the linear head"}
MOST = 1500  # images placed
STEPS, REACH = 15, 2.5  # frames of a walk either way, and standard deviations
FRAME = 24  # pixels of a frame of a walk on the page, which holds several walks


def latent_space(record: Record, hover: dict | None = None, id: str = "latent-space") -> go.Figure:
    """Test images by their latent means on a plane; a menu of places and of what the colour tells.

    Read from latent_tsne, latent_umap and latent_pca (n, 2), labels, kmeans_predictions and svm_predictions. With the
    colours of the linear head t-SNE shows points of its hyperplane (latent_tsne_plane). `hover` is a `hover_sprite`
    whose tile i is image i. Raises ValueError for a record without places.
    """
    (record,) = needed(record, "a latent space")
    there = [place for place in PLACES if place in record.arrays]
    if not there:
        raise NothingToDraw(f"the record of {record.recipe} places no latents; its run needs keep = 'evidence'")
    names, figure, owners, shown = class_names(record), go.Figure(), [], []
    for place in there:
        for colours in list(COLOURS) if place == there[0] else ["labels"]:
            if colours in record.arrays:
                owners += _points(figure, record, place, colours, names, len(shown))
                shown.append(f"{PLACES[place]}, colour: {COLOURS[colours]}")
    figure.update_layout(updatemenus=[views(owners, shown)], hovermode="closest", legend_itemsizing="constant")
    axis = {"showticklabels": False, "zeroline": False, "showgrid": False}
    figure.update_xaxes(title="", **axis)
    figure.update_yaxes(title="", **axis)
    title = _told(record)
    alt = f"Scatter plot of the latent means of {counted(_count(record), 'test image')}. {title}."
    alone = "all images on one point: nothing in the latent tells them apart" * _on_one_point(record, there)
    return finish(figure, id, title, f"{alt} {alone}".strip(), caption([record], alone), 500, hover_sprite=hover)


def latent_walk(groups: dict[str, Record], id: str = "latent-walk") -> go.Figure:
    """What the decoder draws on a grid in the plane where the latents spread most; a menu of the labelled records.

    Read from the array `walk` (WebP, 15×15 frames). Raises ValueError for a record without one.
    """
    records = needed(groups.values(), "a latent walk")
    pages = {label: _walk(record) for label, record in groups.items()}
    at, figure = np.linspace(-REACH, REACH, STEPS), go.Figure()
    i, j = (a.ravel() for a in np.meshgrid(range(STEPS), range(STEPS), indexing="ij"))
    figure.add_scatter(x=j + 0.5, y=i + 0.5, mode="markers", marker={"opacity": 0, "size": 16}, showlegend=False,
                       customdata=np.stack([at[j], at[::-1][i]], -1).round(2),
                       hovertemplate="%{customdata[0]:+.1f} and %{customdata[1]:+.1f} standard deviations"
                       "<extra></extra>")  # fmt: skip
    picture(figure, next(iter(pages.values())), STEPS, STEPS)
    figure.update_yaxes(visible=False)
    if len(pages) > 1:
        changes = [(label, {}, {"images[0].source": page}) for label, page in pages.items()]
        figure.update_layout(updatemenus=[menu(changes)])
    said = [f"{_used(record)} in {label}" for label, record in groups.items()]
    title = sentence(f"latent dimensions in use: {joined(said)}; a walk across the two directions of most spread")
    alt = f"A grid of {STEPS} by {STEPS} pictures drawn by the decoder of {joined(groups)}. {title}."
    return finish(figure, id, title, alt, caption(records, f"from −{REACH} to {REACH} standard deviations"), 440)


def reconstructions(groups: dict[str, Record], originals: np.ndarray | None = None,
                    id: str = "reconstructions") -> go.Figure:  # fmt: skip
    """Reconstructions of the first test images of each class, below the originals where these are at hand.

    Read from `reconstructions` (WebP, a row a class) and `reconstruction_rows`. `originals` are uint8 (classes,
    columns, h, w), the same for all records, before any noise. A menu of the labelled records.
    """
    records = needed(groups.values(), "reconstructions")
    pages = {label: _beside(record, originals) for label, record in groups.items()}
    classes, columns = np.asarray(records[0].arrays["reconstruction_rows"]).shape
    rows = classes * (1 if originals is None else 2)
    figure = go.Figure()
    i, j = (a.ravel() for a in np.meshgrid(range(rows), range(columns), indexing="ij"))
    kinds = ["rebuilt"] if originals is None else ["test image", "rebuilt"]
    names = class_names(records[0])
    text = [f"{names[r // len(kinds)]}, {kinds[r % len(kinds)]}" for r in i]
    figure.add_scatter(x=j + 0.5, y=i + 0.5, mode="markers", marker={"opacity": 0, "size": 20}, text=text,
                       hovertemplate="%{text}<extra></extra>", showlegend=False)  # fmt: skip
    picture(figure, next(iter(pages.values())), columns, rows)
    figure.update_yaxes(visible=False)
    if len(pages) > 1:
        figure.update_layout(
            updatemenus=[menu([(label, {}, {"images[0].source": page}) for label, page in pages.items()])]
        )
    said = [f"{digits(float(r.metrics['test_reconstruction']))} in {label}" for label, r in groups.items()]
    title = f"Squared error of a rebuilt image: {joined(said)}"
    alt = f"Rows of {' and '.join(kinds)}s for {joined(names)}. {title}."
    note = "originals without their noise" if originals is not None else "the images are not at hand"
    return finish(figure, id, title, alt, caption(records, note), 70 * rows + 20)


def _count(record: Record) -> int:
    return min(MOST, min(len(record.arrays[p]) for p in PLACES if p in record.arrays))


def _points(figure: go.Figure, record: Record, place: str, colours: str, names, view: int) -> list[int]:
    n, before = _count(record), len(figure.data)
    at, groups = np.asarray(record.arrays[place][:n], np.float32), np.asarray(record.arrays[colours][:n], int)
    image, labels = np.arange(n, dtype=np.int16), np.asarray(record.arrays["labels"][:n], int)
    word = {"labels": "", "kmeans_predictions": "cluster called ", "svm_predictions": "on the side of "}[colours]
    for g in np.unique(groups):
        own = groups == g
        hover = f"{word}{names[g]}" if colours == "labels" else f"{word}{names[g]}: %{{text}}"
        text = None if colours == "labels" else [names[k] for k in labels[own]]
        figure.add_scatter(x=at[own, 0], y=at[own, 1], mode="markers", name=f"{word}{names[g]}", customdata=image[own],
                           text=text, hovertemplate=f"{hover}<extra></extra>", visible=view == 0,
                           marker={"size": 5, "color": CLASS_COLOURS[g % 10], "symbol": SYMBOLS[g % 10],
                                   "opacity": 0.7})  # fmt: skip
    if colours == "svm_predictions" and f"{place}_plane" in record.arrays:
        plane = np.asarray(record.arrays[f"{place}_plane"], np.float32)
        figure.add_scatter(x=plane[:, 0], y=plane[:, 1], mode="markers", name="points of its hyperplane",
                           visible=view == 0, hovertemplate="a point of the hyperplane<extra></extra>",
                           marker={"size": 7, "color": QUIET, "symbol": "x-thin", "line": {"width": 1.6,
                                                                                      "color": QUIET}})  # fmt: skip
    return [view] * (len(figure.data) - before)


def _told(record: Record) -> str:
    """How well clusters, linear head and a linear probe tell the classes apart."""
    m = record.metrics
    parts = {"k-means": "kmeans_accuracy", "the linear head": "svm_accuracy", "a linear probe": "probe_accuracy"}
    said = [f"{name} {percent(m[key])}" for name, key in parts.items() if m.get(key) is not None]
    always = f"; always the commoner digit {percent(m['majority_accuracy'])}" if "majority_accuracy" in m else ""
    return sentence(f"told rightly from the latent: {joined(said)}{always}")


def _on_one_point(record: Record, places: list[str]) -> bool:
    return all(not np.ptp(np.asarray(record.arrays[place], float), axis=0).any() for place in places)


def _used(record: Record) -> str:
    return f"{record.metrics['active_dimensions']} of {len(record.metrics['kl_by_dimension'])}"


def _encoded(record: Record, name: str) -> str:
    if name not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no {name}; its run needs keep = 'evidence'")
    return "data:image/webp;base64," + base64.b64encode(record.arrays[name].tobytes()).decode()


def _walk(record: Record) -> str:
    """The record's walk, a little smaller."""
    _encoded(record, "walk")
    whole = Image.open(io.BytesIO(record.arrays["walk"].tobytes())).convert("RGB")
    return webp(np.asarray(whole.resize((STEPS * FRAME, STEPS * FRAME), Image.Resampling.BOX)), 50)


def _beside(record: Record, originals: np.ndarray | None) -> str:
    """Originals and reconstructions by turns, a row each, or the reconstructions alone."""
    if originals is None:
        return _encoded(record, "reconstructions")
    _encoded(record, "reconstructions")
    flat = np.asarray(Image.open(io.BytesIO(record.arrays["reconstructions"].tobytes())).convert("L"))
    classes, columns = np.asarray(record.arrays["reconstruction_rows"]).shape
    h = flat.shape[0] // classes
    rebuilt = flat.reshape(classes, h, columns, h).swapaxes(1, 2)
    shape = (classes, columns, h, h)
    fitted = np.zeros(shape, np.uint8)
    for k, own in enumerate(np.asarray(originals, np.uint8)):
        for j, image in enumerate(own):
            fitted[k, j] = np.asarray(Image.fromarray(image).resize((h, h), Image.Resampling.BILINEAR))
    rows = np.stack([fitted, rebuilt], 1).reshape(-1, h, h)
    return sprite(rows, columns)
