"""The sequential detector's state: restarts and steps of any size change nothing, what does not fit is refused."""

import numpy as np
import pytest

from tests.support.detectors import CalibrationArrays
from tests.support.worlds import World, rows
from tidemark.drift import Reference, StreamDetector

pytestmark = pytest.mark.usefixtures("short_calibrations")

WORLD = World()


def test_restart_after_every_batch_changes_nothing(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    rng = np.random.default_rng(8)
    one = StreamDetector(stream_reference, expected_run_time=5000, calibration=stream_calibration)
    other = StreamDetector.restore(stream_reference, one.state())
    for step in range(60):
        arrays = WORLD.traffic(int(rng.integers(1, 60)), rng, move=0.5 if step > 50 else 0.0)
        one.update(**arrays)
        other.update(**arrays)
        other = StreamDetector.restore(stream_reference, other.state())
        assert (one.evidence, one.threshold, one.count) == (other.evidence, other.threshold, other.count)
        assert (one.drift_detected, one.change_range) == (other.drift_detected, other.change_range)
    assert one.drift_detected


@pytest.mark.parametrize(
    ("world", "n"),
    [(WORLD, 1500), pytest.param(World(k=10, d=512), 600, marks=pytest.mark.slow), (World(k=150, d=30), 900)],
)
def test_the_state_does_not_depend_on_the_steps_bit_for_bit(world: World, n: int) -> None:
    """Few and many dimensions and classes; predictions one by one, and in steps of other sizes."""
    rng = np.random.default_rng(9)
    reference = world.reference(n, rng)
    first = StreamDetector(reference, expected_run_time=10_000)
    arrays = world.traffic(1503, rng)
    arrays["embeddings"][700:720] = arrays["embeddings"][690]  # a few repeats
    first.update(**arrays)
    for size in (1, 7, 33, 400):
        other = StreamDetector(reference, 10_000, calibration=first.calibration(), scores=first.scores)
        start = 0
        while start < 1503:
            stop = start + int(rng.integers(1, size + 1))
            other.update(**rows(arrays, slice(start, stop)))
            start = stop
        assert other.evidence == first.evidence
        expected, state = first.state(), other.state()
        assert [name for name in expected if not np.array_equal(state[name], expected[name])] == []


def test_rows_scored_once_serve_the_stream_and_its_slices(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    arrays = WORLD.traffic(400, np.random.default_rng(9), move=0.2)
    camera = np.random.default_rng(10).random(400) < 0.3
    expected, stream = (StreamDetector(stream_reference, calibration=stream_calibration) for _ in range(2))
    expected_slice = StreamDetector(stream_reference, calibration=stream_calibration)
    slice_ = StreamDetector(stream_reference, calibration=stream_calibration, scores=stream.scores)
    expected.update(**arrays)
    expected_slice.update(**rows(arrays, camera))
    scored = stream.score(**arrays)
    assert (scored.shape[0], stream.count) == (400, 0)
    assert scored.dtype == np.float32
    stream.update_scored(scored)
    slice_.update_scored(scored[camera])
    assert (stream.evidence, stream.count) == (expected.evidence, expected.count)
    assert (slice_.evidence, slice_.count) == (expected_slice.evidence, expected_slice.count)


def test_score_rows_of_another_reference_are_refused(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    detector = StreamDetector(stream_reference, calibration=stream_calibration)
    with pytest.raises(ValueError, match="score rows must have shape"):
        detector.update_scored(np.zeros((3, 4), dtype=np.float32))
    other = StreamDetector(World(k=4).reference(400, np.random.default_rng(0)), expected_run_time=1000)
    with pytest.raises(ValueError, match="another reference"):
        StreamDetector(stream_reference, calibration=stream_calibration, scores=other.scores)


@pytest.mark.parametrize(("k", "n"), [pytest.param(10, 600, marks=pytest.mark.slow), (200, 700)])
def test_state_is_plain_and_small(k: int, n: int) -> None:
    rng = np.random.default_rng(10)
    world = World(k=k, d=512)
    detector = StreamDetector(world.reference(n, rng), expected_run_time=1000)
    detector.update(**world.traffic(3000, rng))
    sizes = [np.asarray(value).nbytes for value in detector.state().values()]
    assert sum(sizes) < 10e6
    assert all(np.asarray(value).dtype.kind in "iufbU" for value in detector.state().values())


def test_state_of_another_reference_is_refused(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    state = StreamDetector(stream_reference, calibration=stream_calibration).state()
    with pytest.raises(ValueError, match="another reference"):
        StreamDetector.restore(World(k=4, d=9).reference(300, np.random.default_rng(11)), state)


def test_a_calibration_of_other_scores_is_refused(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    with pytest.raises(ValueError, match="calibration is of another reference"):
        StreamDetector(World(k=7).reference(500, np.random.default_rng(0)), calibration=stream_calibration)
    with pytest.raises(ValueError, match="of an earlier version"):
        StreamDetector(stream_reference, calibration=stream_calibration | {"columns": 1})
    state = StreamDetector(stream_reference, calibration=stream_calibration).state()
    del state["pending_ends"]
    with pytest.raises(ValueError, match="of an earlier version"):
        StreamDetector.restore(stream_reference, state)


def test_bad_input_is_a_clear_error(stream_reference: Reference, stream_calibration: CalibrationArrays) -> None:
    detector = StreamDetector(stream_reference, calibration=stream_calibration)
    arrays = WORLD.traffic(30, np.random.default_rng(13))
    with pytest.raises(ValueError, match="NaN"):
        detector.update(**arrays | {"embeddings": np.full((30, 16), np.nan)})
    with pytest.raises(ValueError, match="have none"):
        detector.update(arrays["embeddings"], arrays["probabilities"])
    with pytest.raises(ValueError, match="empty"):
        detector.update(**rows(arrays, slice(0, 0)))
    for run_time in (5, 1e13):
        with pytest.raises(ValueError, match="expected_run_time"):
            StreamDetector(stream_reference, expected_run_time=run_time, calibration=stream_calibration)
    with pytest.raises(ValueError, match="1000 rows"):
        StreamDetector(stream_reference, calm=arrays)
    assert detector.count == 0
