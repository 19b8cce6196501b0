"""The self-test passes with the detector as it is, and fails with each of several broken ones."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.support.worlds import World
from tidemark.drift import Reference, StreamDetector
from tidemark.drift.self_test import MAX_DELAY, self_test

REFERENCE = World().reference(1000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def calibration() -> Mapping[str, Any]:
    return StreamDetector(REFERENCE).calibration()


def detector(calibration: Mapping[str, Any], reference: Reference = REFERENCE) -> Callable[[], StreamDetector]:
    return lambda: StreamDetector(reference, calibration=calibration)


@pytest.mark.parametrize("seed", range(5))
def test_a_working_detector_finds_the_planted_shift_soon(calibration: Mapping[str, Any], seed: int) -> None:
    result = self_test(detector(calibration), REFERENCE, seed)
    assert result.reason is None
    assert result.delay is not None
    assert result.delay <= 200


def test_a_reference_without_properties_and_labels_is_tested(calibration: Mapping[str, Any]) -> None:
    bare = Reference(REFERENCE.embeddings, REFERENCE.probabilities)
    bare_calibration = StreamDetector(bare).calibration()
    assert self_test(detector(bare_calibration, bare), bare).reason is None


def test_a_detector_that_ignores_predictions_fails(
    calibration: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StreamDetector, "update", lambda *_: None)
    result = self_test(detector(calibration), REFERENCE)
    assert (result.delay, result.reason) == (None, f"a planted shift was not found in {MAX_DELAY} predictions")


def test_a_detector_whose_scores_are_broken_fails(
    calibration: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = StreamDetector.score
    monkeypatch.setattr(StreamDetector, "score", lambda self, *arrays: np.zeros_like(score(self, *arrays)))
    assert self_test(detector(calibration), REFERENCE).delay is None


def test_a_detector_that_always_alarms_fails(calibration: Mapping[str, Any]) -> None:
    def alarming() -> StreamDetector:
        detector = StreamDetector(REFERENCE, calibration=calibration)
        detector.threshold = -1.0
        return detector

    result = self_test(alarming, REFERENCE)
    assert result.delay is None
    assert "calm traffic" in str(result.reason)


def test_calm_rows_of_the_reference_do_not_count_as_repeats() -> None:
    rng = np.random.default_rng(5)
    reference = Reference(rng.normal(size=(600, 8)), np.full((600, 2), 0.5))
    calibration = StreamDetector(reference, expected_run_time=100_000).calibration()

    def detector() -> StreamDetector:
        return StreamDetector(reference, expected_run_time=100_000, calibration=calibration)

    results = [self_test(detector, reference, seed) for seed in range(10)]
    assert [result.reason for result in results] == [None] * 10
