"""The loop against the one a reader would write with torch alone, and all that is faster beside it; how it ends."""

import inspect
import itertools
import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from secondlook import models
from secondlook.data import draws, standins
from secondlook.data.loader import DeviceLoader
from secondlook.recipe import Classifier, RecipeError
from secondlook.training import fast, loop, losses
from secondlook.training.checkpoint import Checkpoint
from secondlook.training.fast import graph, numba_step
from secondlook.training.fast.side_by_side import Loaders, SideBySide, alone
from secondlook.training.loop import train
from secondlook.training.precision import flags, placement
from secondlook.training.stopping import Stopped

SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}
ADAMW = {"name": "adamw", "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def images():
    return standins.draw("cifar10", train=90, test=60)


def loader(images, part="train", size=16, dtype=torch.float64, **more):
    x, y = getattr(images, f"x_{part}"), getattr(images, f"y_{part}")
    return DeviceLoader(x, y, **{"batch_size": size, "seed": 3, "mean": 0.5, "std": 0.25, "dtype": dtype, **more})


def net_of(name="lenet", seed=1, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    return models.build(name, num_classes=10, **{"width": 0.5, **options}).to(dtype)


def by_hand(net, batches, optimizer, penalty=None, clip=0.0, smoothing=0.0):
    """Losses of the steps that torch's own tools take; the reference for the reference."""
    found = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y, label_smoothing=smoothing) + (penalty(net) if penalty else 0.0)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        found.append(loss.item())
    return found


def close(net, other, within=1e-10, least=1e-12):
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.double().cpu(), q.double(), rtol=within, atol=least)


def test_the_function_fits_on_a_screen():
    assert len(inspect.getsource(loop.train).splitlines()) < 60


@pytest.mark.parametrize("name", ["lenet", "keras_cnn"])
def test_twenty_steps_equal_those_written_with_torch_alone(images, name):
    net, other = net_of(name), net_of(name)
    settings = Classifier(optimizer=SGD, epochs=4, batch_size=18, clip_norm=1.0, label_smoothing=0.1, log_every=2)
    run = train(net, loader(images, size=18), settings, 0)
    batches = [loader(images, size=18).batch(e, k) for e in range(4) for k in range(5)]
    found = by_hand(other, batches, torch.optim.SGD(other.parameters(), 0.05, 0.9), clip=1.0, smoothing=0.1)
    close(net, other)
    epochs = [found[5 * e : 5 * e + 5] for e in range(4)]
    assert run.history["train_loss"] == pytest.approx([sum(epoch) / 5 for epoch in epochs], rel=1e-10)
    pairs = [(epoch[k] + epoch[k + 1]) / 2 for epoch in epochs for k in (0, 2)]
    assert run.history["step_loss"] == pytest.approx(pairs, rel=1e-10)
    assert run.steps == 20


# ------------------------------------------------------------------ what is faster, beside it


def in_channels_last(net, images, settings, _):
    net = net.to(memory_format=torch.channels_last)
    return train(net, loader(images, size=18, memory_format=torch.channels_last), settings, 0).net


def compiled(net, images, settings, _):
    if not shutil.which("g++"):
        pytest.skip("torch.compile needs a C++ compiler on the CPU")
    train(torch.compile(net), loader(images, size=18), settings, 0)
    return net


def in_bfloat16(net, images, settings, _):
    changed = Classifier(**{**vars(settings), "precision": "bf16"})
    run = train(net.float(), loader(images, size=18, dtype=torch.float32), changed, 0)
    assert all(p.dtype == torch.float32 for p in run.net.parameters())
    return run.net


def by_numba(net, images, settings, _):
    return train(net.float(), loader(images, size=18, dtype=torch.float32), settings, 0,
                 accelerate=numba_step.compiled).net  # fmt: skip


def in_a_graph(net, images, settings, _):
    if not torch.cuda.is_available():
        pytest.skip("a CUDA graph needs a CUDA device")
    return train(net.cuda(), loader(images, size=18, device="cuda"), settings, 0, accelerate=graph.captured).net


def side_by_side(net, images, settings, _):
    nets, batches = [net, net_of(seed=5, width=1.0)], [loader(images, size=18, seed=seed) for seed in (3, 4)]
    return alone(train(SideBySide(nets), Loaders(batches), settings, 0), 0).net


def stopped_and_continued(net, images, settings, folder):
    path = folder / "run.ckpt"
    for _ in range(19):  # a step each
        with pytest.raises(Stopped):
            train(
                net_of(width=1.0), loader(images, size=18), settings, 0, checkpoint=Checkpoint(path, {}, deadline=0.0)
            )
    return train(net, loader(images, size=18), settings, 0, checkpoint=Checkpoint(path, {})).net


FAST = {in_channels_last: 1e-12, compiled: 1e-12, in_bfloat16: 0.2, by_numba: 1e-3, in_a_graph: 1e-8,
        side_by_side: 1e-12, stopped_and_continued: 0.0}  # fmt: skip


def flat(net):
    return torch.cat([p.detach().cpu().double().flatten() for p in net.parameters()])


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=lambda table: table["name"])
@pytest.mark.parametrize("way", FAST, ids=lambda way: way.__name__)
def test_twenty_steps_of_each_faster_way_equal_those_of_the_reference(images, tmp_path, way, optimizer):
    """Within a share of the way that the weights went: rounding, 1e-12 or, of a run that was cut, nothing at all."""
    settings = Classifier(optimizer=optimizer, epochs=4, batch_size=18, schedule={"name": "step", "every": 2})
    start, reference = net_of(width=1.0), flat(train(net_of(width=1.0), loader(images, size=18), settings, 0).net)
    apart = (flat(way(net_of(width=1.0), images, settings, tmp_path)) - reference).norm()
    assert apart / (flat(start) - reference).norm() <= FAST[way]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="host synchronisations are those of a CUDA device")
def test_a_step_does_not_wait_for_the_device(images):
    def strict(run, step):
        def quietly(rows):
            torch.cuda.set_sync_debug_mode("error" if run.steps > 2 else "default")
            try:
                step(rows)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        return quietly

    batches = loader(images, device="cuda", dtype=torch.float32)
    run = train(net_of(dtype=torch.float32).cuda(), batches, Classifier(optimizer=SGD, epochs=4), 0, accelerate=strict)
    assert run.steps == 24


def test_tf32_is_on_for_its_precision_alone_and_the_flags_are_put_back():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    for precision in ("float32", "tf32", "bf16"):
        with flags(precision, "cpu"):
            assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_the_fastest_way_keeps_the_precision_and_is_a_graph_where_the_rate_stays():
    net = nn.Linear(2, 2)
    for precision, device in itertools.product(("float32", "tf32", "bf16", "float64"), ("cpu", "cuda")):
        settings = Classifier(precision=precision)
        assert placement(net, settings, device)["dtype"] == (torch.float64 if "64" in precision else torch.float32)
        assert fast.described(net, settings, device)["precision"] == precision
        assert fast.best(net, settings, device) is (graph.captured if device == "cuda" else None)
    assert fast.best(net, Classifier(schedule={"name": "one_cycle"}), "cuda") is None


@pytest.mark.parametrize(
    ("name", "options", "penalty"),
    [("lenet", {}, {}), ("keras_cnn", {"stage": 3, "dropout": False}, {"l2_dense": 0.01})],  # with batch normalisation
)
def test_seeds_side_by_side_count_what_they_count_alone(images, name, options, penalty):
    settings = Classifier(optimizer=SGD, epochs=3, batch_size=16, clip_norm=1.0, penalty=penalty)
    nets, batches = ([make(k) for k in range(3)] for make in
                     (lambda k: net_of(name, k, width=0.25, **options), lambda k: loader(images, seed=k)))  # fmt: skip
    validation = loader(images, "test", 40)
    together = train(SideBySide(nets), Loaders(batches, shared=True), settings, 0, validation=Loaders([validation] * 3))
    for k in range(3):
        net, member = net_of(name, k, width=0.25, **options), alone(together, k)
        single = train(net, loader(images, seed=k), settings, 0, validation=validation)
        close(member.net, net)
        for curve in ("train_loss", "train_accuracy", "gradient_norm", "gradient_norm_sum", "validation_loss"):
            assert member.history[curve] == pytest.approx(single.history[curve], rel=1e-9)


def test_a_member_that_diverges_leaves_the_others_alone(images):
    nets = [net_of(), net_of()]
    with torch.no_grad():
        nets[1].conv1.weight[0, 0, 0, 0] = 1e308
    run = train(SideBySide(nets), Loaders([loader(images), loader(images)]), Classifier(optimizer=SGD, epochs=2), 0)
    assert (alone(run, 0).status, alone(run, 1).status) == ("finished", "diverged")
    assert alone(run, 1).diverged == {0: [0, 0.05]}
    close(alone(run, 0).net, train(net_of(), loader(images), Classifier(optimizer=SGD, epochs=2), 0).net)


# ------------------------------------------------------------------ what it counts


def test_an_epoch_is_weighed_by_images_also_where_the_last_batch_is_short(images):
    still = Classifier(optimizer={"name": "sgd", "learning_rate": 0.0}, epochs=1, log_every=2)
    run = train(net_of(), loader(images, size=40), still, 0, validation=loader(images, size=32))
    assert run.history["train_loss"] == pytest.approx(run.history["validation_loss"], rel=1e-12)
    assert run.history["train_accuracy"] == pytest.approx(run.history["validation_accuracy"])
    halves = train(net_of(), loader(images, size=40), Classifier(optimizer=still.optimizer, epochs=1, log_every=1), 0)
    weighed = sum(loss * count for loss, count in zip(halves.history["step_loss"], (40, 40, 10), strict=True)) / 90
    assert weighed == pytest.approx(run.history["train_loss"][0], rel=1e-12)


def test_gradient_norms_are_of_the_whole_gradient_and_the_sum_over_tensors(images):
    net = net_of()
    run = train(net, loader(images, size=90), Classifier(optimizer={"name": "sgd", "learning_rate": 0.0}, epochs=1), 0)
    x, y = loader(images, size=90).batch(0, 0)
    net.zero_grad()
    F.cross_entropy(net(x), y).backward()
    norms = [p.grad.norm().item() for p in net.parameters()]
    assert run.history["gradient_norm"] == pytest.approx([math.hypot(*norms)])
    assert run.history["gradient_norm_sum"] == pytest.approx([sum(norms)])


def test_the_penalty_on_one_layer_is_in_the_loss_and_its_gradient(images):
    net, other = (net_of("keras_cnn", width=0.25) for _ in range(2))
    settings = Classifier(optimizer={"name": "adam", "learning_rate": 1e-3}, epochs=1, penalty={"l2_dense": 0.01})
    run = train(net, loader(images), settings, 0)
    batches = [loader(images).batch(0, k) for k in range(6)]
    optimizer = torch.optim.Adam(other.parameters(), 1e-3)
    found = by_hand(other, batches, optimizer, lambda n: 0.01 * n.dense.weight.square().sum())
    close(net, other)
    weights = [16] * 5 + [10]
    assert run.history["train_loss"][0] == pytest.approx(sum(map(math.prod, zip(found, weights))) / 90, rel=1e-10)


def test_the_hinge_loss_is_the_sum_over_rivals_by_classes():
    logits, labels = torch.tensor([[0.5, 0.2, -3.0]]), torch.tensor([1])
    loss, sums = losses.Classification(Classifier(loss="hinge"), nn.Linear(1, 1))(logits, labels)
    assert loss.item() == pytest.approx((1 + 0.5 - 0.2) / 3)
    assert sums.tolist() == pytest.approx([loss.item(), 0.0])


def test_dropout_is_a_pure_function_of_seed_epoch_and_step(images):
    def run(disturb):
        net = net_of("keras_cnn", stage=2, width=0.25)
        if disturb:
            torch.rand(100)
        return train(net, loader(images), Classifier(optimizer=SGD, epochs=1), 7).net

    close(run(False), run(True), 0.0, 0.0)
    torch.default_generator.manual_seed(draws.generator_seed(7, 0, 0))
    assert torch.initial_seed() == draws.generator_seed(7, 0, 0)


# ------------------------------------------------------------------ how it ends


def test_early_stopping_counts_from_the_best_epoch_and_restores_its_weights(images):
    settings = Classifier(optimizer={**SGD, "learning_rate": 0.2}, epochs=40, early_stopping=3, restore_best=True)
    validation = loader(images, "test", 60)
    run = train(net_of(), loader(images), settings, 0, validation=validation)
    curve = run.history["validation_loss"]
    assert run.stopped_early
    assert len(curve) == run.best_epoch + 4 < 40
    assert curve[run.best_epoch] == min(curve) == run.evaluate(validation, "validation")["validation_loss"]


def test_plateau_lowers_the_rate_that_the_history_tells(images):
    settings = Classifier(optimizer={"name": "sgd", "learning_rate": 1e-6}, epochs=4,
                          schedule={"name": "plateau", "patience": 1, "threshold": 0.5})  # fmt: skip
    run = train(net_of(), loader(images), settings, 0, validation=loader(images, "test"))
    assert run.history["learning_rate"] == pytest.approx([1e-6, 1e-6, 1e-6, 1e-7])


def test_divergence_ends_the_run_and_names_step_and_rate(images):
    settings = Classifier(optimizer={"name": "sgd", "learning_rate": 1e8}, epochs=5, schedule={"name": "one_cycle"})
    run = train(net_of(), loader(images), settings, 0)
    assert run.status == "diverged"
    step, rate = run.diverged[0]
    assert 0 < step < 6
    assert len(run.history["train_loss"]) == 1
    other = net_of()
    optimizer = torch.optim.SGD(other.parameters(), 1e8)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e8, total_steps=31, final_div_factor=1e4,
                                                cycle_momentum=False)  # fmt: skip
    for k in range(step + 1):
        reached = optimizer.param_groups[0]["lr"]
        loss = by_hand(other, [loader(images).batch(0, k)], optimizer)[0]
        norm = math.hypot(*[p.grad.norm().item() for p in other.parameters()])
        assert (math.isfinite(loss) and math.isfinite(norm)) == (k < step)
        cycle.step()
    assert rate == pytest.approx(reached)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Classifier(early_stopping=2), "early_stopping decides on the validation loss"),
        (Classifier(restore_best=True), "restore_best decides on the validation loss"),
        (Classifier(schedule={"name": "plateau", "patience": 1}), "schedule 'plateau' decides"),
        (Classifier(penalty={"l2_dense": 0.1}), "needs a net with a layer 'dense'"),
        (Classifier(penalty={"l2_dens": 0.1}), "did you mean 'l2_dense'"),
        (Classifier(loss="hinge", label_smoothing=0.1), "label_smoothing is of the cross-entropy"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_any_step(images, settings, told):
    with pytest.raises(RecipeError, match=told):
        train(net_of(), loader(images), settings, 0)
