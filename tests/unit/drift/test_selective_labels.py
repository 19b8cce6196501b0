"""Labels of doubtful predictions only are recognised, and their accuracy is corrected."""

from collections.abc import Callable

import numpy as np
import pytest

from tidemark.drift.label_records import LabelColumns
from tidemark.drift.selective_labels import LEVEL, corrected_accuracy, selection_p_value

N = 5000
Choice = Callable[[np.ndarray, np.random.Generator], np.ndarray]
AT_RANDOM: Choice = lambda confidence, rng: rng.random(len(confidence)) < 0.1  # noqa: E731
DOUBTFUL: Choice = lambda confidence, rng: confidence < 0.85  # noqa: E731
BY_UNCERTAINTY: Choice = lambda confidence, rng: rng.random(N) < 0.6 * np.sqrt(confidence * (1 - confidence))  # noqa: E731


def labels(confidence: np.ndarray, right: np.ndarray, clusters: np.ndarray | None = None) -> LabelColumns:
    m = len(confidence)
    groups = np.full(m, -1) if clusters is None else clusters
    return LabelColumns(groups, np.zeros(m, np.int64), np.where(right, 0, 1), confidence)


def world(rng: np.random.Generator, errors: float) -> tuple[np.ndarray, np.ndarray]:
    confidence = 1 - 0.9 * rng.beta(0.25, 2.5, N)
    return confidence, rng.random(N) >= np.clip((1 - confidence) * errors, 0, 0.95)


@pytest.mark.parametrize(("choice", "is_selective"), [(AT_RANDOM, False), (DOUBTFUL, True), (BY_UNCERTAINTY, True)])
@pytest.mark.parametrize("errors", [1.0, 2.0])
def test_selection_is_recognised_and_corrected(choice: Choice, is_selective: bool, errors: float) -> None:
    rng = np.random.default_rng(0)
    called, covered, gaps, runs = 0, 0, [], 60
    for _ in range(runs):
        confidence, right = world(rng, errors)
        rows = np.flatnonzero(choice(confidence, rng))[-500:]
        some = labels(confidence[rows], right[rows])
        p_value = selection_p_value(some, confidence[::5])
        assert p_value is not None
        called += p_value < LEVEL
        measured = corrected_accuracy(some, confidence[::5])
        assert 0 <= measured.low <= measured.accuracy <= measured.high <= 1
        covered += measured.low <= right.mean() <= measured.high
        gaps.append(measured.accuracy - right.mean())
    assert called == (runs if is_selective else 0)
    assert covered >= 0.85 * runs
    assert abs(np.mean(gaps)) < 0.03


def test_a_burst_of_one_doubtful_object_is_no_selection() -> None:
    rng = np.random.default_rng(1)
    confidence, right = world(rng, 1.0)
    rows = rng.permutation(N)[:100]
    burst = labels(
        np.concatenate([confidence[rows], np.full(200, 0.4)]),
        np.concatenate([right[rows], np.zeros(200, bool)]),
        np.concatenate([np.arange(100), np.full(200, 100)]),
    )
    p_value = selection_p_value(burst, confidence[::5])
    assert p_value is not None
    assert p_value > LEVEL


@pytest.mark.parametrize(("count", "others"), [(29, 1000), (1000, 29)])
def test_too_few_labels_or_predictions_are_not_tested(count: int, others: int) -> None:
    assert selection_p_value(labels(np.full(count, 0.9), np.ones(count, bool)), np.full(others, 0.5)) is None


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_labels_give_a_wide_interval(count: int) -> None:
    confidence, right = world(np.random.default_rng(2), 1.0)
    measured = corrected_accuracy(labels(confidence[:count], right[:count]), confidence)
    assert measured.low < 0.92 < measured.high + 0.05
