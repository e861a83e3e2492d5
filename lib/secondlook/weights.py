"""Trained weights as safetensors, with all that a prediction needs: no data set, no recipe, no pickle.

Every run but `smoke` leaves its weights in `runs/weights/ID.safetensors`; some small ones lie in float16 beside their
record, as a part of the project.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn

from secondlook import models
from secondlook.data import transforms
from secondlook.files import replace_file
from secondlook.record import Record, RecordError

SMALL = 2 * 2**20  # bytes of a file that may lie beside its record


@dataclass(frozen=True)
class TrainedModel:
    """A model in evaluation mode with its preprocessing: `mean` and `std` are of pixels in [0, 1], one a channel."""

    model: nn.Module
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    precision: str

    def preprocess(self, images: np.ndarray) -> Tensor:
        """Images uint8 (n, H, W) or (n, H, W, C) as the model takes them: floats (n, C, image_size, image_size)."""
        x = torch.from_numpy(np.ascontiguousarray(images))
        x = (x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)).float() / 255
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        x = transforms.normalise(transforms.resize(x, self.image_size), mean, std)
        return x.to(next(self.model.parameters()).dtype)

    @torch.no_grad()
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The probability of each class, float64 (n, classes), for uint8 images."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.model(self.preprocess(images))
        return logits.double().softmax(1).numpy()


def digest(state: Mapping[str, Tensor]) -> str:
    """The first 16 hexadecimal digits of the sha256 of a model's state: all weights and running statistics."""
    total = hashlib.sha256()
    for name, values in state.items():
        total.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        total.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()[:16]


def save(path: Path, model: nn.Module, about: dict, dtype: torch.dtype | None = None) -> Path:
    """Writes a model's weights, its floats as `dtype` if given, with `about`: the fields of a TrainedModel and `table`.

    `table` is the recipe's model table with what follows from the images: what `models.build` takes.
    """
    tensors = {name: _stored(t, dtype) for name, t in model.state_dict().items()}
    body = {**about, "weights": digest(tensors)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, serialised(tensors, {"secondlook": json.dumps(body, sort_keys=True)}))
    except OSError as error:
        raise RecordError(
            f"{path.parent}: weights cannot be kept ({error.strerror}); make room, make the folder writable, or name "
            "another one, and run the same command again: what was trained is kept"
        ) from error
    return path


def load(path: Path) -> TrainedModel:
    """The model of a file. Raises RecordError, naming the file, where it is missing, damaged or of another version."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["secondlook"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        table = dict(about["table"])
        model = models.build(table.pop("name"), **table)
        if about["weights"] != digest({name: tensors[name] for name in model.state_dict()}):
            raise ValueError("its digest does not match")
        wide = {name: t.float() if t.dtype == torch.float16 else t for name, t in tensors.items()}
        model.to(next(t.dtype for t in wide.values() if t.is_floating_point())).load_state_dict(wide)
        fields = {name: tuple(about[name]) for name in ("mean", "std", "class_names")}
        return TrainedModel(model.eval(), about["image_size"], precision=about["precision"], **fields)
    except FileNotFoundError:
        raise RecordError(f"{path}: these weights are not here; train the run again to have them") from None
    except Exception as error:  # whatever a damaged file raises in its reader
        raise RecordError(f"{path}: damaged weights ({error}); delete the file and train the run again") from None


def of_record(record: Record, runs_dir: Path) -> TrainedModel:
    """The trained model of a record: the project's own copy of its weights, or what its run left in `runs_dir`."""
    beside = record.shelf(record.path.parents[1]) if record.path else None
    if beside is not None and record.recipe.keep == "evidence":
        path = beside.with_name(f"{beside.name}.safetensors")
        if path.exists():
            return load(path)
    trained = load(runs_path(runs_dir, record.id))
    if digest(trained.model.state_dict()) != record.provenance.get("weights"):
        raise RecordError(
            f"{runs_path(runs_dir, record.id)}: these are not the weights that {record.recipe} ended with"
        )
    return trained


def runs_path(runs_dir: Path, recipe_id: str) -> Path:
    return Path(runs_dir) / "weights" / f"{recipe_id}.safetensors"


def share(path: Path, other: Path) -> None:
    """The same file under another name, for runs that share a model; a copy where links are not to be had."""
    try:
        other.unlink(missing_ok=True)
        os.link(path, other)
    except OSError:
        replace_file(other, path.read_bytes())


def _stored(t: Tensor, dtype: torch.dtype | None) -> Tensor:
    t = t.detach().cpu().contiguous().clone()  # a net may have one tensor under two names, a file may not
    return t.to(dtype) if dtype is not None and t.is_floating_point() else t
