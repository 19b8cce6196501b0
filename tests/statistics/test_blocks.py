"""The stationary block bootstrap."""

import numpy as np
import pytest

from tidemark.drift.blocks import block_length, design_effect, spread_of_means, stationary_bootstrap


def autoregressive(rho: float, n: int, rng: np.random.Generator) -> np.ndarray:
    series = np.empty((n, 1))
    series[0] = rng.normal()
    for index in range(1, n):
        series[index] = rho * series[index - 1] + np.sqrt(1 - rho**2) * rng.normal()
    return series


def test_block_length_grows_with_the_autocorrelation() -> None:
    rng = np.random.default_rng(0)
    lengths = [np.median([block_length(autoregressive(rho, 3000, rng)) for _ in range(5)]) for rho in (0, 0.5, 0.9)]
    assert lengths[0] <= 8
    assert lengths[0] < lengths[1] < lengths[2]


def test_block_length_of_an_autoregression_is_near_its_optimum() -> None:
    """(2 g²/D)^(1/3) n^(1/3) with D = 2 (1 + ρ)²/(1 - ρ)² σ⁴ ... of an AR(1) (Politis and White 2004, section 3.2)."""
    rho, n = 0.8, 20_000
    g = 2 * rho / (1 - rho) ** 2
    long_run = (1 + rho) / (1 - rho)
    optimum = (2 * g**2 / (2 * long_run**2)) ** (1 / 3) * n ** (1 / 3)
    length = np.median([block_length(autoregressive(rho, n, np.random.default_rng(s))) for s in range(7)])
    assert length == pytest.approx(optimum, rel=0.4)


def test_blocks_are_runs_of_the_series() -> None:
    rows = stationary_bootstrap(1000, 5000, 50, 2, np.random.default_rng(1))
    assert rows.shape == (2, 5000)
    assert rows.min() >= 0
    assert rows.max() < 1000
    runs = (np.diff(rows, axis=1) % 1000 == 1).mean()
    assert runs == pytest.approx(1 - 1 / 50, abs=0.01)


def test_phase_keeps_bundles_aligned() -> None:
    rows = stationary_bootstrap(1000, 400, 30, 50, np.random.default_rng(2), phase=10)
    assert (rows % 10 == np.arange(400) % 10).all()


def test_design_effect_of_bursts() -> None:
    """Means of 400 rows in bursts of 20 equal rows vary as means of 20 independent ones."""
    rng = np.random.default_rng(3)
    series = np.repeat(rng.normal(size=(2000, 3)), 20, axis=0).astype(np.float32)
    rows = stationary_bootstrap(len(series), 400, 200, 400, rng)
    assert design_effect(series[rows].mean(axis=1), series, 400) == pytest.approx(20, rel=0.25)


def test_bootstrapped_variance_of_bursts_is_corrected_for_the_ends_of_blocks() -> None:
    """Bursts of 20 equal rows have the correlation 1 - k/20 at the lag k; blocks hold the share (1 - 1/b)^k of it."""
    series = np.repeat(np.random.default_rng(4).normal(size=(3000, 4)), 20, axis=0)
    lag = np.arange(1, 20)
    covariance = 2 * (1 - lag / 150) * (1 - lag / 20)
    expected = (1 + covariance.sum()) / (1 + covariance @ (1 - 1 / 40) ** lag)
    assert spread_of_means(series, 40, 150).ratio == pytest.approx(expected, rel=0.05)


def test_bias_and_error_of_bootstrapped_variances_are_those_of_an_autoregression() -> None:
    """300 series of 1,000 rows with the correlation .7^k at the lag k, from which the variance of means follows."""
    rho, n, block, size, draws = 0.7, 1000, 20, 100, 400
    lag = np.arange(1, size)
    true = (1 + 2 * (1 - lag / size) @ rho**lag) / size
    bootstrapped, corrected, degrees = [], [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        series = autoregressive(rho, n, rng)
        rows = stationary_bootstrap(n, size, block, draws, rng)
        spread = spread_of_means(series, block, size)
        bootstrapped.append(series[rows].mean(axis=(1, 2)).var())
        corrected.append(bootstrapped[-1] * spread.ratio)
        degrees.append(spread.degrees)
    assert np.mean(bootstrapped) < 0.9 * true
    assert np.mean(corrected) == pytest.approx(true, rel=0.05)
    error = np.var(bootstrapped) / np.mean(bootstrapped) ** 2 - 2 / draws
    assert error == pytest.approx(2 / np.mean(degrees), rel=0.35)


def test_bootstrapped_variance_of_independent_rows_is_left_alone() -> None:
    series = np.random.default_rng(5).normal(size=(3000, 8))
    spread = spread_of_means(series, block_length(series), 150)
    assert spread.ratio == pytest.approx(1, abs=0.03)
    assert spread.degrees > 150
