"""How images are divided and prepared: the split, and an image as stored, resized and normalised."""

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from secondlook.figures.images import placeholder, sprite
from secondlook.figures.marks import picture
from secondlook.figures.template import CLASS_COLOURS, finish
from secondlook.figures.values import percent
from secondlook.recipe import Recipe

STEPS = ("as stored", "resized", "normalised")
SHOWN = 2.5  # standard deviations that a normalised image is drawn with, black to white
TRAIN, TEST = 50_000, 10_000  # images of CIFAR
SIDE = 160  # pixels of an image as it is drawn


def split_sizes(recipe: Recipe) -> dict[str, int]:
    """Images trained on, held back for validation and tested, by arithmetic, of CIFAR-10 or CIFAR-100."""
    whole, test = recipe.data.train_limit or TRAIN, recipe.data.test_limit or TEST
    held = recipe.data.validation
    validation = round(held if held >= 1 else held * whole)
    return {"training": whole - validation, "validation": validation, "test": test}


def split_proportions(recipe: Recipe, data_name: str, id: str = "split") -> go.Figure:
    """One bar of the images trained on, held back and tested, as a recipe of CIFAR divides them."""
    sizes = split_sizes(recipe)
    total = sum(sizes.values())
    figure = go.Figure()
    for k, (name, count) in enumerate(sizes.items()):
        figure.add_bar(x=[count], y=["images"], orientation="h", name=f"{name} {count:,}",
                       marker_color=CLASS_COLOURS[k], text=[percent(count / total, 0)], textposition="inside",
                       insidetextanchor="middle", textangle=0,
                       hovertemplate=f"{name}: %{{x:,}} images<extra></extra>")  # fmt: skip
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_yaxes(visible=False)
    title = "{training:,} images to train on, {validation:,} to decide by, {test:,} to test with".format(**sizes)
    alt = f"One bar in three parts. {title}."
    return finish(
        figure, id, title, alt, f"{data_name}, by arithmetic · the report's own proportions are in a lost figure", 200
    )


def preparation(images: np.ndarray | None, size: int, mean, std, data_name: str, data_set: str = "cifar10",
                id: str = "preparation") -> go.Figure:  # fmt: skip
    """Images uint8 (n, h, w, 3) as stored, bilinearly resized to `size` pixels, and normalised by channel.

    mean, std (3,) of pixels in [0, 1]. Without images a placeholder names the command that fetches them.
    """
    if images is None:
        return placeholder(
            f"The images of {data_name} are not here.", f"secondlook data fetch {data_set}", data_name, id
        )
    rows = [np.stack([_stored(i), _resized(i, size), _normalised(i, size, mean, std)]) for i in images]
    figure = go.Figure(go.Scatter(x=[0.5, 1.5, 2.5], y=[len(rows) + 0.02] * 3, mode="text", text=list(STEPS),
                                  textposition="bottom center", hoverinfo="skip"))  # fmt: skip
    picture(figure, sprite(np.concatenate(rows), len(STEPS)), len(STEPS), len(rows))
    figure.update_yaxes(visible=False, range=[len(rows) + 0.2, 0])
    h, w = images.shape[1:3]
    spread = ", standard deviations ".join(" / ".join(f"{v:.3f}" for v in values) for values in (mean, std))
    title = f"{h} × {w} pixels become {size} × {size} without a new detail, {(size / h) ** 2:.0f} times the values"
    alt = f"{len(rows)} images, each as stored, resized and normalised by red, green and blue, means {spread}. {title}."
    return finish(figure, id, title, alt, f"{data_name} · red, green, blue: means {spread}", 60 + 130 * len(rows))


def channel_statistics(pixels: np.ndarray | None) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of red, green and blue, of pixels uint8 (…, 3) as shares of 255; empty without."""
    if pixels is None:
        return [], []
    levels = np.arange(256) / 255
    shares = [np.bincount(channel, minlength=256) / channel.size for channel in pixels.reshape(-1, 3).T]
    means = [float(levels @ share) for share in shares]
    return means, [float(np.sqrt((levels - m) ** 2 @ share)) for m, share in zip(means, shares)]


def _stored(image: np.ndarray) -> np.ndarray:
    scale = SIDE // image.shape[0]
    large = image.repeat(scale, 0).repeat(scale, 1)
    return np.asarray(Image.fromarray(large).resize((SIDE, SIDE), Image.Resampling.NEAREST))


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _normalised(image: np.ndarray, size: int, mean, std) -> np.ndarray:
    values = (_resized(image, size) / 255 - np.asarray(mean)) / np.asarray(std)
    return np.rint(255 * np.clip((values + SHOWN) / (2 * SHOWN), 0, 1)).astype(np.uint8)
