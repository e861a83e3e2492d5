"""Figures and tables of the chapter on CNNs and a VAE, from made-up records: nothing is trained, no image is read."""

import io
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_up import said, title, told
from PIL import Image

from secondlook import figures, reports
from secondlook.evaluation.metrics import encode_scores
from secondlook.figures import Row, digits, latents, maps, published_against_measured
from secondlook.record import Record

REPORT = reports.read("vae")
N, SEEN = 60, 12
MODELS = {"kmeans": "VAE, k-means", "svm": "VAE, head", "vgg": "VGG", "resnet": "ResNet", "unet": "UNet",
          "unet_pretrained": "UNet, encoder"}  # fmt: skip


def sheet(rows, columns, side, seed=0):
    """WebP bytes of random squares, as records keep their pictures."""
    grey = np.random.default_rng(seed).integers(0, 255, (rows * 2, columns * 2), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey.repeat(side // 2, 0).repeat(side // 2, 1)).save(buffer, "WEBP")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def planned(run, variant, seed):
    return replace(REPORT.recipes(run, variant, seeds=[0])[0], seed=seed)


def vae(seed=0, run="vae-clean", variant="as_coded", **metrics):
    rng = np.random.default_rng(seed)
    labels = (np.arange(N) % 2).astype(np.uint8)
    told = {
        "as_coded_lottery": [0.01, 0.99, 0.5], "hinge_lottery": [0.99, 0.98, 0.99], "majority_accuracy": 0.5366,
        "kmeans_accuracy": 0.97, "svm_accuracy": 0.5, "probe_accuracy": 0.99, "active_dimensions": 3,
        "kl_by_dimension": [1.0] * 8, "test_reconstruction": 3400.0 + seed, "parameters": 11568162, "macs": 11558912,
        "train_seconds": 100.0 + seed,
    } | metrics  # fmt: skip
    for kind in ("row_swd", "swd"):
        told |= {f"{kind}_{k}": v for k, v in (("zeros", 0.08), ("ones", 0.05), ("between", 0.23))}
        told |= {f"{kind}_floor_{k}": 0.02 for k in ("zeros", "ones")}
    flipped = labels.copy()
    flipped[:3] ^= 1
    arrays = {
        "labels": labels, "svm_predictions": 1 - labels, "kmeans_predictions": flipped,
        **{p: rng.normal(size=(N, 2)).astype(np.float16) for p in latents.PLACES},
        "latent_tsne_plane": rng.normal(size=(9, 2)).astype(np.float16), "walk": sheet(15, 15, 32, seed),
        "reconstructions": sheet(2, 8, 32, seed), "reconstruction_rows": np.arange(16).reshape(2, 8),
    }  # fmt: skip
    return Record(planned(run, variant, seed), "finished", told, {}, arrays, {"device": "cpu"})


def cnn(seed=0, run="vgg-clean", wrong=2, layers=("block1", "block5")):
    rng = np.random.default_rng(seed)
    labels = (np.arange(N) % 2).astype(np.uint8)
    said = labels.copy()
    said[:wrong] ^= 1
    scores = np.where(np.eye(2, dtype=bool)[said], 0.6 + 0.4 * rng.random((N, 1)), 0.0)
    scores[:, 0] = np.where(said == 0, scores.max(1), 1 - scores.max(1))
    scores[:, 1] = 1 - scores[:, 0]
    arrays = {
        "labels": labels, "predictions": said, "scores": encode_scores(scores),
        "cam_labels": labels[:SEEN], "cam_predictions": said[:SEEN],
        "maps_channels": np.arange(2 * SEEN * 10, dtype=np.int16).reshape(2, SEEN, 10),
        "maps_block1": sheet(SEEN, 10, 32, seed), "maps_block5": sheet(SEEN, 10, 4, seed + 1),
    }  # fmt: skip
    told = {"maps_layers": list(layers), "test_accuracy": 1 - wrong / N, "parameters": 45216450, "macs": 1.6e9,
            "train_seconds": 60.0}  # fmt: skip
    return Record(planned(run, "as_coded", seed), "finished", told, {}, arrays, {"device": "cpu"})


def gaussian(seed=0, model="vgg", variant="as_coded", estimation=0.3, approximation=0.01, bayes=0.0):
    told = {"estimation_error": estimation + 0.01 * seed, "approximation_error": approximation, "bayes_error": bayes,
            "excess_risk": estimation + 0.01 * seed + approximation}  # fmt: skip
    return Record(planned(f"risk-{model}", variant, seed), "finished", told)


def seeds(make, count=3, **more):
    return [make(seed=s, **more) for s in range(count)]


PIXELS = np.random.default_rng(0).integers(0, 255, (2, 8, 28, 28), np.uint8)
DRAWN = {
    "maps": lambda n: figures.feature_maps({"VGG": cnn(), "ResNet": cnn(1, "resnet-clean")}),
    "latent": lambda n: latents.latent_space(vae()),
    "walk": lambda n: latents.latent_walk({"clean": vae(), "noisy": vae(1, "vae-noisy")}),
    "rebuilt": lambda n: latents.reconstructions({"clean": vae(), "noisy": vae(1, "vae-noisy")}, PIXELS),
    "lottery": lambda n: digits.lottery(seeds(vae, n)),
    "distances": lambda n: digits.distances({"as coded": seeds(vae, n)}),
    "roc": lambda n: figures.roc_edge({"VGG": cnn(), "worse": cnn(1, wrong=9), "VAE": vae()}),
    "published": lambda n: figures.published_errors(REPORT, MODELS),
    "risk": lambda n: figures.decomposition(
        {"VGG": seeds(gaussian, n), "UNet": seeds(gaussian, n, model="unet")}, REPORT, {"VGG": "vgg", "UNet": "unet"}),
}  # fmt: skip


def test_figures_of_this_chapter_import_no_torch():
    names = "maps, latents, digits"
    code = f"import sys; from secondlook.figures import {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: latents.latent_space(cnn()), "places no latents"),
        (lambda: latents.latent_walk({"a": cnn()}), "keeps no walk"),
        (lambda: latents.reconstructions({"a": cnn()}), "keeps no reconstructions"),
        (lambda: figures.feature_maps({"a": vae()}), "keeps no feature maps"),
        (lambda: figures.feature_maps({"a": cnn(), "b": cnn(layers=("block1", "block4"))}), "other layers"),
        (lambda: figures.feature_maps({}), "no records"),
        (lambda: digits.lottery([cnn()]), "several starts"),
        (lambda: digits.distances({"a": []}), "no records"),
        (lambda: figures.roc_edge({"a": gaussian()}), "keeps no scores"),
        (lambda: figures.decomposition({}), "no records"),
    ],
)
def test_records_without_what_a_figure_shows_are_refused(draw, message):
    assert message in told(draw())


# ---- titles state what the numbers say


def test_the_lottery_says_how_far_the_starts_spread():
    assert "ends at 1.0 % to 99.0 % as coded and at 98.0 % to 99.0 % corrected" in title(digits.lottery(seeds(vae)))
    assert "; 9 starts on the latents of 3 VAEs." in said(digits.lottery(seeds(vae)))


def test_the_latent_says_what_reads_it_and_what_guessing_gives():
    told = said(latents.latent_space(vae(kmeans_accuracy=0.6)))
    assert "k-means 60.0 %" in told
    assert "majority class 53.7 %" in told


def test_a_collapsed_latent_is_said_to_use_no_dimension():
    told = title(latents.latent_walk({"clean": vae(), "noisy": vae(active_dimensions=0)}))
    assert "3 of 8 in clean and 0 of 8 in noisy" in told


def test_the_errors_with_the_largest_sum_and_the_moved_point_are_named():
    told = said(figures.published_errors(REPORT, MODELS))
    assert "VAE, head has the largest sum of both errors in all" in told
    assert "plotted other than printed: VAE, head" in told


def test_the_decomposition_ranks_models_by_both_errors_together():
    def drawn(*errors):
        return [gaussian(estimation=error) for error in errors]

    groups = {"small": drawn(0.09, 0.1, 0.11), "large": drawn(0.39, 0.4, 0.41)}
    assert "Small has the smallest sum of both errors, 0.110; large has 0.410" in title(figures.decomposition(groups))
    few = {"small": drawn(0.1, 0.1), "large": drawn(0.4, 0.4)}
    assert "is 0.110 to 0.410" in title(figures.decomposition(few)), "two draws rank nothing"
    wide = {"small": drawn(0.0, 0.1, 0.2), "large": drawn(0.3, 0.4, 0.5)}
    assert "is 0.110 to 0.410" in title(figures.decomposition(wide)), "intervals overlap"


def test_the_roc_names_the_best_net_and_leaves_out_what_has_no_area():
    told = title(figures.roc_edge({"good": cnn(wrong=0), "bad": cnn(1, wrong=20), "VAE": vae()}))
    assert "good tells ones from zeros best" in told
    assert "bad has" in told


def test_clusters_fitted_on_nine_ones_for_a_zero_split_the_ones():
    rng, record = np.random.default_rng(3), vae()
    labels = np.repeat([0, 1], 200)
    z = rng.normal(size=(400, 8)) + 5 * labels[:, None] * np.eye(8)[0]
    z[labels == 1, 1] += 4 * rng.choice([-1, 1], 200)
    record.arrays |= {"labels": labels, "latents": z}
    (seed, _, alike, uneven), *more = digits.clusters_by_share([record, vae(1)]).rows
    assert (seed, more) == (0, [])
    assert float(alike.split()[0]) > 70 > 60 > float(uneven.split()[0])
    record.arrays["latents"] = 50 * labels[:, None] + rng.normal(size=(400, 8))
    assert digits.clusters_by_share([record]).rows[0][2:] == ("100.0 %", "100.0 %")
    assert "keeps its latents" in told(digits.clusters_by_share([vae(1)]))


def test_the_roc_names_all_nets_that_share_the_best_area():
    assert "good and too tell ones from zeros best" in title(
        figures.roc_edge({"good": cnn(wrong=0), "too": cnn(1, wrong=0), "bad": cnn(1, wrong=20)})
    )


def test_the_left_edge_of_the_roc_is_drawn_at_half_a_zero_and_read_as_none():
    trace = figures.roc_edge({"VGG": cnn()}).data[0]
    assert min(trace.x) > 0
    assert min(trace.customdata) == 0
    assert "customdata" in trace.hovertemplate


def test_maps_show_a_mistake_and_both_digits():
    shown = maps._shown(cnn(wrong=2))
    record = cnn(wrong=2)
    pairs = {(int(record.arrays["cam_labels"][k]), int(record.arrays["cam_predictions"][k])) for k in shown}
    assert pairs == {(0, 0), (1, 1), (0, 1), (1, 0)}


def test_originals_stand_above_their_reconstructions():
    alone, both = (latents.reconstructions({"clean": vae()}, given) for given in (None, PIXELS))
    assert len(alone.data[0].x) == 16
    assert len(both.data[0].x) == 32
    assert "not at hand" in alone.layout.title.subtitle.text


# ---- samples and tables


def test_without_images_the_samples_name_the_command():
    assert "secondlook data fetch mnist" in digits.settings_samples(None, None).data[0].text[0]


def test_samples_show_the_same_digits_under_every_noise():
    images = np.zeros((20, 28, 28), np.uint8)
    images[:, 8:20, 8:20] = 255
    figure = digits.settings_samples(images, np.arange(20) % 2, side=32)
    assert list(figure.layout.yaxis.ticktext) == list(digits.SETTINGS)
    assert len(figure.data[0].x) == 4 * 8


def test_pages_take_their_time_only_when_a_book_is_built(monkeypatch):
    monkeypatch.delenv("SECONDLOOK_ASSETS", raising=False)
    assert not digits.building()
    monkeypatch.setenv("SECONDLOOK_ASSETS", "somewhere")
    assert digits.building()


def test_accuracies_are_told_as_errors_with_wilsons_interval():
    rows = {"VGG, clean": ("vgg_clean", "test_accuracy", [cnn()]), "none": ("svm_clean", "svm_accuracy", [])}
    told = digits.accuracies(REPORT, rows, 2115, "x")
    assert told.rows[0][:4] == ("VGG, clean", "99.91 %", 2, "99.66 % to 99.97 %")
    assert told.rows[0][4] == "96.67 %"
    assert told.rows[1][2] == 39
    assert told.rows[1][4] == ""
    several = {"a": ("vgg_clean", "test_accuracy", seeds(cnn))}
    assert "±" in digits.accuracies(REPORT, several, 2115, "x").rows[0][4]


def test_paired_errors_count_what_only_one_of_two_misses():
    other = cnn(wrong=5)
    told = digits.paired_errors({"a": (cnn(wrong=2), "predictions"), "b": (other, "predictions")}, "x")
    assert told.rows[1][:4] == ("b", 5, 0, 3)
    shorter = Record(other.recipe, "finished", {}, {}, {"labels": np.zeros(3, np.uint8), "predictions": np.zeros(3)})
    assert len(digits.paired_errors({"a": (cnn(), "predictions"), "c": (shorter, "predictions")}, "x").rows) == 1


def test_costs_show_size_and_time_apart():
    rows = {"VGG": ("seconds_vgg_clean", 45216450, [cnn()], ""), "UNet": ("seconds_unet_clean", 40022850, [], "")}
    told = digits.costs(REPORT, rows, "x")
    assert told.rows[0][:5] == ("VGG", "1000.81", "45,216,450", "1,600.0", "60")
    assert told.rows[1] == ("UNet", "1620.32", "40,022,850", "", "", "")


def test_costs_are_those_of_one_profile_with_its_own_size_and_a_heads_time_added():
    full, quick = cnn(), cnn()
    full.metrics |= {"parameters": 710170, "svm_seconds": 40.0}
    quick.recipe = replace(quick.recipe, profile="quick")
    rows = {"VAE": ("seconds_svm_clean", 1, [full], "svm_seconds"), "VGG": ("seconds_vgg_clean", 45216450, [quick], "")}
    told = digits.costs(REPORT, rows, "x")
    assert [row[2:5] for row in told.rows] == [("710,170", "1,600.0", "100"), ("45,216,450", "", "")]


def test_seeds_that_gather_at_two_values_are_told_as_a_range():
    both = [replace(cnn(), metrics={**cnn().metrics, "test_accuracy": a}) for a in (0.01, 0.02, 0.98, 0.99)]
    told = digits.accuracies(REPORT, {"a": ("vgg_clean", "test_accuracy", both)}, 2115, "x")
    assert told.rows[0][4] == "1.00 % to 99.00 % from seed to seed"
    drawn = published_against_measured(REPORT, [Row("svm_clean", "test_accuracy", {"as_coded": both})])
    assert drawn.layout.title.text.startswith("The 1 measured number spreads too widely to tell")
    assert not any(np.any(t.error_x.array) for t in drawn.data if t.error_x.array is not None)


def test_a_net_that_saw_noise_is_shown_with_that_noise(monkeypatch):
    images = np.zeros((3, 28, 28), np.uint8)
    record = next(r for r in REPORT.recipes("vgg-noisy", "as_coded", "quick"))
    record = Record(replace(record, data=replace(record.data, image_size=32)), "finished", {})
    monkeypatch.delenv("SECONDLOOK_ASSETS", raising=False)
    assert digits.seen_column(record, images, np.arange(3)) is None
    monkeypatch.setenv("SECONDLOOK_ASSETS", "somewhere")
    assert digits.seen_column(record, None, np.arange(3)) is None
    clean = replace(record, recipe=replace(record.recipe, data=replace(record.recipe.data, noise="none")))
    seen, plain = (digits.seen_column(r, images, np.arange(3)) for r in (record, clean))
    assert seen.startswith("data:image")
    assert len(seen) > 3 * len(plain)  # noise does not compress
    assert seen == digits.seen_column(record, images, np.arange(3))


def test_a_latent_that_holds_nothing_says_so():
    record = vae()
    assert "one point" not in latents.latent_space(record).layout.title.subtitle.text
    arrays = {**record.arrays, **{k: np.zeros_like(record.arrays[k]) for k in latents.PLACES if k in record.arrays}}
    assert "all images on one point" in latents.latent_space(replace(record, arrays=arrays)).layout.title.subtitle.text


def test_the_simplest_baseline_tells_simple_digits_apart():
    rng = np.random.default_rng(0)
    y = np.arange(80, dtype=np.int64) % 2
    x = rng.integers(0, 60, (80, 8, 8), np.uint8)
    x[y == 1, :, 3:5] += 150
    images = SimpleNamespace(x_train=x, y_train=y, x_test=x[:20], y_test=y[:20], title="MNIST")
    assert digits.pixel_baseline(images).rows[0][1] == 0
    assert "secondlook data fetch mnist" in repr(digits.pixel_baseline(None))
