"""The device loader: pure batches, whole epochs, draws that belong to the image, noise where it belongs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import functional as V

from secondlook.data import augment as A
from secondlook.data.loader import RESIZED_BYTES, DeviceLoader
from secondlook.recipe import RecipeError

N = 22
EVERYTHING = {
    "flip": True, "vertical_flip": True, "crop": 2, "rotation": 15, "translate": 0.1, "scale": 0.1, "shear": 5,
    "perspective": 0.3, "erasing": 0.5, "blur": 1.5, "sharpness": 2, "noise": 0.1,
}  # fmt: skip
GREY = {"mean": 0.5, "std": 0.5}


def pictures(n=N, channels=3, side=12):
    return np.random.default_rng(0).integers(0, 256, (n, channels, side, side), np.uint8)


def loader(x=None, **changes):
    x = pictures() if x is None else x
    return DeviceLoader(x, np.arange(len(x)) % 256, **{"batch_size": 4, "seed": 3, **changes})


def epoch_of(source, epoch):
    """All images of an epoch by label, which is the row, so that orders and batch sizes can be compared."""
    return {
        int(label): image
        for step in range(source.steps_per_epoch)
        for image, label in zip(*source.batch(epoch, step), strict=True)
    }


def evaluated(source, **how):
    return torch.cat([x for x, _ in source.evaluation_batches(**how)])


def test_a_batch_is_a_function_of_seed_epoch_and_step():
    first, again = loader(augment=EVERYTHING, noise="as_coded"), loader(augment=EVERYTHING, noise="as_coded")
    x, y = first.batch(1, 2)
    kept = x.clone()
    for epoch, step in ((0, 0), (1, 0), (5, 3)):
        first.batch(epoch, step)
    list(first.evaluation_batches())
    torch.rand(7)  # the default generator plays no part
    for source in (first, again):
        assert torch.equal(source.batch(1, 2)[0], kept)
        assert torch.equal(source.batch(1, 2)[1], y)
    assert torch.equal(x, kept), "a batch handed out is not written over"


def test_epochs_and_seeds_differ():
    source = loader(augment=EVERYTHING)
    assert not torch.equal(source.batch(0, 0)[1], source.batch(1, 0)[1])
    assert not torch.equal(source.batch(0, 0)[1], loader(seed=4).batch(0, 0)[1])
    one, two = epoch_of(source, 0), epoch_of(source, 1)
    assert all(not torch.equal(one[label], two[label]) for label in one)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(0, 3))
def test_batch_size_changes_no_image(batch_size, epoch):
    reference = epoch_of(loader(augment=EVERYTHING, noise="before_normalisation"), epoch)
    seen = epoch_of(loader(augment=EVERYTHING, noise="before_normalisation", batch_size=batch_size), epoch)
    assert seen.keys() == reference.keys() == set(range(N))
    assert all(torch.allclose(seen[label], reference[label], atol=1e-6) for label in seen)


def test_the_last_batch_is_kept_unless_asked_otherwise():
    assert [len(loader().batch(0, step)[1]) for step in range(6)] == [4, 4, 4, 4, 4, 2]
    assert loader(drop_last=True).steps_per_epoch == 5
    with pytest.raises(ValueError, match="step 5 is not in an epoch of 5 steps"):
        loader(drop_last=True).batch(0, 5)


def test_draws_belong_to_the_canonical_index_and_copies_draw_apart():
    x, index = pictures(), np.array([40, 7, 7, 99])
    few = DeviceLoader(x[[5, 6, 6, 8]], np.arange(4), batch_size=2, seed=3, augment=EVERYTHING, index=index)
    other = DeviceLoader(x[[8, 6, 5]], np.arange(3), batch_size=3, seed=3, augment=EVERYTHING, index=[99, 7, 40])
    one, two = epoch_of(few, 1), epoch_of(other, 1)
    for left, right in ((0, 2), (1, 1), (3, 0)):
        assert torch.allclose(one[left], two[right], atol=1e-6)
    assert not torch.allclose(one[1], one[2], atol=1e-2)


def test_images_stay_uint8_on_the_device_and_share_what_is_there_already():
    x = torch.from_numpy(pictures())
    source = loader(x, augment={"flip": True}, image_size=24)
    assert source.x.dtype == torch.uint8
    assert source.x.data_ptr() == x.data_ptr()
    images, labels = source.batch(0, 0)
    assert (images.dtype, labels.dtype, images.shape) == (torch.float32, torch.int64, (4, 3, 24, 24))


def test_layouts_with_channels_first_last_or_none_give_the_same_images():
    x = pictures()
    assert torch.equal(evaluated(loader(x)), evaluated(loader(x.transpose(0, 2, 3, 1))))
    assert torch.equal(evaluated(loader(x[:, 0])), evaluated(loader(x[:, :1])))


def test_evaluation_is_torchvisions_resize_and_normalisation_in_the_order_given():
    x, mean, std = pictures(), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    source = loader(x, image_size=20, mean=mean, std=std, augment=EVERYTHING, dtype=torch.float64,
                    memory_format=torch.channels_last)  # fmt: skip
    unit = torch.from_numpy(x).float() / 255
    expected = V.normalize(V.resize(unit, [20, 20], antialias=True), list(mean), list(std))
    batches = list(source.evaluation_batches(batch_size=8))
    assert [len(labels) for _, labels in batches] == [8, 8, 6]
    assert torch.equal(torch.cat([labels for _, labels in batches]), torch.arange(N))
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in batches)
    assert torch.cat([images for images, _ in batches]).dtype == torch.float64
    assert torch.allclose(evaluated(source).float(), expected, atol=1e-5)


def test_resizing_once_or_in_every_batch_is_the_same(monkeypatch):
    once = loader(image_size=20, **GREY)
    monkeypatch.setattr("secondlook.data.loader.RESIZED_BYTES", 0)
    each = loader(image_size=20, **GREY)
    assert (once.x.dtype, each.x.dtype) == (torch.float32, torch.uint8)
    assert RESIZED_BYTES >= 12_665 * 64 * 64 * 4, "two digits at 64 pixels fit"
    assert torch.equal(once.batch(0, 1)[0], each.batch(0, 1)[0])


@pytest.mark.parametrize("noise", ["as_coded", "before_normalisation", "white_noise_crop"])
def test_noise_is_fresh_in_every_epoch_of_training_and_fixed_in_evaluation(noise):
    source = loader(pictures(channels=1, side=16), noise=noise, **GREY)
    one, two = epoch_of(source, 0), epoch_of(source, 1)
    fixed = evaluated(source)
    assert all(not torch.allclose(one[label], two[label], atol=0.1) for label in one)
    assert all(not torch.allclose(one[label], fixed[label], atol=0.1) for label in one)
    assert torch.equal(fixed, evaluated(source))
    assert torch.allclose(fixed, evaluated(loader(pictures(channels=1, side=16), noise=noise, **GREY), batch_size=7))


@pytest.mark.parametrize("noise", ["as_coded", "before_normalisation", "white_noise_crop"])
def test_noise_has_its_standard_deviation_whatever_the_images_normalisation(noise):
    x = np.full((N, 1, 32, 32), 128, np.uint8)
    quiet, loud = (evaluated(loader(x, noise=noise, noise_std=std, **GREY)) for std in (0.0, 0.7))
    added = ((loud - quiet) / 0.7).flatten().numpy()
    assert stats.kstest(added, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(added[:-1], added[1:])[0, 1]) < 0.03


def test_only_the_coded_pipeline_sharpens_what_is_below_zero_away():
    background = np.zeros((200, 1, 16, 16), np.uint8)  # −1 after normalising
    share = {}
    for noise in ("as_coded", "before_normalisation"):
        images = evaluated(loader(background, noise=noise, noise_std=0.0, **GREY)).flatten(1)
        share[noise] = (images.amin(1) >= 0).float().mean()
    assert 0.4 < share["as_coded"] < 0.6
    assert share["before_normalisation"] == 0


def test_crop_and_flip_train_on_windows_of_the_padded_image():
    x = pictures()
    for label, image in epoch_of(loader(x, augment={"flip": True, "crop": 2}), 0).items():
        padded = np.pad(x[label], ((0, 0), (2, 2), (2, 2))) / np.float32(255)
        windows = [padded[:, i : i + 12, j : j + 12] for i in range(5) for j in range(5)]
        assert any(np.allclose(image, w) or np.allclose(image, w[..., ::-1]) for w in windows)


def test_augmentation_comes_before_resizing():
    x = np.full((N, 3, 12, 12), 255, np.uint8)
    images = torch.stack(list(epoch_of(loader(x, augment={"crop": 1}, image_size=24), 0).values()))
    border = images[:, 0, 0, 12]
    assert set(border.round(decimals=3).tolist()) == {0.0, 1.0}


def uniform_p(values, low, high):
    return stats.kstest((values.numpy() - low) / (high - low), "uniform").pvalue


def drawn(table, n=4000, side=64, stream="x"):
    return A.draw(A.augmentation(table), 5, 2, torch.arange(n), (side, side), stream)


def test_parameters_are_drawn_over_their_ranges():
    found = drawn({"flip": True, "vertical_flip": True, "crop": 4, "blur": 2.0, "rotation": 30})
    for name in ("flip", "vertical_flip"):
        assert stats.binomtest(int(found[name].sum()), 4000).pvalue > 1e-4
    windows = torch.bincount(found["crop"][:, 0] * 9 + found["crop"][:, 1], minlength=81)
    assert stats.chisquare(windows).pvalue > 1e-4
    assert uniform_p(found["blur"], 0.1, 2.0) > 1e-4
    a, _, _, d, _, _ = found["affine"].unbind(-1)
    assert uniform_p(torch.atan2(-d, a).rad2deg(), -30, 30) > 1e-4
    assert abs(np.corrcoef(found["flip"], found["vertical_flip"])[0, 1]) < 0.06


def test_translations_are_whole_pixels_and_scales_a_share_either_way():
    _, _, x, _, _, y = drawn({"translate": 0.1})["affine"].unbind(-1)
    for moved in (x, y):
        assert torch.equal(moved, moved.round())
        assert set(moved.int().tolist()) == set(range(-6, 7))
    assert uniform_p(1 / drawn({"scale": 0.2})["affine"][:, 0], 0.8, 1.2) > 1e-4


def test_erased_boxes_lie_inside_and_cover_the_share_asked_for():
    top, left, height, width = drawn({"erasing": 0.5, "erasing_most": 0.2})["erasing"].unbind(-1)
    on = height > 0
    assert stats.binomtest(int(on.sum()), 4000).pvalue > 1e-4
    assert ((top >= 0) & (left >= 0) & (top + height <= 64) & (left + width <= 64)).all()
    assert uniform_p((height * width / 64**2)[on] + 0.0, 0.02, 0.2) > 1e-4
    ratio = (height / width)[on].log()
    assert ratio.min() > np.log(0.3) - 0.1
    assert ratio.max() < np.log(3.3) + 0.1
    assert abs(ratio.mean() - np.log(0.3 * 3.3) / 2) < 0.06


def test_boxes_that_cannot_fit_are_not_erased_rather_than_cut():
    box = drawn({"erasing": 1.0, "erasing_least": 1.0, "erasing_most": 1.0}, n=50)["erasing"]
    assert torch.equal(box, torch.zeros_like(box))


def test_a_box_that_does_not_fit_is_tried_again_with_draws_of_its_own():
    box = drawn({"erasing": 1.0, "erasing_least": 0.3, "erasing_most": 1.0})["erasing"]
    assert (box[:, 2] > 0).float().mean() > 0.99
    assert (box[1:] == box[:-1]).all(1).float().mean() < 0.02


def test_corners_move_inwards_by_the_share_of_half_a_side():
    augment, index = A.Augment(perspective=0.5), torch.arange(4000)
    corners = A._corners(augment, A._Chance(1, 0, index, "x"), 64, 32)
    frame = torch.tensor([[0, 0], [31, 0], [31, 63], [0, 63]])
    inward = (corners - frame) * torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    for k in range(4):
        assert stats.chisquare(torch.bincount(inward[:, k, 0], minlength=9)).pvalue > 1e-4
        assert stats.chisquare(torch.bincount(inward[:, k, 1], minlength=17)).pvalue > 1e-4


def test_stages_draw_apart():
    one, two = (drawn({"flip": True}, stream=stream)["flip"] for stream in ("augment", "after"))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.06


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": {"flp": True}}, "augment: unknown key 'flp'; did you mean 'flip'"),
        ({"augment": {"crop": -1}}, "augment: crop must be greater than or equal to 0, not -1"),
        ({"augment": {"flip": 0.5}}, "augment: flip must be a valid boolean"),
        ({"augment": {"crop": 12}}, None),
    ],
)
def test_an_augmentation_that_cannot_be_is_refused_by_name(changes, message):
    if message is None:
        loader(**changes).batch(0, 0)
        return
    with pytest.raises(RecipeError, match=message):
        loader(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": "as_code"}, "unknown noise 'as_code'; did you mean 'as_coded'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 30, "drop_last": True}, "drop_last leaves no batch: 22 images"),
        ({"mean": (0.1, 0.2)}, "one for each of 3 channels, not 2"),
        ({"index": [1, 2]}, "one number for each of 22 images"),
        ({"x": np.zeros((4, 3, 8, 8), np.float32)}, "expected uint8"),
    ],
)
def test_values_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        loader(**changes)


def test_labels_of_another_count_are_refused():
    with pytest.raises(ValueError, match="22 images and 3 labels"):
        DeviceLoader(pictures(), [0, 1, 2], batch_size=2, seed=0)


def test_rows_are_not_taken_before_an_epoch_begins():
    with pytest.raises(RuntimeError, match="call begin"):
        loader().take(torch.tensor([0]))


def test_levels_are_what_a_batch_makes_of_stored_pixels_and_are_told_only_where_nothing_else_is_done():
    source = loader(mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3])
    source.begin(1)
    rows = source.rows(2)
    channel = torch.arange(3)[None, :, None, None]
    assert torch.equal(source.levels[channel, source.x[rows].long()], source.take(rows)[0])
    for changed in ({"augment": {"flip": True}}, {"noise": "as_coded"}, {"image_size": 16}):
        assert loader(**changed).levels is None


def test_a_new_epoch_is_written_where_a_captured_graph_reads_it():
    source = loader(augment=EVERYTHING, noise="as_coded")
    source.begin(0)
    places = [v.data_ptr() for part in source._drawn.values() for v in part.values()] + [source._order.data_ptr()]
    source.begin(1)
    assert places == [v.data_ptr() for p in source._drawn.values() for v in p.values()] + [source._order.data_ptr()]
    fresh, rows = loader(augment=EVERYTHING, noise="as_coded"), torch.tensor([3, 5])
    fresh.begin(1)
    assert torch.equal(source.take(rows)[0], fresh.take(rows)[0])


class Recorded(TorchDispatchMode):
    """Collects the names of the operations that run inside."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def test_a_step_reads_nothing_back_draws_nothing_by_itself_and_multiplies_no_matrices():
    source = loader(augment=EVERYTHING, noise="as_coded", image_size=24)
    source.begin(0)
    with Recorded() as recorded:
        source.take(torch.arange(4))
    assert "grid_sampler_2d" in recorded.names
    waiting = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique_dim"}
    chance = {"rand", "randn", "randint", "uniform_", "normal_", "bernoulli_", "random_"}
    bent_by_tf32 = {"mm", "bmm", "addmm", "baddbmm", "convolution"}
    assert not recorded.names & (waiting | chance | bent_by_tf32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_images_of_the_cpu():
    how = {"augment": EVERYTHING, "noise": "as_coded", "image_size": 24}
    for epoch in range(2):
        (x, y), (x_cuda, y_cuda) = (loader(device=device, **how).batch(epoch, 1) for device in ("cpu", "cuda"))
        assert torch.equal(y, y_cuda.cpu())
        assert ((x - x_cuda.cpu()).abs() > 1e-3).float().mean() < 0.01  # a rounding may decide a nearest pixel


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_holds_a_step_and_follows_the_epochs_without_waiting():
    source = loader(device="cuda", augment=EVERYTHING, noise="as_coded", image_size=24)
    source.batch(0, 0)
    rows, graph = torch.arange(4, device="cuda"), torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        x, y = source.take(rows)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for epoch in range(3):
            source.begin(epoch)
            rows.copy_(source.rows(2))
            graph.replay()
            expected = source.batch(epoch, 2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(y, expected[1])
    assert torch.allclose(x, expected[0], atol=1e-5)
