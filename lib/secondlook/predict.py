"""What a trained model says of an image of one's own, and where it looks: `secondlook predict`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from secondlook.data import square
from secondlook.recipe import PROFILES, RecipeError
from secondlook.record import Record, RecordError, Records
from secondlook.reports import ROOT, read

SHOWN = 448  # pixels a side of the picture with the heat map


@dataclass(frozen=True)
class Prediction:
    """`probabilities` by class name, the largest first; `picture` is the image under what speaks for the first."""

    record: Record
    probabilities: dict[str, float]
    picture: Image.Image


def trained(name: str, records: Records, runs_dir: Path, variant: str | None = None):
    """The record and the `TrainedModel` of `name`, "REPORT/RUN": the best profile whose weights are here.

    Raises RecipeError for a name that is none, RecordError with the command that makes them where no weights are here.
    """
    report, slash, run = name.partition("/")
    if not slash:
        raise RecipeError(f"{name!r} names no model; write REPORT/RUN, for instance vgg/vgg16")
    for profile in reversed(PROFILES):
        for record in records.find(read(report).recipes(run, variant, profile)):
            try:
                return record, record.load_model(runs_dir)
            except RecordError:
                continue
    raise RecordError(f"no trained weights of {name} are here; make them: secondlook train {report} --run {run} "
                      "(--profile reduced or quick takes less time than full)")  # fmt: skip


def predict(
    name: str,
    image: Path | Image.Image,
    records: Records | None = None,
    runs_dir: Path | None = None,
    variant: str | None = None,
) -> Prediction:
    """What the model `name` says of an image or an image file, cut to its middle square and scaled as its data set is.

    Greyscale for a model of digits, white on black: a bright background is inverted. Raises DataError for what is no
    image, besides what `trained` raises. Folders that are not given are the project's.
    """
    records, runs_dir = records or Records(ROOT / "records"), runs_dir or ROOT / "runs"
    record, model = trained(name, records, runs_dir, variant)
    pixels = square(image, model.image_size, len(model.mean))
    found = model.probabilities(pixels[None])[0]
    order = np.argsort(-found)
    picture = under_heat(model, pixels, int(order[0]))
    return Prediction(record, {model.class_names[i]: float(found[i]) for i in order}, picture)


def under_heat(model, pixels: np.ndarray, answer: int) -> Image.Image:
    """The image with what speaks for `answer` in red over it.

    The Grad-CAM at the last layer with a map of 7 × 7 cells or more; for a net without maps, each pixel's value times
    the gradient of the score, which for a linear classifier is its contribution, where that is above the image's mean.
    """
    import torch

    from secondlook.insight.faithfulness import deep_layer
    from secondlook.insight.maps import class_activation_maps
    from secondlook.models import cam_layers

    shown = Image.fromarray(pixels).convert("RGB").resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)
    x, target = model.preprocess(pixels[None]).float(), torch.tensor([answer])
    layers = list(cam_layers(model.model))
    if layers:
        layer = layers[deep_layer(model.model.float(), x, layers)]
        heat = class_activation_maps(model.model, x, target, [layer], ("gradcam",))[0, 0, 0]
    else:
        heat = contributions(model.model, x, target)[0]
    mask = Image.fromarray(np.uint8(160 * heat)).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", shown.size, "#d2000f"), shown, mask)


def contributions(net, images, targets) -> np.ndarray:
    """Each pixel's value times the gradient of the target's score, summed over channels, less the image's mean.

    images (n, C, S, S), targets (n,). Returns (n, S, S) in [0, 1]: what is below the mean is 0, the largest value 1.
    """
    x = images.clone().requires_grad_()
    net(x).gather(1, targets[:, None]).sum().backward()
    found = (x * x.grad).sum(1).detach().numpy()
    found = np.maximum(found - found.mean((1, 2), keepdims=True), 0)
    highest = found.max((1, 2), keepdims=True)
    return np.divide(found, highest, out=np.zeros_like(found), where=highest > 0)
