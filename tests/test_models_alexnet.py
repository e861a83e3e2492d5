"""AlexNet sized for 32 pixels: its options change what they say and nothing else."""

import pytest
import torch
from torch import nn

from secondlook.models import build, cam_layers, parameter_count

SMALL = {"width": 0.05, "num_classes": 10}


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 20_713_380), ({"dense": 1}, 2_495_396), ({"stem": "3x3", "batch_norm": True}, 36_422_820),
     ({"batch_norm": True}, 20_713_380 + 2 * (64 + 192 + 384 + 256 + 256))],
)  # fmt: skip
def test_parameter_counts(options, count):
    with torch.device("meta"):
        assert parameter_count(build("alexnet_cifar", num_classes=100, **options)) == count


def test_the_options_left_out_are_the_net_of_before():
    nets = []
    for options in ({}, {"stem": "11x11", "batch_norm": False}):
        torch.manual_seed(0)
        nets.append(build("alexnet_cifar", **SMALL, **options))
    assert list(nets[0].state_dict()) == list(nets[1].state_dict())
    assert all(torch.equal(a, b) for a, b in zip(nets[0].state_dict().values(), nets[1].state_dict().values()))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in nets[0].modules())


def test_the_small_stem_keeps_the_maps_large():
    net = build("alexnet_cifar", **SMALL, stem="3x3", batch_norm=True).eval()
    sides, hooks = {}, []
    for name, layer in cam_layers(net).items():
        hooks.append(layer.register_forward_hook(lambda m, i, o, name=name: sides.update({name: o.shape[-1]})))
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sides == {"conv1": 32, "conv2": 16, "conv3": 8, "conv4": 8, "conv5": 8}


def test_each_convolution_is_normalised_before_its_relu():
    net = build("alexnet_cifar", **SMALL, batch_norm=True)
    assert [[type(layer).__name__ for layer in conv] for conv in net.convs] == [["Conv2d", "BatchNorm2d", "ReLU"]] * 5


def test_a_normalised_net_learns_a_small_batch_by_heart():
    torch.manual_seed(0)
    net = build("alexnet_cifar", **SMALL, stem="3x3", batch_norm=True, dropout=0.0)
    x, y = torch.randn(20, 3, 32, 32), torch.arange(20) % 10
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    assert (net(x).argmax(1) == y).float().mean() > 0.9


def test_an_unknown_stem_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="stem must be one of '11x11', '3x3', not '7x7'"):
        build("alexnet_cifar", stem="7x7")
