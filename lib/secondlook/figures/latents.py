"""Where a net puts images: features on a plane, a VAE's latent space, what its decoder draws, and images rebuilt."""

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.figures import words
from secondlook.figures.drawn import drawn
from secondlook.figures.marks import choose_picture, data_uri, decoded, picture, spots, sprite, webp
from secondlook.figures.template import COLOURS, QUIET, SYMBOLS, Views, finish, mark
from secondlook.figures.values import NothingToDraw, kept, needed
from secondlook.record import Record

EMBEDDINGS = {"embedding_tsne": "t-SNE", "embedding_umap": "UMAP", "embedding_pca": "principal components"}
PLACES = {"latent_tsne": "t-SNE", "latent_umap": "UMAP", "latent_pca": "principal components"}
COLOUR_OF = {"labels": "digit", "kmeans_predictions": "cluster", "svm_predictions": "side of the linear head"}
NEIGHBOURS = 10
BY_NUMBER = [[(k + e) / 10, colour] for k, colour in enumerate(COLOURS) for e in (0, 1)]
MANY = 20  # groups up to which each has a line in the legend
MOST = 1500  # images placed
STEPS, REACH = 15, 2.5  # frames of a walk either way, and standard deviations
FRAME = 24  # pixels of a frame of a walk on the page, which holds several walks


@drawn
def embedding(record: Record, hover: dict | None = None, colours: tuple | None = None,
              id: str = "embedding") -> go.Figure:  # fmt: skip
    """Test images on a plane, a menu of the ways to place them; a colour a class, wrong answers crossed.

    Read from the arrays embedding_tsne, embedding_umap, embedding_pca (n, k), labels and predictions (the first n are
    the images placed). `hover` is a `hover_sprite` whose tile i is image i (`Chapter.hover_images`). `colours` is
    (names, group of each class) where classes are drawn in groups. Raises ValueError for a record without places.
    """
    (record,) = needed(record, "an embedding")
    there = [name for name in EMBEDDINGS if name in record.arrays]
    if not there or "labels" not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no embedding; its run needs keep = 'evidence'")
    names, count = words.class_names(record), len(record.arrays[there[0]])
    labels, said = (np.asarray(record.arrays[k][:count], np.int64) for k in ("labels", "predictions"))
    groups, member = colours or (names, range(len(names)))
    figure = go.Figure()
    views = Views(figure)
    for view, place in enumerate(there):
        at = np.asarray(record.arrays[place][:, :2], np.float32)
        _answers(figure, at, labels, said, names, groups, np.asarray(list(member))[labels])
        views.own(view)
    views.menu([EMBEDDINGS[place] for place in there])
    figure.update_layout(hovermode="closest", showlegend=len(groups) <= MANY, legend_itemsizing="constant")
    _plane(figure, scaleanchor="x")
    images = words.counted(count, "test image")
    features = np.asarray(record.arrays.get("embedding_pca", record.arrays[there[0]]), float)
    note = words.caption([record], f"{images}, {words.percent(np.mean(labels != said), 0)} of them wrong")
    shows = f"Scatter plot of {images} by the features of the last hidden layer"
    return finish(figure, id, _mixing(features, labels, names), shows, note, 560, hover_sprite=hover)


def _plane(figure: go.Figure, **more) -> None:
    """Axes that have no unit."""
    axis = {"title": "", "showticklabels": False, "zeroline": False, "showgrid": False}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis, **more)


def _answers(figure: go.Figure, at: np.ndarray, labels, said, names, groups, group: np.ndarray) -> None:
    """A trace for the right answers of each group, and one for all wrong answers."""
    wrong, image = labels != said, np.arange(len(labels), dtype=np.int16)
    for g, name in enumerate(groups):
        own = ~wrong & (group == g)
        if not own.any():
            continue
        one = (labels[own] == labels[own][0]).all()  # a name alone needs no text for every point
        hover = {"hovertemplate": f"{names[labels[own][0]]}<extra></extra>"}
        if not one:
            hover = {"text": [names[k] for k in labels[own]], "hovertemplate": f"%{{text}}<extra>{name}</extra>"}
        look = {"size": 5, "color": COLOURS[g % 10], "symbol": SYMBOLS[g // 10 % 10], "opacity": 0.9}
        figure.add_scatter(x=at[own, 0], y=at[own, 1], mode="markers", name=name, customdata=image[own], marker=look,
                           **hover)  # fmt: skip
    if wrong.any():
        text = [f"{names[a]} called {names[b]}" for a, b in zip(labels[wrong], said[wrong])]
        look = {"color": group[wrong] % 10, "cmin": -0.5, "cmax": 9.5, "colorscale": BY_NUMBER}
        figure.add_scatter(x=at[wrong, 0], y=at[wrong, 1], mode="markers", name="wrong, in its class's colour",
                           customdata=image[wrong], text=text, marker={"size": 6, "symbol": "x", **look},
                           hovertemplate="%{text}<extra></extra>")  # fmt: skip


def _mixing(x: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> str:
    """How often an image's nearest neighbours among the features are of its class, and which class mixes most."""
    k = min(NEIGHBOURS, len(x) - 1)
    if k < 1:
        return "One image alone has no neighbours"
    squares = (x**2).sum(1)
    distances = squares[:, None] + squares - 2 * x @ x.T
    np.fill_diagonal(distances, np.inf)
    near = np.argpartition(distances, k - 1, axis=1)[:, :k]
    same = (labels[near] == labels[:, None]).mean(1)
    shares = {c: same[labels == c].mean() for c in np.unique(labels)}
    neighbours = words.counted(k, "nearest neighbour")
    text = f"{words.percent(same.mean(), 0)} of an image's {neighbours} are of its class"
    order = words.ends(shares, lambda share: words.percent(share, 0), lowest=True)
    if order.tied or len(order.first) > 1:
        return text
    worst = order.first[0]
    others = labels[near[labels == worst]].ravel()
    others = np.bincount(others[others != worst], minlength=len(names))
    return f"{text}; {names[worst]} mixes most ({order.best}, mostly with {names[int(others.argmax())]})"


@drawn
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
    figure, shown, names = go.Figure(), [], words.class_names(record)
    views = Views(figure)
    count = min(MOST, *(len(record.arrays[place]) for place in there))
    for place in there:
        for colour in list(COLOUR_OF) if place == there[0] else ["labels"]:
            if colour in record.arrays:
                _coloured(figure, record, place, colour, names, count)
                views.own(len(shown))
                shown.append(f"{PLACES[place]}, colour: {COLOUR_OF[colour]}")
    views.menu(shown)
    figure.update_layout(hovermode="closest", legend_itemsizing="constant")
    _plane(figure)
    one_point = not any(np.ptp(np.asarray(record.arrays[place], float), axis=0).any() for place in there)
    alone = "all images on one point: nothing in the latent tells them apart" * one_point
    shows = f"Scatter plot of the latent means of {words.counted(count, 'test image')}"
    note = words.caption([record], alone)
    return finish(figure, id, _read_from(record), shows, note, 500, alone, hover_sprite=hover)


def _coloured(figure: go.Figure, record: Record, place: str, colour: str, names, n: int) -> None:
    at, groups = np.asarray(record.arrays[place][:n], np.float32), np.asarray(record.arrays[colour][:n], int)
    image, labels = np.arange(n, dtype=np.int16), np.asarray(record.arrays["labels"][:n], int)
    word = {"labels": "", "kmeans_predictions": "cluster called ", "svm_predictions": "on the side of "}[colour]
    for g in np.unique(groups):
        own, name = groups == g, f"{word}{names[g]}"
        text = [names[k] for k in labels[own]] if word else None
        figure.add_scatter(x=at[own, 0], y=at[own, 1], mode="markers", name=name, customdata=image[own], text=text,
                           hovertemplate=f"{name}{': %{text}' if word else ''}<extra></extra>",
                           marker=mark(g, 5, opacity=0.7))  # fmt: skip
    if colour == "svm_predictions" and f"{place}_plane" in record.arrays:
        plane = np.asarray(record.arrays[f"{place}_plane"], np.float32)
        look = {"size": 7, "color": QUIET, "symbol": "x-thin", "line": {"width": 1.6, "color": QUIET}}
        figure.add_scatter(x=plane[:, 0], y=plane[:, 1], mode="markers", name="points of its hyperplane", marker=look,
                           hovertemplate="a point of the hyperplane<extra></extra>")  # fmt: skip


def _read_from(record: Record) -> str:
    """How well clusters, linear head and a linear probe tell the classes apart."""
    m = record.metrics
    parts = {"k-means": "kmeans_accuracy", "the linear head": "svm_accuracy", "a linear probe": "probe_accuracy"}
    said = [f"{name} {words.percent(m[key])}" for name, key in parts.items() if m.get(key) is not None]
    always = f"; always the majority class {words.percent(m['majority_accuracy'])}" if "majority_accuracy" in m else ""
    return f"Accuracy on the latents: {words.joined(said)}{always}"


@drawn
def latent_walk(groups: dict[str, Record], id: str = "latent-walk") -> go.Figure:
    """What the decoder draws on a grid in the plane where the latents spread most; a menu of the labelled records.

    Read from the array `walk` (WebP, 15×15 frames). Raises ValueError for a record without one.
    """
    records = needed(groups.values(), "a latent walk")
    pages = {label: _walk(record) for label, record in groups.items()}
    at, figure = np.linspace(-REACH, REACH, STEPS), go.Figure()
    i, j = np.meshgrid(range(STEPS), range(STEPS), indexing="ij")
    hover = "%{customdata[0]:+.1f} and %{customdata[1]:+.1f} standard deviations"
    told = np.stack([at[j].ravel(), at[::-1][i].ravel()], -1).round(2)
    spots(figure, j, i, 16, hover, showlegend=False, customdata=told)
    picture(figure, next(iter(pages.values())), STEPS, STEPS)
    choose_picture(figure, pages)
    used = [f"{r.metrics['active_dimensions']} of {len(r.metrics['kl_by_dimension'])} in {label}"
            for label, r in groups.items()]  # fmt: skip
    title = f"Latent dimensions in use: {words.joined(used)}; a walk across the two directions of most spread"
    shows = f"A grid of {STEPS} by {STEPS} pictures drawn by the decoder of {words.joined(groups)}"
    note = words.caption(records, f"from −{REACH} to {REACH} standard deviations")
    return finish(figure, id, title, shows, note, 440)


def _walk(record: Record) -> str:
    """The record's walk, a little smaller."""
    size = (STEPS * FRAME, STEPS * FRAME)
    return webp(np.asarray(decoded(kept(record, "walk")).resize(size, Image.Resampling.BOX)), quality=50)


@drawn
def reconstructions(groups: dict[str, Record], originals: np.ndarray | None = None,
                    id: str = "reconstructions") -> go.Figure:  # fmt: skip
    """Reconstructions of the first test images of each class, below the originals where these are at hand.

    Read from `reconstructions` (WebP, a row a class) and `reconstruction_rows`. `originals` are uint8 (classes,
    columns, h, w), the same for all records, before any noise. A menu of the labelled records.
    """
    records = needed(groups.values(), "reconstructions")
    pages = {label: _beside(record, originals) for label, record in groups.items()}
    classes, columns = np.asarray(records[0].arrays["reconstruction_rows"]).shape
    kinds = ["rebuilt"] if originals is None else ["test image", "rebuilt"]
    rows = classes * len(kinds)
    figure, names = go.Figure(), words.class_names(records[0])
    i, j = np.meshgrid(range(rows), range(columns), indexing="ij")
    text = [f"{names[r // len(kinds)]}, {kinds[r % len(kinds)]}" for r in i.ravel()]
    spots(figure, j, i, 20, "%{text}", text=text, showlegend=False)
    picture(figure, next(iter(pages.values())), columns, rows)
    choose_picture(figure, pages)
    said = [f"{words.digits(float(r.metrics['test_reconstruction']))} in {label}" for label, r in groups.items()]
    shows = f"Rows of {' and '.join(kinds)}s for {words.joined(names)}"
    note = "originals without their noise" if originals is not None else "the images are not at hand"
    title, note = f"Squared error of a rebuilt image: {words.joined(said)}", words.caption(records, note)
    return finish(figure, id, title, shows, note, 70 * rows + 20)


def _beside(record: Record, originals: np.ndarray | None) -> str:
    """Originals and reconstructions by turns, a row each, or the reconstructions alone."""
    encoded = kept(record, "reconstructions")
    if originals is None:
        return data_uri(encoded.tobytes())
    classes, columns = np.asarray(record.arrays["reconstruction_rows"]).shape
    sheet = np.asarray(decoded(encoded, "L"))
    h = sheet.shape[0] // classes
    rebuilt = sheet.reshape(classes, h, columns, h).swapaxes(1, 2)
    images = np.asarray(originals, np.uint8).reshape(-1, *originals.shape[2:])
    fitted = [np.asarray(Image.fromarray(one).resize((h, h), Image.Resampling.BILINEAR)) for one in images]
    return sprite(np.stack([np.reshape(fitted, rebuilt.shape), rebuilt], 1).reshape(-1, h, h), columns)
