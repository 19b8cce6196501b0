"""The stationary block bootstrap."""

import numpy as np
import pytest

from tidemark.drift.blocks import block_length, design_effect, stationary_bootstrap


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
