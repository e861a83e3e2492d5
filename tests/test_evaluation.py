"""Metrics, tests, intervals and distances: against scikit-learn, SciPy and POT, and against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from secondlook.evaluation import distances, metrics, statistics

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None)
spreads = st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=12).filter(lambda v: np.std(v) > 1e-3)


def problem(seed, n=120, classes=4, ties=False):
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    scores = rng.normal(size=(n, classes)) + np.eye(classes)[labels] * rng.uniform(0, 3)
    return labels, np.round(scores, 1) if ties else scores


@quick
@given(seeds)
def test_counts_agree_with_scikit_learn(seed):
    labels, scores = problem(seed)
    predicted = scores.argmax(1)
    matrix = metrics.confusion(labels, predicted, 4)
    assert np.array_equal(matrix, sk.confusion_matrix(labels, predicted, labels=range(4)))
    assert metrics.accuracy(labels, predicted) == pytest.approx(sk.accuracy_score(labels, predicted))


def test_classes_that_do_not_occur_do_not_count_in_an_average():
    assert metrics.macro([0, 0, 1, 1], [0, 0, 1, 0]) == pytest.approx((5 / 6, 3 / 4, (4 / 5 + 2 / 3) / 2))
    assert metrics.macro([0, 0, 2], [0, 0, 0]) == pytest.approx((1 / 3, 1 / 2, 2 / 5))


@quick
@given(seeds, st.booleans())
def test_auc_agrees_with_scikit_learn(seed, ties):
    labels, scores = problem(seed, ties=ties)
    assert metrics.auc_interval(labels == 1, scores[:, 1]).value == pytest.approx(
        sk.roc_auc_score(labels == 1, scores[:, 1])
    )
    each = [sk.roc_auc_score(labels == c, scores[:, c]) for c in range(4)]
    assert metrics.macro_auc(labels, scores).value == pytest.approx(np.mean(each))


def test_a_short_roc_has_a_point_for_every_score():
    curve = metrics.roc([True, False, True, False], [0.9, 0.8, 0.8, 0.1])
    assert curve.false_positive_rate.tolist() == [0, 0, 0.5, 1]
    assert curve.true_positive_rate.tolist() == [0, 0.5, 1, 1]
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.1]


@quick
@given(seeds)
def test_a_thinned_roc_keeps_its_shape_its_ends_and_the_auc_of_all_points(seed):
    labels, scores = problem(seed, n=5000)
    curve = metrics.roc_one_vs_rest(labels, scores)[0]
    fpr, tpr, _ = sk.roc_curve(labels == 0, scores[:, 0])
    assert len(curve.threshold) <= 200
    assert (curve.false_positive_rate[0], curve.true_positive_rate[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1, 1)
    drawn = np.interp(np.linspace(0, 1, 50), curve.false_positive_rate, curve.true_positive_rate)
    assert np.abs(drawn - np.interp(np.linspace(0, 1, 50), fpr, tpr)).max() < 0.03
    assert curve.auc == pytest.approx(sk.roc_auc_score(labels == 0, scores[:, 0]))


def test_delong_has_the_width_that_resampling_has():
    labels, scores = problem(3, n=400)
    rng, values, means = np.random.default_rng(0), [], []
    for _ in range(300):
        pick = rng.integers(0, 400, 400)
        values.append(sk.roc_auc_score(labels[pick] == 1, scores[pick, 1]))
        means.append(np.mean([sk.roc_auc_score(labels[pick] == c, scores[pick, c]) for c in range(4)]))
    for found, spread in (
        (metrics.auc_interval(labels == 1, scores[:, 1]), values),
        (metrics.macro_auc(labels, scores), means),
    ):
        assert (found.high - found.low) / 3.92 == pytest.approx(np.std(spread), rel=0.15)
        assert found.low < found.value < found.high


@quick
@given(seeds)
def test_calibration_error_is_the_weighted_gap_of_its_bins(seed):
    labels, scores = problem(seed)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found = metrics.calibration(labels, p, bins=10)
    full = found.count > 0
    assert found.count.sum() == len(labels)
    gap = np.abs(found.confidence - found.accuracy)[full] * found.count[full]
    assert found.ece == pytest.approx(gap.sum() / len(labels))


def test_certainty_that_is_always_right_is_calibrated_and_one_always_wrong_is_not():
    assert metrics.calibration([0, 1], np.eye(2)).ece == 0.0
    assert metrics.calibration([1, 0], np.eye(2)).ece == 1.0


@quick
@given(seeds)
def test_stored_scores_keep_the_auc_and_come_back_within_a_step(seed):
    labels, scores = problem(seed, n=2000)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    stored = metrics.encode_scores(p)
    assert stored.dtype == np.uint8
    assert np.abs(metrics.decode_scores(stored) - p).max() < 0.004
    assert sk.roc_auc_score(labels == 0, stored[:, 0]) == pytest.approx(
        sk.roc_auc_score(labels == 0, p[:, 0]), abs=5e-4
    )


@pytest.mark.parametrize("bad", [[[-0.1, 1.1]], [[np.nan, 0.5]], [[3.0, 2.0]]])
def test_raw_scores_are_not_stored_as_probabilities(bad):
    with pytest.raises(ValueError, match="softmax"):
        metrics.encode_scores(bad)


def test_a_class_nobody_has_is_an_error_not_a_number():
    with pytest.raises(ValueError, match="inside and outside"):
        metrics.auc_interval([False, False], [0.1, 0.2])
    with pytest.raises(ValueError, match="expected 0 to 1"):
        metrics.confusion([0, 2], [0, 1], 2)


@quick
@given(spreads)
def test_summary_is_scipys_t_interval(values):
    s = statistics.summary(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (s.low, s.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)
    assert s.sd == pytest.approx(np.std(values, ddof=1))


@quick
@given(spreads, st.floats(-1, 1), seeds)
def test_the_paired_test_is_scipys(values, margin, seed):
    other = np.random.default_rng(seed).normal(size=len(values))
    found = statistics.paired_test(values, other, margin)
    expected = stats.ttest_rel(np.asarray(values) - margin, other)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-5, abs=1e-12)
    assert found.low < found.mean < found.high


def test_equal_differences_are_certain_and_none_is_no_difference():
    assert statistics.paired_test([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]).p == 0.0
    assert statistics.paired_test([1.0, 2.0], [1.0, 2.0]).p == 1.0


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], []])
def test_one_or_unfinished_values_have_no_spread(values):
    with pytest.raises(ValueError):
        statistics.summary(values)


def test_lists_of_unequal_length_do_not_pair():
    with pytest.raises(ValueError, match="do not pair"):
        statistics.paired_test([1.0, 2.0, 3.0], [1.0, 2.0])


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_stepwise_procedure_rejects(p):
    adjusted = statistics.holm(p)
    rejected = set()
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] * (len(p) - step) >= 0.05:
            break
        rejected.add(i)
    assert {i for i, value in enumerate(adjusted) if value < 0.05} == rejected
    assert all(adjusted >= np.asarray(p) - 1e-15)


def test_wilson_is_inside_the_range_and_refuses_what_is_no_share():
    low, high = statistics.wilson(9, 10)
    assert (low, high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert statistics.wilson(0, 10)[0] == pytest.approx(0.0)
    with pytest.raises(ValueError):
        statistics.wilson(3, 2)


def test_mcnemar_counts_only_images_on_which_the_models_differ():
    a, b = np.r_[np.ones(90), np.zeros(10)] > 0, np.r_[np.ones(75), np.zeros(25)] > 0
    found = statistics.mcnemar(a, b)
    assert (found.only_a, found.only_b) == (15, 0)
    assert found.p == pytest.approx(2 * 0.5**15)
    assert found.difference == pytest.approx(0.15)
    assert statistics.mcnemar(a, a).p == 1.0


def test_the_half_width_is_the_formula():
    values = [0.371, 0.374, 0.369, 0.377]
    t, sd = stats.t.ppf(0.975, 3), np.std(values, ddof=1)
    assert statistics.prediction_half_width(values, 0.0005) == pytest.approx(t * sd * np.sqrt(1.25) + 0.0005)
    wider = t * np.sqrt(sd**2 * 1.25 + 0.015**2) + 0.0005
    assert statistics.prediction_half_width(values, 0.0005, 0.015) == pytest.approx(wider)


@settings(max_examples=3, deadline=None)
@given(seeds)
def test_the_half_width_covers_one_more_value_in_nineteen_of_twenty(seed):
    draws = np.random.default_rng(seed).normal(size=(2000, 6))
    inside = [abs(d[5] - d[:5].mean()) <= statistics.prediction_half_width(d[:5]) for d in draws]
    assert 0.92 < np.mean(inside) < 0.975


def test_packed_curves_come_back_whole():
    labels, scores = problem(5, ties=True)
    curves = metrics.roc_one_vs_rest(labels, scores)
    back = metrics.unpack_curves(metrics.pack_curves(curves), [c.auc for c in curves])
    for one, other in zip(curves, back):
        assert np.allclose(one.true_positive_rate, other.true_positive_rate)
        assert np.allclose(one.threshold, other.threshold)
        assert one.auc == other.auc


# ------------------------------------------------------------------ distances


def images(seed: int, count: int, shift: float = 0.0, side: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, side, side)).astype(np.float32)


def rows(x, y, **how) -> float:
    return distances.row_repeats(x, y, **how).mean()


@given(seeds, st.integers(3, 30), st.integers(3, 30))
@settings(max_examples=10, deadline=None)
def test_whole_images_are_compared_as_pot_compares_them(seed, n, m):
    import ot

    x, y = images(seed, n), images(seed + 1, m, 0.5)
    flat = [s.reshape(len(s), -1).astype(np.float64) for s in (x, y)]
    theirs = ot.sliced_wasserstein_distance(*flat, n_projections=2000, p=1, seed=3)
    assert distances.sliced_wasserstein(x, y, 2000) == pytest.approx(theirs, rel=0.06)


@given(seeds, st.floats(0.1, 5))
@settings(max_examples=15, deadline=None)
def test_a_shifted_set_is_as_far_as_its_shift_projects(seed, length):
    """On each direction θ the distance is |θ·shift|, whose mean over the sphere of R³ is half of the shift's length."""
    x = np.random.default_rng(seed).normal(size=(20, 3))
    shifted = x + length * np.array([0.6, 0.0, -0.8])
    assert distances.sliced_wasserstein(x, shifted, 4000) == pytest.approx(length / 2, rel=0.05)


@pytest.mark.parametrize("distance", [distances.sliced_wasserstein, rows])
def test_equal_sets_are_at_no_distance_and_order_does_not_matter(distance):
    x, y = images(0, 12), images(1, 20)
    assert distance(x, x[::-1]) == pytest.approx(0, abs=1e-6)
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-6)


def test_rows_as_coded_are_pooled_and_compared_by_quantiles():
    x, y = images(0, 7), images(1, 9, 1.0)
    generator, found = np.random.default_rng(5), []
    for _ in range(3):
        directions = generator.standard_normal((4, 5)).astype(np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        levels = generator.random(6)
        for direction in directions:
            a, b = (np.quantile(np.concatenate(list(s)) @ direction, levels) for s in (x, y))
            found.append(np.abs(a - b).mean())
    assert rows(x, y, directions=4, quantiles=6, repeats=3, seed=5) == pytest.approx(np.mean(found), rel=1e-5)


def test_rows_do_not_see_what_whole_images_show():
    """The rows of each image in another order: the same rows, other images."""
    x = images(0, 40, side=8)
    shuffled = np.stack([image[np.random.default_rng(k).permutation(8)] for k, image in enumerate(x)])
    assert rows(x, shuffled) == pytest.approx(0, abs=1e-6)
    assert distances.sliced_wasserstein(x, shuffled) > 0.05


def test_every_image_is_stretched_by_itself():
    x = np.stack([np.linspace(-1, 3, 16).reshape(4, 4), np.full((4, 4), 7.0), np.linspace(0, 0.1, 16).reshape(4, 4)])
    y = distances.rescaled(x)
    assert y.min((1, 2)).tolist() == [0, 0, 0]
    assert y.max((1, 2)).tolist() == [1, 0, 1]


def test_the_floor_is_below_the_distance_of_different_sets():
    x, y = images(0, 200), images(1, 200, 1.0)
    assert 0 < distances.floor(rows, x) < 0.3 * rows(x, y)


def test_sets_that_do_not_compare_are_refused():
    with pytest.raises(ValueError, match="one dimension"):
        distances.sliced_wasserstein(images(0, 3), images(0, 3, side=4))
    with pytest.raises(ValueError, match="of one size"):
        rows(images(0, 3)[:, 0], images(0, 3))


def test_the_repeats_of_one_seed_tell_how_far_seeds_differ():
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 12, 12)), rng.random((30, 12, 12)) ** 2
    found = [distances.row_repeats(x, y, seed, directions=10, quantiles=10) for seed in range(60)]
    told = [repeats.std(ddof=1) / 10**0.5 for repeats in found]
    assert np.mean(told) == pytest.approx(np.std([repeats.mean() for repeats in found], ddof=1), rel=0.3)
