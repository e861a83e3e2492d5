"""A VAE's record: the loss by its formula, heads that fail and heads that do not, one command, any interruption."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from secondlook import models
from secondlook.data import draws
from secondlook.experiments import classifier, reading, vae
from secondlook.experiments.classifier import Task
from secondlook.groups import groups
from secondlook.insight import embeddings, heads
from secondlook.recipe import VAE, Recipe, RecipeError
from secondlook.record import Records
from secondlook.runs import Execution
from secondlook.training import checkpoint as checkpoints
from secondlook.training.stopping import Stopped

MNIST = {"name": "mnist", "source": "standin", "classes": [0, 1], "train_limit": 48, "test_limit": 30,
         "image_size": 16, "normalise": "half"}  # fmt: skip
MODEL = {"name": "mlp_vae", "width": 0.03}
pytestmark = pytest.mark.usefixtures("one_thread", "quick_places")
TIMES = ("seconds", "_seconds")


def recipe(data=None, seed=0, keep="predictions", run="one", **settings) -> Recipe:
    settings = {"model": MODEL, "epochs": 2, "batch_size": 16, **settings}
    return Recipe.from_dict({
        "report": "test", "run": run, "variant": "custom", "profile": "smoke", "seed": seed, "keep": keep,
        "kind": "vae", "data": {**MNIST, **(data or {})}, "settings": settings,
    })  # fmt: skip


def produce(folder, *recipes, deadline=None):
    execution = Execution(folder, folder, folder, "cpu", deadline)
    return [r for group in groups(list(recipes)) for r in vae.produce(group, execution)]


def untimed(record) -> tuple:
    return ({k: v for k, v in record.metrics.items() if not k.endswith(TIMES)},
            {k: v.tolist() for k, v in record.history.items() if not k.endswith(TIMES)},
            {k: v.tobytes() for k, v in record.arrays.items()}, record.provenance["weights"])  # fmt: skip


# ------------------------------------------------------------------ the loss and the loop


def test_the_loss_is_squared_error_plus_beta_times_divergence_summed_over_the_batch():
    generator = torch.Generator().manual_seed(0)
    rebuilt, target, mu, log_var = (torch.randn(3, 4, generator=generator).double() for _ in range(4))
    error = sum((a - b) ** 2 for a, b in zip(rebuilt.flatten().tolist(), target.flatten().tolist()))
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, (0.5 * log_var).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum()
    got = vae.parts(rebuilt, target, mu, log_var, 0.05)
    assert got.tolist() == pytest.approx([error + 0.05 * float(kl), error, float(kl)])


def task_of(own: Recipe, folder) -> Task:
    return Task(vae.as_classifier(own), Execution(folder, folder, folder, "cpu"))


def fitted(own: Recipe, folder, **more):
    task = task_of(own, folder)
    net = classifier.build(task.recipe.settings, task)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    loader = task.loader("train", task.recipe.settings)
    return vae.fit(net, loader, own.settings, own.seed, **more), before, task


def test_training_lowers_the_loss_and_leaves_the_head_alone(tmp_path):
    run, before, _ = fitted(recipe(epochs=8), tmp_path)
    losses = run.history["train_loss"]
    assert losses[-1] < losses[0]
    row = {k: np.array(run.history[f"train_{k}"]) for k in ("loss", "reconstruction", "kl")}
    np.testing.assert_allclose(row["loss"], row["reconstruction"] + 0.05 * row["kl"], rtol=1e-6)
    assert all(torch.equal(before[f"head.{k}"], getattr(run.net.head, k)) for k in ("weight", "bias"))


def test_a_step_is_adams_on_the_clipped_gradient_of_the_summed_loss(tmp_path):
    own = recipe(epochs=1, batch_size=48, optimizer={"name": "sgd", "learning_rate": 0.1})
    run, before, _ = fitted(own, tmp_path)
    moved = torch.cat([(before[k] - v).flatten() for k, v in run.net.state_dict().items()])
    assert float(moved.norm()) == pytest.approx(0.1, rel=1e-3)  # one step, a gradient of norm 1
    assert run.history["gradient_norm"][0] > 1


def test_the_engines_loss_curve_is_the_one_of_a_plain_loop(tmp_path):
    own = recipe(epochs=1, clip_norm=0.0)
    run, before, task = fitted(own, tmp_path)
    net = models.build("mlp_vae", width=0.03, image_size=16)
    net.load_state_dict(before)
    optimizer = torch.optim.Adam([p for n, p in net.named_parameters() if "head" not in n], 1e-3)
    loader, total = task.loader("train", task.recipe.settings), 0.0
    for step in range(3):
        torch.manual_seed(draws.generator_seed(0, 0, step))
        x, _ = loader.batch(0, step)
        rebuilt, mu, log_var = net(x)
        kl = -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum()
        loss = torch.nn.functional.mse_loss(rebuilt, x, reduction="sum") + 0.05 * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    assert run.history["train_loss"][0] == pytest.approx(total / 48, rel=1e-4)


def test_a_denoising_vae_is_held_against_the_clean_image(tmp_path):
    own = recipe({"noise": "as_coded"}, denoising=True)
    task = task_of(own, tmp_path)
    noisy, clean = task.loader("train", task.recipe.settings), vae.clean_loader(task, "train", {})
    plain = task_of(recipe(), tmp_path).loader("train", task.recipe.settings)
    assert torch.equal(clean.batch(1, 2)[0], plain.batch(1, 2)[0])
    assert torch.equal(clean.batch(1, 2)[1], noisy.batch(1, 2)[1])
    assert not torch.equal(clean.batch(1, 2)[0], noisy.batch(1, 2)[0])
    assert task.recipe.data.noise == "as_coded"
    against_noise, against_clean = produce(tmp_path, replace_settings(own, denoising=False), own)
    assert against_clean.metrics["test_reconstruction"] < 0.7 * against_noise.metrics["test_reconstruction"]


def replace_settings(own: Recipe, **changes) -> Recipe:
    return replace(own, settings=replace(own.settings, **changes))


# ------------------------------------------------------------------ the record


def test_a_record_is_whole_and_filed_at_once(tmp_path):
    (record,) = produce(tmp_path, recipe(keep="evidence"))
    filed = Records(tmp_path).get(record.recipe)
    assert filed.metrics == record.metrics
    m = record.metrics
    assert {"svm_accuracy", "kmeans_accuracy", "row_swd_zeros", "row_swd_ones", "row_swd_between", "swd_zeros",
            "swd_floor_ones", "row_swd_floor_zeros", "row_swd_between_se", "parameters", "silhouette", "probe_accuracy",
            "kmeans_ari", "svm_seconds", "kmeans_seconds", "train_seconds", "class_distances",
            "test_kl"} <= set(m)  # fmt: skip
    assert {"labels", "svm_predictions", "kmeans_predictions", "latents", "latent_tsne", "latent_tsne_plane",
            "latent_umap", "latent_pca", "reconstructions", "walk", "test_index"} <= set(filed.arrays)  # fmt: skip
    labels = filed.arrays["labels"]
    for name in ("svm", "kmeans"):
        assert m[f"{name}_accuracy"] == pytest.approx(np.mean(filed.arrays[f"{name}_predictions"] == labels), abs=1e-5)
    assert m["svm_accuracy"] == m["as_coded_accuracy"] == m["as_coded_lottery"][0]
    assert len(m["as_coded_lottery"]) == len(m["hinge_lottery"]) == 20
    assert m["test_loss"] == pytest.approx(m["test_reconstruction"] + 0.05 * m["test_kl"], rel=1e-4)
    assert all(len(curve) == 2 for curve in filed.history.values())
    assert filed.history["head_test_accuracy"][-1] == pytest.approx(m["svm_accuracy"], abs=1e-5)
    assert m["parameters"] == models.parameter_count(models.build("mlp_vae", width=0.03, image_size=16))
    assert filed.provenance["resumed_from"] is None
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_run_stopped_after_every_step_equals_one_run(tmp_path, monkeypatch):
    own = recipe({"noise": "as_coded", "imbalance": 0.9}, keep="evidence")
    (straight,) = produce(tmp_path / "one", own)
    stops = 0
    while stops < 50:
        try:
            (cut,) = produce(tmp_path / "cut", own, deadline=checkpoints.time.monotonic())
            break
        except Stopped:
            stops += 1
    assert stops == 6 + 1  # every step of the VAE, every epoch of its heads but the last
    assert untimed(cut) == untimed(straight)
    assert not list((tmp_path / "cut" / "checkpoints").iterdir())


def test_divergence_is_a_result(tmp_path):
    (record,) = produce(tmp_path, recipe(optimizer={"name": "adam", "learning_rate": 1e30}, keep="evidence"))
    assert record.status == "diverged"
    assert record.metrics["diverged_learning_rate"] == 1e30
    assert "svm_accuracy" not in record.metrics
    assert Records(tmp_path).get(record.recipe).status == "diverged"


def test_recipes_that_read_one_vae_differently_share_it(tmp_path):
    same = [recipe(), recipe(svm_head="hinge"), recipe(latent="mean", svm_head="linear_svc"),
            recipe({"noise": "as_coded", "noise_on": "test"})]  # fmt: skip
    others = [recipe(seed=1), recipe(decoder="tanh"), recipe(beta=1.0), recipe({"noise": "as_coded"}),
              recipe({"imbalance": 0.9})]  # fmt: skip
    assert [len(g) for g in groups([*same, *others])] == [4, 1, 1, 1, 1, 1]
    together = produce(tmp_path / "together", *same)
    for own, record in zip(same, together):
        (alone,) = produce(tmp_path / own.id, own)
        assert untimed(record) == untimed(alone)
        assert record.provenance["group"]["members"] == 4
    clean, _, _, transfer = together
    assert clean.history["train_loss"].tolist() == transfer.history["train_loss"].tolist()
    assert clean.metrics["svm_train_accuracy"] == transfer.metrics["svm_train_accuracy"]
    assert transfer.metrics["test_reconstruction"] > 1.5 * clean.metrics["test_reconstruction"]


def test_ten_classes_are_read_by_mended_heads_only(tmp_path):
    ten = {"classes": [], "train_limit": 60, "test_limit": 40}
    (record,) = produce(tmp_path, recipe(ten, svm_head="hinge", keep="evidence"))
    assert "as_coded_accuracy" not in record.metrics
    assert record.arrays["reconstruction_rows"].shape[0] == 10
    with pytest.raises(RecipeError, match="svm_head 'as_coded' has one target for both of two classes, here are 10"):
        produce(tmp_path, recipe(ten))


def test_a_net_that_is_no_vae_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"model .lenet. is no VAE; expected mlp_vae or conv_vae"):
        produce(tmp_path, recipe(model={"name": "lenet"}))


def test_evaluation_noise_is_fixed_and_training_noise_is_not(tmp_path):
    run, _, task = fitted(recipe({"noise": "as_coded"}, latent="mean", epochs=0), tmp_path)
    own = recipe({"noise": "as_coded"}, latent="mean")
    first, second = (reading.Latents(run.net, task.loader("train", task.recipe.settings), own, "train") for _ in "ab")
    assert torch.equal(first.mu, second.mu)
    assert not torch.equal(first.anew(3), first.mu)
    assert torch.equal(first.anew(3), second.anew(3))
    assert not torch.equal(first.anew(3), first.anew(4))


# ------------------------------------------------------------------ heads


@pytest.fixture(scope="module")
def heaps():
    """Two well separated heaps in eight dimensions, far from the origin."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    z = torch.randn(400, 8, generator=generator) + 2.0
    z[:, 0] += 6.0 * labels
    return z, labels


def trained(z, labels, own=None, **more):
    own = own or reading.starts(torch.nn.Linear(8, 2), 0, 2)
    order = lambda epoch: torch.randperm(len(z), generator=torch.Generator().manual_seed(epoch))  # noqa: E731
    settings = {"learning_rate": 0.01, "batch_size": 16, "epochs": 20, "test": (z, labels), **more}
    return heads.train_heads(own, lambda epoch: z, labels, order, **settings)


def test_one_target_for_both_outputs_is_a_lottery_and_one_for_each_is_not(heaps):
    found = heads.accuracies(trained(*heaps), *heaps)
    coded, mended = found[:20], found[20:]
    assert mended.min() > 0.97
    assert coded.max() - coded.min() > 0.5


def test_the_hinge_loss_as_coded_gives_both_outputs_one_target():
    scores = torch.tensor([[[0.5, -2.0], [0.2, 3.0]]]).expand(2, 2, 2)
    loss = heads.hinge_loss(scores, torch.tensor([1, 0]), torch.tensor([True, False]))
    coded = (0.5 + 3.0 + 1.2 + 4.0) / 4  # 1 − s, 1 − s, 1 + s, 1 + s
    mended = (1.5 + 3.0 + 0.8 + 4.0) / 4  # 1 + s, 1 − s, 1 − s, 1 + s
    assert loss.tolist() == pytest.approx([coded, mended])


def test_a_head_trains_beside_others_as_it_would_alone(heaps):
    own = reading.starts(torch.nn.Linear(8, 2), 0, 2)
    singles = [own.only(k) for k in (0, 7, 31)]
    together = trained(*heaps, own=own, epochs=3)
    for k, single in zip((0, 7, 31), singles):
        alone = trained(*heaps, own=single, epochs=3)
        assert torch.allclose(alone.weights[0], together.weights[k], atol=1e-5)
        assert [row[k] for row in together.history["loss"]] == pytest.approx([v[0] for v in alone.history["loss"]])


def test_the_first_head_starts_as_the_nets_own():
    head = torch.nn.Linear(8, 2)
    own = reading.starts(head, 3, 2)
    for k in (0, reading.LOTTERY):
        assert torch.equal(own.weights[k].T, head.weight)
        assert torch.equal(own.biases[k], head.bias)
    assert own.weights.std(0).min() > 0.05
    assert own.weights.abs().max() <= 8**-0.5
    assert own.coded.tolist() == [True] * 20 + [False] * 20


def test_clusters_are_named_after_the_classes_they_hold(heaps):
    z, labels = (t.numpy() for t in heaps)
    for own in (labels, 1 - labels):
        assert np.mean(heads.kmeans(z, own, 2).predict(z) == own) > 0.97
    three = np.arange(90) % 3
    points = np.random.default_rng(0).normal(size=(90, 2)) + 20 * np.eye(3)[three][:, :2] * [1, 2]
    assert np.mean(heads.kmeans(points, three, 3).predict(points) == three) == 1.0


def test_clusters_are_named_by_one_image_of_each_class():
    labels = np.repeat([0, 1, 2], 4)
    first = np.zeros((1, 3))
    assert heads.one_label_accuracy(((labels + 1) % 3, labels), ((labels + 1) % 3, labels), first) == 1.0
    gone = labels[labels != 1]
    assert heads.one_label_accuracy((gone, gone), (labels, labels), first) == 1.0
    misled = labels.copy()
    misled[[0, 4]] = 1, 0  # the images that name the clusters of classes 0 and 1 lie in each other's
    assert heads.one_label_accuracy((misled, labels), (labels, labels), first) == pytest.approx(4 / 12)
    assert heads.one_label_accuracy((misled, labels), (labels, labels), first + 0.5) == 1.0
    assert heads.one_label_accuracy((misled, labels), (labels, labels), np.r_[first, first + 0.5]) == pytest.approx(
        2 / 3
    )


def test_scikit_learns_machine_has_a_column_for_each_class(heaps):
    z, labels = (t.numpy() for t in heaps)
    weights, biases = heads.linear_svc(z, labels)
    assert weights.shape == (8, 2)
    assert np.mean((z @ weights + biases).argmax(1) == labels) > 0.97


# ------------------------------------------------------------------ latents


def test_points_of_the_hyperplane_lie_on_it():
    generator = np.random.default_rng(0)
    mu, w = generator.normal(size=(30, 8)).astype(np.float32), generator.normal(size=8)
    points = embeddings.on_hyperplane(mu, w, 0.7)
    np.testing.assert_allclose(points @ w + 0.7, 0, atol=1e-5)
    np.testing.assert_allclose(np.cross((mu - points)[:, :3], w[:3]), 0, atol=1e-5)  # moved along the normal


def test_a_collapsed_latent_uses_no_dimension():
    labels = np.arange(40) % 2
    told = embeddings.latent_measures(np.full((40, 4), 1e-4, np.float32), np.zeros((40, 4), np.float32), labels)
    assert told["active_dimensions"] == 0
    used = np.zeros((40, 4), np.float32)
    used[:, 2] = 4 * labels + np.random.default_rng(0).normal(0, 0.1, 40)
    told = embeddings.latent_measures(used, np.zeros((40, 4), np.float32), labels)
    assert told["active_dimensions"] == 1
    assert told["silhouette"] > 0.9


def test_a_sampled_latent_is_drawn_once_for_evaluation_and_anew_each_epoch(tmp_path):
    run, _, task = fitted(recipe(epochs=0), tmp_path)
    loader = task.loader("test", task.recipe.settings)
    sampled, mean = (reading.Latents(run.net, loader, recipe(latent=how), "test") for how in ("sample", "mean"))
    assert torch.equal(mean.z(), mean.mu)
    assert torch.equal(sampled.z(), sampled.z())
    assert not torch.equal(sampled.z(0), sampled.z(1))
    scaled = (sampled.z() - sampled.mu) / (0.5 * sampled.log_var).exp()
    assert 0.85 < float(scaled.std()) < 1.15


def test_the_default_settings_are_those_of_the_public_code():
    s = VAE()
    assert (s.beta, s.clip_norm, s.batch_size, s.epochs, s.latent) == (0.05, 1.0, 16, 20, "sample")
