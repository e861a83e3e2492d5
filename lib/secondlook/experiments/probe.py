"""What each unit of work costs on this machine.

A few small nets are trained for some steps, in about two seconds. Their times are put down to the units that they
count, none of which costs less than nothing, so that all are explained in proportion as well as can be (non-negative
least squares).
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import nnls

from secondlook import models
from secondlook.data.loader import DeviceLoader
from secondlook.estimates import UNITS
from secondlook.experiments.work import Images, loaded, loading, trained
from secondlook.recipe import Classifier
from secondlook.training import fast
from secondlook.training.loop import train
from secondlook.training.precision import flags, placement

ADAM = {"name": "adam", "learning_rate": 1e-5}
# A net, its batch size and steps an epoch, each heavy in one unit: calls, values, multiply-adds, calls again, weights.
PROBES = {
    "cpu": (
        ({"name": "lenet"}, 4, 30),
        ({"name": "keras_cnn", "stage": 3, "width": 0.25}, 32, 4),
        ({"name": "vgg", "depth": 16, "image_size": 32}, 16, 1),
        ({"name": "resnet", "image_size": 32, "in_channels": 3, "width": 0.125}, 4, 6),
        ({"name": "alexnet_cifar", "width": 0.5}, 2, 3),
    ),
    "cuda": (
        ({"name": "lenet"}, 4, 300),
        ({"name": "keras_cnn", "stage": 3}, 1024, 20),
        ({"name": "vgg", "depth": 16, "image_size": 32}, 512, 10),
        ({"name": "resnet", "image_size": 32, "in_channels": 3, "width": 0.5}, 4, 50),
        ({"name": "alexnet_cifar"}, 4, 50),
    ),
}
KERNEL = {"name": "lenet"}, 4, 300  # under SGD a step of it may be one call, see `fast.best`
EPOCHS = 3  # the first warms up
LOADED = {"flip": True, "crop": 4, "rotation": 15.0}, 1, 60  # an augmentation, the size of a batch, batches
SIDE, CHANNELS, CLASSES = 32, 3, 2


def unit_costs(device: str, precision: str) -> list[float]:
    """Seconds of each of UNITS but the last two."""
    found = [probed(Classifier(model, ADAM, batch_size=size, epochs=1, precision=precision), steps, device)
             for model, size, steps in PROBES[device.split(":")[0]]]  # fmt: skip
    counts, seconds = map(np.array, zip(*found, load_probed(device)))
    calls, graph = UNITS.index("calls"), UNITS.index("graph_calls")
    if device == "cpu":  # where nothing is a graph
        counts[:, calls] += counts[:, graph]
        counts[:, graph] = 0
    costs = nnls(counts[:, :-2] / seconds[:, None], np.ones(len(seconds)))[0]
    costs[graph] = costs[calls] if device == "cpu" else costs[graph]
    return costs.tolist()


def kernel_cost(device: str) -> list[float]:
    """Seconds of a multiply-add in the kernel of small nets, or of what takes its place."""
    model, size, steps = KERNEL
    s = Classifier(model, {"name": "sgd", "learning_rate": 1e-5}, batch_size=size, epochs=1)
    count, took = probed(s, steps, device)
    return [took / float(count[UNITS.index("kernel")])]


def probed(settings: Classifier, steps: int, device: str) -> tuple[np.ndarray, float]:
    """The work of an epoch of so many steps on random images, and its seconds."""
    options, ticks, count = dict(settings.model, num_classes=CLASSES), [], settings.batch_size * steps
    with alone(device) as clock:
        net = models.build(options.pop("name"), **options)
        to = placement(net, settings, device)
        loader = DeviceLoader(*images(count), batch_size=settings.batch_size, seed=0, mean=0.5, std=0.5, **to)
        with flags(settings.precision, device):
            train(net.to(**to), loader, replace(settings, epochs=EPOCHS), 0, track=lambda *_: ticks.append(clock()),
                  accelerate=fast.best(net, settings, device))  # fmt: skip
    work = trained(settings, Images(count, 0, 0, SIDE, CHANNELS, CLASSES), count)
    return work, float(np.diff(ticks).min())


def load_probed(device: str) -> tuple[np.ndarray, float]:
    """The work of taking small augmented batches from a loader, and its seconds."""
    augment, size, batches = LOADED
    ticks = []
    with alone(device) as clock:
        loader = DeviceLoader(*images(size), batch_size=size, seed=0, device=device, augment=augment)
        loader.begin(0)
        for _ in range(EPOCHS + 1):
            ticks.append(clock())
            for _ in range(batches):
                loader.take(loader.rows(0))
    each = loading(json.dumps(augment), "none", SIDE, CHANNELS, SIDE)
    return loaded(each, size * batches, batches), float(np.diff(ticks).min())


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(0)
    return drawn.integers(0, 256, (count, SIDE, SIDE, CHANNELS), np.uint8), drawn.integers(0, CLASSES, count)


@contextmanager
def alone(device: str) -> Iterator[Callable[[], float]]:
    """Gives a clock, of this process' own time on a CPU; inside are one thread and draws that nobody else sees."""
    threads, cuda = torch.get_num_threads(), device.startswith("cuda")

    def on_device() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    with torch.random.fork_rng([device] if cuda else []):
        torch.set_num_threads(1)
        try:
            yield on_device if cuda else time.process_time
        finally:
            torch.set_num_threads(threads)
