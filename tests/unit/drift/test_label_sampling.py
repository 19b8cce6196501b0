"""Predictions drawn to be labelled: probabilities that sum to the count, and an accuracy without bias."""

import numpy as np
import pytest

from tidemark.drift.label_sampling import (
    SampledPopulation,
    inclusion_probabilities,
    labels_for,
    sampled_accuracy,
)

N = 1000


def world(rng: np.random.Generator, overconfidence: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return confidence and whether each prediction is right; errors are `overconfidence` times what it says."""
    confidence = 1 - 0.9 * rng.beta(0.25, 2.5, N)
    return confidence, rng.random(N) >= np.clip((1 - confidence) * overconfidence, 0, 0.95)


@pytest.mark.parametrize("count", [1, 20, 400, 900, 1000, 5000])
def test_probabilities_sum_to_the_count_and_grow_with_uncertainty(count: int) -> None:
    confidence, _ = world(np.random.default_rng(1))
    probability = inclusion_probabilities(confidence, count)
    assert probability.sum() == pytest.approx(min(count, N))
    assert 0 < probability.min() <= probability.max() <= 1
    order = np.argsort(confidence * (1 - confidence))
    assert (np.diff(probability[order]) >= -1e-12).all()
    if count < N:
        assert probability.min() >= 0.2 * count / N


@pytest.mark.parametrize("confidence", [np.ones(N), np.full(N, 0.5), np.zeros(N)])
def test_predictions_that_are_equally_certain_are_equally_likely_drawn(confidence: np.ndarray) -> None:
    np.testing.assert_allclose(inclusion_probabilities(confidence, 100), 0.1)


@pytest.mark.parametrize("overconfidence", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("labels", [30, 100])
def test_the_accuracy_is_unbiased_and_its_interval_covers(overconfidence: float, labels: int) -> None:
    """Also where confidence promises too much, and after the first labels of the random order only."""
    rng = np.random.default_rng(2)
    errors, covered, widths, runs = [], 0, [], 300
    for _ in range(runs):
        confidence, right = world(rng, overconfidence)
        probability = inclusion_probabilities(confidence, 200)
        drawn = rng.permutation(np.flatnonzero(rng.random(N) < probability))
        population = SampledPopulation.from_sample(confidence, probability, len(drawn))
        rows = drawn[:labels]
        measured = sampled_accuracy(population, confidence[rows], probability[rows], right[rows])
        truth = float(right.mean())
        errors.append(measured.accuracy - truth)
        widths.append(measured.high - measured.low)
        covered += measured.low <= truth <= measured.high
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(runs) + 0.001
    assert covered / runs > 0.9
    assert np.mean(widths) < 0.28 if labels == 30 else np.mean(widths) < 0.15


def test_active_labels_are_fewer_than_random_ones_for_the_same_width() -> None:
    confidence, _ = world(np.random.default_rng(3))
    active = SampledPopulation.from_sample(confidence, inclusion_probabilities(confidence, 100), 100)
    random = SampledPopulation.from_sample(confidence, np.full(N, 0.1), 100)
    assert labels_for(0.03, active.label_variance, N) < 0.7 * labels_for(0.03, random.label_variance, N)


def test_a_population_that_is_labelled_as_a_whole_has_an_exact_accuracy() -> None:
    confidence, right = world(np.random.default_rng(4))
    population = SampledPopulation.from_sample(confidence, np.ones(N), N)
    measured = sampled_accuracy(population, confidence, np.ones(N), right)
    assert measured.accuracy == pytest.approx(right.mean())
    assert measured.high - measured.low < 1e-9


@pytest.mark.parametrize("half_width", [0.01, 0.03, 0.1])
def test_the_number_of_labels_for_a_width_gives_that_width(half_width: float) -> None:
    confidence, _ = world(np.random.default_rng(5))
    variance = SampledPopulation.from_sample(confidence, inclusion_probabilities(confidence, 200), 200).label_variance
    m = labels_for(half_width, variance, N)
    assert 1.96 * np.sqrt(variance * (1 - m / N) / m) <= half_width * 1.001
    assert 1.96 * np.sqrt(variance * (1 - (m - 1) / N) / max(m - 1, 1)) >= half_width * 0.97 or m <= 2
    assert labels_for(half_width, 0.0, N) == 0
