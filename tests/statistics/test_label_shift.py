"""Class proportions of unlabelled windows: calibration, maximum a posteriori, intervals, weights, moments."""

import numpy as np
import pytest
from scipy import special, stats

from tests.support.worlds import World
from tidemark.drift.estimated_accuracy import at_proportions
from tidemark.drift.intervals import wilson_interval
from tidemark.drift.label_shift import (
    black_box,
    estimate_proportions,
    estimate_redrawn_proportions,
    importance_weights,
    likelihood_ratios,
    posterior_proportions,
)
from tidemark.drift.temperature_scaling import TemperatureScaling

WORLD = World()


def test_calibration_mends_an_overconfident_model() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8000, 4)) * 1.5
    labels = (special.softmax(logits, axis=1).cumsum(axis=1) < rng.random((8000, 1))).sum(axis=1).clip(max=3)
    boasted = special.softmax(3 * logits + [1, 0, 0, -1], axis=1).astype(np.float32)
    calibrated = TemperatureScaling(boasted, labels)(boasted)
    np.testing.assert_allclose(calibrated, special.softmax(logits, axis=1), atol=0.05)


def test_the_estimate_satisfies_its_fixed_point() -> None:
    rng = np.random.default_rng(1)
    posterior, prior = rng.dirichlet(np.ones(4), 300), np.full(4, 0.25)
    q = estimate_proportions(posterior, prior)
    assert q.sum() == pytest.approx(1)
    responsible = at_proportions(posterior, prior, q).mean(axis=0)
    np.testing.assert_allclose((responsible + 0.01 * prior) / 1.01, q, atol=2e-3)


def test_redraws_give_what_single_windows_give() -> None:
    rng = np.random.default_rng(2)
    arrays = WORLD.traffic(500, rng)
    posterior, prior = arrays["probabilities"].astype(float), np.full(5, 0.2)
    drawn = rng.integers(0, 500, (6, 80))
    counts = np.stack([np.bincount(rows, minlength=500) for rows in drawn], axis=1).astype(np.float32)
    ratios = likelihood_ratios(posterior, prior).astype(np.float32)
    together = estimate_redrawn_proportions(ratios, counts, prior, prior)
    for index, rows in enumerate(drawn):
        np.testing.assert_allclose(together[index], estimate_proportions(posterior[rows], prior), atol=3e-3)


def test_both_estimates_find_a_planted_prior() -> None:
    rng = np.random.default_rng(3)
    labels = WORLD.labels(4000, rng)
    posterior = WORLD.see(labels, rng)["probabilities"].astype(float)
    confusion = np.stack([posterior[labels == label].mean(axis=0) for label in range(5)])
    q = np.array([0.5, 0.3, 0.1, 0.1, 0.0])
    predictions = WORLD.traffic(4000, rng, prior=q)["probabilities"].astype(float)
    np.testing.assert_allclose(estimate_proportions(predictions, np.full(5, 0.2)), q, atol=0.025)
    np.testing.assert_allclose(black_box(predictions.mean(axis=0), confusion), q, atol=0.035)


def test_a_class_that_the_reference_lacks_stays_at_zero() -> None:
    posterior = np.random.default_rng(4).dirichlet(np.ones(3), 50)
    assert estimate_proportions(posterior, np.array([0.5, 0.5, 0.0]))[2] == 0


@pytest.mark.parametrize("share", [0.0, 0.005, 0.05])
def test_intervals_of_rare_classes_cover(share: float) -> None:
    """60 windows of 300: at least 51 covered, which a coverage of .95 misses once in 2,000 runs."""
    rng = np.random.default_rng(5)
    q = np.array([share, *np.full(4, (1 - share) / 4)])
    prior, covered = np.full(5, 0.2), 0
    for _ in range(60):
        posterior = WORLD.traffic(300, rng, prior=q)["probabilities"].astype(float)
        estimate = estimate_proportions(posterior, prior)
        low, high = np.quantile(posterior_proportions(posterior, prior, estimate, rng), [0.025, 0.975], axis=0)
        covered += low[0] - 0.5 / 300 <= share <= high[0] + 0.5 / 300
    assert covered >= 51


def test_no_class_gets_the_weight_zero_and_an_unknown_one_keeps_its_weight() -> None:
    rng = np.random.default_rng(6)
    prior = np.array([0.25, 0.25, 0.25, 0.25, 0.0])
    posterior = WORLD.traffic(500, rng, prior=[0.002, 0.3, 0.3, 0.398, 0.0])["probabilities"].astype(float)
    estimate = estimate_proportions(posterior, prior)
    low, high = np.quantile(posterior_proportions(posterior, prior, estimate, rng), [0.025, 0.975], axis=0)
    weights = importance_weights(estimate, prior, np.maximum(low - 0.001, 0), high)
    assert 0.5 * 0.002 / 0.25 <= weights[0] < 0.2
    assert weights[4] == 1


def test_wilson_interval_equals_the_published_example() -> None:
    """Wilson's interval of 81 in 263: .2553 to .3662 (Newcombe 1998, table I)."""
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (3, 7), (50, 60), (999, 1000), (1000, 1000)])
def test_wilson_interval_equals_that_of_scipy(successes: int, n: int) -> None:
    interval = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((interval.low, interval.high), abs=1e-12)
