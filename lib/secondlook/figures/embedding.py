"""Where a net puts test images: its features on a plane, by t-SNE, UMAP and principal components."""

import numpy as np
import plotly.graph_objects as go

from secondlook.figures.template import CLASS_COLOURS, SYMBOLS, finish, views
from secondlook.figures.values import NothingToDraw, caption, class_names, counted, ends, needed, percent
from secondlook.record import Record

PLACES = {"embedding_tsne": "t-SNE", "embedding_umap": "UMAP", "embedding_pca": "principal components"}
NEIGHBOURS = 10
STEPS = [[(k + e) / 10, colour] for k, colour in enumerate(CLASS_COLOURS) for e in (0, 1)]  # colours by number
MANY = 20  # groups up to which each has a line in the legend


def embedding(record: Record, hover: dict | None = None, colours: tuple | None = None,
              id: str = "embedding") -> go.Figure:  # fmt: skip
    """Test images on a plane, a menu of the ways to place them; a colour a class, wrong answers crossed.

    Read from the arrays embedding_tsne, embedding_umap, embedding_pca (n, k), labels and predictions (the first n are
    the images placed). `hover` is a `hover_sprite` whose tile i is image i (`Chapter.hover_images`). `colours` is
    (names, group of each class) where classes are drawn in groups. Raises ValueError for a record without places.
    """
    (record,) = needed(record, "an embedding")
    there = [name for name in PLACES if name in record.arrays]
    if not there or "labels" not in record.arrays:
        raise NothingToDraw(f"the record of {record.recipe} keeps no embedding; its run needs keep = 'evidence'")
    names = class_names(record)
    count = len(record.arrays[there[0]])
    labels, said = (np.asarray(record.arrays[k][:count], np.int64) for k in ("labels", "predictions"))
    groups, member = colours or (names, range(len(names)))
    owners, figure = [], go.Figure()
    for view, place in enumerate(there):
        before = len(figure.data)
        _points(figure, np.asarray(record.arrays[place][:, :2], np.float32), labels, said, names, groups, member)
        figure.update_traces(visible=view == 0, selector=lambda t, b=before: t in figure.data[b:])
        owners += [view] * (len(figure.data) - before)
    figure.update_layout(updatemenus=[views(owners, [PLACES[p] for p in there])], hovermode="closest",
                         showlegend=len(groups) <= MANY, legend_itemsizing="constant")  # fmt: skip
    axis = {"showticklabels": False, "zeroline": False, "showgrid": False}
    figure.update_xaxes(title="", **axis)
    figure.update_yaxes(title="", scaleanchor="x", **axis)
    title = _finding(np.asarray(record.arrays.get("embedding_pca", record.arrays[there[0]]), float), labels, names)
    alt = f"Scatter plot of {counted(count, 'test image')} by the features of the last hidden layer. {title}."
    note = f"{counted(count, 'test image')}, {percent(np.mean(labels != said), 0)} of them wrong"
    return finish(figure, id, title, alt, caption([record], note), 560, hover_sprite=hover)


def _points(figure: go.Figure, at: np.ndarray, labels, said, names, groups, member) -> None:
    """A trace for the right answers of each group, and one for all wrong answers."""
    group = np.asarray(list(member))[labels]
    right = labels == said
    image = np.arange(len(labels), dtype=np.int16)
    for g, name in enumerate(groups):
        own = right & (group == g)
        if own.any():
            figure.add_scatter(x=at[own, 0], y=at[own, 1], mode="markers", name=name, customdata=image[own],
                               marker={"size": 5, "color": CLASS_COLOURS[g % 10], "symbol": SYMBOLS[g // 10 % 10],
                                       "opacity": 0.9}, **_hover(labels[own], names, name))  # fmt: skip
    if not right.all():
        wrong = ~right
        text = [f"{names[a]} called {names[b]}" for a, b in zip(labels[wrong], said[wrong])]
        look = {"size": 6, "symbol": "x", "color": group[wrong] % 10, "cmin": -0.5, "cmax": 9.5, "colorscale": STEPS}
        figure.add_scatter(x=at[wrong, 0], y=at[wrong, 1], mode="markers", name="wrong, in its class's colour",
                           customdata=image[wrong], text=text, marker=look,
                           hovertemplate="%{text}<extra></extra>")  # fmt: skip


def _hover(labels: np.ndarray, names, group: str) -> dict:
    """The class on hover; its name alone needs no text for every point."""
    if (labels == labels[0]).all():
        return {"hovertemplate": f"{names[labels[0]]}<extra></extra>"}
    return {"text": [names[k] for k in labels], "hovertemplate": f"%{{text}}<extra>{group}</extra>"}


def _finding(x: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> str:
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
    text = f"{percent(same.mean(), 0)} of an image's {counted(k, 'nearest neighbour')} are of its class"
    order = ends(shares, lambda share: percent(share, 0), lowest=True)
    if order.tied or len(order.first) > 1:
        return text
    worst = order.first[0]
    others = labels[near[labels == worst]].ravel()
    others = np.bincount(others[others != worst], minlength=len(names))
    return f"{text}; {names[worst]} mixes most ({order.best}, mostly with {names[int(others.argmax())]})"
