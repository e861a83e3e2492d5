import numpy as np
import pytest

from secondlook.data import DATA_SETS, load, standins
from secondlook.recipe import Data

NAMES = [*DATA_SETS]
DIGESTS = {"cifar10": "eee53eb8cae5", "cifar100": "dcfe54674057", "mnist": "5bfb111e58c9"}


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_has_the_shape_and_classes_of_its_set(name, tmp_path):
    made = load(Data(name=name, source="standin"), tmp_path)
    known = DATA_SETS[name]
    assert made.x_train.shape == (2000, *known.shape)
    assert made.x_test.shape == (1000, *known.shape)
    assert made.x_train.dtype == made.y_train.dtype == np.uint8
    assert len(set(np.bincount(made.y_train, minlength=len(known.class_names)))) == 1
    assert made.title == f"stand-in for {known.title}"
    assert made.digest != known.digest


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_is_the_same_everywhere(name):
    """Exact arithmetic: these digests hold on any machine, with any number of threads."""
    assert standins.draw(name).digest[:12] == DIGESTS[name]


def test_sizes_and_seed_change_the_images():
    assert standins.draw("mnist", 50, 20, seed=1).x_train.shape == (50, 28, 28)
    assert standins.draw("mnist", 50, 20, seed=1).digest != standins.draw("mnist", 50, 20, seed=2).digest


def test_training_and_test_images_differ():
    made = standins.draw("mnist")
    assert not {h.tobytes() for h in made.hashes_train} & {h.tobytes() for h in made.hashes_test}


@pytest.mark.parametrize("name", NAMES)
def test_few_pixels_are_clipped(name):
    x = standins.draw(name).x_train
    assert ((x == 0) | (x == 255)).mean() < 1e-3


def amplitudes(name, x):
    """The amplitudes of the slowest waves, in standard deviations of the noise, by least squares from the pixels."""
    side, waves = x.shape[1], standins.MODELS[name][0]
    phase = np.outer(np.arange(side) + 0.5, np.arange(standins.WAVES)) * np.pi / side
    inverse = np.linalg.pinv(np.cos(phase))
    grey = x.reshape(len(x), side, side, -1) - 128.0
    found = np.einsum("ui,vj,nijc->nuvc", inverse, inverse, grey, optimize=True)
    return (found / standins._scale(name))[:, :waves, :waves].reshape(len(x), -1)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_rule_has_the_error_that_is_stated(name):
    """The nearest mean, read back from the rounded pixels of 8,000 images."""
    made = standins.draw(name, 8000, 100)
    centres = standins.means(name).reshape(len(made.class_names), -1).astype(np.float64)
    scores = amplitudes(name, made.x_train) @ centres.T - (centres**2).sum(1) / 2
    error = (scores.argmax(1) != made.y_train).mean()
    spread = (error * (1 - error) / 8000 + made.bayes_error_se**2) ** 0.5
    assert abs(error - made.bayes_error) < 4 * spread


def test_two_classes_have_the_closed_form_error():
    from scipy.stats import norm

    centres = standins.means("mnist").reshape(10, -1)
    error, standard_error = standins.bayes_error("mnist", (3, 5))
    exact = norm.cdf(-np.linalg.norm(centres[3] - centres[5]) / 2)
    assert 0 < standard_error < 0.003
    assert abs(error - exact) < 4 * standard_error


@pytest.mark.parametrize(("name", "at_most"), [("cifar10", 0.3), ("cifar100", 0.75), ("mnist", 0.2)])
def test_a_linear_classifier_learns_far_beyond_chance_and_not_below_the_bayes_error(name, at_most):
    """Ridge regression on one-hot labels."""
    made = standins.draw(name)
    train, test = (x.reshape(len(x), -1) / 64.0 - 2 for x in (made.x_train, made.x_test))
    kernel = train @ train.T + 1000 * np.eye(len(train))
    scores = test @ (train.T @ np.linalg.solve(kernel, np.eye(len(made.class_names))[made.y_train]))
    error = (scores.argmax(1) != made.y_test).mean()
    assert made.bayes_error - 0.03 < error < at_most
