"""Two processes under torchrun give what one gives; a killed one starts again from the checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from secondlook.record import Records

ROOT = Path(__file__).resolve().parents[1]
WORK = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from secondlook.experiments import Execution, classifier
from secondlook.recipe import Recipe
from secondlook.training import loop

folder, kill_at = Path(sys.argv[1]), int(sys.argv[2])
settings = {
    "model": {"name": "lenet"}, "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}, "epochs": 4,
    "batch_size": 7, "precision": "float64", "clip_norm": 1.0, "restore_best": True,
    "schedule": {"name": "plateau", "patience": 0},
}
data = {"name": "cifar10", "source": "standin", "train_limit": 80, "test_limit": 40, "validation": 0.2}
where = {"report": "test", "run": "two", "variant": "custom", "profile": "smoke", "seed": 0, "keep": "predictions"}
recipe = Recipe.from_dict({**where, "kind": "classifier", "data": data, "settings": settings})
classifier.SAVE_EVERY = 0.0
step, rank = loop.Training.after_step, int(os.environ.get("RANK", 0))

def after_step(run):
    step(run)
    if run.steps == kill_at and rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        (folder / "killed").touch()
        os.kill(os.getpid(), 9)

loop.Training.after_step = after_step
finish = loop.Training.finish

def finish_and_keep(run):
    finish(run)
    torch.save(run.net.state_dict(), folder / f"net{rank}.pt")

loop.Training.finish = finish_and_keep
classifier.produce([recipe], Execution(folder, folder, folder, "cpu"))
"""


def run(folder: Path, world: int, kill_at: int = -1):
    """Record and weights of a run by `world` processes, of which rank 1 is killed once after `kill_at` steps."""
    folder.mkdir()
    (folder / "work.py").write_text(WORK)
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", "--max-restarts=2"]
    words = [*(start if world > 1 else []), str(folder / "work.py"), str(folder), str(kill_at)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (record,) = Records(folder).of("test").values()
    nets = [torch.load(folder / f"net{rank}.pt", weights_only=True) for rank in range(world)]
    return record, nets


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return run(tmp_path_factory.mktemp("two") / "run", 2)


def test_two_processes_equal_one(two, tmp_path):
    """64 images in batches of 7: the ranks have unequal parts, and in the last batch one has none."""
    (one, (alone,)), (both, nets) = run(tmp_path / "one", 1), two
    for name, values in alone.items():
        torch.testing.assert_close(nets[0][name], values, rtol=1e-10, atol=1e-12)
        assert torch.equal(nets[0][name], nets[1][name])
    for curve in ("train_loss", "train_accuracy", "gradient_norm", "validation_loss", "learning_rate"):
        assert both.history[curve].tolist() == pytest.approx(one.history[curve].tolist(), rel=1e-6)
    assert both.provenance["world"] == 2


def test_a_killed_process_starts_again_from_the_checkpoint_and_changes_nothing(two, tmp_path):
    killed, _ = run(tmp_path / "run", 2, kill_at=13)
    assert (tmp_path / "run" / "killed").exists()
    assert killed.provenance["weights"] == two[0].provenance["weights"]
    assert killed.history["train_loss"].tolist() == two[0].history["train_loss"].tolist()
    assert killed.metrics["steps"] == two[0].metrics["steps"]
