"""What the teaching cells of a notebook use: source code, a few images as tensors, a loss curve, runs to try."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import plotly.graph_objects as go
import torch
from IPython.display import Markdown
from torch import Tensor, nn

from secondlook.data import standins
from secondlook.figures.marks import webp
from secondlook.figures.tables import Table, table
from secondlook.figures.template import COLOURS, DASHES, faded, finish
from secondlook.figures.words import digits
from secondlook.models import macs, parameter_count
from secondlook.predict import Prediction
from secondlook.recipe import Data, Recipe
from secondlook.record import Records
from secondlook.runs import estimate_for, load_or_train, without_record

FOLLOWS = ("data.split_seed", "model.image_size", "model.num_classes")  # from seed and data


def source(*objects) -> Markdown:
    """The source code of functions and classes, highlighted, in the order given."""
    return Markdown("```python\n" + "\n\n".join(inspect.getsource(o).rstrip() for o in objects) + "\n```")


def few_images(chapter, count: int, test: bool = False) -> tuple[Tensor, Tensor, str]:
    """`count` images of the chapter's classes, their labels, and the name of the data set for a caption.

    Images are float32 (n, channels, side, side) in [0, 1]; labels int64 (n,), the place of the class in the recipe.
    Where the data set is not at hand they are drawn by code, as the name says.
    """
    images, classes = chapter.images or standins.draw(chapter.data.name), chapter.data.classes
    x, y = (images.x_test, images.y_test) if test else (images.x_train, images.y_train)
    if classes:
        there = np.flatnonzero(np.isin(y, classes))[:count]
        x, y = x[there], np.searchsorted(np.sort(classes), y[there])
    pixels = torch.from_numpy(np.ascontiguousarray(x[:count]))
    pixels = pixels.permute(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
    return pixels.float() / 255, torch.from_numpy(np.asarray(y[:count], np.int64)), images.title


def recipe_table(recipe: Recipe, stated: Mapping[str, str]) -> Table:
    """What a recipe sets, and where each value stands: `stated` gives the place by dotted key, as a report has it."""
    parts = {"data": recipe.data} | {"": recipe.settings}
    values = {f"{part}.{f.name}".strip("."): getattr(own, f.name) for part, own in parts.items() for f in fields(own)}
    flat = {}
    for key, value in values.items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    default = {"data": Data(), "": type(recipe.settings)()}
    usual = {f"{part}.{f.name}".strip("."): getattr(own, f.name) for part, own in default.items() for f in fields(own)}
    shown = {k: v for k, v in flat.items() if k not in FOLLOWS and (k in stated or usual.get(k) != v)}
    rows = [(key.replace("_", " ").replace(".", ": "), _said(value), stated.get(key, "we assume"))
            for key, value in shown.items()]  # fmt: skip
    return table(rows, ("setting", "value", "from"), f"The recipe of {recipe.run}, {recipe.variant.replace('_', ' ')}")


def _said(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value).replace("_", " ")


@torch.no_grad()
def layer_table(model: nn.Module, image_shape: tuple[int, ...], caption: str = "") -> Table:
    """A row for each layer with weights, in the order of the forward pass: type, output's shape, parameters."""
    rows: list[tuple] = []

    def noted(layer, _, output):
        rows.append((layer._get_name(), " × ".join(map(str, output.shape[1:])), f"{parameter_count(layer):,}"))

    layers = [m for m in model.modules() if not list(m.children()) and list(m.parameters(recurse=False))]
    hooks = [layer.register_forward_hook(noted) for layer in layers]
    training = model.training
    model.eval()(torch.zeros(1, *image_shape))
    model.train(training)
    for hook in hooks:
        hook.remove()
    rows = [(f"{i}  {name}", *rest) for i, (name, *rest) in enumerate(rows, 1)]
    total = f"{parameter_count(model):,} parameters, {macs(model, image_shape) / 1e9:.3f} GMACs an image"
    return table(rows, ("layer", "output", "parameters"), f"{caption}: {total}" if caption else total)


def live_loss(losses: Mapping[str, Sequence[float]], where: str, chance: float | None = None,
              id: str = "live-loss") -> go.Figure:  # fmt: skip
    """The training loss of each step just taken, and its running mean over a tenth of the steps, by name of the run.

    `where` says what was trained on; `chance` is the loss of a model that gives every class the same probability.
    """
    figure, ends = go.Figure(), {}
    for k, (name, run) in enumerate(losses.items()):
        window, colour = max(1, len(run) // 10), COLOURS[k]
        mean = np.convolve(run, np.ones(window) / window, "valid")
        ends[name] = f"{name} from {digits(mean[0])} to {digits(mean[-1])}"
        steps = np.arange(1, len(run) + 1)
        figure.add_scatter(x=steps, y=np.asarray(run, float), mode="lines", hoverinfo="skip", showlegend=False,
                           line={"color": faded(colour, 0.35), "width": 1})  # fmt: skip
        figure.add_scatter(x=steps[window - 1 :], y=mean, name=name, mode="lines",
                           line={"color": colour, "width": 2.5, "dash": DASHES[k % len(DASHES)]})  # fmt: skip
    if chance is not None:
        figure.add_hline(chance, annotation_text="chance", annotation_position="top right")
    figure.update_layout(xaxis_title="step", yaxis_title="training loss", hovermode="x")
    title = f"Training loss in {max(map(len, losses.values())):,} steps: {'; '.join(ends.values())}"
    note = f"live · {where} · bold: mean of a tenth of the steps"
    return finish(figure, id, title, "Line chart of the loss of each training step", note, 320)


class Trained(dict):
    """Lists of records by label; `reason` says why there are none."""

    reason = ""


def small_recipe(chapter, run: str, variant: str | None = None) -> Recipe:
    """The first seed of a run as it trains in a minute or two: `quick`, or `smoke` where no images are at hand."""
    profile = "smoke" if chapter.profile == "smoke" or chapter.images is None else "quick"
    return chapter.report.recipes(run, variant or chapter.variant, profile)[0]


def train_beside(chapter, recipes: Mapping[str, Recipe], max_minutes: float = 10.0) -> Trained:
    """The records of labelled recipes, trained with a progress bar where there are none yet; trials go to runs/.

    How long that takes is printed first. Where one cannot be trained, as in a build of the book, there are none.
    """
    wanted, execution = list(recipes.values()), replace(chapter.execution, deadline=None, processes=1)
    kept, runs = Records(execution.records_dir, execution.runs_dir), execution.runs_dir
    missing, found = without_record(without_record(wanted, kept), Records(runs)), Trained()
    takes = f"Training takes {estimate_for(missing, execution)}" if missing else "Trained before"
    print(f"{takes}: {', '.join(map(str, missing or wanted))}", flush=True)
    train = "never" if chapter.train == "never" else "missing"
    outcome = load_or_train(missing, replace(execution, records_dir=runs), train=train, max_minutes=max_minutes)
    if outcome.missing:
        found.reason = f"{takes}. It was not begun: {outcome.reason}."
        return found
    found |= {label: [kept.get(recipe) or Records(runs).get(recipe)] for label, recipe in recipes.items()}
    return found


def prediction(found: Prediction, id: str = "own-image") -> go.Figure:
    """An image under what speaks for the answer, and the five largest probabilities beside it."""
    best = dict(list(found.probabilities.items())[:5][::-1])
    answer = next(iter(found.probabilities))
    figure = go.Figure(go.Bar(x=list(best.values()), y=list(best), orientation="h", marker_color=COLOURS[0],
                              hovertemplate="%{y}: %{x:.1%}<extra></extra>"))  # fmt: skip
    figure.add_layout_image(source=webp(np.asarray(found.picture), quality=80), xref="paper", yref="paper",
                            x=0, y=1, sizex=0.42, sizey=1, xanchor="left", yanchor="top")  # fmt: skip
    figure.update_xaxes(domain=[0.58, 1], range=[0, 1], tickformat=".0%", title="probability")
    recipe, accuracy = found.record.recipe, found.record.metrics["test_accuracy"]
    title = f"{answer.capitalize()}, {100 * found.probabilities[answer]:.1f} %: the answer of {recipe.run}"
    shows = f"An image under a heat map, and a bar chart of the probabilities of {len(best)} classes"
    note = f"{recipe.variant.replace('_', ' ')}, {recipe.profile} · test accuracy {100 * accuracy:.1f} %"
    return finish(figure, id, title, shows, note, 320)
