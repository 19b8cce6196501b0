"""What the sequential detector finds: how soon, with which date, and from which view of the predictions."""

import numpy as np
import pytest

from tests.support.detectors import CalibrationArrays
from tests.support.worlds import Arrays, Change, World, rows
from tidemark.drift import Reference, StreamDetector, WindowTest

pytestmark = pytest.mark.usefixtures("short_calibrations")

WORLD = World()
IMAGES = {"embedding", "log_probability", "property"}
CLASSES = {"embedding", "log_probability", "soft_label"}


@pytest.mark.parametrize(
    ("change", "limit", "view"),
    [
        ({"move": 0.5}, 60, IMAGES),
        ({"noise": 1.0}, 60, IMAGES),
        ({"prior": [0, 0.25, 0.25, 0.25, 0.25]}, 150, CLASSES),
        ({"prior": [0.6, 0.1, 0.1, 0.1, 0.1]}, 80, CLASSES),
    ],
)
def test_detects_quickly_and_dates_the_change(
    stream_reference: Reference, stream_calibration: CalibrationArrays, change: Change, limit: int, view: set[str]
) -> None:
    rng = np.random.default_rng(5)
    delays, errors = [], []
    for _ in range(7):
        detector = StreamDetector(stream_reference, expected_run_time=10_000, calibration=stream_calibration)
        detector.update(**WORLD.traffic(600, rng))
        if detector.drift_detected:
            detector.reset()
        while not detector.drift_detected:
            detector.update(**WORLD.traffic(10, rng, **change))
        delays.append(detector.count - 600)
        assert detector.change_point is not None
        assert detector.change_range is not None
        errors.append(abs(detector.change_point - 600))
        low, high = detector.change_range
        assert low <= detector.change_point <= high
        assert detector.leading in view
    assert np.median(delays) <= limit, delays
    assert np.median(errors) <= 40, errors


def test_detects_few_outlying_predictions(stream_reference: Reference, stream_calibration: CalibrationArrays) -> None:
    """A tenth of the predictions is far out; the others are calm."""
    rng = np.random.default_rng(6)
    detector = StreamDetector(stream_reference, expected_run_time=10_000, calibration=stream_calibration)
    while not detector.drift_detected and detector.count < 1000:
        arrays, outlying = WORLD.traffic(10, rng), WORLD.traffic(1, rng, noise=4.0)
        for name in arrays:
            arrays[name][3] = outlying[name][0]
        detector.update(**arrays)
    assert detector.count <= 200


def test_stays_detected_until_reset(stream_reference: Reference, stream_calibration: CalibrationArrays) -> None:
    rng = np.random.default_rng(7)
    detector = StreamDetector(stream_reference, expected_run_time=10_000, calibration=stream_calibration)
    detector.update(**WORLD.traffic(200, rng, move=1))
    assert detector.drift_detected
    detector.update(**WORLD.traffic(4000, rng))
    assert detector.drift_detected
    detector.reset()
    assert not detector.drift_detected
    assert detector.evidence == 0
    assert detector.change_point is None
    assert detector.count == 4200


def test_an_alarm_of_repeats_has_the_same_date_in_steps_of_any_size(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    """A frozen camera for 300 predictions, then calm traffic, in one step and in many."""
    rng = np.random.default_rng(23)
    arrays = WORLD.traffic(1400, rng)
    for values in arrays.values():
        values[600:900] = values[600]
    alarms = []
    for step in (1400, 50, 9):
        detector = StreamDetector(stream_reference, expected_run_time=100_000, calibration=stream_calibration)
        for start in range(0, 1400, step):
            detector.update(**rows(arrays, slice(start, start + step)))
        assert detector.leading == "repeats"
        assert detector.change_point is not None
        assert abs(detector.change_point - 600) <= 10
        alarms.append((detector.change_range, detector.change_point, detector.evidence))
    assert alarms[1:] == alarms[:1] * 2


def test_a_small_lasting_shift_is_detected_by_a_longer_window_and_dated() -> None:
    """Too small for 2,560 predictions at the run time asked; the range of its date holds the true one."""
    rng = np.random.default_rng(21)
    reference = WORLD.reference(20_000, rng)
    detector = StreamDetector(reference, expected_run_time=1e9)
    detector.update(**WORLD.traffic(15_000, rng))
    assert not detector.drift_detected
    while not detector.drift_detected and detector.count < 75_000:
        detector.update(**WORLD.traffic(1280, rng, move=0.05))
    assert detector.drift_detected
    low, high = detector.change_range
    assert low <= 15_000 <= high
    assert detector.count - low > 2560


def test_a_change_from_before_the_stored_sums_is_dated_to_the_start_of_the_stream(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    """A stream that was drifted from its start: the range reaches back to the start."""
    rng = np.random.default_rng(22)
    detector = StreamDetector(stream_reference, expected_run_time=10_000, calibration=stream_calibration)
    detector.update(**WORLD.traffic(1000, rng, move=0.15))
    assert detector.drift_detected
    assert detector.change_range is not None
    assert detector.change_range[0] == 0


def test_constant_columns_and_a_single_class_are_no_evidence_until_they_change() -> None:
    rng = np.random.default_rng(23)

    def predictions(n: int, constant: float = 0.0) -> Arrays:
        embeddings = np.column_stack([rng.normal(size=(n, 4)), np.full(n, constant)])
        properties = np.column_stack([rng.normal(size=n), np.full(n, 2.0)])
        return {"embeddings": embeddings, "probabilities": np.eye(3)[np.zeros(n, dtype=int)], "properties": properties}

    detector = StreamDetector(Reference(**predictions(300)), expected_run_time=10_000)
    detector.update(**predictions(500))
    assert not detector.drift_detected
    detector.reset()
    assert detector.evidence == 0
    detector.update(**predictions(10))
    assert detector.evidence < 4
    detector.update(**predictions(40, constant=1.0))
    assert detector.drift_detected
    assert detector.leading == "embedding"


def test_more_classes_than_are_whitened_are_watched_and_explained() -> None:
    world = World(k=150)
    rng = np.random.default_rng(5)
    reference = world.reference(3000, rng)
    detector = StreamDetector(reference, expected_run_time=10_000, seed=0)
    detector.update(**world.traffic(200, rng, move=0.5))
    assert detector.drift_detected
    window = WindowTest(reference, window_size=200, seed=0, level=0.01)
    assert window(**world.traffic(200, rng)).kind == "none"
    assert window(**world.traffic(200, rng, move=0.5)).kind == "covariate"
