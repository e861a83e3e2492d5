"""What is read from a trained net: worked out by hand where it can be, and the net left as it was."""

import copy
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from secondlook import insight, models
from secondlook.data.loader import DeviceLoader
from secondlook.insight import embeddings, maps

SIDE = maps.SIDE
SMALL = {
    "lenet": ({"num_classes": 3}, (3, 32)),
    "keras_cnn": ({"width": 0.125}, (3, 32)),
    "conv_vgg": ({"width": 0.04, "image_size": 32}, (1, 32)),
    "frozen_unet": ({"width": 0.04}, (1, 32)),
    "resnet18": ({"width": 0.1}, (3, 32)),
    "vgg": ({"width": 0.05, "image_size": 32, "depth": 11}, (3, 32)),
}


class Tiny(nn.Module):
    """Two maps by a 1×1 convolution of what `window` lets through; each class has a weight for every cell of both."""

    def __init__(self, window: torch.Tensor | None = None, classes: int = 2):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.conv.weight.data = torch.tensor([1.0, -0.5]).view(2, 1, 1, 1)
        self.output = nn.Linear(2 * SIDE**2, classes, bias=False)
        self.output.weight.data = torch.randn(classes, 2 * SIDE**2, generator=generator)
        self.window = torch.ones(SIDE, SIDE) if window is None else window

    def features(self, x):
        return self.conv(x * self.window).flatten(1)

    def forward(self, x):
        return self.output(self.features(x))

    def cam_layers(self):
        return {"conv": self.conv}


def by_hand(net: Tiny, x: np.ndarray, target: int) -> dict[str, np.ndarray]:
    """A = w·x, and the gradient of the class's score by A is the class's weights."""
    a = net.conv.weight.detach().numpy()[:, 0] * x
    g = net.output.weight.detach().numpy()[target].reshape(2, SIDE, SIDE)
    raw = {
        "gradcam": (g.mean((1, 2))[:, None, None] * a).sum(0),
        "hirescam": (g * a).sum(0),
        "layercam": (np.maximum(g, 0) * a).sum(0),
    }
    return {k: np.maximum(v, 0) / max(np.maximum(v, 0).max(), 1e-30) for k, v in raw.items()}


def test_activation_maps_are_those_worked_out_by_hand():
    net, x = Tiny(), torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 1, 1])
    got = maps.class_activation_maps(net, x, targets, ["conv"])
    assert got.shape == (3, 1, 3, SIDE, SIDE)
    for n in range(3):
        for m, expected in enumerate(by_hand(net, x[n].numpy(), int(targets[n])).values()):
            np.testing.assert_allclose(got[n, 0, m], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["lenet", "vgg", "conv_vgg"])
def test_activation_maps_are_those_of_pytorch_grad_cam(name):
    import pytorch_grad_cam as theirs

    options, (channels, side) = SMALL[name]
    net, x, y = models.build(name, **options).eval(), torch.randn(3, channels, side, side), torch.tensor([0, 1, 1])
    layers = list(models.cam_layers(net))
    found = maps.class_activation_maps(net, x, y, layers)
    for k, layer in enumerate(layers):
        own = models.cam_layers(net)[layer]
        for m, kind in enumerate((theirs.GradCAM, theirs.HiResCAM, theirs.LayerCAM)):
            cam = kind(model=net, target_layers=[own])
            cam.activations_and_grads(x).gather(1, y[:, None]).sum().backward()
            seen = (cam.activations_and_grads.activations[0].numpy(), cam.activations_and_grads.gradients[0].numpy())
            raw = torch.from_numpy(cam.get_cam_image(x, own, None, *seen, False))
            cam.activations_and_grads.release()
            np.testing.assert_allclose(found[:, k, m], maps.scaled(raw.float()).numpy(), atol=1e-4)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_activation_maps_need_no_gradients_of_the_caller(mode):
    net, targets = Tiny().requires_grad_(False), torch.tensor([0, 1])
    with mode():
        x = torch.rand(2, 1, SIDE, SIDE)
        found = maps.class_activation_maps(net, x, targets, ["conv"])
    np.testing.assert_array_equal(found, maps.class_activation_maps(net, x.clone(), targets, ["conv"]))


@pytest.mark.parametrize("corner", [(slice(0, 4), slice(0, 4)), (slice(10, 14), slice(0, 4))], ids=["top", "bottom"])
def test_a_net_that_sees_one_corner_has_its_peak_there(corner):
    window = torch.zeros(SIDE, SIDE)
    window[corner] = 1.0
    net = Tiny(window)
    net.output.weight.data = net.output.weight.data.abs()
    x = torch.rand(4, 1, SIDE, SIDE) + 0.1
    found = maps.class_activation_maps(net, x, torch.zeros(4, dtype=torch.int64), ["conv"])
    measured = maps.focus(found)
    names = dict(zip(maps.MEASURES, np.moveaxis(measured, -1, 0)))
    assert (found * (1 - window.numpy())).max() == 0
    assert np.all((names["peak_row"] * SIDE > corner[0].start) & (names["peak_row"] * SIDE < corner[0].stop))
    assert np.all((names["peak_column"] * SIDE > corner[1].start) & (names["peak_column"] * SIDE < corner[1].stop))
    assert np.all(names["area"] <= 16 / SIDE**2)


def state_of(net: nn.Module) -> tuple:
    return ([m.training for m in net.modules()], [t.clone() for t in net.state_dict().values()],
            [None if p.grad is None else p.grad.clone() for p in net.parameters()],
            [len(m._forward_hooks) for m in net.modules()], [p.requires_grad for p in net.parameters()])  # fmt: skip


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return all(same(x, y) for x, y in zip(a, b, strict=True)) if isinstance(a, list | tuple) else a == b


@pytest.mark.parametrize("name", SMALL)
def test_looking_leaves_the_net_as_it_was_and_maps_every_layer(name):
    options, (channels, side) = SMALL[name]
    net = models.build(name, **options).train()
    x = torch.randn(3, channels, side, side)
    net(x).sum().backward()
    next(net.children()).eval()  # a mode that no call of train() or eval() would restore
    before, layers = state_of(net), list(models.cam_layers(net))
    found = maps.class_activation_maps(net, x, torch.tensor([0, 1, 1]), layers)
    drawn, channels_found = maps.feature_maps(net, x, torch.tensor([0, 1, 1]), [layers[0], layers[-1]], count=2)
    assert same(state_of(net), before)
    assert found.shape == (3, len(layers), 3, SIDE, SIDE)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert set(np.unique(found.max((-2, -1))).round(6)) <= {0.0, 1.0}
    assert (found.max((0, 2, 3, 4)) == 1).any()
    assert channels_found.shape == (2, 3, 2)
    assert all(m.shape[:2] == (3, 2) for m in drawn.values())


def test_a_bfloat16_or_float64_net_is_looked_at_in_float32():
    net = models.build("lenet", num_classes=3)
    x = torch.randn(2, 3, 32, 32)
    plain = maps.class_activation_maps(net, x, torch.tensor([0, 1]), ["conv1", "conv2"])
    doubled = copy.deepcopy(net).double()
    np.testing.assert_allclose(
        maps.class_activation_maps(doubled, x.double(), torch.tensor([0, 1]), ["conv1", "conv2"]), plain, atol=1e-6
    )
    assert next(doubled.parameters()).dtype == torch.float64


def test_measures_of_even_pointed_and_empty_maps():
    even, pointed, empty = np.ones((SIDE, SIDE)), np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    pointed[2, 11] = 1.0
    ramp = np.tile(np.arange(SIDE) / (SIDE - 1), (SIDE, 1))
    stack = np.stack([even, pointed, empty, ramp])[:, None, None].astype(np.float32)
    e, p, nothing, r = maps.focus(stack)[:, 0, 0]
    assert r[1] == pytest.approx(0.5)
    assert e[:3] == pytest.approx([1.0, 1.0, 64 / 196], abs=1e-5)
    assert p[:5] == pytest.approx([0.0, 1 / 196, 0.0, 2.5 / SIDE, 11.5 / SIDE], abs=1e-6)
    assert p[5] == pytest.approx(1.0)
    assert np.isnan(nothing).all()


def test_agreement_is_with_the_last_layer():
    first = np.random.default_rng(0).random((SIDE, SIDE))
    stack = np.stack([first, 1 - first, first])[None, :, None].astype(np.float32)
    assert maps.focus(stack)[0, :, 0, 5] == pytest.approx([1, -1, 1], abs=1e-5)


def test_feature_maps_come_in_the_order_of_their_relevance():
    net, x = Tiny(), torch.rand(1, 1, SIDE, SIDE)
    a = net.conv.weight.detach()[:, 0] * x[0]
    g = net.output.weight.detach()[1].view(2, SIDE, SIDE)
    best = int((a * g).sum((1, 2)).argmax())
    found, channels = maps.feature_maps(net, x, torch.tensor([1]), ["conv"], count=3)
    assert channels.tolist() == [[[best, 1 - best, -1]]]
    expected = a.numpy()[[best, 1 - best]]
    expected -= expected.min((1, 2), keepdims=True)
    expected /= expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(found["conv"][0], expected, atol=1e-6)


def test_kernels_of_the_first_layer_are_its_weights():
    net = models.build("lenet")
    found = maps.first_kernels(net)
    assert found.shape == (6, 3, 5, 5)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, net.conv1.weight.detach().numpy(), atol=1e-3)
    assert maps.first_kernels(models.build("mlp_vae", image_size=8, width=0.01)).size == 0


def test_layers_are_spread_from_the_first_to_the_last():
    assert insight.spread(list("abcdefghijk"), 5) == ["a", "c", "f", "i", "k"]
    assert insight.spread(["a", "b"], 5) == ["a", "b"]


def test_principal_components_keep_what_varies():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 3)) * [5, 2, 0.01] @ np.linalg.qr(generator.normal(size=(20, 20)))[0][:3] + 7
    scores, shares = embeddings.pca(x.astype(np.float32))
    assert scores.shape == (300, 2)
    assert shares[0] == pytest.approx(25 / 29, abs=0.05)
    centred = x - x.mean(0)
    assert np.linalg.norm(scores) == pytest.approx(np.linalg.norm(centred), rel=1e-3)
    assert abs(np.corrcoef(scores.T)[0, 1]) < 1e-3


def two_heaps():
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    x[:20] += 30
    return x


def apart(found):
    assert found.shape == (40, 2)
    assert np.abs(found.mean(0)).max() < 1e-4
    between = np.linalg.norm(found[:20].mean(0) - found[20:].mean(0))
    assert between > np.linalg.norm(found[:20] - found[:20].mean(0), axis=1).mean()


def test_tsne_places_two_heaps_apart():
    apart(embeddings.tsne(two_heaps()))


def test_umap_places_two_heaps_apart_and_leaves_the_number_of_threads_as_it_was(tmp_path):
    """In a process of its own: numba sets the number of threads at its first use."""
    np.save(tmp_path / "x.npy", two_heaps())
    code = (
        "import numpy as np, torch; from secondlook.insight import embeddings; torch.set_num_threads(1); "
        "np.save('places.npy', embeddings.umap(np.load('x.npy'))); print(torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["1"]
    apart(np.load(tmp_path / "places.npy"))


def test_what_does_not_vary_has_no_places():
    for place in (embeddings.tsne, embeddings.umap):
        assert not place(np.ones((20, 3), np.float32)).any()
        assert place(np.eye(3, dtype=np.float32)).shape == (3, 2)


def pictures(encoded, rows, columns):
    """The pictures of a sheet, float32 (rows, columns, h, w)."""
    flat = np.asarray(Image.open(io.BytesIO(encoded.tobytes())).convert("L"), np.float32) / 255
    return flat.reshape(rows, flat.shape[0] // rows, columns, -1).swapaxes(1, 2)


def test_a_sheet_holds_its_pictures_edge_to_edge():
    x = np.zeros((2, 3, 16, 16), np.float32)
    x[1, 2, :8] = 1.0
    again = pictures(maps.sheet(x, quality=95), 2, 3)
    assert again.shape == x.shape
    assert np.abs(again - x).max() < 0.1


def test_the_walk_is_centred_on_the_mean_and_follows_the_greatest_spread():
    vae = models.build("mlp_vae", image_size=16, width=0.05, latent_size=3, decoder="tanh").train()
    means = (np.random.default_rng(0).normal(size=(200, 3)) * [0.1, 3.0, 1.0] + [1, 2, 3]).astype(np.float32)
    axes = embeddings.walk_plane(means)
    assert np.abs(axes[1]).argmax() == 1
    assert np.linalg.norm(axes[1:], axis=1) == pytest.approx([3.0, 1.0], rel=0.2)
    for parameter in vae.decoder.parameters():
        parameter.data *= 3  # or every frame would be grey
    frames = pictures(embeddings.latent_walk(vae, means)["walk"], 15, 15)
    assert frames.shape == (15, 15, 16, 16)
    centre, across, down = torch.from_numpy(axes)
    for row, column, z in (
        (7, 7, centre),
        (0, 14, centre + 2.5 * (across + down)),
        (14, 14, centre + 2.5 * (across - down)),
    ):
        there = embeddings.drawn(vae, vae.decode(z[None]).detach())[0]
        near = np.abs(frames - there).mean((2, 3))
        assert near[row, column] < 0.05
        assert near[row, column] < near.max() / 3
    assert vae.training


@pytest.fixture
def trained(quick_places):
    """A LeNet that has seen nothing, and 120 images of three classes."""
    x = np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), np.uint8)
    loader = DeviceLoader(x, np.arange(120) % 3, batch_size=50, seed=0, mean=0.5, std=0.5)
    return models.build("lenet", num_classes=3), loader


def test_a_record_gets_all_that_a_page_needs(trained):
    net, loader = trained
    index, before = np.arange(1000, 1120), state_of(net)
    metrics, arrays = insight.collect(net, loader, index)
    assert same(state_of(net), before)
    assert {"kernels", "embedding_pca", "embedding_tsne", "embedding_umap", "embedding_index", "cam_maps", "cam_focus",
            "cam_index", "maps_conv1", "maps_conv2", "maps_channels"} <= set(arrays)  # fmt: skip
    assert arrays["cam_maps"].shape == (20, 2, 3, 14, 14)
    assert arrays["cam_maps"].dtype == np.uint8
    assert metrics["cam_layers"] == ["conv1", "conv2"]
    rows = arrays["cam_index"] - 1000
    x = torch.cat([x for x, _ in loader.evaluation_batches()])
    answers = net(x).argmax(1).numpy()
    assert np.array_equal(arrays["cam_predictions"], answers[rows])
    assert np.array_equal(arrays["cam_labels"], rows % 3)
    wrong = arrays["cam_predictions"] != arrays["cam_labels"]
    assert 0 < wrong.sum() < 20
    one = maps.class_activation_maps(net, x[rows[:1]], torch.from_numpy(answers[rows[:1]]), ["conv1", "conv2"])
    assert np.abs(arrays["cam_maps"][0] / 255 - one[0]).max() < 0.01
    assert np.array_equal(arrays["cam_focus_right"], answers[arrays["cam_focus_index"] - 1000]
                          == (arrays["cam_focus_index"] - 1000) % 3)  # fmt: skip
    assert arrays["maps_channels"].shape == (2, 12, 10)
    assert "not_collected" not in metrics


def test_what_is_not_installed_is_named_and_the_rest_collected(trained, monkeypatch):
    net, loader = trained
    monkeypatch.undo()
    monkeypatch.setattr(embeddings, "tsne", lambda x: x[:, :2])
    monkeypatch.setitem(sys.modules, "umap", None)
    metrics, arrays = insight.collect(net, loader, np.arange(120))
    assert metrics["not_collected"] == ["umap"]
    assert {"embedding_tsne", "maps_conv1", "cam_maps"} <= set(arrays)
    assert "embedding_umap" not in arrays


def test_a_net_that_diverged_or_died_is_no_error(trained):
    net, loader = trained
    net.dense2.bias.data.fill_(-1e4)  # nothing gets through
    metrics, arrays = insight.collect(net, loader, np.arange(120))
    assert not arrays["embedding_tsne"].any()
    assert np.isnan(arrays["cam_focus"]).all()
    assert metrics["cam_entropy"] == [[None] * 3] * 2
    net.conv1.bias.data.fill_(torch.nan)
    net.dense2.bias.data.fill_(torch.nan)
    metrics, arrays = insight.collect(net, loader, np.arange(120))
    assert metrics == {}
    assert set(arrays) == {"kernels"}


def test_shown_images_mix_right_answers_of_every_class_with_the_most_confident_errors():
    labels = torch.arange(60) % 3
    logits = torch.nn.functional.one_hot(labels, 3).float() * 4
    wrong = torch.tensor([5, 17, 40])
    logits[wrong] = logits[wrong].roll(1, dims=1)
    logits[17] *= 3
    rows = insight.shown_rows(insight.Answers(torch.zeros(60, 1), logits, labels))
    assert len(set(rows.tolist())) == 20
    assert set(wrong.tolist()) <= set(rows.tolist())
    assert rows[1] == 17
    assert set((rows[[0, 2, 4]] % 3).tolist()) == {0, 1, 2}


def test_evidence_of_a_large_set_is_small():
    scores = np.random.default_rng(0).normal(size=(2000, 60)).astype(np.float32) * np.linspace(10, 1, 60)
    kept = embeddings.pca(scores)[0].astype(np.float16)
    assert kept.shape[1] <= 50
    assert kept.nbytes <= 200_000
    cams = insight.SHOWN * insight.LAYERS * len(maps.METHODS) * SIDE**2
    assert cams <= 59_000
