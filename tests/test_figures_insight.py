"""What is seen of a net, from made-up records: kernels, activation maps, embeddings; nothing is trained."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up import said, title, told
from PIL import Image

from secondlook import models, reports
from secondlook.chapter import Chapter
from secondlook.data import split
from secondlook.data.images import canonical
from secondlook.evaluation import metrics
from secondlook.evaluation.costs import total, vgg_layers
from secondlook.figures import architecture, cam_explorer, embedding
from secondlook.figures.confusions import misclassified, mistaken_rows
from secondlook.figures.design import channel_statistics, preparation
from secondlook.figures.marks import sprite
from secondlook.figures.saliency import cam_focus, deletion_insertion, effect, random_weights, shuffled_parts
from secondlook.figures.weights import colour_shares, kernels, spatial_shares
from secondlook.record import Record
from secondlook.runs import Runs

LAYERS = ["block1", "block2", "block3"]
METRICS = {
    "cam_layers": LAYERS,
    "cam_methods": ["gradcam", "hirescam", "layercam"],
    "cam_measures": ["entropy", "area", "centre", "peak_row", "peak_column", "agreement"],
    "faith_kinds": ["deletion", "insertion"],
    "faith_orders": ["gradcam", "hirescam", "layercam", "random"],
    "faith_layer": "block3",
    "faith_images": 48,
    "sanity_stages": ["trained", "dense", "block2", "block1"],
    "sanity_likeness": [1.0, 0.4, None, 0.05],
    "shuffled": {"plain": 0.8, "border": 0.7, "centre": 0.4, "images": 1000, "border_share": 0.5273},
    "epochs": 10,
}


def made_up(seed=0, run="vgg16", wrong_more=0.1, profile="full", standin=False, sooner=0.1):
    """A record with what `insight.collect` leaves; entropy of wrong answers is higher by `wrong_more`.

    Deletion in Grad-CAM's order leaves an area smaller by `sooner` than in a random order.
    """
    planned = reports.read("vgg").recipes(run, "as_published", seeds=[0])[0]
    data = replace(planned.data, source="standin" if standin else "official")
    recipe = replace(planned, seed=seed, profile=profile, data=data)
    rng = np.random.default_rng(seed)
    labels = (np.arange(300) % 10).astype(np.uint8)
    predictions = np.where(rng.random(300) < 0.8, labels, (labels + 1) % 10).astype(np.uint8)
    right = np.arange(100) % 2 == 0
    focus = rng.normal(0.8, 0.02, (100, 3, 3, 6))
    focus[~right, :, :, 0] += wrong_more
    areas = rng.normal(0.4, 0.02, (48, 2, 4))
    areas[:, 0, 0] -= sooner
    scores = rng.dirichlet(np.ones(10), 300)
    scores[np.arange(300), predictions] += 1
    at = np.eye(10)[labels] * 8 + rng.normal(size=(300, 10))
    arrays = {
        "kernels": rng.normal(size=(64, 3, 3, 3)).astype(np.float16),
        "cam_maps": rng.integers(0, 256, (20, 3, 3, 14, 14), np.uint8),
        "cam_index": np.arange(20, dtype=np.int32),
        "cam_labels": labels[:20],
        "cam_predictions": predictions[:20],
        "cam_focus": focus.astype(np.float16),
        "cam_focus_right": right,
        "cam_focus_labels": (np.arange(100) % 10).astype(np.uint8),
        "embedding_pca": at.astype(np.float16),
        "embedding_tsne": at[:, :2].astype(np.float16),
        "embedding_umap": at[:, 2:4].astype(np.float16),
        "embedding_index": np.arange(300, dtype=np.int32),
        "faith_curves": rng.random((2, 4, 11)).astype(np.float32),
        "faith_areas": areas.astype(np.float16),
        "scores": metrics.encode_scores(scores / scores.sum(1, keepdims=True)),
        "labels": labels,
        "predictions": predictions,
    }
    return Record(recipe, "finished", METRICS, {}, arrays, {"examples": 45_000 * 10})


def without(record, *names):
    return replace(record, arrays={k: v for k, v in record.arrays.items() if k not in names})


IMAGES = sprite(np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8), 1)
PIXELS = np.random.default_rng(1).integers(0, 256, (300, 32, 32, 3), np.uint8)
DRAWN = {
    "kernels": lambda m: kernels({f"net {k}": r for k, r in enumerate(m)}),
    "cam_explorer": lambda m: cam_explorer(m[0], IMAGES),
    "cam_focus": lambda m: cam_focus(m),
    "embedding": lambda m: embedding(m[0]),
    "deletion_insertion": lambda m: deletion_insertion({f"net {k}": r for k, r in enumerate(m)}),
    "random_weights": lambda m: random_weights({f"net {k}": r for k, r in enumerate(m)}),
    "shuffled_parts": lambda m: shuffled_parts({"net": m}),
    "misclassified": lambda m: misclassified(m[0], PIXELS),
}


@pytest.fixture(scope="module")
def records():
    return [made_up(s) for s in range(2)]


@pytest.mark.parametrize("name", DRAWN)
def test_the_caption_names_a_small_profile_and_a_standin(name):
    figure = DRAWN[name]([made_up(profile="quick", standin=True)])
    assert "stand-in for CIFAR-10" in figure.layout.title.subtitle.text
    assert "quick profile" in figure.layout.title.subtitle.text


@pytest.mark.parametrize(
    ("draw", "lost"),
    [(lambda r: kernels({"a": r}), "kernels"), (cam_explorer, "cam_maps"), (cam_focus, "cam_focus"),
     (embedding, ("embedding_tsne", "embedding_umap", "embedding_pca")), (lambda r: misclassified(r, PIXELS), "scores"),
     (lambda r: deletion_insertion({"a": r}), "faith_curves")],
)  # fmt: skip
def test_a_record_without_evidence_is_an_error_that_says_so(draw, lost):
    shown = draw(without(made_up(), *([lost] if isinstance(lost, str) else lost)))
    assert "keep = 'evidence'" in told(shown)


def test_a_share_of_colour_is_none_for_grey_kernels_and_all_for_opposed_ones():
    grey = np.ones((1, 3, 3, 3)) * np.random.default_rng(0).normal(size=(1, 1, 3, 3))
    opposed = np.zeros((1, 3, 3, 3))
    opposed[:, 0], opposed[:, 1] = 1.0, -1.0
    assert colour_shares(np.concatenate([grey, opposed])) == pytest.approx([0, 1], abs=1e-12)
    assert spatial_shares(opposed) == pytest.approx([0])
    many = np.random.default_rng(0).normal(size=(4000, 3, 3, 3))
    assert colour_shares(many).mean() == pytest.approx(2 / 3, abs=0.01)
    assert colour_shares(np.zeros((1, 3, 3, 3))) == pytest.approx([0])


def test_kernels_stand_in_rows_each_on_its_own_scale_with_zero_grey():
    kernel = np.zeros((9, 3, 3, 3), np.float16)
    kernel[0, :, 0, 0], kernel[8, 0, 2, 2] = 0.001, -50
    record = replace(made_up(), arrays={"kernels": kernel})
    source = kernels({"net": record}).layout.images[0].source
    page = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGBA"))
    assert page.shape == (96, 384, 4)
    assert page[8, 8].tolist() == [255, 255, 255, 255]
    assert page[24, 24].tolist() == [128, 128, 128, 255]
    assert page[48 + 40, 40].tolist() == [0, 128, 128, 255]
    assert page[48 + 8, 48 + 8, 3] == 0


def test_kernels_title_gives_each_net_its_share():
    grey = made_up()
    grey = replace(grey, arrays={"kernels": np.repeat(grey.arrays["kernels"].mean(1, keepdims=True), 3, 1)})
    assert title(kernels({"VGG11": grey, "VGG16": made_up()})).startswith(
        "Squared first-layer weights: 0 % in VGG11 and 6"
    )


def test_the_explorer_shows_the_map_that_its_controls_choose(records):
    figure = cam_explorer(records[0], IMAGES)
    maps, pitch = records[0].arrays["cam_maps"], 16 / 14
    image = figure.layout.updatemenus[0].buttons[7].args[1]
    layer = figure.layout.sliders[0].steps[1].args[1]
    heat = figure.data[2]
    (left, right), (bottom, top) = layer["xaxis2.range"], image["yaxis2.range"]
    across = heat.x0 + heat.dx * np.arange(heat.z.shape[1])
    down = heat.y0 + heat.dy * np.arange(heat.z.shape[0])
    seen = heat.z[np.ix_((down > top) & (down < bottom), (across > left) & (across < right))]
    assert np.array_equal(seen, maps[7, 1, 2])
    assert left == pytest.approx(pitch)
    assert image["yaxis.range"][0] > 7.9
    assert figure.layout.images[0].sizey == 20


def test_the_explorer_works_without_images_and_says_so(records):
    figure = cam_explorer(records[0])
    assert not figure.layout.images
    assert "not at hand" in figure.layout.title.subtitle.text


def test_the_explorer_names_every_answer(records):
    labels = [b.label for b in cam_explorer(records[0]).layout.updatemenus[0].buttons]
    said = zip(records[0].arrays["cam_labels"], records[0].arrays["cam_predictions"])
    assert [("called" in text) for text in labels] == [a != b for a, b in said]


def test_empty_maps_are_no_error():
    record = made_up()
    record.arrays["cam_maps"] = np.zeros_like(record.arrays["cam_maps"])
    assert title(cam_explorer(record)) == "No map is warm"


def test_the_effect_is_the_share_of_pairs_in_which_the_wrong_answer_is_higher():
    assert effect(made_up(wrong_more=0.5), 0, -1).value == 1.0
    assert effect(made_up(wrong_more=-0.5), 0, -1).value == 0.0
    assert abs(effect(made_up(wrong_more=0.0), 0, -1).value - 0.5) < 0.15
    record = made_up()
    record.arrays["cam_focus_right"] = np.ones(100, bool)
    assert effect(record, 0, -1) is None


def test_the_focus_title_follows_the_numbers_for_one_seed_and_for_several():
    assert "in 100 % [100, 100] of pairs" in title(cam_focus(made_up(wrong_more=0.5)))
    several = cam_focus([made_up(s, wrong_more=-0.5) for s in range(3)])
    assert "in 0 % of pairs; 50 % is no difference" in said(several)
    assert "3 seeds" in several.layout.title.subtitle.text


def test_the_embedding_marks_wrong_answers_and_names_them(records):
    figure, arrays = embedding(records[0]), records[0].arrays
    wrong = arrays["labels"] != arrays["predictions"]
    marked = next(t for t in figure.data if t.name.startswith("wrong"))
    assert len(marked.x) == wrong.sum()
    assert np.array_equal(marked.customdata, np.flatnonzero(wrong))
    assert "called" in marked.text[0]
    assert sum(len(t.x) for t in figure.data if t.visible) == 300


def test_the_embedding_takes_what_the_record_has_and_its_hover_sprite():
    figure = embedding(without(made_up(), "embedding_umap"), hover={"src": "sprites/a.webp", "columns": 2, "tile": 32})
    assert [b.label for b in figure.layout.updatemenus[0].buttons] == ["t-SNE", "principal components"]
    assert figure.layout.meta["secondlook"]["hover_sprite"]["src"] == "sprites/a.webp"


def test_the_embedding_draws_classes_in_groups():
    figure = embedding(made_up(), colours=(("living", "made"), [1, 1, 0, 0, 0, 0, 0, 0, 1, 1]))
    assert {t.name for t in figure.data} == {"living", "made", "wrong, in its class's colour"}


def test_the_embedding_title_tells_apart_from_mixed():
    apart, mixed = made_up(), made_up()
    mixed.arrays["embedding_pca"] = np.random.default_rng(0).normal(size=(300, 10)).astype(np.float16)
    assert int(title(embedding(apart)).split(" ")[0]) > 90
    assert int(title(embedding(mixed)).split(" ")[0]) < 30


def test_the_layers_counted_are_those_of_the_net():
    for depth in (11, 13, 16, 19):
        for side in (32, 224):
            layers = vgg_layers(depth, side)
            with torch.device("meta"):
                net = models.build("vgg", depth=depth, image_size=side)
            assert total(layers, "parameters") == models.parameter_count(net)
            assert sum(layer.macs for layer in layers) == models.macs(net, (3, side, side))


def test_the_architecture_puts_block_under_block_and_says_what_differs():
    figure = architecture({f"VGG{d}": vgg_layers(d) for d in (11, 16)}, "by arithmetic")
    assert "VGG16 takes 2.0 times the arithmetic of VGG11 with 4 % more parameters; 89 %" in said(figure)
    eleven, sixteen = (t for t in figure.data if t.visible)
    assert set(eleven.x) < set(sixteen.x)
    assert len(sixteen.x) == 16
    assert len(figure.layout.updatemenus[0].buttons) == 3


def test_deletion_and_insertion_say_where_the_map_beats_a_random_order():
    assert title(deletion_insertion({"a": made_up()})).startswith(
        "Grad-CAM's hottest places beat random ones in deletion (a)"
    )
    for sooner in (0.0, -0.1):
        assert "not in deletion" in title(deletion_insertion({"a": made_up(sooner=sooner)}))


def test_a_stage_without_a_map_leaves_a_gap_and_the_title_gives_the_last():
    figure = random_weights({"a": made_up(), "b": made_up(1)})
    assert "0.05 in a and 0.05 in b" in title(figure)
    assert np.isnan(figure.data[0].y[2])


def test_shuffled_parts_are_told_in_points():
    drawn = shuffled_parts({"net": [made_up(), made_up(1)]})
    assert title(drawn) == "Points lost without the centre: net 40.0; without the border: 10.0"


def test_a_record_without_the_checks_says_so():
    bare = replace(made_up(), metrics={})
    for shown in (random_weights({"a": bare}), shuffled_parts({"a": [bare]})):
        assert "the record of" in told(shown)


def test_mistakes_shown_are_the_most_certain_of_the_classes_with_most_of_them():
    record = made_up()
    labels, said = record.arrays["labels"].astype(int), record.arrays["predictions"].astype(int)
    rows, certain = mistaken_rows(record, 5)
    assert len(set(labels[rows])) == 5
    assert (labels[rows] != said[rows]).all()
    counts = np.bincount(labels[labels != said], minlength=10)
    assert counts[labels[rows]].min() >= np.sort(counts)[-5]
    scores = metrics.decode_scores(record.arrays["scores"])[np.arange(300), said]
    for row, p in zip(rows, certain):
        assert p == scores[(labels == labels[row]) & (labels != said)].max()
    assert "secondlook data fetch cifar10" in misclassified(record, None).data[0].text[0]
    perfect = replace(record, arrays={**record.arrays, "predictions": record.arrays["labels"]})
    assert "no mistake" in told(misclassified(perfect, PIXELS))


def test_normalising_uses_the_statistics_of_the_pixels():
    means, spreads = channel_statistics(PIXELS)
    flat = PIXELS.reshape(-1, 3) / 255
    assert means == pytest.approx(flat.mean(0))
    assert spreads == pytest.approx(flat.std(0))
    assert channel_statistics(None) == ([], [])
    figure = preparation(PIXELS[:2], 224, means, spreads, "CIFAR-10")
    assert "32 × 32 pixels become 224 × 224" in title(figure)
    assert "49 times the values" in title(figure)
    assert len(figure.to_json()) < 100_000
    assert "data fetch" in preparation(None, 224, [], [], "CIFAR-10").data[0].text[0]


def test_the_explorer_begins_with_the_method_asked_for(records):
    figure = cam_explorer(records[0], method="layercam")
    assert [t.visible for t in figure.data[:3]] == [False, False, True]
    assert figure.layout.updatemenus[1].active == 2
    with pytest.raises(ValueError, match="nocam"):
        cam_explorer(records[0], method="nocam")


def test_titles_speak_of_the_layer_that_can_say_where():
    record = made_up()
    named = replace(record, metrics={**METRICS, "cam_layer": "block2"})
    assert title(cam_explorer(named)).startswith("In block2 ")
    assert title(cam_focus(named)).startswith("In block2 ")
    assert cam_explorer(named).layout.sliders[0].active == 1


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A chapter in a book build, whose data set is 40 random images; and a record made from it."""
    monkeypatch.setenv("SECONDLOOK_ASSETS", str(tmp_path))
    rng = np.random.default_rng(2)
    arrays = {f"x_{part}": rng.integers(0, 256, (40, 32, 32, 3), np.uint8) for part in ("train", "test")}
    arrays |= {f"y_{part}": (np.arange(40) % 10).astype(np.uint8) for part in ("train", "test")}
    chapter = Chapter(reports.read("vgg"), "full", "as_published", None, Runs())
    chapter.__dict__["images"] = images = canonical("cifar10", "standin", arrays)
    record = made_up()
    recipe = replace(record.recipe, data=replace(record.recipe.data, test_limit=20, train_limit=30))
    index = split(images, recipe.data, recipe.split_seed).test
    labels = images.y_test[index]
    own = {"labels": labels, "predictions": (labels + (np.arange(20) < 5)) % 10}
    return chapter, replace(record, recipe=recipe, arrays=own, provenance={"data_digest": images.digest})


def test_images_of_a_limited_test_set_are_the_records_own(opened):
    chapter, record = opened
    index = chapter.test_index(record)
    assert np.array_equal(chapter.images.y_test[index], record.arrays["labels"])
    assert np.array_equal(chapter.pixels(record), chapter.images.x_test[index])
    assert np.array_equal(chapter.pixels(record, [3, 1]), chapter.images.x_test[[3, 1]])


def test_the_images_behind_a_cell_have_its_label(opened, tmp_path):
    chapter, record = opened
    declared = chapter.confusion_images([record], most=1)
    with Image.open(tmp_path / declared["src"]) as sheet:
        tiles = np.asarray(sheet.convert("RGB"), float)
    index, labels = chapter.test_index(record), record.arrays["labels"]
    assert all(len(tiles_) == 1 for tiles_ in declared["cells"].values())
    for cell, (tile,) in declared["cells"].items():
        true, said = map(int, cell.split(","))
        own = index[(labels == true) & (record.arrays["predictions"] == said)][0]
        row, column = divmod(tile, declared["columns"])
        drawn = tiles[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
        near = [np.abs(drawn - x).mean() for x in chapter.images.x_test.astype(float)]
        assert int(np.argmin(near)) == own


def test_without_a_build_or_the_data_set_there_are_no_tiles(opened, monkeypatch):
    chapter, record = opened
    other = replace(record, provenance={"data_digest": "of another set"})
    assert chapter.hover_images(record, [0, 1])["tile"] == 32
    assert chapter.image_column(record, [0, 1]).startswith("data:image/webp")
    assert chapter.hover_images(other, [0, 1]) is chapter.image_column(other, [0]) is chapter.test_index(other) is None
    assert chapter.click_images(other, {"0,0": [1]}) is None
    monkeypatch.delenv("SECONDLOOK_ASSETS")
    assert chapter.hover_images(record, [0, 1]) is None
