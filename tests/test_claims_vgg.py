"""Every claim of the VGG chapter on made-up records: some that satisfy it, some that break it."""

from functools import partial

import numpy as np
import pytest
from made_up import noise, recipes, records_in
from made_up import verdicts as made_up_verdicts

from secondlook import reports
from secondlook.claims.judge import judge
from secondlook.claims.vgg import EVEN_MIDDLE
from secondlook.data.names import CIFAR10
from secondlook.recipe import RecipeError
from secondlook.record import Records

RUNS = ["vgg11", "vgg13", "vgg16", "vgg19"]
EACH = 400  # images of a class
ACCURACY = {"vgg11": 0.8161, "vgg13": 0.835, "vgg16": 0.8474, "vgg19": 0.86}
EPOCHS = {"vgg11": 22, "vgg13": 24, "vgg16": 28, "vgg19": 30}
NEEDS = {"V1": ["vgg11", "vgg16"], "V2": ["vgg11", "vgg16"], "V3": RUNS, "V7": ["vgg11", "vgg16"],
         "V11": ["vgg11", "vgg16"], "V17": ["vgg11", "vgg16"], "V22": ["vgg11", "vgg16"]}  # fmt: skip
NEEDS |= {f"V{k}": ["vgg16"] for k in (4, 5, 6, 8, 14, 16)}
NEEDS |= {f"V{k}": ["vgg16", "vgg11"] for k in (9, 10, 12, 13, 21, 23)}
C = {name: k for k, name in enumerate(CIFAR10)}
# shares of a label's images by prediction, the mistakes that the text names first
SHARES = {("cat", "dog"): 0.12, ("dog", "cat"): 0.08, ("bird", "deer"): 0.06, ("bird", "dog"): 0.05,
          ("cat", "bird"): 0.02, ("automobile", "truck"): 0.03, ("truck", "automobile"): 0.03}  # fmt: skip


def drawn(shares, seed, other=0.008):
    """Labels and predictions with these shares of mistakes and `other` of the rest, a little more or less by seed."""
    rng = np.random.default_rng([seed, 7])
    labels, predictions = np.repeat(np.arange(10), EACH), np.repeat(np.arange(10), EACH)
    for c in range(10):
        own, at = {b: s for (a, b), s in shares.items() if C[a] == c}, c * EACH
        for b in CIFAR10:
            share = 0.0 if C[b] == c else own.get(b, other)
            count = max(0, round(share * EACH + rng.integers(-1, 2) * (C[b] != c)))
            predictions[at : at + count] = C[b]
            at += count
    return labels.astype(np.uint8), predictions.astype(np.uint8)


def made_up(recipe):
    """Metrics and arrays of a record under which every claim that needs a run is reproduced."""
    seed, run = recipe.seed, recipe.run
    accuracy = ACCURACY[run] + noise(seed, 0.002, 1)
    auc = np.full(10, 0.985) + np.array([noise(seed, 0.0003, 20 + c) for c in range(10)])
    auc[[C["automobile"], C["ship"]]] = 0.997 + noise(seed, 0.0003, 2)
    auc[C["cat"]] = 0.961 + noise(seed, 0.001, 3)
    peaks, agreement = np.full(10, 0.6) + noise(seed, 0.01, 4), np.full(10, 0.5) + noise(seed, 0.01, 5)
    agreement[C["deer"]] = 0.3 + noise(seed, 0.01, 6)
    metrics = {
        "test_accuracy": accuracy,
        "test_precision": accuracy + 0.001,
        "test_recall": accuracy,
        "test_f1": accuracy - 0.0005,
        "auc": auc.tolist(),
        "epochs": EPOCHS[run] + int(seed % 3),
        "train_seconds": 10.0 * EPOCHS[run] * (1 if run == "vgg11" else 2) + noise(seed, 1, 7),
        "cam_effect": {m: 0.62 + noise(seed, 0.01, 8) for m in ("entropy", "area", "centre")},
        "cam_centre_right": 0.45 + noise(seed, 0.01, 9),
        "cam_pairs": [[3, 5], [5, 3]],
        "cam_pair_effect": [0.65 + noise(seed, 0.01, 10), 0.5],
        "cam_peak_centre": peaks.tolist(),
        "cam_agreement": agreement.tolist(),
        "shuffled": {"changed_border": 0.6 + noise(seed, 0.01, 11), "changed_centre": 0.4, "mended_border": 0.2,
                     "mended_centre": 0.1},
    }  # fmt: skip
    labels, predictions = drawn(SHARES, seed, 0.003 if run == "vgg16" else 0.008)
    return metrics, {"labels": labels, "predictions": predictions}


def world(folder, change=None, keep=lambda r: True, profile="full"):
    """Records of the four depths, made up, then changed by `change(recipe, metrics, arrays)`, in `folder`."""
    chosen = recipes("vgg", {"as_published": RUNS}, profile)
    return records_in(folder, filter(keep, chosen), made_up, change, "arrays")


verdicts = partial(made_up_verdicts, "vgg")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return verdicts(world(tmp_path_factory.mktemp("records")))


def change(run, **metrics):
    """Replaces metrics of a run: a number is a new centre, a callable is applied to the old value."""

    def apply(recipe, old, arrays):
        if recipe.run == run:
            for name, new in metrics.items():
                old[name] = new(old[name]) if callable(new) else new + noise(recipe.seed, 0.002, 9)

    return apply


def mistakes(run, **more):
    """Other shares of mistakes, as cat_dog=0.01."""

    def apply(recipe, metrics, arrays):
        if recipe.run == run:
            shares = SHARES | {tuple(pair.split("_")): share for pair, share in more.items()}
            arrays["labels"], arrays["predictions"] = drawn(shares, recipe.seed)

    return apply


def entry(name, value):
    """A list over classes with one value replaced."""
    return lambda values: [value if k == C[name] else v for k, v in enumerate(values)]


def table(**more):
    return lambda values: {**values, **more}


def both(*changes):
    return lambda *args: [c(*args) for c in changes]


MANY = {f"{a}_{b}": 0.05 for shift in (4, 6) for a, b in zip(CIFAR10, CIFAR10[shift:] + CIFAR10[:shift])}

# claim, a change of the base, on which every claim is reproduced, and the verdict after it
CASES = [
    ("V1", change("vgg16", test_accuracy=0.90), "not reproduced"),
    ("V1", change("vgg11", test_accuracy=0.70), "not reproduced"),
    ("V2", change("vgg16", test_f1=0.79), "not reproduced"),
    ("V2", change("vgg16", test_accuracy=0.90), "direction reproduced"),
    ("V2", change("vgg16", test_precision=lambda v: 0.8171 + (v - 0.8484)), "inconclusive"),
    ("V3", change("vgg19", test_accuracy=0.80), "not reproduced"),
    ("V3", change("vgg19", test_accuracy=ACCURACY["vgg16"]), "inconclusive"),
    ("V4", change("vgg16", auc=entry("cat", 0.94)), "not reproduced"),
    ("V5", change("vgg16", auc=entry("ship", 0.991)), "not reproduced"),
    ("V6", change("vgg16", auc=entry("bird", 0.93)), "not reproduced"),
    ("V6", change("vgg16", auc=lambda v: [a - 0.05 for a in v]), "not reproduced"),
    ("V7", mistakes("vgg16", cat_dog=0.3, dog_cat=0.3, bird_deer=0.3, frog_cat=0.3, deer_bird=0.3, ship_truck=0.3),
     "not reproduced"),
    ("V8", mistakes("vgg16", cat_dog=0.05), "not reproduced"),
    ("V8", mistakes("vgg16", cat_dog=0.08), "inconclusive"),
    ("V9", mistakes("vgg16", **MANY | {"bird_deer": 0.0, "bird_dog": 0.0}), "not reproduced"),
    ("V9", mistakes("vgg11", **MANY | {"bird_deer": 0.0, "bird_dog": 0.0}), "not reproduced"),
    ("V10", mistakes("vgg16", cat_bird=0.2), "not reproduced"),
    ("V10", mistakes("vgg11", cat_bird=0.2), "not reproduced"),
    ("V11", mistakes("vgg11", automobile_truck=0.2), "not reproduced"),
    ("V12", change("vgg16", cam_centre_right=0.2), "not reproduced"),
    ("V12", change("vgg11", cam_centre_right=0.2), "not reproduced"),
    ("V12", change("vgg16", cam_centre_right=EVEN_MIDDLE), "inconclusive"),
    ("V13", change("vgg16", cam_effect=table(entropy=0.4)), "not reproduced"),
    ("V13", change("vgg11", cam_effect=table(area=0.4)), "not reproduced"),
    ("V13", change("vgg16", cam_effect=lambda v: {k: x - 0.12 for k, x in v.items()}), "inconclusive"),
    ("V14", change("vgg16", cam_pair_effect=lambda v: [0.3, 0.9]), "not reproduced"),
    ("V14", change("vgg16", cam_pairs=lambda v: [[5, 3], [2, 4]]), "inconclusive"),
    ("V14", change("vgg16", cam_pair_effect=lambda v: [None, 0.9]), "inconclusive"),
    ("V16", change("vgg16", shuffled=table(changed_border=0.2)), "not reproduced"),
    ("V16", change("vgg16", shuffled=lambda v: {**v, "changed_centre": v["changed_border"]}), "inconclusive"),
    ("V17", change("vgg16", epochs=EPOCHS["vgg11"] + 1), "inconclusive"),
    ("V17", change("vgg16", epochs=90), "not reproduced"),
    ("V21", change("vgg16", cam_peak_centre=entry("horse", 0.1)), "not reproduced"),
    ("V21", change("vgg16", cam_agreement=entry("deer", 0.9)), "not reproduced"),
    ("V21", change("vgg16", cam_peak_centre=entry("dog", None)), "inconclusive"),
    ("V21", change("vgg11", cam_peak_centre=entry("airplane", 0.1)), "not reproduced"),
    ("V21", change("vgg11", cam_peak_centre=entry("horse", 0.1)), "reproduced"),  # said of VGG16 alone
    ("V23", change("vgg11", test_precision=0.75), "not reproduced"),
    ("V22", change("vgg16", train_seconds=10.0), "not reproduced"),
]  # fmt: skip


def test_every_claim_that_needs_a_run_can_be_reproduced(base):
    told = {id_: base[id_].verdict for id_ in NEEDS}
    assert told == dict.fromkeys(NEEDS, "reproduced")
    assert all(base[id_].seeds == [0, 1, 2, 3, 4, 5] for id_ in NEEDS if id_ != "V3")


@pytest.mark.parametrize(("claim", "changed", "verdict"), CASES, ids=[f"{c[0]}-{k}" for k, c in enumerate(CASES)])
def test_a_record_that_breaks_a_claim_changes_its_verdict(tmp_path, base, claim, changed, verdict):
    after = verdicts(world(tmp_path, changed))[claim]
    assert after.verdict == verdict, after.why


ONE_SEED = "V3"  # all that the reduced profile plans of two of its depths
BROKEN = [c[:2] for c in CASES if c[2] == "not reproduced" and c[0] != ONE_SEED]


def test_reduced_records_indicate_and_leave_every_verdict_open(tmp_path):
    told = verdicts(world(tmp_path, profile="reduced"))
    assert {told[id_].verdict for id_ in NEEDS} == {"not run"}
    outcomes = {id_: told[id_].indication.outcome for id_ in NEEDS}
    assert outcomes == {**dict.fromkeys(NEEDS, "holds"), ONE_SEED: "too few seeds"}


@pytest.mark.parametrize(("claim", "changed"), BROKEN, ids=[f"{c[0]}-{k}" for k, c in enumerate(BROKEN)])
def test_a_reduced_record_that_breaks_a_claim_changes_its_indication(tmp_path, claim, changed):
    found = verdicts(world(tmp_path, changed, profile="reduced"))[claim].indication
    assert found.outcome == "does not hold", found.why


@pytest.mark.parametrize("claim", NEEDS)
def test_without_one_seed_a_claim_is_not_run(tmp_path, claim):
    run = NEEDS[claim][-1]
    after = verdicts(world(tmp_path, keep=lambda r: (r.run, r.seed) != (run, 0)))[claim]
    assert after.verdict == "not run"
    assert f"secondlook train vgg --run {run} --variant as_published --profile full" in after.why


def test_without_any_record_only_what_needs_none_is_judged(tmp_path):
    judged = verdicts(Records(tmp_path))
    assert set(judged) == {f"V{k}" for k in range(1, 24)}
    needs_none = {id_: j.verdict for id_, j in judged.items() if j.verdict != "not run"}
    assert needs_none == {"V15": "not testable as stated", "V18": "reproduced", "V19": "contradicted",
                          "V20": "not testable as stated"}  # fmt: skip


def test_work_is_compared_by_arithmetic(tmp_path, monkeypatch):
    judged = verdicts(Records(tmp_path))["V18"]
    assert judged.measured == pytest.approx([15.47, 7.61], rel=1e-3)
    monkeypatch.setitem(reports.read("vgg", None).claims["V18"].options, "depths", [11, 16])
    turned = verdicts(Records(tmp_path))["V18"]
    assert turned.measured == judged.measured[::-1]
    assert (judged.verdict, turned.verdict) == ("reproduced", "contradicted")


def test_a_record_without_what_a_claim_asks_says_which(tmp_path):
    def bare(recipe, metrics, arrays):
        for name in ("auc", "cam_effect", "shuffled"):
            metrics.pop(name)
        arrays.clear()

    judged = verdicts(world(tmp_path, bare))
    for id_, word in (("V4", "auc"), ("V13", "entropy"), ("V16", "changed border"), ("V8", "predictions")):
        assert judged[id_].verdict == "not run"
        assert word in judged[id_].why


def test_perfect_areas_are_told_to_four_decimals(base):
    assert "automobile 0.99" in base["V5"].why
    assert base["V5"].published == [1.0, 1.0]


def test_a_proxy_is_called_one(base):
    assert all("A proxy" in base[id_].why for id_ in ("V12", "V16", "V21"))


def test_an_unknown_class_is_an_error(tmp_path, monkeypatch):
    report = reports.read("vgg", None)
    monkeypatch.setitem(report.claims["V6"].options, "lowest", "kat")
    with pytest.raises(RecipeError, match="did you mean 'cat'"):
        judge("vgg", world(tmp_path))
