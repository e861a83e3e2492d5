"""A recipe: everything that determines a run, and nothing else.

An envelope (report, run, variant, profile, seed, kind, data, keep) and the settings of its kind. The identity of a
recipe hashes what determines the result: kind, seed, data and settings, and of these only the fields that differ from
their defaults, so an id survives fields added later. Where a run stands in a report (report, run, variant, profile),
how much of it is kept and how it is executed (device, threads, compilation) stand outside.
"""

import hashlib
import json
from dataclasses import asdict, field, fields, replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from secondlook.checks import NAME, STRICT, RecipeError, checked, shown

VARIANTS = ("as_published", "as_coded", "corrected", "further", "custom")
PROFILES = ("smoke", "quick", "reduced", "full")
KEEPS = ("metrics", "predictions", "evidence")
LARGEST = 1e30  # of any number: its square is one that a machine can hold
CAM_METHODS = ("gradcam", "hirescam", "layercam")  # class activation maps: Grad-CAM, HiResCAM, LayerCAM


def _plain(value, *, key: str = ""):
    """The value of a table's `key`, or the table, where JSON and a machine can hold it."""
    if isinstance(value, dict | list | tuple):
        for inner, item in value.items() if isinstance(value, dict) else ((key, item) for item in value):
            _plain(item, key=inner)
    elif not isinstance(value, str | int | float) or (not isinstance(value, str) and not abs(value) <= LARGEST):
        raise ValueError(f"{key} must be text, true or false, or a number up to {LARGEST:g}, not {shown(value)}")
    return value


Name = Annotated[str, Field(pattern=NAME)]
Table = Annotated[dict[str, Any], AfterValidator(_plain)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Size = Annotated[int, Field(ge=1, le=2**20)]  # of something that is held in memory
Side = Annotated[int, Field(ge=0, le=1024)]  # pixels; 0 is as stored
Epochs = Annotated[int, Field(ge=0, le=10**6)]
Classes = Annotated[tuple[Count, ...], Field(strict=False)]  # JSON and TOML have lists alone
Precision = Literal["float32", "tf32", "bf16", "float64"]
Decoder = Literal["sigmoid", "tanh", "linear"]
Latent = Literal["sample", "mean"]


@dataclass(frozen=True, config=STRICT)
class Data:
    """The task: which images, how they are divided, what is done to them before any training."""

    name: Literal["cifar10", "cifar100", "mnist", "gaussians", "folder"] = "cifar10"
    source: Literal["official", "npz", "standin"] = "official"
    classes: Classes = ()  # () is all classes
    train_limit: Count = 0  # images kept of the training set, by hash; 0 is all
    test_limit: Count = 0
    validation: Amount = 0.0  # below 1 a share of the training set, from 1 a count of images
    split_seed: Annotated[int, Field(ge=-1, le=2**31 - 1)] = 0  # -1 follows the recipe's seed
    image_size: Side = 0  # side in pixels after resizing; 0 is as stored
    imbalance: Share = 0.0  # share of the largest class after resampling; 0 is as it is
    noise: Literal["none", "as_coded", "before_normalisation", "white_noise_crop"] = "none"
    noise_std: Amount = 1.0
    noise_on: Literal["both", "test", "train"] = "both"
    normalise: Literal["statistics", "half", "none"] = "statistics"  # by the training split's; to [−1, 1]; over 255
    folder: str = ""  # of a reader's own images, as `data.with_images` fills it in, with what follows
    class_names: Annotated[tuple[str, ...], Field(strict=False)] = ()
    digest: str = ""


@dataclass(frozen=True, config=STRICT)
class Linear:
    """A linear classifier trained with gradients written out by hand."""

    features: Literal["pixels", "whitened", "patches"] = "pixels"
    feature_count: Annotated[int, Field(ge=0, le=2**16)] = 0  # whitened: components kept (0: all); patches: centroids
    patch_size: Annotated[int, Field(ge=2, le=16)] = 6
    augment: Literal["none", "flip"] = "none"
    loss: Literal["crammer_singer", "weston_watkins", "softmax"] = "crammer_singer"
    penalty: Literal["l2", "l1", "none"] = "l2"
    strength: Amount = 1e4
    penalty_gradient: Literal["full", "half"] = "full"  # of the L2 penalty: 2λW as derived, or λW as often coded
    optimizer: Literal["sgd", "nesterov"] = "sgd"
    learning_rate: Amount = 3e-7
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: Size = 400
    epochs: Annotated[float, Field(ge=0, le=1e6)] = 6.0
    initial_std: Amount = 1e-3
    test: bool = True  # whether the test set is opened at all: a sweep leaves it closed


@dataclass(frozen=True, config=STRICT)
class Classifier:
    """A network trained to tell classes apart by gradient descent."""

    model: Table = field(default_factory=lambda: {"name": "vgg"})
    optimizer: Table = field(default_factory=lambda: {"name": "sgd", "learning_rate": 0.01})
    schedule: Table = field(default_factory=lambda: {"name": "constant"})
    augment: Table = field(default_factory=dict)
    loss: Literal["cross_entropy", "hinge"] = "cross_entropy"
    label_smoothing: Share = 0.0
    penalty: Table = field(default_factory=dict)  # terms added to the loss, for instance {"l2_dense": 0.01}
    batch_size: Size = 64
    epochs: Epochs = 50
    clip_norm: Amount = 0.0
    early_stopping: Count = 0  # epochs without a better validation loss; 0 never stops
    restore_best: bool = False
    precision: Precision = "float32"
    first: Table = field(default_factory=dict)  # a phase trained before, inside the same record (frozen encoder)
    log_every: Count = 0  # steps whose mean loss is one entry of the history; 0 logs epochs alone
    test: bool = True


@dataclass(frozen=True, config=STRICT)
class VAE:
    """A variational autoencoder with the classifiers that read its latent space."""

    model: Table = field(default_factory=lambda: {"name": "mlp_vae"})
    optimizer: Table = field(default_factory=lambda: {"name": "adam", "learning_rate": 1e-3})
    beta: Amount = 0.05
    decoder: Decoder = "sigmoid"
    denoising: bool = False
    latent: Latent = "sample"
    svm_head: Literal["as_coded", "hinge", "linear_svc"] = "as_coded"
    head_learning_rate: Amount = 1e-3
    batch_size: Size = 16
    epochs: Epochs = 20
    clip_norm: Amount = 1.0
    precision: Precision = "float32"


@dataclass(frozen=True, config=STRICT)
class Risk:
    """The excess risk on two Gaussians, split into estimation and approximation."""

    model: Table = field(default_factory=lambda: {"name": "conv_vgg"})
    mean_gap: Amount = 1.0  # the classes' means are minus and plus this
    sigma: Positive = 3.0
    sigma_is: Literal["std", "variance"] = "std"
    normalise: bool = True  # x → 2x − 1, as the authors' loader does
    train_size: Annotated[Size, Field(ge=2)] = 10
    test_size: Annotated[Size, Field(ge=2)] = 1000
    reference: Literal["test", "third_sample"] = "test"  # what the best-in-class network is fitted on
    reference_size: Annotated[Size, Field(ge=2)] = 1000
    optimizer: Table = field(default_factory=lambda: {"name": "adam", "learning_rate": 1e-3})
    batch_size: Size = 4
    epochs: Epochs = 5
    head: Literal["network", "svm_head", "hinge", "linear_svc", "kmeans"] = "network"
    latent: Latent = "sample"  # what a head reads of a VAE
    decoder: Decoder = "sigmoid"
    first: Table = field(default_factory=dict)  # a phase trained before, inside the same record (frozen encoder)
    precision: Precision = "float32"


KINDS = {"linear": Linear, "classifier": Classifier, "vae": VAE, "risk": Risk}
Settings = Linear | Classifier | VAE | Risk


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """One run of one seed. `settings` is an instance of `KINDS[kind]`."""

    report: Name
    run: Name
    variant: Literal[VARIANTS]
    profile: Literal[PROFILES]
    seed: Count
    kind: Literal[tuple(KINDS)]
    data: Data
    settings: Settings
    keep: Literal[KEEPS] = "metrics"
    says: str = field(default="", compare=False)  # in the words of its report, as are the rest; no record holds them
    headline: bool = field(default=False, compare=False)
    sweep: str = field(default="", compare=False)  # the run's name without the point of its grid
    reduced: str = field(default="", compare=False)  # what the profile `reduced` changes, "" where it is whole

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits; equal for recipes that must give equal results."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def identity(self) -> dict:
        """What the id hashes: official files and a `.npz` count as one source, and a folder by its images."""
        source = "official" if self.data.source == "npz" else self.data.source
        data = replace(self.data, source=source, folder="")
        return {"kind": self.kind, "seed": self.seed, "data": _changed(data), "settings": _changed(self.settings)}

    @property
    def split_seed(self) -> int:
        return self.seed if self.data.split_seed == -1 else self.data.split_seed

    @property
    def is_evidence(self) -> bool:
        """Whether a record of this recipe belongs to `records/` (`runs/` takes stand-ins, smoke and custom runs)."""
        return self.profile != "smoke" and self.data.source != "standin" and self.variant != "custom"

    def __str__(self) -> str:
        return f"{self.report} {self.run} ({self.variant}, {self.profile}, seed {self.seed})"

    def customised(self, **changes) -> "Recipe":
        """The same run with some settings changed: a reader's own, which judges no claim.

        Raises RecipeError for an unknown setting or a bad value.
        """
        data = {k.removeprefix("data."): v for k, v in changes.items() if k.startswith("data.")}
        own = {k: v for k, v in changes.items() if not k.startswith("data.")}
        return replace(
            self,
            variant="custom",
            data=checked(Data, {**asdict(self.data), **data}, "data"),
            settings=checked(type(self.settings), {**asdict(self.settings), **own}, f"settings of kind {self.kind}"),
        )

    def as_dict(self) -> dict:
        """Plain types only, for JSON; `from_dict` turns it back."""
        own = {k: v for k, v in asdict(self).items() if k not in ("says", "headline", "sweep", "reduced")}
        return json.loads(json.dumps(own))

    def command(self, run: str = "") -> str:
        """What makes the records of the recipe's run, all seeds; `run` names another, such as the whole grid's."""
        return (
            f"secondlook train {self.report} --run {run or self.run} --variant {self.variant} --profile {self.profile}"
        )

    @classmethod
    def from_dict(cls, values: dict, where: str = "recipe") -> "Recipe":
        """A checked recipe. Raises RecipeError naming `where`, the key and the nearest valid one."""
        kind = values.get("kind") if isinstance(values, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            raise RecipeError(f"{where}: unknown kind {shown(kind)}; expected one of {', '.join(KINDS)}")
        data = checked(Data, values.get("data", {}), f"{where}, data")
        settings = checked(KINDS[kind], values.get("settings", {}), f"{where}, settings of kind {kind}")
        return checked(cls, {**values, "data": data, "settings": settings}, where)


def _changed(part) -> dict:
    """The fields of a dataclass instance that differ from their defaults, as plain types."""
    default = type(part)()
    return {f.name: getattr(part, f.name) for f in fields(part) if getattr(part, f.name) != getattr(default, f.name)}
