"""A recipe: everything that determines a run, and nothing else.

An envelope (report, run, variant, profile, seed, kind, data, keep) and the settings of its kind. The identity of a
recipe hashes what determines the result: kind, seed, data and settings, and of these only the fields that differ from
their defaults, so an id survives fields added later. Where a run stands in a report (report, run, variant, profile),
how much of it is kept and how it is executed (device, threads, compilation) stand outside.
"""

import difflib
import hashlib
import json
import types
import typing
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, cached_property

VARIANTS = ("as_published", "as_coded", "corrected", "further", "custom")
PROFILES = ("smoke", "quick", "full")
KEEPS = ("metrics", "predictions", "evidence")
MENTIONED = 12  # of known words in an error message

CAM_METHODS = ("gradcam", "hirescam", "layercam")  # class activation maps: Grad-CAM, HiResCAM, LayerCAM


class RecipeError(ValueError):
    """A recipe that cannot be: says what was wrong, what was expected, what to do."""


def choice(default: str, *others: str):
    """A text field that takes one of a few words; the first is the default."""
    return field(default=default, metadata={"choices": (default, *others)})


def number(default, least=None, most=None):
    """A numeric field with an inclusive range."""
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class Data:
    """The task: which images, how they are divided, what is done to them before any training."""

    name: str = choice("cifar10", "cifar100", "mnist", "gaussians")
    source: str = choice("official", "npz", "standin")
    classes: tuple[int, ...] = ()  # () is all classes
    train_limit: int = number(0, 0)  # images kept of the training set, by hash; 0 is all
    test_limit: int = number(0, 0)
    validation: float = number(0.0, 0.0)  # below 1 a share of the training set, from 1 a count of images
    split_seed: int = number(0, -1)  # -1 follows the recipe's seed
    image_size: int = number(0, 0)  # side in pixels after resizing; 0 is as stored
    imbalance: float = number(0.0, 0.0, 1.0)  # share of the largest class after resampling; 0 is as it is
    noise: str = choice("none", "as_coded", "before_normalisation", "white_noise_crop")
    noise_std: float = number(1.0, 0.0)
    noise_on: str = choice("both", "test", "train")
    normalise: str = choice("statistics", "half", "none")  # by the training split's; to [−1, 1]; pixels over 255 alone


@dataclass(frozen=True)
class Linear:
    """A linear classifier trained with gradients written out by hand."""

    features: str = choice("pixels", "whitened", "patches")
    feature_count: int = number(0, 0)  # whitened: components kept (0: all); patches: centroids
    patch_size: int = number(6, 2, 16)
    augment: str = choice("none", "flip")
    loss: str = choice("crammer_singer", "weston_watkins", "softmax")
    penalty: str = choice("l2", "l1", "none")
    strength: float = number(1e4, 0.0)
    penalty_gradient: str = choice("full", "half")  # of the L2 penalty: 2λW as derived, or λW as often coded
    optimizer: str = choice("sgd", "nesterov")
    learning_rate: float = number(3e-7, 0.0)
    schedule: str = choice("constant", "cosine")
    batch_size: int = number(400, 1)
    epochs: float = number(6.0, 0.0)
    initial_std: float = number(1e-3, 0.0)
    test: bool = True  # whether the test set is opened at all: a sweep leaves it closed


@dataclass(frozen=True)
class Classifier:
    """A network trained to tell classes apart by gradient descent."""

    model: dict = field(default_factory=lambda: {"name": "vgg"})
    optimizer: dict = field(default_factory=lambda: {"name": "sgd", "learning_rate": 0.01})
    schedule: dict = field(default_factory=lambda: {"name": "constant"})
    augment: dict = field(default_factory=dict)
    loss: str = choice("cross_entropy", "hinge")
    label_smoothing: float = number(0.0, 0.0, 1.0)
    penalty: dict = field(default_factory=dict)  # terms added to the loss, for instance {"l2_dense": 0.01}
    batch_size: int = number(64, 1)
    epochs: int = number(50, 0)
    clip_norm: float = number(0.0, 0.0)
    early_stopping: int = number(0, 0)  # epochs without a better validation loss; 0 never stops
    restore_best: bool = False
    precision: str = choice("float32", "tf32", "bf16", "float64")
    first: dict = field(default_factory=dict)  # a phase trained before, inside the same record (frozen encoder)
    log_every: int = number(0, 0)  # steps whose mean loss is one entry of the history; 0 logs epochs alone
    test: bool = True


@dataclass(frozen=True)
class VAE:
    """A variational autoencoder with the classifiers that read its latent space."""

    model: dict = field(default_factory=lambda: {"name": "mlp_vae"})
    optimizer: dict = field(default_factory=lambda: {"name": "adam", "learning_rate": 1e-3})
    beta: float = number(0.05, 0.0)
    decoder: str = choice("sigmoid", "tanh", "linear")
    denoising: bool = False
    latent: str = choice("sample", "mean")
    svm_head: str = choice("as_coded", "hinge", "linear_svc")
    head_learning_rate: float = number(1e-3, 0.0)
    batch_size: int = number(16, 1)
    epochs: int = number(20, 0)
    clip_norm: float = number(1.0, 0.0)
    precision: str = choice("float32", "tf32", "bf16", "float64")


@dataclass(frozen=True)
class Risk:
    """The excess risk on two Gaussians, split into estimation and approximation."""

    model: dict = field(default_factory=lambda: {"name": "conv_vgg"})
    mean_gap: float = number(1.0, 0.0)  # the classes' means are minus and plus this
    sigma: float = number(3.0, 0.0)
    sigma_is: str = choice("std", "variance")
    normalise: bool = True  # x → 2x − 1, as the authors' loader does
    train_size: int = number(10, 2)
    test_size: int = number(1000, 2)
    reference: str = choice("test", "third_sample")  # what the best-in-class network is fitted on
    reference_size: int = number(1000, 2)
    optimizer: dict = field(default_factory=lambda: {"name": "adam", "learning_rate": 1e-3})
    batch_size: int = number(4, 1)
    epochs: int = number(5, 0)
    head: str = choice("network", "svm_head", "hinge", "linear_svc", "kmeans")
    latent: str = choice("sample", "mean")  # what a head reads of a VAE
    decoder: str = choice("sigmoid", "tanh", "linear")
    first: dict = field(default_factory=dict)  # a phase trained before, inside the same record (frozen encoder)
    precision: str = choice("float32", "tf32", "bf16", "float64")


KINDS = {"linear": Linear, "classifier": Classifier, "vae": VAE, "risk": Risk}
Settings = Linear | Classifier | VAE | Risk


@dataclass(frozen=True)
class Recipe:
    """One run of one seed. `settings` is an instance of `KINDS[kind]`."""

    report: str
    run: str
    variant: str
    profile: str
    seed: int
    kind: str
    data: Data
    settings: Settings
    keep: str = "metrics"

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits; equal for recipes that must give equal results."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def identity(self) -> dict:
        """What the id hashes. Official files and a `.npz` hold the same images, so they count as one source."""
        data = replace(self.data, source="official") if self.data.source == "npz" else self.data
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
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: dict, where: str = "recipe") -> "Recipe":
        """A checked recipe. Raises RecipeError naming `where`, the key and the nearest valid one."""
        kind = values.get("kind")
        if kind not in KINDS:
            raise RecipeError(f"{where}: unknown kind {kind!r}; expected one of {', '.join(KINDS)}")
        nested = {
            "data": checked(Data, values.get("data", {}), f"{where}, data"),
            "settings": checked(KINDS[kind], values.get("settings", {}), f"{where}, settings of kind {kind}"),
        }
        flat = {k: v for k, v in values.items() if k not in nested}
        recipe = checked(cls, flat, where, skip=tuple(nested), more=nested)
        for name, allowed in (("variant", VARIANTS), ("profile", PROFILES), ("keep", KEEPS)):
            if getattr(recipe, name) not in allowed:
                raise RecipeError(
                    f"{where}: unknown {name} {getattr(recipe, name)!r}{nearest(getattr(recipe, name), allowed)}"
                )
        return recipe


def checked(kind: type, values: dict, where: str, skip=(), more=None):
    """An instance of the dataclass `kind` from `values`, every key known, every value of its type and in its range."""
    known = _fields(kind)
    for key in values:
        if key not in known or key in skip:
            raise RecipeError(f"{where}: unknown key {key!r}{nearest(key, [k for k in known if k not in skip])}")
    built = {key: _value(value, *known[key], f"{where}: {key}") for key, value in values.items()}
    try:
        return kind(**built, **(more or {}))
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from None


@cache
def _fields(kind: type) -> dict[str, tuple]:
    """Type and field of every field of a dataclass, by name."""
    hints = typing.get_type_hints(kind)
    return {f.name: (hints[f.name], f) for f in fields(kind)}


def nearest(word: str, known) -> str:
    """The end of an error message: the nearest known word, or all of them, but no more than MENTIONED."""
    known = [str(k) for k in known]
    if close := difflib.get_close_matches(str(word), known, 1):
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(known) - MENTIONED} more" if len(known) > MENTIONED else ""
    return f"; expected one of {', '.join(known[:MENTIONED])}{more}"


def _value(value, hint, spec, where: str):
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if origin is tuple and isinstance(value, list | tuple):
        if not all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            raise RecipeError(f"{where} must be a list of whole numbers, not {value!r}")
        return tuple(value)
    if not isinstance(value, origin or hint) or (hint is not bool and isinstance(value, bool)):
        raise RecipeError(f"{where} must be of type {hint.__name__}, not {value!r}")
    choices, least, most = (spec.metadata.get(k) for k in ("choices", "least", "most"))
    if choices and value not in choices:
        raise RecipeError(f"{where}: unknown value {value!r}{nearest(value, choices)}")
    if isinstance(value, float) and value != value:
        raise RecipeError(f"{where} is not a number")
    if (least is not None and value < least) or (most is not None and value > most):
        raise RecipeError(
            f"{where} must be {'at least ' + str(least) if most is None else f'in [{least}, {most}]'}, not {value}"
        )
    return value


def _changed(part) -> dict:
    """The fields of a dataclass instance that differ from their defaults, as plain types."""
    default = type(part)()
    return {f.name: getattr(part, f.name) for f in fields(part) if getattr(part, f.name) != getattr(default, f.name)}
