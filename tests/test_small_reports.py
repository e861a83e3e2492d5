"""Small reports of one's own: each trains to a record or is refused before any work."""

from pathlib import Path

import numpy as np
import pytest
import torch

from secondlook import insight, reports
from secondlook.insight.embeddings import latent_walk
from secondlook.models import build
from secondlook.recipe import RecipeError
from secondlook.runs import Execution, load_or_train

TOML = """
[base]
kind = "linear"
data = {{ name = "cifar10", source = "standin", validation = 50.0, train_limit = 300, test_limit = 200 }}
batch_size = 50
epochs = 1.0
keep = "evidence"
[run.own]
{}
"""
NET = 'kind = "classifier"\nmodel = { name = "lenet" }\nepochs = 1\n"data.name" = "mnist"'


def made(settings, folder):
    plans = reports.parse(TOML.format(settings), Path("own.toml")).recipes()
    (record,) = load_or_train(plans, Execution(folder, folder / "records", folder / "runs", device="cpu")).records
    return record


@pytest.mark.parametrize(
    ("settings", "status", "lacks"),
    [
        ('"data.test_limit" = 5', "finished", {"roc"}),
        ('"data.test_limit" = 1', "finished", {"roc"}),
        ('"data.name" = "mnist"', "finished", {"templates"}),
        ('"data.name" = "mnist"\nfeatures = "patches"\nfeature_count = 4', "finished", {"templates"}),
        ('features = "patches"\nfeature_count = 4', "finished", {"templates"}),
        ("learning_rate = 1e30", "diverged", {"roc"}),
        ("test = false", "finished", {"predictions", "roc"}),
    ],
)
def test_a_small_report_trains_to_a_record_without_what_it_cannot_have(tmp_path, settings, status, lacks):
    record = made(settings, tmp_path)
    assert (record.status, lacks & set(record.arrays)) == (status, set())
    assert {"predictions", "roc", "templates"} - lacks <= set(record.arrays)
    assert ("auc" in record.metrics) == ("roc" in record.arrays)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('features = "patches"', "feature_count 0 of patches; expected at least 1"),
        ('features = "whitened"\nfeature_count = 4000', "expected 0, for all, to 3,072"),
        ('"data.name" = "mnist"\n"data.image_size" = 16', "as they are stored"),
        ('"data.noise" = "as_coded"', "as they are stored"),
        (NET, r"images of shape \(1, 32, 32\)"),
    ],
)
def test_what_a_kind_cannot_train_on_is_refused_before_any_work(tmp_path, settings, message):
    with pytest.raises(RecipeError, match=message):
        made(settings, tmp_path)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_net_that_is_always_wrong_shows_its_mistakes():
    logits = torch.eye(3)[torch.zeros(5, dtype=torch.long)]
    rows = insight.shown_rows(insight.Answers(torch.zeros(5, 1), logits, torch.tensor([1, 2, 1, 2, 1])))
    assert sorted(rows) == list(range(5))


def test_the_latent_of_one_image_has_a_walk():
    vae = build("mlp_vae", image_size=8, width=0.05)
    assert np.isfinite(latent_walk(vae, np.ones((1, 8), np.float32))["walk_plane"]).all()
