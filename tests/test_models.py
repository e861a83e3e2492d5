"""The nets: their sizes, initialisations and settings are the published ones, and they work in every speed mode."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from secondlook.models import MODELS, OPTIONS, build, cam_layers, macs, parameter_count
from secondlook.models.layers import AdaptiveMean

SMALL = {  # every net so narrow that a step takes milliseconds, and the side of its images
    "vgg": ({"depth": 11, "width": 0.1, "image_size": 32, "init": "kaiming"}, 32),
    "alexnet": ({"width": 0.02, "image_size": 63, "num_classes": 10}, 63),
    "alexnet_cifar": ({"width": 0.05, "num_classes": 10}, 32),
    "lenet": ({"num_classes": 10}, 32),
    "linear": ({}, 32),
    "keras_cnn": ({"stage": 3, "width": 0.25}, 32),
    "conv_vgg": ({"width": 0.05, "image_size": 32}, 32),
    "resnet": ({"width": 0.05, "image_size": 32}, 32),
    "unet": ({"width": 0.05}, 32),
    "frozen_unet": ({"width": 0.05}, 32),
    "mlp_vae": ({"width": 0.05, "image_size": 32}, 32),
    "conv_vae": ({"width": 0.1, "image_size": 32}, 32),
    "resnet18": ({"width": 0.1}, 32),
}
CLASSIFIERS = [name for name in SMALL if "vae" not in name]
NETS = [name for name in SMALL if name != "linear"]  # what has hidden layers, and so a width and maps


@pytest.fixture(autouse=True)
def _seeded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def small(name, **options):
    """A narrow net and a batch of eight images it takes."""
    defaults, side = SMALL[name]
    model = build(name, **{**defaults, **options})
    return model, torch.randn(8, 1 if name in ONE_CHANNEL else 3, side, side)


ONE_CHANNEL = ("conv_vgg", "resnet", "unet", "frozen_unet", "mlp_vae", "conv_vae")


def on_meta(name, **options):
    with torch.device("meta"):
        return build(name, **options)


# --- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("vgg", {"depth": 11}, 128_807_306),
        ("vgg", {"depth": 16}, 134_301_514),
        ("vgg", {"depth": 11, "batch_norm": True}, 128_812_810),
        ("vgg", {"depth": 16, "batch_norm": True}, 134_309_962),
        ("conv_vgg", {"image_size": 32}, 38_924_994),
        ("conv_vgg", {"image_size": 64}, 45_216_450),
        ("resnet", {"image_size": 32}, 39_363_650),
        ("resnet", {"image_size": 64}, 45_655_106),
        ("unet", {}, 40_022_850),
        ("frozen_unet", {}, 40_022_850),
        ("mlp_vae", {"image_size": 32}, 5_273_634),
        ("mlp_vae", {"image_size": 32, "num_classes": 0}, 5_273_616),
        ("mlp_vae", {"image_size": 64}, 11_568_162),
        ("keras_cnn", {"stage": 1}, 122_570),
        ("keras_cnn", {"stage": 2}, 122_570),
        ("keras_cnn", {"stage": 3}, 354_858),
        ("lenet", {}, 69_656),
        ("linear", {}, 30_730),
        ("alexnet", {}, 57_413_540),
        ("alexnet_cifar", {"dense": 1}, 2_495_396),
        ("resnet18", {}, 11_173_962),
    ],
)
def test_parameter_counts_are_the_published_ones(name, options, count):
    assert parameter_count(on_meta(name, **options)) == count


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg_has_the_tensors_of_torchvision(depth, batch_norm):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"vgg{depth}{'_bn' if batch_norm else ''}")(num_classes=10)
    ours = on_meta("vgg", depth=depth, batch_norm=batch_norm)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]


def same_logits(ours, theirs, side):
    """Whether our net answers as torchvision's does, given its weights."""
    with torch.no_grad():
        for mine, their in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(their)
        x = torch.randn(1, 3, side, side)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [224, 95])
def test_with_torchvisions_weights_alexnet_answers_as_torchvisions(side):
    same_logits(build("alexnet", image_size=side, num_classes=7), torchvision.models.alexnet(num_classes=7), side)


def test_with_torchvisions_weights_vgg_answers_as_torchvisions():
    layers = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", 32, 32, 32, "M", 32, 32, 32, "M"]
    with torch.device("meta"):
        theirs = torchvision.models.VGG(torchvision.models.vgg.make_layers(layers), num_classes=7, init_weights=False)
    theirs.features = torchvision.models.vgg.make_layers(layers)
    for i, (inputs, outputs) in {0: (32 * 49, 256), 3: (256, 256), 6: (256, 7)}.items():
        theirs.classifier[i] = nn.Linear(inputs, outputs)
    same_logits(build("vgg", width=1 / 16, num_classes=7), theirs, 224)


def test_width_narrows_every_net():
    for name in NETS:
        options, _ = SMALL[name]
        wide = {k: v for k, v in options.items() if k != "width"}
        assert parameter_count(on_meta(name, **wide, width=0.5)) < 0.4 * parameter_count(on_meta(name, **wide)), name


@pytest.mark.parametrize(("depth", "expected"), [(11, 7.6e9), (16, 15.5e9)])
def test_vgg_multiply_adds_at_224_pixels(depth, expected):
    assert macs(on_meta("vgg", depth=depth), (3, 224, 224)) == pytest.approx(expected, rel=0.01)


def test_multiply_adds_are_those_of_the_layers_and_counting_leaves_the_model_alone():
    model, _ = small("lenet")
    before = copy.deepcopy(model.state_dict())
    layers = 28 * 28 * 6 * 75, 10 * 10 * 16 * 150, 400 * 120, 120 * 84, 84 * 10
    assert macs(model, (3, 32, 32)) == sum(layers)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


# --- building ------------------------------------------------------------------------------------------------------


def test_unknown_names_and_options_are_refused_with_the_nearest_valid_one():
    with pytest.raises(ValueError, match="did you mean 'alexnet'"):
        build("alexnt")
    with pytest.raises(ValueError, match="did you mean 'batch_norm'"):
        build("vgg", batchnorm=True)
    with pytest.raises(ValueError, match="depth must be one of 11, 13, 16, 19, not 12"):
        build("vgg", depth=12)
    with pytest.raises(ValueError, match="width must be a positive"):
        build("lenet", width=0)


def test_every_net_can_be_narrowed_and_told_its_classes_and_channels():
    assert set(OPTIONS) == set(MODELS) == set(SMALL)
    for name, options in OPTIONS.items():
        assert {"num_classes", "in_channels", *["width"] * (name in NETS)} <= set(options)


def test_alexnet_refuses_images_below_63_pixels():
    with pytest.raises(ValueError, match="at least 63 pixels, not 32"):
        build("alexnet", image_size=32, width=0.05)
    with pytest.raises(ValueError, match="at least 63 pixels, not 62"):
        build("alexnet", image_size=62, width=0.05)
    model = build("alexnet", image_size=63, width=0.05)
    assert model(torch.randn(2, 3, 63, 63)).shape == (2, 100)
    with pytest.raises(ValueError, match=r"\(3, 63, 63\), not \(3, 32, 32\)"):
        model(torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize("name", ["vgg", "conv_vgg", "resnet", "alexnet_cifar", "conv_vae"])
def test_sides_the_poolings_cannot_halve_are_refused(name):
    with pytest.raises(ValueError, match="a multiple of"):
        on_meta(name, image_size=40)
    with pytest.raises(ValueError, match="a multiple of 32"):
        on_meta("unet")(torch.empty(1, 1, 40, 40, device="meta"))


@settings(max_examples=30, deadline=None)
@given(side=st.integers(1, 20), outputs=st.integers(1, 8))
def test_adaptive_mean_is_pytorchs_adaptive_pooling(side, outputs):
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    ours = AdaptiveMean(side, outputs).double()
    torch.testing.assert_close(ours(x), F.adaptive_avg_pool2d(x, outputs), rtol=1e-12, atol=1e-12)


# --- initialisation and settings -----------------------------------------------------------------------------------


def weights(model, kind):
    return [(m.weight, m.bias) for m in model.modules() if isinstance(m, kind)]


def test_vgg_starts_as_torchvision_does_or_with_kaiming_heads():
    for init in ("torchvision", "kaiming"):
        model = build("vgg", depth=11, width=0.25, image_size=32, hidden=2048, init=init)
        for weight, bias in weights(model, nn.Conv2d)[1:]:
            assert weight.std().item() == pytest.approx((2 / (9 * weight.shape[0])) ** 0.5, rel=0.05)
            assert not bias.any()
        for weight, bias in weights(model, nn.Linear)[:2]:
            expected = 0.01 if init == "torchvision" else (2 / weight.shape[1]) ** 0.5
            assert weight.std().item() == pytest.approx(expected, rel=0.05)
            assert not bias.any()


@pytest.mark.parametrize(
    ("name", "options"), [("keras_cnn", {}), ("lenet", {"init": "xavier"}), ("alexnet_cifar", {"init": "xavier"})]
)
def test_glorot_weights_fill_their_bound_and_biases_are_zero(name, options):
    model = build(name, **options)
    for weight, bias in weights(model, nn.Conv2d | nn.Linear):
        area = weight[0, 0].numel() if weight.ndim == 4 else 1
        bound = (6 / (area * (weight.shape[0] + weight.shape[1]))) ** 0.5
        assert 0.95 * bound < weight.abs().max().item() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
        assert not bias.any()


def test_keras_stages_differ_as_published():
    def rates(**options):
        return [m.p for m in build("keras_cnn", **options).modules() if isinstance(m, nn.Dropout) and m.p]

    def norms(**options):
        return [m for m in build("keras_cnn", **options).modules() if isinstance(m, nn.BatchNorm2d)]

    assert rates(stage=1) == []
    assert rates(stage=2) == rates(stage=1, dropout=True) == [0.2, 0.3, 0.4]
    assert rates(stage=3) == [0.2, 0.3, 0.4, 0.5]
    assert rates(stage=3, dropout=False) == []
    assert [len(norms(stage=s)) for s in (1, 2, 3)] == [0, 0, 6]
    assert len(norms(stage=1, batch_norm=True)) == 3
    assert not norms(stage=3, batch_norm=False)
    assert all((m.momentum, m.eps) == (0.01, 1e-3) for m in norms(stage=3))
    assert build("keras_cnn", stage=3).dense.weight.shape == (128, 512)


def test_keras_maps_shrink_as_published():
    model, sides = build("keras_cnn", stage=3), []
    for conv in cam_layers(model).values():
        conv.register_forward_hook(lambda _, __, y: sides.append(y.shape[-1]))
    model(torch.randn(2, 3, 32, 32))
    assert sides == [32, 30, 15, 13, 6, 4]


@pytest.mark.parametrize("name", ["vgg", "alexnet", "alexnet_cifar", "conv_vgg", "resnet"])
def test_two_dense_layers_have_dropout_of_one_half(name):
    assert [m.p for m in on_meta(name).modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]


def test_vgg_has_the_papers_head_at_224_pixels_and_a_small_one_below():
    assert on_meta("vgg").output.in_features == 4096
    assert on_meta("vgg", image_size=32).output.in_features == 512
    assert on_meta("vgg", image_size=32, hidden=4096).output.in_features == 4096


# --- every net -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_output_reads_the_features(name):
    model, x = small(name, num_classes=5)
    model.eval()
    features = model.features(x)
    assert features.shape == (8, model.output.in_features)
    assert model(x).shape == (8, 5)
    torch.testing.assert_close(model(x), model.output(features))


@pytest.mark.parametrize("name", SMALL)
def test_cam_layers_give_maps_that_the_answer_depends_on(name):
    model, x = small(name)
    model.eval()
    for layer_name, layer in cam_layers(model).items():
        kept = []
        handle = layer.register_forward_hook(lambda _, __, y, kept=kept: kept.append(y))
        answer = model(x.clone().requires_grad_())
        handle.remove()
        (answer[0] if isinstance(answer, tuple) else answer).sum().backward(inputs=kept)
        assert kept[0].ndim == 4, layer_name
        assert kept[0].grad.abs().sum() > 0, layer_name
    assert cam_layers(model) or name in ("mlp_vae", "linear")


def loss_of(model, x):
    """A loss every net can lower: cross-entropy on fixed labels, or a VAE's reconstruction."""
    if hasattr(model, "encode"):
        return F.mse_loss(model(x, torch.zeros(len(x), model.latent_size, dtype=x.dtype))[0], x.sigmoid())
    return F.cross_entropy(model(x), torch.arange(len(x)) % 2)


@pytest.mark.parametrize("name", SMALL)
def test_a_few_steps_on_one_batch_lower_its_loss(name):
    model, x = small(name, **({"dropout": 0.0} if "dropout" in OPTIONS[name] and name != "keras_cnn" else {}))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        losses.append(loss_of(model, x))
        losses[-1].backward()
        optimizer.step()
    assert min(losses[-3:]) < losses[0]
    unused = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert unused <= {"head.weight", "head.bias"}  # what a VAE's classifier trains later


def test_a_residual_block_adds_its_shortcut_and_does_not_rectify_the_sum():
    model, x = small("resnet")
    block = model.encoder.blocks[0]
    torch.testing.assert_close(block(x), block.block(x) + block.shortcut(x))
    assert block(x).min() < 0


@pytest.mark.parametrize("name", SMALL)
def test_float64_and_channels_last_give_the_same_answer(name):
    model, x = small(name)
    model.eval()
    plain = loss_of(model, x)
    wide = loss_of(copy.deepcopy(model).double(), x.double())
    assert wide.dtype == torch.float64
    last = loss_of(copy.deepcopy(model).to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, wide.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_a_group_under_vmap_gets_the_gradients_of_its_members(name):
    members = [small(name)[0].double() for _ in range(2)]
    x = small(name)[1].double()
    for module in (m for member in members for m in member.modules() if isinstance(m, nn.Dropout)):
        module.p = 0.0
    trained = [n for n, p in members[0].named_parameters() if p.requires_grad]
    alone = [
        torch.autograd.grad(loss_of(m, x), [m.get_parameter(n) for n in trained], materialize_grads=True)
        for m in members
    ]
    params, buffers = torch.func.stack_module_state(members)

    def loss(params, buffers):
        return torch.func.functional_call(Lossy(members[0]), (_under(params), _under(buffers)), (x,))

    grouped = torch.func.vmap(torch.func.grad(loss), randomness="different")(params, buffers)
    for i, gradients in enumerate(alone):
        for n, gradient in zip(trained, gradients, strict=True):
            torch.testing.assert_close(grouped[n][i], gradient, rtol=1e-8, atol=1e-10)


class Lossy(nn.Module):
    """A net that returns its loss."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return loss_of(self.net, x)


def _under(state):
    return {f"net.{k}": v for k, v in state.items()}


@pytest.mark.parametrize("name", SMALL)
def test_the_compiler_sees_one_graph(name):
    model, x = small(name)
    model.eval()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    noise = (torch.zeros(8, model.latent_size),) if hasattr(model, "encode") else ()
    ours, plain = compiled(x, *noise), model(x, *noise)
    for a, b in zip(ours, plain, strict=True) if noise else [(ours, plain)]:
        torch.testing.assert_close(a, b)


def test_equal_seeds_build_equal_nets():
    for name in SMALL:
        torch.manual_seed(3)
        first = small(name)[0].state_dict()
        torch.manual_seed(3)
        assert all(torch.equal(first[k], v) for k, v in small(name)[0].state_dict().items()), name


# --- frozen encoder ------------------------------------------------------------------------------------------------


def trained_pair(mode):
    """A ResNet with statistics of its own and the UNet that took its encoder."""
    resnet, x = small("resnet")
    for _ in range(3):
        resnet(2 * x + 1)
    unet = build("frozen_unet", **SMALL["frozen_unet"][0], encoder_batch_norm=mode)
    return resnet, unet.take_encoder(resnet), x


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_frozen_encoder_is_the_resnets_and_never_changes(mode):
    resnet, unet, x = trained_pair(mode)
    before = {k: v.clone() for k, v in unet.state_dict().items() if "num_batches" not in k}
    optimizer = torch.optim.SGD(unet.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    unet.train()
    for _ in range(2):
        loss_of(unet, x).backward()
        optimizer.step()
    unet.eval()(x)
    assert all(p.grad is None for p in unet.encoder.parameters())
    changed = {k for k, v in before.items() if not torch.equal(v, unet.state_dict()[k])}
    assert not any(k.startswith("encoder.") for k in changed)
    assert {"output.weight", "bottleneck.0.weight"} <= changed
    for k, v in resnet.encoder.state_dict().items():
        assert "num_batches" in k or torch.equal(v, before[f"encoder.{k}"])
    assert parameter_count(unet, trainable=True) == parameter_count(unet) - parameter_count(resnet.encoder)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_frozen_encoder_normalises_as_told_in_training_and_in_evaluation(mode):
    resnet, unet, x = trained_pair(mode)
    gathered, by_the_batch = resnet.eval().encoder(x)[0], resnet.train().encoder(x)[0]
    assert not torch.allclose(gathered, by_the_batch)
    for training in (True, False):
        unet.train(training)
        assert unet.bottleneck.training is training
        expected = by_the_batch if training and mode == "train" else gathered
        torch.testing.assert_close(unet.encoder(x)[0], expected)


def test_an_encoder_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="same width"):
        build("frozen_unet", width=0.05).take_encoder(build("resnet", width=0.1, image_size=32))
    with pytest.raises(ValueError, match="take it from a ResNet"):
        build("frozen_unet", width=0.05).take_encoder(build("lenet"))


# --- variational autoencoders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp_vae", "conv_vae"])
def test_a_vae_encodes_draws_decodes_and_classifies(name):
    model, x = small(name)
    x.requires_grad_()
    mu, log_var = model.encode(x)
    assert mu.shape == log_var.shape == (8, 8)
    assert model.decode(mu).shape == x.shape
    assert model.classify(mu).shape == (8, 2)
    model.eval()
    mu, log_var = model.encode(x)
    assert torch.equal(model.latent(x, "mean"), model.features(x))
    noise = torch.randn(8, 8)
    torch.testing.assert_close(model.latent(x, noise=noise), mu + (log_var / 2).exp() * noise)
    assert not torch.equal(model.latent(x), model.latent(x))
    torch.testing.assert_close(model(x, noise)[0], model.decode(model.latent(x, noise=noise)))
    with pytest.raises(ValueError, match="latent must be one of 'sample', 'mean'"):
        model.latent(x, "median")


def test_a_draw_has_the_mean_and_the_spread_it_was_given():
    model = build("mlp_vae", image_size=4, width=0.01)
    z = model.draw(torch.full((20_000, 8), 2.0), torch.full((20_000, 8), 2 * torch.log(torch.tensor(3.0)).item()))
    assert z.mean().item() == pytest.approx(2, abs=0.05)
    assert z.std().item() == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize(("decoder", "low"), [("sigmoid", 0.0), ("tanh", -1.0)])
def test_the_decoders_range_is_that_of_its_last_activation(decoder, low):
    model, _ = small("mlp_vae", decoder=decoder)
    images = model.decode(1e4 * torch.randn(64, 8))
    assert images.min().item() == pytest.approx(low, abs=1e-3)
    assert images.max().item() == pytest.approx(1.0, abs=1e-3)


def test_a_channel_mean_bottleneck_leaves_one_number_a_position():
    assert on_meta("conv_vae", bottleneck="channel_mean").mu.in_features == 16
    assert on_meta("conv_vae").mu.in_features == 16 * 256
    model, x = small("conv_vae", bottleneck="channel_mean")
    assert model(x)[0].shape == x.shape
