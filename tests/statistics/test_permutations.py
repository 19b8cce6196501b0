"""Contrasts and statistics against direct recomputation, and each statistic against a well-known implementation."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics.pairwise import rbf_kernel

from tests.support.worlds import World
from tidemark.drift import combination
from tidemark.drift.blocks import row_weights
from tidemark.drift.class_groups import MAX_CLASSES, MIN_GROUP_ROWS, group_classes
from tidemark.drift.class_share_statistics import ClassShares, LargestClassShift
from tidemark.drift.fitted_statistics import FittedStatistics
from tidemark.drift.kolmogorov_smirnov import GRID, KolmogorovSmirnov
from tidemark.drift.mean_statistics import KernelMean, Spectrum, WhitenedMean
from tidemark.drift.mmd import gaussian, unbiased_mmd2, witness_function
from tidemark.drift.permutations import Contrasts, Features
from tidemark.drift.prediction_views import PredictionViews
from tidemark.drift.principal_components import Projection


@pytest.fixture
def pooled() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(70, 5)).astype(np.float32), rng.normal(0.4, 1.2, size=(23, 5)).astype(np.float32)


def direct_mmd2(x: np.ndarray, y: np.ndarray, bandwidth: float) -> float:
    n, m = len(x), len(y)
    xx, yy, xy = (rbf_kernel(a, b, 1 / bandwidth) for a, b in ((x, x), (y, y), (x, y)))
    return float((xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean())


def observed(statistic: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """Values of the observed contrast alone."""
    features = statistic.features(np.vstack([x, y]))
    contrasts = Contrasts.permutations(len(x), len(y), 0, np.random.default_rng(0))
    return statistic.values(contrasts.differences(features), contrasts.sizes)


def test_first_permutation_is_the_window_and_every_one_has_its_size() -> None:
    weights = Contrasts.permutations(70, 23, 50, np.random.default_rng(1)).weights
    assert not weights[:70, 0].any()
    assert weights[70:, 0].all()
    assert (weights.sum(axis=0) == 23).all()
    assert len(np.unique(weights, axis=1).T) == 51


def test_mmd_of_every_split_equals_its_direct_recomputation(pooled: Any) -> None:
    both = np.vstack(pooled)
    members = Contrasts.permutations(70, 23, 30, np.random.default_rng(1)).weights.astype(float)
    kernel = rbf_kernel(both.astype(float), gamma=1 / 6.0)
    np.fill_diagonal(kernel, 0)
    for value, member in zip(unbiased_mmd2(kernel, members), members.T.astype(bool), strict=True):
        assert value == pytest.approx(direct_mmd2(both[~member], both[member], 6.0), abs=1e-6)


def test_kernel_agrees_with_scikit_learn(pooled: Any) -> None:
    x, y = pooled
    np.testing.assert_allclose(gaussian(x, y, 3.0), rbf_kernel(x, y, 1 / 3.0), rtol=2e-5)


def test_random_features_estimate_the_kernel_mean_discrepancy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(800, 6)).astype(np.float32), rng.normal(0.5, 1, size=(400, 6)).astype(np.float32)
    estimates = []
    for seed in range(10):
        kernel = KernelMean("embedding", np.vstack([x, y]), np.random.default_rng(seed))
        bandwidth = 2 / (kernel._frequencies**2).mean()  # of a frequency's coordinates, which have variance 2 / b
        both = np.vstack([x, y]).astype(float)
        member = np.repeat([[0.0], [1.0]], [800, 400], axis=0)
        direct = rbf_kernel(both, gamma=1 / bandwidth)
        biased = direct[800:, 800:].mean() + direct[:800, :800].mean() - 2 * direct[:800, 800:].mean()
        estimates.append(observed(kernel, x, y).statistic[0] / biased)
        assert member.sum() == 400
    assert np.mean(estimates) == pytest.approx(1, abs=0.1)


def test_witness_and_nearest_row_agree_with_direct_recomputation(pooled: Any) -> None:
    x, y = pooled
    witnesses = witness_function(x, y, 4.0)
    cross, within = rbf_kernel(x, y, 1 / 4.0), rbf_kernel(y, y, 1 / 4.0)
    expected = cross.mean(axis=0) - (within.sum(axis=1) - 1) / (len(y) - 1)
    np.testing.assert_allclose(witnesses.values, expected, atol=1e-5)
    assert (witnesses.nearest == cross.argmax(axis=0)).all()
    np.testing.assert_allclose(witnesses.similarity, cross.max(axis=0), rtol=1e-4)


def test_differences_of_means_of_every_permutation(pooled: Any) -> None:
    both = np.vstack(pooled)
    contrasts = Contrasts.permutations(70, 23, 30, np.random.default_rng(1))
    differences = contrasts.differences(Features.of_measures(both))
    for difference, member in zip(differences, contrasts.weights.T.astype(bool), strict=True):
        np.testing.assert_allclose(difference, both[member].mean(axis=0) - both[~member].mean(axis=0), atol=1e-5)


def test_contrasts_of_calm_traffic_compare_a_window_with_a_reference() -> None:
    rng = np.random.default_rng(3)
    windows, references, features = (
        rng.integers(0, 40, (20, 15)),
        rng.integers(0, 40, (20, 60)),
        rng.normal(size=(40, 2)),
    )
    contrasts = Contrasts.of_calm_traffic(row_weights(windows, 40), row_weights(references, 40), (60, 15))
    expected = features[windows].mean(axis=1) - features[references].mean(axis=1)
    differences = contrasts.differences(Features.of_measures(features.astype(np.float32)))
    np.testing.assert_allclose(differences, expected, atol=1e-5)


@pytest.mark.parametrize("digits", [6, 0])
def test_gridded_ks_is_within_a_grid_step_of_scipy(digits: Any) -> None:
    rng = np.random.default_rng(3)
    x = np.maximum(rng.normal(size=(400, 3)), 0).round(digits).astype(np.float32)
    y = np.maximum(rng.normal(0.5, 1, size=(90, 3)), 0).round(digits).astype(np.float32)
    statistic = KolmogorovSmirnov("property", np.vstack([x, y]), np.eye(3, dtype=np.float32))
    distances = observed(statistic, x, y).components[:, 0]
    exact = [stats.ks_2samp(x[:, j], y[:, j]).statistic for j in range(3)]
    assert (distances <= np.array(exact) + 1e-6).all()
    np.testing.assert_allclose(distances, exact, atol=1.5 / GRID)


def test_class_shares_are_the_g_test_of_scipy() -> None:
    table = np.array([[12, 5, 0, 30], [100, 80, 7, 120]])
    window, reference = (np.repeat(np.eye(4, dtype=np.float32), counts, axis=0) for counts in table)
    statistic = ClassShares("counts", "predicted_label", np.vstack([reference, window]))
    values = observed(statistic, reference, window)
    expected = stats.chi2_contingency(table, lambda_="log-likelihood", correction=False).statistic
    assert values.statistic[0] == pytest.approx(expected, rel=1e-4)
    shares = table / table.sum(axis=1, keepdims=True)
    assert values.effect[0] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2, abs=1e-6)


def test_largest_class_shift_is_the_largest_g_test_of_a_class_against_all_others() -> None:
    table = np.array([[1, 5, 0, 30], [60, 80, 7, 120]])
    window, reference = (np.repeat(np.eye(4, dtype=np.float32), counts, axis=0) for counts in table)
    statistic = LargestClassShift("largest count", "predicted_label", np.vstack([reference, window]))
    values = observed(statistic, reference, window)
    each = []
    for label in range(4):
        against_others = np.column_stack([table[:, label], np.delete(table, label, axis=1).sum(axis=1)])
        test = stats.chi2_contingency(against_others, lambda_="log-likelihood", correction=False)
        each.append(test.statistic)
    assert values.statistic[0] == pytest.approx(max(each), rel=1e-4)
    shares = table / table.sum(axis=1, keepdims=True)
    assert values.effect[0] == pytest.approx(np.abs(shares[0] - shares[1]).max(), abs=1e-6)


def test_a_class_that_is_absent_everywhere_has_no_shift() -> None:
    rows = np.repeat(np.eye(3, dtype=np.float32), [20, 30, 0], axis=0)
    values = observed(LargestClassShift("largest count", "predicted_label", rows), rows[::2], rows[1::2])
    assert values.statistic[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("statistic", [ClassShares, LargestClassShift])
def test_one_row_of_a_class_that_calm_traffic_lacks_does_not_decide(statistic: Any) -> None:
    """Calm traffic of 6,000 rows without the class: one row of 500 has about the G of half a row expected."""
    calm = np.repeat(np.eye(3, dtype=np.float32), [3000, 3000, 0], axis=0)
    shares = statistic("shares", "predicted_label", calm)
    difference = np.array([[0.0, -0.002, 0.002]])
    assert 2 < shares.values(difference, (4000, 500)).statistic[0] < 10


def test_whitened_mean_is_hotelling_with_a_ridge(pooled: Any) -> None:
    x, y = pooled
    both = np.vstack(pooled).astype(float)
    covariance = np.cov(both.T)
    ridge = 0.01 * np.linalg.eigvalsh(covariance)[-1]
    gap = y.mean(axis=0) - x.mean(axis=0)
    expected = gap @ np.linalg.solve(covariance + ridge * np.eye(5), gap)
    values = observed(WhitenedMean("embedding", Spectrum(np.vstack(pooled))), x, y)
    assert values.statistic[0] == pytest.approx(expected, rel=1e-4)


def test_statistics_do_not_depend_on_which_rows_are_the_window() -> None:
    """Fitting to the pooled rows in another order gives the same values: the reason why the permutations are exact."""
    world, rng = World(k=150, d=8), np.random.default_rng(6)
    arrays = world.traffic(300, rng)
    views = PredictionViews(arrays["embeddings"], arrays["probabilities"], arrays["properties"])
    order = rng.permutation(300)
    contrasts = Contrasts.permutations(200, 100, 20, rng)
    shuffled = Contrasts(contrasts.weights[order], contrasts.sizes, contrasts.scale)
    (first,) = FittedStatistics(views, 0).evaluate(views, [contrasts])
    (second,) = FittedStatistics(views.rows(order), 0).evaluate(views.rows(order), [shuffled])
    for name, values in first.items():
        if not name.startswith("mmd"):  # the bandwidth is that of a random subset of the pooled rows
            np.testing.assert_allclose(second[name].statistic, values.statistic, rtol=0.02, err_msg=name)


def test_projection_of_wide_embeddings_keeps_their_leading_components() -> None:
    rng = np.random.default_rng(7)
    basis = np.linalg.qr(rng.normal(size=(2000, 3)))[0].T
    rows = (rng.normal(size=(400, 3)) * 50 @ basis + rng.normal(size=(400, 2000))).astype(np.float32)
    fresh = (rng.normal(size=(100, 3)) * 50 @ basis + rng.normal(size=(100, 2000))).astype(np.float32)
    projected = Projection(rows)(fresh)
    assert projected.shape == (100, 200)
    assert projected[:, :3].var() > 20 * projected[:, 3:].var()


def test_confused_classes_are_grouped_and_every_group_has_rows() -> None:
    rng = np.random.default_rng(8)
    pair = rng.integers(0, 150, 3000)
    probabilities = np.full((3000, 300), 1e-4)
    first = rng.uniform(0.2, 0.8, 3000)
    probabilities[np.arange(3000), 2 * pair] += first
    probabilities[np.arange(3000), 2 * pair + 1] += 1 - first
    probabilities = (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)
    groups = group_classes(probabilities)
    assert np.mean(groups[0::2] == groups[1::2]) > 0.6  # a group of 30 rows holds one pair and a half
    assert groups.max() < MAX_CLASSES
    assert np.bincount(groups, probabilities.sum(axis=0)).min() > MIN_GROUP_ROWS / 3
    assert (group_classes(probabilities[:, :100]) == np.arange(100)).all()


def test_p_value_is_never_zero_and_counts_ties_against_the_window() -> None:
    assert combination.p_values(np.array([9.0, *np.zeros(99)]))[0] == pytest.approx(1 / 100)
    assert combination.p_values(np.array([1.0, 1.0, 1.0, 0.0]))[0] == pytest.approx(3 / 4)


def test_combination_equals_its_formula_and_no_large_p_value_hides_a_small_one() -> None:
    p = np.array([[0.01, 0.5], [0.2, 0.9]])
    expected = np.tan((1 - p) * np.pi / 2).mean(axis=0)
    np.testing.assert_allclose(combination.half_cauchy(p), expected, rtol=1e-9)
    rng = np.random.default_rng(4)
    statistics = rng.exponential(size=(2, 200))
    statistics[:, 0] = 50, 0
    assert combination.combined(statistics) == 1 / 200


def test_extended_p_values_are_the_ranks_and_beyond_them_the_tail() -> None:
    rng = np.random.default_rng(4)
    statistics = rng.exponential(size=(1, 1000))
    statistics[0, 0] = 12
    ranked, extended = combination.p_values(statistics), combination.extended_p_values(statistics)
    low = ranked > 0.11
    assert (extended[low] == ranked[low]).all()
    assert np.log(extended[0, 0]) == pytest.approx(-12, abs=2.5)


def test_combination_of_dependent_tests_keeps_its_level() -> None:
    """Exact by exchangeability: 2,000 draws of twelve strongly dependent statistics under the null."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2000):
        common = rng.normal(size=100)
        statistics = common + 0.5 * rng.normal(size=(12, 100))
        hits += combination.combined(statistics) <= 0.05
    low, high = np.asarray(stats.binom.ppf([0.005, 0.995], 2000, 0.05))
    assert low <= hits <= high
