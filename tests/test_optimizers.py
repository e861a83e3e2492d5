"""Every optimiser against its own formulas, in float64, step by step."""

import numpy as np
import pytest
import torch

from secondlook.recipe import RecipeError
from secondlook.training import optimizers

RATE, STEPS = 0.05, 12
HESSIAN = np.array([3.0, 0.5, 0.01, 10.0])
START = np.array([1.0, -2.0, 0.3, 0.7])


def gradient(w):
    return HESSIAN * w + 0.1


def sgd(w, t, s, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = gradient(w) + weight_decay * w
    s["v"] = momentum * s["v"] + g if t > 1 else g
    return w - RATE * (g + momentum * s["v"] if nesterov else s["v"] if momentum else g)


def adam(w, t, s, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False, corrected=True, amsgrad=False):
    g = gradient(w) + (0.0 if decoupled else weight_decay * w)
    w = w * (1 - RATE * weight_decay) if decoupled else w
    s["m"] = betas[0] * s["m"] + (1 - betas[0]) * g
    s["v"] = betas[1] * s["v"] + (1 - betas[1]) * g**2
    s["max"] = np.maximum(s["max"], s["v"]) if amsgrad else s["v"]
    first, second = (1 - betas[0] ** t, 1 - betas[1] ** t) if corrected else (1.0, 1.0)
    return w - RATE * (s["m"] / first) / (np.sqrt(s["max"] / second) + eps)


def rmsprop(w, t, s, alpha=0.99, eps=1e-8, momentum=0.0):
    g = gradient(w)
    s["v"] = alpha * s["v"] + (1 - alpha) * g**2
    s["m"] = momentum * s["m"] + g / (np.sqrt(s["v"]) + eps)
    return w - RATE * s["m"]


def rmsprop_inner_eps(w, t, s, alpha=0.9, eps=1e-7):
    g = gradient(w)
    s["v"] = alpha * s["v"] + (1 - alpha) * g**2
    return w - RATE * g / np.sqrt(s["v"] + eps)


def adamax(w, t, s, betas=(0.9, 0.999), eps=1e-8):
    g = gradient(w)
    s["m"] = betas[0] * s["m"] + (1 - betas[0]) * g
    s["v"] = np.maximum(betas[1] * s["v"], np.abs(g) + eps)
    return w - RATE / (1 - betas[0] ** t) * s["m"] / s["v"]


def nadam(w, t, s, betas=(0.9, 0.999), eps=1e-8, momentum_decay=0.004):
    g = gradient(w)
    mu, following = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
    s["product"] = s.get("product", 1.0) * mu
    s["m"] = betas[0] * s["m"] + (1 - betas[0]) * g
    s["v"] = betas[1] * s["v"] + (1 - betas[1]) * g**2
    below = np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps
    return w - RATE * ((1 - mu) * g / (1 - s["product"]) + following * s["m"] / (1 - s["product"] * following)) / below


CASES = [
    ({"name": "sgd"}, sgd, {}),
    ({"name": "sgd", "momentum": 0.9, "weight_decay": 0.1}, sgd, {"momentum": 0.9, "weight_decay": 0.1}),
    ({"name": "sgd", "momentum": 0.9, "nesterov": True}, sgd, {"momentum": 0.9, "nesterov": True}),
    ({"name": "adam", "eps": 1e-7}, adam, {"eps": 1e-7}),
    ({"name": "adam", "betas": [0.8, 0.99], "weight_decay": 0.1}, adam, {"betas": (0.8, 0.99), "weight_decay": 0.1}),
    ({"name": "adam_uncorrected"}, adam, {"corrected": False}),
    ({"name": "amsgrad", "betas": [0.9, 0.5]}, adam, {"betas": (0.9, 0.5), "amsgrad": True}),
    ({"name": "adamw", "weight_decay": 0.1}, adam, {"weight_decay": 0.1, "decoupled": True}),
    ({"name": "rmsprop", "alpha": 0.9, "eps": 1e-7}, rmsprop, {"alpha": 0.9, "eps": 1e-7}),
    ({"name": "rmsprop", "momentum": 0.5}, rmsprop, {"momentum": 0.5}),
    ({"name": "rmsprop_inner_eps", "eps": 1e-2}, rmsprop_inner_eps, {"eps": 1e-2}),
    ({"name": "adamax", "eps": 1e-7}, adamax, {"eps": 1e-7}),
    ({"name": "nadam"}, nadam, {}),
]


@pytest.mark.parametrize(("table", "reference", "options"), CASES, ids=[f"{c[0]}" for c in CASES])
def test_an_optimiser_takes_the_steps_of_its_formula(table, reference, options):
    w, state = START.copy(), {"m": 0.0, "v": 0.0, "max": 0.0}
    p = torch.nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = optimizers.build({**table, "learning_rate": RATE}, [p])
    for t in range(1, STEPS + 1):
        w = reference(w, t, state, **options)
        p.grad = torch.from_numpy(gradient(p.detach().numpy()))
        optimizer.step()
        within = 1e-7 if table["name"] == "nadam" else 1e-10  # torch keeps NAdam's product of momenta in float32
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=within)


def test_bias_correction_makes_the_first_step_of_adam_as_long_as_the_rate():
    steps = []
    for name in ("adam", "adam_uncorrected"):
        p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = optimizers.build({"name": name, "learning_rate": RATE}, [p])
        p.grad = torch.full_like(p, 4.0)
        optimizer.step()
        steps.append(-p.item() / RATE)
    assert steps == pytest.approx([1.0, 0.1 / 0.001**0.5], rel=1e-6)


def test_frozen_parameters_are_left_out():
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2), requires_grad=False)]
    optimizer = optimizers.build({"name": "sgd", "learning_rate": 0.1}, parameters)
    assert optimizer.param_groups[0]["params"] == parameters[:1]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"name": "adamm", "learning_rate": 0.1}, "did you mean 'adam"),
        ({"name": "sgd", "learning_rate": 0.1, "momentun": 0.9}, "did you mean 'momentum'"),
        ({"name": "sgd", "learning_rate": 0.1, "betas": [0.9, 0.999]}, "betas is no option"),
        ({"name": "sgd"}, "learning_rate is missing"),
        ({"name": "sgd", "learning_rate": "fast"}, "learning_rate must be a valid number"),
        ({"name": "sgd", "learning_rate": float("nan")}, "must be a finite number"),
        ({"name": "sgd", "learning_rate": float("inf")}, "must be a finite number"),
        ({"name": "sgd", "learning_rate": 10**400}, "not 1000000"),
        ({"name": "sgd", "learning_rate": -0.1}, "greater than or equal to 0"),
        ({"name": "adam", "learning_rate": 0.1, "betas": [0.9, 1.0]}, r"betas\.1 must be less than 1"),
        ({"name": "adam", "learning_rate": 0.1, "betas": [0.9]}, r"betas\.1 is missing"),
        ({"name": "sgd", "learning_rate": 0.1, "nesterov": True}, "momentum above 0"),
    ],
)
def test_a_bad_table_is_refused_by_key(table, told):
    with pytest.raises(RecipeError, match=told):
        optimizers.build(table, [torch.nn.Parameter(torch.zeros(1))])


@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
def test_a_step_without_any_gradient_moves_nothing(name):
    p = torch.nn.Parameter(torch.ones(2))
    optimizers.build({"name": name, "learning_rate": 0.1}, [p]).step()
    assert p.tolist() == [1.0, 1.0]
