"""One module a kind of run: `produce(recipes, execution)` trains a group and files its records."""

from collections.abc import Callable

from secondlook.experiments import classifier, linear, risk, vae

PRODUCE: dict[str, Callable] = {
    "classifier": classifier.produce,
    "linear": linear.produce,
    "risk": risk.produce,
    "vae": vae.produce,
}
