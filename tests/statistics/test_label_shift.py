"""Class proportions of unlabelled windows: calibration, maximum likelihood, moments."""

import numpy as np
import pytest
from scipy import special

from tests.statistics.worlds import World
from tidemark.drift.label_shift import Calibration, black_box, maximum_likelihood, maximum_likelihood_of_redraws
from tidemark.drift.performance import at_proportions, wilson_interval

WORLD = World()


def test_calibration_mends_an_overconfident_model():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8000, 4)) * 1.5
    labels = (special.softmax(logits, axis=1).cumsum(axis=1) < rng.random((8000, 1))).sum(axis=1).clip(max=3)
    boasted = special.softmax(3 * logits + [1, 0, 0, -1], axis=1).astype(np.float32)
    mended = Calibration(boasted, labels)(boasted)
    np.testing.assert_allclose(mended, special.softmax(logits, axis=1), atol=0.05)


def test_maximum_likelihood_satisfies_its_fixed_point():
    rng = np.random.default_rng(1)
    posterior, prior = rng.dirichlet(np.ones(4), 300), np.full(4, 0.25)
    q = maximum_likelihood(posterior, prior)
    assert q.sum() == pytest.approx(1)
    np.testing.assert_allclose(at_proportions(posterior, prior, q).mean(axis=0), q, atol=2e-3)


def test_redraws_give_what_single_windows_give():
    rng = np.random.default_rng(2)
    arrays = WORLD.traffic(500, rng)
    posterior, prior = arrays["probabilities"].astype(float), np.full(5, 0.2)
    drawn = rng.integers(0, 500, (6, 80))
    together = maximum_likelihood_of_redraws(posterior, prior, drawn, prior)
    for index, rows in enumerate(drawn):
        np.testing.assert_allclose(together[index], maximum_likelihood(posterior[rows], prior), atol=3e-3)


def test_both_estimates_find_a_planted_prior():
    rng = np.random.default_rng(3)
    labels = WORLD.labels(4000, rng)
    posterior = WORLD.see(labels, rng)["probabilities"].astype(float)
    confusion = np.stack([posterior[labels == label].mean(axis=0) for label in range(5)])
    q = np.array([0.5, 0.3, 0.1, 0.1, 0.0])
    seen = WORLD.traffic(4000, rng, prior=q)["probabilities"].astype(float)
    np.testing.assert_allclose(maximum_likelihood(seen, np.full(5, 0.2)), q, atol=0.025)
    np.testing.assert_allclose(black_box(seen.mean(axis=0), confusion), q, atol=0.035)


def test_a_class_that_the_reference_lacks_stays_at_zero():
    posterior = np.random.default_rng(4).dirichlet(np.ones(3), 50)
    assert maximum_likelihood(posterior, np.array([0.5, 0.5, 0.0]))[2] == 0


def test_wilson_interval_equals_the_published_example():
    """Wilson's interval of 81 in 263: .2553 to .3662 (Newcombe 1998, table I)."""
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 0) == (0.0, 1.0)
