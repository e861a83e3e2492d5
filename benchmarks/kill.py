"""Kills training at random moments, goes on with the same recipe, and compares what comes out with a straight run.

    python benchmarks/kill.py --kills 200

Every run is a whole record on stand-in images, in a process of its own; SIGKILL comes at a random moment or, in a third
of the cases, while a checkpoint is being written. Exit code 1 if any final weights, curve or prediction differ.
"""

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from secondlook.experiments import classifier, filing, linear, risk, vae
from secondlook.recipe import Recipe
from secondlook.record import Records
from secondlook.runs import Execution
from secondlook.training.checkpoint import read

CIFAR = {"name": "cifar10", "source": "standin", "train_limit": 160, "test_limit": 40, "validation": 0.2}
MNIST = {**CIFAR, "name": "mnist", "classes": [0, 1], "image_size": 32, "train_limit": 60}
SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True}
NETS = {
    "lenet": {
        "model": {"name": "lenet"}, "optimizer": SGD, "batch_size": 4, "epochs": 6, "restore_best": True,
        "early_stopping": 5, "schedule": {"name": "plateau", "patience": 1}, "augment": {"flip": True, "crop": 4},
    },
    "keras_cnn": {
        "model": {"name": "keras_cnn", "stage": 3, "width": 0.25}, "optimizer": {"name": "adam", "learning_rate": 1e-3},
        "batch_size": 8, "epochs": 5, "penalty": {"l2_dense": 0.01}, "schedule": {"name": "exp_after", "after": 1},
    },
    "vgg": {
        "model": {"name": "vgg", "depth": 11, "width": 0.05, "batch_norm": True}, "optimizer": SGD, "batch_size": 16,
        "epochs": 8, "schedule": {"name": "one_cycle"}, "augment": {"erasing": 0.5}, "clip_norm": 1.0,
    },
    "frozen_unet": {
        "model": {"name": "frozen_unet", "width": 0.04}, "first": {"model": {"name": "resnet", "width": 0.04}},
        "optimizer": {"name": "nadam", "learning_rate": 1e-3}, "batch_size": 8, "epochs": 3,
    },
    "mlp_vae": {
        "model": {"name": "mlp_vae", "width": 0.03}, "optimizer": {"name": "adam", "learning_rate": 1e-3},
        "batch_size": 4, "epochs": 6,
    },
    "linear": {"learning_rate": 1e-6, "strength": 10.0, "batch_size": 16, "epochs": 40.0},
    "risk": {
        "model": {"name": "conv_vgg", "width": 0.03}, "train_size": 40, "test_size": 40, "epochs": 6, "batch_size": 4,
    },
}  # fmt: skip
KINDS = {"mlp_vae": vae, "linear": linear, "risk": risk}
EVIDENCE = ("lenet", "linear")  # whose arrays are quickly made


def recipe(net: str) -> Recipe:
    kind = KINDS.get(net, classifier).__name__.rpartition(".")[2]
    data = MNIST if net in ("frozen_unet", "mlp_vae") else CIFAR
    data = {**data, "validation": 0.0, "noise": "as_coded"} if net == "mlp_vae" else data
    data = {"name": "gaussians", "image_size": 32} if net == "risk" else data
    where = {"report": "kill", "run": net, "variant": "custom", "profile": "smoke", "seed": 1, "kind": kind}
    keep = "evidence" if net in EVIDENCE else "predictions"
    return Recipe.from_dict({**where, "keep": keep, "data": data, "settings": NETS[net]})


def train(net: str, folder: Path) -> int:
    """Starts the run in a process of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        warnings.simplefilter("ignore")
        filing.SAVE_EVERY = 0.01
        KINDS.get(net, classifier).produce([recipe(net)], Execution(records_dir=folder, runs_dir=folder, device="cpu"))
        code = 0
    finally:
        os._exit(code)


def digest(net: str, folder: Path) -> str:
    """Of everything that must be equal: weights, curves and metrics but for the seconds, predictions."""
    record = Records(folder).get(recipe(net))
    total = hashlib.sha256(record.provenance.get("weights", "").encode())
    for name in sorted(set(record.history) - {"seconds", "first_seconds"}):
        total.update(record.history[name].tobytes())
    for name in sorted(record.arrays):
        total.update(record.arrays[name].tobytes())
    total.update(str({k: v for k, v in record.metrics.items() if "seconds" not in k}).encode())
    return total.hexdigest()[:16]


def writing(folder: Path) -> set[tuple[str, int]]:
    """Files of a checkpoint that is being written, or was when its process was killed."""
    with os.scandir(folder) as entries:
        return {(entry.name, entry.inode()) for entry in entries if ".new" in entry.name}


def finished(child: int, until: float, hunted: Callable[[], bool] = lambda: False) -> bool:
    """Whether the process ends by itself before the moment `until`, or before it is hunted down."""
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"a run ended with status {status}")
            return True
        if hunted():
            return False
        time.sleep(0.0005)
    return False


def trial(net: str, kills: int, chance: random.Random, longest: float) -> dict:
    """One run, killed at most `kills` times: counts, and the digest of what came out."""
    counts = {"kills": 0, "in a save": 0, "mid-epoch": 0}
    with tempfile.TemporaryDirectory() as name:
        folder, saves = Path(name), Path(name, "checkpoints")
        saves.mkdir()
        while counts["kills"] < kills:
            old, child, hunting = writing(saves), train(net, folder), chance.random() < 1 / 3
            until = time.monotonic() + chance.uniform(0, longest)
            if hunting:
                over = finished(child, until) or finished(child, until + 10, lambda: bool(writing(saves) - old))  # noqa: B023
            else:
                over = finished(child, until)
            if over:
                break
            os.kill(child, signal.SIGKILL)
            if os.waitpid(child, 0)[1] == 0:
                break
            counts["kills"] += 1
            counts["in a save"] += bool(writing(saves) - old)
            counts["mid-epoch"] += any(read(path)["state"].get("step", 0) > 0 for path in saves.glob("*.ckpt"))
        else:
            if not finished(train(net, folder), time.monotonic() + 600):
                raise SystemExit("a run did not end")
        return {**counts, "left over": len(os.listdir(saves)), "digest": digest(net, folder)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chance, bad, all_kills = random.Random(arguments.seed), 0, 0
    for i, net in enumerate(arguments.nets):
        if KINDS.get(net, vae) is vae:  # images and code are loaded here, once for all
            own = vae.as_classifier(recipe(net)) if net in KINDS else recipe(net)
            _ = classifier.Task(own, Execution(device="cpu")).macs
        start = time.monotonic()
        straight = trial(net, 0, chance, 0.0)["digest"]
        longest = (time.monotonic() - start) / 3
        wanted = arguments.kills * (i + 1) // len(arguments.nets) - arguments.kills * i // len(arguments.nets)
        sums = {"kills": 0, "in a save": 0, "mid-epoch": 0, "left over": 0}
        runs = different = 0
        while sums["kills"] < wanted:
            found = trial(net, wanted - sums["kills"], chance, longest)
            runs, different = runs + 1, different + (found["digest"] != straight)
            sums = {name: count + found[name] for name, count in sums.items()}
        told = ", ".join(f"{count} {name}" for name, count in sums.items())
        seconds = f"{3 * longest:.1f} s straight"
        print(f"{net:<12} {told}; {runs} runs, {different} different from the straight one ({seconds})", flush=True)
        bad, all_kills = bad + different + sums["left over"], all_kills + sums["kills"]
    print(f"{all_kills} kills, {bad} differences")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
