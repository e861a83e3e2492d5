"""`secondlook predict`: an image of one's own under a trained model, and mistakes told before any work."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from secondlook import models, weights
from secondlook.cli import main
from secondlook.data import square
from secondlook.predict import contributions
from secondlook.record import Record, save
from secondlook.reports import read


@pytest.fixture
def folder(tmp_path):
    """Records and weights of one small model."""
    recipe = read("vae").recipes("vgg-clean", "as_coded", "quick")[0]
    table = {**recipe.settings.model, "image_size": 64, "in_channels": 1, "num_classes": 2}
    torch.manual_seed(0)
    model = models.build(table.pop("name"), **table)
    about = {"table": {**recipe.settings.model, **table}, "image_size": 64, "mean": [0.5], "std": [0.5],
             "class_names": ["0", "1"], "precision": "float32"}  # fmt: skip
    provenance = {"weights": weights.digest(model.state_dict()), "data_name": "MNIST"}
    save([Record(recipe, "finished", {}, provenance=provenance)], tmp_path / "records")
    weights.save(weights.runs_path(tmp_path / "runs", recipe.id), model, about)
    Image.fromarray(np.uint8(np.arange(100 * 80).reshape(100, 80) % 255)).save(tmp_path / "own.png")
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


def run(folder, model, image, *more):
    where = ["--records-dir", str(folder / "records"), "--runs-dir", str(folder / "runs")]
    return main(["predict", model, str(folder / image), *where, *more])


def test_an_own_image_gets_probabilities_and_its_heat_map(folder, capsys):
    assert run(folder, "vae/vgg-clean", "own.png", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(told["probabilities"].values()) == pytest.approx(1)
    with Image.open(told["picture"]) as picture:
        assert picture.size == (448, 448)


@pytest.mark.parametrize(
    ("model", "image", "says"),
    [("vae", "own.png", "REPORT/RUN"), ("vae/vgg-cleen", "own.png", "did you mean 'vgg-clean'"),
     ("vea/vgg-clean", "own.png", "vae"), ("vgg/vgg16", "own.png", "secondlook train vgg --run vgg16"),
     ("vae/vgg-clean", "text.png", "not an image"), ("vae/vgg-clean", "absent.png", "absent.png")],
)  # fmt: skip
def test_a_mistake_is_told_with_its_way_out(folder, capsys, model, image, says):
    assert run(folder, model, image) == 2
    assert says in capsys.readouterr().err


def test_a_linear_classifiers_heat_is_each_pixels_contribution_to_the_score():
    net = models.build("linear", image_size=4, num_classes=3, in_channels=2)
    x = torch.rand(5, 2, 4, 4)
    weights_ = net.output.weight.detach().view(3, 2, 4, 4)
    parts = (x * weights_[1]).sum(1).numpy()
    assert parts.sum((1, 2)) + net.output.bias[1].item() == pytest.approx(net(x)[:, 1].detach().numpy(), abs=1e-5)
    found = contributions(net, x, torch.ones(5, dtype=torch.int64))
    above = np.maximum(parts - parts.mean((1, 2), keepdims=True), 0)
    assert found == pytest.approx(above / above.max((1, 2), keepdims=True), abs=1e-4)


def test_a_digit_on_paper_is_turned_into_one_on_black(tmp_path):
    drawn = np.full((60, 60), 250, np.uint8)
    drawn[20:40, 28:32] = 10
    Image.fromarray(drawn).save(tmp_path / "one.png")
    pixels = square(tmp_path / "one.png", 28, 1)
    assert np.median(pixels) < 10
    assert pixels.max() > 200
