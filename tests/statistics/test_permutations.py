"""The one-product permutations against direct recomputation, and each statistic against a well-known implementation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics.pairwise import rbf_kernel

from tidemark.drift import combination
from tidemark.drift.ks import GRID, KolmogorovSmirnov, distance
from tidemark.drift.mmd import MMD, gaussian
from tidemark.drift.permutations import Draws, MeanDifferences
from tidemark.drift.proportions import g_statistic


@pytest.fixture
def pooled() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(70, 5)).astype(np.float32), rng.normal(0.4, 1.2, size=(23, 5)).astype(np.float32)


def direct_mmd2(x: np.ndarray, y: np.ndarray, bandwidth: float) -> float:
    n, m = len(x), len(y)
    xx, yy, xy = (rbf_kernel(a, b, 1 / bandwidth) for a, b in ((x, x), (y, y), (x, y)))
    return (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()


def members(draws: Draws, column: int) -> np.ndarray:
    return np.concatenate([draws.reference[:, column], draws.window[:, column]]).astype(bool)


def test_first_draw_is_the_window_and_every_draw_has_its_size():
    draws = Draws.permutations(70, 23, 50, np.random.default_rng(1))
    assert not draws.reference[:, 0].any()
    assert draws.window[:, 0].all()
    assert ((draws.reference.sum(axis=0) + draws.window.sum(axis=0)) == 23).all()


def test_mmd_of_every_permutation_equals_its_direct_recomputation(pooled):
    x, y = pooled
    draws = Draws.permutations(len(x), len(y), 30, np.random.default_rng(1))
    mmd = MMD(x, draws)
    found = mmd(y).mmd2
    both = np.vstack([x, y]).astype(np.float64)
    for column in range(31):
        chosen = members(draws, column)
        assert found[column] == pytest.approx(direct_mmd2(both[~chosen], both[chosen], mmd._bandwidth), abs=2e-6)


def test_kernel_agrees_with_scikit_learn(pooled):
    x, y = pooled
    np.testing.assert_allclose(gaussian(x, y, 3.0), rbf_kernel(x, y, 1 / 3.0), rtol=2e-5)


def test_witness_and_nearest_row_agree_with_direct_recomputation(pooled):
    x, y = pooled
    mmd = MMD(x, Draws.permutations(len(x), len(y), 0, np.random.default_rng(1)))
    found = mmd(y)
    cross, own = rbf_kernel(x, y, 1 / mmd._bandwidth), rbf_kernel(y, y, 1 / mmd._bandwidth)
    expected = cross.mean(axis=0) - (own.sum(axis=1) - 1) / (len(y) - 1)
    np.testing.assert_allclose(found.witness, expected, atol=1e-5)
    assert (found.nearest == cross.argmax(axis=0)).all()


def test_mean_differences_of_every_permutation(pooled):
    x, y = pooled
    draws = Draws.permutations(len(x), len(y), 30, np.random.default_rng(1))
    found = MeanDifferences(x, draws)(y)
    both = np.vstack([x, y]).astype(np.float64)
    for column in range(31):
        chosen = members(draws, column)
        np.testing.assert_allclose(found[column], both[chosen].mean(axis=0) - both[~chosen].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("digits", [6, 0])
def test_ks_distance_equals_scipy_with_and_without_ties(digits):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=300).round(digits), rng.normal(0.3, 1, 120).round(digits)
    assert distance(x, y) == pytest.approx(stats.ks_2samp(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("digits", [6, 0])
def test_gridded_ks_is_within_a_grid_step_of_scipy(digits):
    rng = np.random.default_rng(3)
    x = np.maximum(rng.normal(size=(400, 3)), 0).round(digits).astype(np.float32)
    y = np.maximum(rng.normal(0.5, 1, size=(90, 3)), 0).round(digits).astype(np.float32)
    found = KolmogorovSmirnov(x, Draws.permutations(400, 90, 5, rng))(y)[:, 0]
    exact = [stats.ks_2samp(x[:, j], y[:, j]).statistic for j in range(3)]
    assert (found <= np.array(exact) + 1e-6).all()
    np.testing.assert_allclose(found, exact, atol=1.5 / GRID)


def test_g_statistic_equals_scipy():
    table = np.array([[12.0, 5, 0, 30], [100, 80, 7, 120]])
    expected = stats.chi2_contingency(table, lambda_="log-likelihood", correction=False).statistic
    assert g_statistic(table[0], table[1]) == pytest.approx(expected, abs=1e-9)


def test_p_value_is_never_zero_and_counts_ties_against_the_window():
    assert combination.p_values(np.array([9.0, *np.zeros(99)]))[0] == pytest.approx(1 / 100)
    assert combination.p_values(np.array([1.0, 1.0, 1.0, 0.0]))[0] == pytest.approx(3 / 4)


def test_combination_equals_its_formula_and_no_large_p_value_hides_a_small_one():
    p = np.array([[0.01, 0.5], [0.2, 0.9]])
    expected = np.tan((1 - p) * np.pi / 2).mean(axis=0)
    np.testing.assert_allclose(combination.half_cauchy(p), expected, rtol=1e-9)
    rng = np.random.default_rng(4)
    statistics = rng.exponential(size=(2, 200))
    statistics[:, 0] = 50, 0
    assert combination.combined(statistics) == 1 / 200


def test_extended_p_values_are_the_ranks_and_beyond_them_the_tail():
    rng = np.random.default_rng(4)
    statistics = rng.exponential(size=(1, 1000))
    statistics[0, 0] = 12
    ranked, extended = combination.p_values(statistics), combination.extended_p_values(statistics)
    low = ranked > 0.11
    assert (extended[low] == ranked[low]).all()
    assert np.log(extended[0, 0]) == pytest.approx(-12, abs=2.5)


def test_combination_of_dependent_tests_keeps_its_level():
    """Exact by exchangeability: 2,000 draws of twelve strongly dependent statistics under the null."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(2000):
        common = rng.normal(size=100)
        statistics = common + 0.5 * rng.normal(size=(12, 100))
        hits += combination.combined(statistics) <= 0.05
    low, high = stats.binom.ppf([0.005, 0.995], 2000, 0.05)
    assert low <= hits <= high
