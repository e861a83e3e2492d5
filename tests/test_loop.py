"""The loop against the one a reader would write with torch alone; what it counts; how it ends."""

import inspect
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
from secondlook.training import loop, losses
from secondlook.training.batched import Loaders, SideBySide, alone
from secondlook.training.loop import train
from secondlook.training.modes import Mode, choose

SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}
DOUBLE = Mode(precision="float64")


@pytest.fixture(scope="module")
def images():
    return standins.draw("cifar10", train=90, test=60)


def loader(images, part="train", size=16, dtype=torch.float64, **more):
    x, y = getattr(images, f"x_{part}"), getattr(images, f"y_{part}")
    return DeviceLoader(x, y, batch_size=size, seed=3, mean=0.5, std=0.25, dtype=dtype, **more)


def lenet(dtype=torch.float64):
    torch.manual_seed(1)
    return models.build("lenet", num_classes=10, width=0.5).to(dtype)


def by_hand(net, batches, optimizer, penalty=None, clip=0.0, smoothing=0.0):
    """Losses of the steps that torch's own tools take; the reference for everything here."""
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


def close(net, other, within=1e-10):
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=within, atol=within * 1e-2)


def test_the_function_fits_on_a_screen():
    assert len(inspect.getsource(loop.train).splitlines()) < 60


@pytest.mark.parametrize("name", ["lenet", "keras_cnn"])
def test_twenty_steps_equal_those_written_with_torch_alone(images, name):
    torch.manual_seed(1)
    net = models.build(name, num_classes=10, width=0.5).double()
    torch.manual_seed(1)
    other = models.build(name, num_classes=10, width=0.5).double()
    settings = Classifier(optimizer=SGD, epochs=4, batch_size=18, clip_norm=1.0, label_smoothing=0.1)
    run = train(net, loader(images, size=18), settings, 0, mode=DOUBLE)
    batches = [loader(images, size=18).batch(e, k) for e in range(4) for k in range(5)]
    found = by_hand(other, batches, torch.optim.SGD(other.parameters(), 0.05, 0.9), clip=1.0, smoothing=0.1)
    close(net, other)
    expected = [sum(found[5 * e : 5 * e + 5]) / 5 for e in range(4)]
    assert run.history["train_loss"] == pytest.approx(expected, rel=1e-10)
    assert run.steps == 20


def test_an_epoch_is_weighed_by_images_also_where_the_last_batch_is_short(images):
    net = lenet()
    run = train(net, loader(images, size=40), Classifier(optimizer={"name": "sgd", "learning_rate": 0.0}, epochs=1), 0,
                validation=loader(images, size=32), mode=DOUBLE)  # fmt: skip
    assert run.history["train_loss"] == pytest.approx(run.history["validation_loss"], rel=1e-12)
    assert run.history["train_accuracy"] == pytest.approx(run.history["validation_accuracy"])


def test_the_mean_loss_of_every_few_steps_is_logged_within_each_epoch(images):
    settings = Classifier(optimizer=SGD, epochs=2, batch_size=16, log_every=2)
    run, other = train(lenet(), loader(images), settings, 0, mode=DOUBLE), lenet()
    batches = [loader(images).batch(e, k) for e in range(2) for k in range(6)]
    found = by_hand(other, batches, torch.optim.SGD(other.parameters(), 0.05, 0.9))
    pairs = [(found[6 * e + 2 * k], found[6 * e + 2 * k + 1], 10 if k == 2 else 16) for e in range(2) for k in range(3)]
    expected = [(16 * first + images * second) / (16 + images) for first, second, images in pairs]
    assert run.history["step_loss"] == pytest.approx(expected, rel=1e-10)


def test_gradient_norms_are_of_the_whole_gradient_and_the_sum_over_tensors(images):
    net = lenet()
    run = train(net, loader(images, size=90), Classifier(optimizer={"name": "sgd", "learning_rate": 0.0}, epochs=1), 0,
                mode=DOUBLE)  # fmt: skip
    x, y = loader(images, size=90).batch(0, 0)
    net.zero_grad()
    F.cross_entropy(net(x), y).backward()
    norms = [p.grad.norm().item() for p in net.parameters()]
    assert run.history["gradient_norm"] == pytest.approx([math.hypot(*norms)])
    assert run.history["gradient_norm_sum"] == pytest.approx([sum(norms)])


def test_the_penalty_on_one_layer_is_in_the_loss_and_its_gradient(images):
    torch.manual_seed(1)
    net, other = (models.build("keras_cnn", stage=1, width=0.25).double() for _ in range(2))
    other.load_state_dict(net.state_dict())
    settings = Classifier(optimizer={"name": "adam", "learning_rate": 1e-3}, epochs=1, penalty={"l2_dense": 0.01})
    run = train(net, loader(images), settings, 0, mode=DOUBLE)
    batches = [loader(images).batch(0, k) for k in range(6)]
    optimizer = torch.optim.Adam(other.parameters(), 1e-3)
    found = by_hand(other, batches, optimizer, lambda n: 0.01 * n.dense.weight.square().sum())
    close(net, other)
    weights = [16] * 5 + [10]
    assert run.history["train_loss"][0] == pytest.approx(sum(map(math.prod, zip(found, weights))) / 90, rel=1e-10)


def test_dropout_is_a_pure_function_of_seed_epoch_and_step(images):
    def run(disturb):
        torch.manual_seed(1)
        net = models.build("keras_cnn", stage=2, width=0.25)
        if disturb:
            torch.rand(100)
        return train(net, loader(images, dtype=torch.float32), Classifier(optimizer=SGD, epochs=1), 7).net

    for p, q in zip(run(False).parameters(), run(True).parameters(), strict=True):
        assert torch.equal(p, q)
    torch.default_generator.manual_seed(draws.generator_seed(7, 0, 0))
    assert torch.initial_seed() == draws.generator_seed(7, 0, 0)


def test_early_stopping_counts_from_the_best_epoch_and_restores_its_weights(images):
    settings = Classifier(optimizer={"name": "sgd", "learning_rate": 0.2, "momentum": 0.9}, epochs=40, early_stopping=3,
                          restore_best=True)  # fmt: skip
    validation = loader(images, "test", 60)
    run = train(lenet(), loader(images), settings, 0, validation=validation, mode=DOUBLE)
    curve = run.history["validation_loss"]
    assert run.stopped_early
    assert len(curve) == run.best_epoch + 4 < 40
    assert curve[run.best_epoch] == min(curve)
    assert run.evaluate(validation)[0] == min(curve)


def test_plateau_lowers_the_rate_that_the_history_tells(images):
    settings = Classifier(optimizer={"name": "sgd", "learning_rate": 1e-9}, epochs=4,
                          schedule={"name": "plateau", "patience": 1, "threshold": 0.5})  # fmt: skip
    settings.optimizer["learning_rate"] = 1e-6
    run = train(lenet(), loader(images), settings, 0, validation=loader(images, "test"), mode=DOUBLE)
    assert run.history["learning_rate"] == pytest.approx([1e-6, 1e-6, 1e-6, 1e-7])


def test_divergence_ends_the_run_and_names_step_and_rate(images):
    settings = Classifier(optimizer={"name": "sgd", "learning_rate": 1e8}, epochs=5, schedule={"name": "one_cycle"})
    run = train(lenet(), loader(images), settings, 0, mode=DOUBLE)
    assert run.status == "diverged"
    step, rate = run.diverged[0]
    assert 0 < step < 6
    assert len(run.history["train_loss"]) == 1
    other = lenet()
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


def test_bf16_is_close_to_float32_and_the_weights_stay_float32(images):
    settings = Classifier(optimizer=SGD, epochs=2)
    runs = [
        train(lenet(torch.float32), loader(images, dtype=torch.float32), settings, 0, mode=Mode(precision=precision))
        for precision in ("float32", "bf16")
    ]
    assert all(p.dtype == torch.float32 for p in runs[1].net.parameters())
    assert runs[1].history["train_loss"] == pytest.approx(runs[0].history["train_loss"], rel=0.02)
    assert runs[1].history["train_loss"] != runs[0].history["train_loss"]


@pytest.mark.parametrize("change", [{"channels_last": True}, {"fused": True}, {"channels_last": True, "fused": True}])
@pytest.mark.parametrize("optimizer", [SGD, {"name": "adamw", "learning_rate": 1e-3}])
def test_a_mode_takes_the_steps_of_the_plain_one(images, change, optimizer):
    settings = Classifier(optimizer=optimizer, epochs=4, batch_size=18)
    nets = []
    for mode in (DOUBLE, Mode(precision="float64", **change)):
        batches = loader(images, size=18, channels_last=mode.channels_last)
        nets.append(train(lenet(), batches, settings, 0, mode=mode).net)
    close(*nets)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_net_takes_the_steps_of_the_plain_one(images):
    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3072, 16), nn.ReLU(), nn.Linear(16, 10)).double()

    settings = Classifier(optimizer=SGD, epochs=4, batch_size=18)
    modes = DOUBLE, Mode(precision="float64", compile=True)
    close(*(train(net(), loader(images, size=18), settings, 0, mode=mode).net for mode in modes))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a CUDA device")
@pytest.mark.parametrize("optimizer", [SGD, {"name": "adam", "learning_rate": 1e-3}])
def test_a_graph_takes_the_steps_of_the_plain_one(images, optimizer):
    settings = Classifier(optimizer=optimizer, epochs=4, batch_size=16, schedule={"name": "step", "every": 2})
    nets = []
    for graph in (False, True):
        batches = loader(images, device="cuda")
        mode = Mode("cuda", "float64", graph=graph)
        nets.append(train(lenet(), batches, settings, 0, mode=mode).net)
    close(*nets)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="host synchronisations are those of a CUDA device")
def test_a_step_does_not_wait_for_the_device(images):
    batches = loader(images, device="cuda", dtype=torch.float32)
    run = train(lenet(torch.float32), batches, Classifier(optimizer=SGD, epochs=4), 0, mode=Mode("cuda", fused=True))
    assert run.executed.syncs == 0


def test_tf32_is_on_for_its_precision_alone_and_the_flags_are_put_back():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    for precision in ("float32", "tf32", "bf16"):
        with Mode(precision=precision).flags():
            assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_the_chosen_mode_never_changes_the_precision():
    for precision in ("float32", "tf32", "bf16", "float64"):
        for device in ("cpu", "cuda"):
            assert choose(nn.Linear(2, 2), Classifier(precision=precision), device).precision == precision
    assert choose(nn.Linear(2, 2), Classifier(), "cuda").graph
    assert not choose(nn.Linear(2, 2), Classifier(schedule={"name": "one_cycle"}), "cuda").graph


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
        train(lenet(), loader(images), settings, 0, mode=DOUBLE)


def test_the_hinge_loss_is_the_sum_over_rivals_by_classes():
    logits, labels = torch.tensor([[0.5, 0.2, -3.0]]), torch.tensor([1])
    value = losses.criterion(Classifier(loss="hinge"))(logits, labels)
    assert value.item() == pytest.approx((1 + 0.5 - 0.2) / 3)


@pytest.mark.parametrize(
    ("name", "options", "optimizer", "penalty"),
    [
        ("lenet", {}, SGD, {}),
        ("lenet", {}, {"name": "adamw", "learning_rate": 1e-3}, {}),
        ("keras_cnn", {"stage": 3, "dropout": False}, SGD, {"l2_dense": 0.01}),  # with batch normalisation
    ],
)
def test_seeds_side_by_side_take_the_steps_they_take_alone(images, name, options, optimizer, penalty):
    def net(seed):
        torch.manual_seed(seed)
        return models.build(name, num_classes=10, width=0.25, **options).double()

    def batches(seed):
        return DeviceLoader(images.x_train, images.y_train, batch_size=16, seed=seed, mean=0.5, dtype=torch.float64)

    settings = Classifier(optimizer=optimizer, epochs=3, batch_size=16, clip_norm=1.0, penalty=penalty)
    validation = DeviceLoader(images.x_test, images.y_test, batch_size=40, seed=0, mean=0.5, dtype=torch.float64)
    together = train(SideBySide([net(k) for k in range(3)]), Loaders([batches(k) for k in range(3)], shared=True),
                     settings, 0, validation=Loaders([validation] * 3), mode=DOUBLE)  # fmt: skip
    for k in range(3):
        single = train(net(k), batches(k), settings, 0, validation=validation, mode=DOUBLE)
        member = alone(together, k)
        close(member.net, single.net)
        for curve in ("train_loss", "train_accuracy", "gradient_norm", "gradient_norm_sum", "validation_loss"):
            assert member.history[curve] == pytest.approx(single.history[curve], rel=1e-9)


def test_a_member_that_diverges_leaves_the_others_alone(images):
    nets = [lenet(), lenet()]
    with torch.no_grad():
        nets[1].conv1.weight[0, 0, 0, 0] = 1e308
    run = train(SideBySide(nets), Loaders([loader(images), loader(images)]), Classifier(optimizer=SGD, epochs=2), 0,
                mode=DOUBLE)  # fmt: skip
    assert (alone(run, 0).status, alone(run, 1).status) == ("finished", "diverged")
    assert alone(run, 1).diverged == {0: [0, 0.05]}
    single = train(lenet(), loader(images), Classifier(optimizer=SGD, epochs=2), 0, mode=DOUBLE)
    close(alone(run, 0).net, single.net)
