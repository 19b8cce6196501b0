"""One image again and again in a stream: an alarm of repeats, once they are more than is usual."""

import numpy as np
import pytest
from scipy import stats

from tests.support.detectors import CalibrationArrays, Traffic, alarms_in
from tests.support.worlds import Arrays, World
from tidemark.drift import Reference, StreamDetector
from tidemark.drift.stream_repeats import MEMORY, RecentRepeats, joined_keys, row_keys

pytestmark = pytest.mark.usefixtures("short_calibrations")

WORLD = World()


def repeating(rng: np.random.Generator, share: float, image: Arrays) -> Traffic:
    """Return traffic of which a share of the predictions is of one image."""

    def stream(n: int) -> Arrays:
        arrays, hit = WORLD.traffic(n, rng), rng.random(n) < share
        return {name: np.where(hit[:, None], image[name], values) for name, values in arrays.items()}

    return stream


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_one_image_that_comes_again_and_again_raises_alarms_of_repeats_only(
    large_reference: Reference, brief_calibration: CalibrationArrays, share: float
) -> None:
    rng = np.random.default_rng(8)
    detector = StreamDetector(large_reference, expected_run_time=100_000, calibration=brief_calibration)
    leading = alarms_in(detector, repeating(rng, share, WORLD.traffic(1, rng)), 10_000)
    assert set(leading) == {"repeats"}
    assert detector.repeat_share == pytest.approx(share, abs=0.02)


def test_few_repeats_and_a_burst_of_retries_are_no_surge(
    large_reference: Reference, brief_calibration: CalibrationArrays
) -> None:
    rng = np.random.default_rng(9)
    detector = StreamDetector(large_reference, expected_run_time=100_000, calibration=brief_calibration)
    image = WORLD.traffic(1, rng)
    assert "repeats" not in alarms_in(detector, repeating(rng, 0.01, image), 10_000)
    detector.update(**{name: np.repeat(values, 30, axis=0) for name, values in image.items()})
    assert not detector.drift_detected


def test_repeats_beyond_the_memory_count_again(
    large_reference: Reference, brief_calibration: CalibrationArrays
) -> None:
    rng = np.random.default_rng(10)
    detector = StreamDetector(large_reference, expected_run_time=1e9, calibration=brief_calibration)
    image = WORLD.traffic(1, rng)
    for gap, repeats in ((MEMORY - 1, 1), (MEMORY, 0)):
        detector.update(**image)
        detector.update(**WORLD.traffic(gap, rng))
        detector.update(**image)
        assert detector.repeat_share == repeats / MEMORY
        detector.update(**WORLD.traffic(MEMORY, rng))


def test_a_restored_state_counts_repeats_of_earlier_images(
    large_reference: Reference, brief_calibration: CalibrationArrays
) -> None:
    rng = np.random.default_rng(11)
    one = StreamDetector(large_reference, expected_run_time=10_000, calibration=brief_calibration)
    stream = repeating(rng, 0.1, WORLD.traffic(1, rng))
    for _ in range(20):
        other = StreamDetector.restore(large_reference, one.state(), one.scores)
        arrays = stream(int(rng.integers(1, 400)))
        one.update(**arrays)
        other.update(**arrays)
        assert (one.evidence, one.repeat_share, one.leading) == (other.evidence, other.repeat_share, other.leading)
    assert one.leading == "repeats"


def test_a_reference_of_traffic_with_repeats_accepts_them(large_reference: Reference) -> None:
    rng = np.random.default_rng(12)
    stream = repeating(rng, 0.05, WORLD.traffic(1, rng))
    baseline = large_reference.accept(**stream(6000), what="all")
    detector = StreamDetector(baseline, expected_run_time=10_000, seed=0)
    assert "repeats" not in alarms_in(detector, stream, 10_000)


def test_evidence_of_repeats_keeps_its_run_time() -> None:
    """Independent repeats at the normal share: false alarms of the CUSUM at 6 nats, against exp(6) steps at least."""
    rng = np.random.default_rng(13)
    count, steps, repeats = 0, 60_000, RecentRepeats(0.0)
    keys = np.where(rng.random(steps * 10) < 0.01, -7, np.arange(steps * 10))
    for part in np.array_split(keys, steps // 5):
        repeats.mark(part)
        if repeats.evidence > 6:
            count += 1
            repeats.clear()
    assert count <= stats.poisson.ppf(0.995, steps / np.exp(6))


def test_keys_are_equal_for_equal_rows_only() -> None:
    embeddings = np.random.default_rng(14).normal(size=(20_000, 16)).astype(np.float32)
    keys = joined_keys(row_keys(embeddings))
    assert len(np.unique(keys)) == 20_000
    assert (joined_keys(row_keys(embeddings[::-1])) == keys[::-1]).all()
    embeddings[0, 3] = np.nextafter(embeddings[0, 3], np.float32(9))
    assert joined_keys(row_keys(embeddings[:1]))[0] != keys[0]
    assert (row_keys(np.zeros((1, 4), np.float32)) == row_keys(-np.zeros((1, 4), np.float32))).all()
