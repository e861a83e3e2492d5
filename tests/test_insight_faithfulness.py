"""Heat maps put to the test, on nets whose answers are known by construction; and every net left as it was."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from secondlook import insight, models
from secondlook.data.loader import DeviceLoader
from secondlook.insight import faithfulness, leading_errors
from secondlook.insight.maps import MEASURES, SIDE

IMAGE = 28  # two pixels to a cell of a map


class Looker(nn.Module):
    """Says class 1 by how bright a window of the image is; its one layer shows the image through the window."""

    def __init__(self, rows: slice, columns: slice, side: int = IMAGE):
        super().__init__()
        self.window = torch.zeros(side, side)
        self.window[rows, columns] = 1.0
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        self.output = nn.Linear(1, 2)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.output.weight.copy_(torch.tensor([[0.0], [12.0]]))
            self.output.bias.copy_(torch.tensor([6.0, 0.0]))

    def features(self, x):
        return (self.conv(x * self.window)).sum((1, 2, 3), keepdim=True).flatten(1) / self.window.sum()

    def forward(self, x):
        return self.output(self.features(x))

    def cam_layers(self):
        return {"conv": self.conv}


def state_of(net):
    return ([m.training for m in net.modules()], [t.clone() for t in net.state_dict().values()],
            [p.grad for p in net.parameters()], [p.requires_grad for p in net.parameters()])  # fmt: skip


def same(a, b) -> bool:
    return a[0] == b[0] and all(map(torch.equal, a[1], b[1])) and a[2:] == b[2:]


def maps(rows, columns, count=6):
    """A hot window for method one, the opposite for method two, an even map for method three."""
    hot = np.zeros((SIDE, SIDE), np.float32)
    hot[rows, columns] = 1.0
    return np.repeat(np.stack([hot, 1 - hot, np.ones_like(hot)])[None], count, 0)


@pytest.fixture(scope="module")
def found():
    net, x = Looker(slice(0, 8), slice(0, 8)).eval(), torch.ones(6, 1, IMAGE, IMAGE)
    targets = torch.ones(6, dtype=torch.int64)
    return net, x, faithfulness.curves(net, x, targets, maps(slice(0, 4), slice(0, 4)))


def test_a_map_of_what_matters_beats_chance_and_its_opposite_loses_to_it(found):
    deletion, insertion = faithfulness.areas(found[2]).mean(0)
    good, bad, even, chance = range(4)
    assert deletion[good] < deletion[chance] - 0.1 < deletion[bad] - 0.2
    assert insertion[good] > insertion[chance] + 0.1 > insertion[bad] + 0.2
    assert deletion[even] == deletion[chance]
    assert insertion[even] == insertion[chance]


def test_curves_begin_and_end_with_the_image_and_with_nothing_in_every_order(found):
    net, x, curves = found
    whole, nothing = (net(v)[0].softmax(0)[1].item() for v in (x, 0 * x))
    assert curves.shape == (6, 2, 4, faithfulness.STEPS + 1)
    for kind, (start, end) in enumerate([(whole, nothing), (nothing, whole)]):
        np.testing.assert_allclose(curves[:, kind, :, 0], start, atol=1e-6)
        np.testing.assert_allclose(curves[:, kind, :, -1], end, atol=1e-6)


def test_the_area_under_a_straight_line_is_one_half():
    line = np.linspace(0, 1, 11)[None, None, None]
    assert faithfulness.areas(line)[0, 0, 0] == pytest.approx(0.5)


def test_random_weights_change_the_maps_from_the_top_down_and_leave_the_net():
    net = models.build("lenet", num_classes=3).train()
    x, before = torch.randn(4, 3, 32, 32), state_of(net)
    stages, alike = faithfulness.randomised(net, x, torch.tensor([0, 1, 2, 0]), "conv2")
    assert same(state_of(net), before)
    assert stages[0] == "trained"
    assert stages[-1] == "conv1"
    assert np.allclose(alike[0], 1)
    assert np.nanmean(alike[-1]) < 0.7


@pytest.mark.parametrize(("side", "layer"), [(32, "block3"), (224, "block5")])
def test_maps_are_read_at_the_deepest_layer_that_can_say_where(side, layer):
    net = models.build("vgg", depth=11, width=0.03, image_size=side, hidden=8).eval()
    names = list(models.cam_layers(net))
    assert names[faithfulness.deep_layer(net, torch.zeros(1, 3, side, side), names)] == layer


@pytest.mark.parametrize(("side", "count"), [(32, 32), (224, 32), (64, 32), (28, 28), (97, 97)])
def test_cells_are_about_a_pixel_of_a_small_image(side, count):
    assert faithfulness.cells(side) == count


@pytest.mark.parametrize("part", ["border", "centre"])
def test_shuffling_moves_only_its_part_and_loses_no_value(part):
    x = torch.arange(2 * 64 * 64).reshape(2, 1, 64, 64).float()
    after = faithfulness.shuffled(x, part, torch.Generator().manual_seed(0))
    moved = (after != x)[:, 0]
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[10:54, 10:54] = True
    assert not moved[:, inside if part == "border" else ~inside].any()
    assert moved[:, ~inside if part == "border" else inside].float().mean() > 0.99
    assert torch.equal(after.flatten(1).sort(1).values, x.flatten(1))
    assert not torch.equal(moved[0], moved[1]) or not torch.equal(after[0] - x[0], after[1] - x[1])
    assert torch.equal(after[:, :, 0::2, 0::2] + 1, after[:, :, 0::2, 1::2])  # cells of 2 × 2 pixels stay whole


def spots(rows, columns, count=40):
    """Bright images, every other one with a dark window: class 0."""
    x = np.full((count, 32, 32), 255, np.uint8)
    x[0::2, rows, columns] = 0
    return x, np.arange(count) % 2


@pytest.mark.parametrize(
    ("rows", "part", "other"), [(slice(13, 19), "centre", "border"), (slice(0, 4), "border", "centre")]
)
def test_a_net_loses_its_answers_where_it_looks_and_keeps_them_elsewhere(rows, part, other):
    x, y = spots(rows, rows)
    net = Looker(rows, rows, 32)
    loader = DeviceLoader(x, y, batch_size=16, seed=0, mean=0.0, std=1.0)
    told = faithfulness.shuffling(net, loader, 30)
    assert told["images"] == 30
    assert told["plain"] == told[other] == 1.0
    assert told[part] < 0.9
    assert told["changed_border"] is None
    assert 0.4 < told["border_share"] < 0.6


def test_wrong_answers_that_change_are_counted():
    x, y = spots(slice(13, 19), slice(13, 19))
    loader = DeviceLoader(x, 1 - y, batch_size=16, seed=0, mean=0.0, std=1.0)
    told = faithfulness.shuffling(Looker(slice(13, 19), slice(13, 19), 32), loader)
    assert told["plain"] == 0.0
    assert told["changed_border"] == 0.0
    assert told["changed_centre"] == told["mended_centre"] > 0.1


def measured(labels, predictions, wrong_entropy=0.9):
    """Focus of maps at two layers, (n, 2, measures): right answers peak in the middle, wrong ones are more even."""
    focus = np.zeros((len(labels), 2, len(MEASURES)), np.float32)
    right = labels == predictions
    jitter = np.linspace(0, 0.01, len(labels))
    focus[:, :, 0] = np.where(right, 0.7, wrong_entropy)[:, None] + jitter[:, None]
    focus[:, :, 2] = 0.5
    focus[:, :, 3:5] = np.where(right, 0.5, 0.05)[:, None, None]
    focus[:, :, 5] = [0.25, 1.0]
    return focus


LABELS = np.repeat([0, 1, 2], 20)
SAID = np.where(np.arange(60) % 4 == 0, (LABELS + 1) % 3, LABELS)


def test_a_summary_says_how_often_wrong_answers_are_more_even():
    high = faithfulness.summary(measured(LABELS, SAID), LABELS, SAID, (LABELS, SAID), 1)
    low = faithfulness.summary(measured(LABELS, SAID, 0.5), LABELS, SAID, (LABELS, SAID), 1)
    assert high["cam_effect"]["entropy"] == 1.0
    assert low["cam_effect"]["entropy"] == 0.0
    assert high["cam_effect"]["centre"] == 0.5
    assert high["cam_centre_right"] == 0.5
    assert high["cam_peak_centre"] == [1.0, 1.0, 1.0]
    assert high["cam_agreement"] == [0.25, 0.25, 0.25]
    assert high["cam_pairs"] == [[0, 1], [1, 2]]
    assert high["cam_pair_effect"] == [1.0, 1.0]


def test_a_summary_of_too_few_answers_is_none_and_json():
    none = faithfulness.summary(measured(LABELS, LABELS), LABELS, LABELS, (LABELS, LABELS), 1)
    assert none["cam_effect"]["entropy"] is None
    assert none["cam_pairs"] == []
    empty = faithfulness.summary(np.full((60, 2, 6), np.nan), LABELS, SAID, (LABELS, SAID), 0)
    assert json.dumps(empty, allow_nan=False)


def test_images_of_interest_are_of_every_class_and_of_the_frequent_mistakes():
    said = SAID.copy()
    said[1:10] = 2
    rows = faithfulness.rows_of_interest(LABELS, said)
    assert faithfulness.frequent_pairs(LABELS, said)[0] == (0, 2)
    assert set(np.flatnonzero((LABELS == 0) & (said == 2))) <= set(rows.tolist())
    assert set(LABELS[rows][(said == LABELS)[rows]]) == {0, 1, 2}


def test_every_class_shows_its_usual_mistake_before_any_shows_two():
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    said = np.array([1, 1, 2, 0, 1, 0, 0])
    confidence = np.array([0.5, 0.6, 0.99, 0.4, 0.9, 0.7, 0.8])
    assert leading_errors(labels, said, confidence).tolist() == [6, 1, 3, 2, 5, 0]


@pytest.fixture
def trained(quick_places):
    """A LeNet that has seen nothing, and 90 images of three classes."""
    x = np.random.default_rng(0).integers(0, 256, (90, 32, 32, 3), np.uint8)
    return models.build("lenet", num_classes=3), DeviceLoader(
        x, np.arange(90) % 3, batch_size=50, seed=0, mean=0.5, std=0.5
    )


def test_a_record_gets_the_tests_of_its_maps_and_every_seed_their_measures(trained):
    net, loader = trained
    before = state_of(net)
    metrics, arrays = insight.collect(net, loader, np.arange(90))
    alone = insight.measure(net, loader)
    assert same(state_of(net), before)
    assert {k: metrics[k] for k in alone} == alone
    assert {"shuffled", "cam_layer", "cam_effect", "cam_pairs", "cam_centre_right"} <= set(alone)
    assert arrays["faith_curves"].shape == (2, 4, 11)
    assert arrays["faith_areas"].shape == (48, 2, 4)
    assert metrics["faith_orders"][-1] == "random"
    assert len(metrics["sanity_stages"]) == len(metrics["sanity_likeness"])
    assert json.dumps(metrics, allow_nan=False)


def test_a_net_without_finite_answers_has_no_measures(trained):
    net, loader = trained
    with torch.no_grad():
        net.output.bias.fill_(torch.nan)
    assert insight.measure(net, loader) == {}
