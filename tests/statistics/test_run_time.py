"""Run times far beyond what can be counted, by importance splitting."""

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.importance_splitting import StreamSimulator, estimate_tail
from benchmarks.run_time import NewRows
from tests.support.worlds import World
from tidemark.drift import DetectorScores
from tidemark.drift.detector_calibration import DetectorCalibration
from tidemark.drift.detector_simulation import calibrate

WORLD = World(k=4, d=8)
Detector = tuple[DetectorScores, DetectorCalibration, NDArray[np.float32]]


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Scores and calibration of a reference, and block rows that it does not hold."""
    rng = np.random.default_rng(0)
    reference = WORLD.reference(1500, rng)
    scores = DetectorScores(reference)
    new_rows = scores.widen(scores(reference.check(**WORLD.traffic(20_000, rng))))
    return scores, calibrate(scores, 0), new_rows


def test_splitting_finds_the_tail_that_is_counted(detector: Detector) -> None:
    """Probabilities down to about .05: by splitting, and in 300 streams that are followed to their end."""
    scores, calibration, new_rows = detector
    simulator = StreamSimulator(scores, calibration, NewRows(new_rows, np.random.default_rng(1)))
    lowest = float(np.quantile(calibration.maxima, 0.7))
    tail = estimate_tail(simulator, lowest, lowest + 2, np.random.default_rng(2), streams=300)
    counted = np.zeros(len(tail.levels))
    for _ in range(30):
        streams = simulator.start(10)
        counted += [len(simulator.reach(streams, level).time) / 300 for level in tail.levels]
    errors = np.sqrt(counted * (1 - counted) / 300)
    assert (np.diff(tail.probabilities) < 0).all()
    assert (np.abs(tail.probabilities - counted) < 6 * np.maximum(errors, 0.01)).all(), (tail.probabilities, counted)


@pytest.mark.parametrize("run_time", [1e5, pytest.param(1e6, marks=pytest.mark.slow), 1e7])
def test_long_run_times_hold_on_new_rows(detector: Detector, run_time: float) -> None:
    """The rate of false alarms over the one asked for is at most one, and its estimate is right to a factor of 1.5."""
    scores, calibration, new_rows = detector
    rng = np.random.default_rng(3)
    simulator = StreamSimulator(scores, calibration, NewRows(new_rows, rng))
    threshold = calibration.threshold(run_time)
    tail = estimate_tail(simulator, float(np.quantile(calibration.maxima, 0.7)), threshold, rng, streams=200)
    rate = tail.false_alarm_rate(threshold) * run_time
    assert 0.02 < rate < 1.5, rate
