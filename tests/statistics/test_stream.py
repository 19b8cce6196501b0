"""The sequential detector: the run time that was asked for, quick detection, and a restart that changes nothing."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.support.worlds import Arrays, World, rows
from tidemark.drift import DetectorScores, Reference, StreamDetector, WindowTest
from tidemark.drift.calibration import calibrate
from tidemark.drift.detector_calibration import DetectorCalibration
from tidemark.drift.evidence_scale import long_window_evidence
from tidemark.drift.simulated_epochs import EPOCH, epoch_maxima, simulate
from tidemark.drift.simulation import IndependentStreams, sums_of
from tidemark.drift.window_statistics import BLOCK, COARSE, long_window_lengths, norms, quadratic

WORLD = World()
IMAGES = {"embedding", "log_probability", "property"}
CLASSES = {"embedding", "log_probability", "soft_label"}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(2000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def calibration(reference: Reference) -> dict[str, Any]:
    return StreamDetector(reference, expected_run_time=10_000, seed=0).calibration()


def alarms(detector: StreamDetector, stream: Callable[[int], Arrays], total: int, step: int = 500) -> int:
    found = 0
    for _ in range(0, total, step):
        detector.update(**stream(step))
        if detector.drift_detected:
            found += 1
            detector.reset()
    return found


@pytest.mark.parametrize("references", [12, pytest.param(24, marks=pytest.mark.slow)])
def test_expected_run_time_is_kept_with_fresh_references(references: int) -> None:
    """References of 1,500 rows: alarms in 8,000 calm predictions of each against .8 to 1.5 of the run time asked."""
    rng = np.random.default_rng(1)
    asked, total, found = 2000, 8000, 0
    for seed in range(references):
        detector = StreamDetector(WORLD.reference(1500, rng), expected_run_time=asked, seed=seed)
        found += alarms(detector, lambda n: WORLD.traffic(n, rng), total)
    expected = references * total / asked
    assert stats.poisson.ppf(0.005, expected / 1.5) <= found <= stats.poisson.ppf(0.995, expected / 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [10_000, 100_000])
def test_long_expected_run_times_are_kept(asked: int) -> None:
    rng = np.random.default_rng(2)
    total, found = 20 * asked // 20, 0
    for seed in range(20):
        detector = StreamDetector(WORLD.reference(4000, rng), expected_run_time=asked, seed=seed)
        found += alarms(detector, lambda n: WORLD.traffic(n, rng), total)
    assert stats.poisson.ppf(0.005, 20 / 1.5) <= found <= stats.poisson.ppf(0.995, 20 / 0.8)


def test_expected_run_time_is_kept_in_bursts_that_were_declared_calm() -> None:
    """Bursts of 20 of one class; without `calm` the same stream alarms many times as often, and says why."""
    rng = np.random.default_rng(3)
    asked, total = 2000, 12_000
    reference = WORLD.reference(1500, rng)
    known = StreamDetector(reference, expected_run_time=asked, seed=0, calm=WORLD.bursts(6000, rng))
    plain = StreamDetector(reference, expected_run_time=asked, seed=0)
    with_calm, without = (alarms(d, lambda n: WORLD.bursts(n, rng), total, step=100) for d in (known, plain))
    assert with_calm <= stats.poisson.ppf(0.999, 2 * total / asked)
    assert without > 5 * max(with_calm, 1)
    assert plain.overdispersed
    assert plain.design_effect > 5
    assert not known.overdispersed


def test_independent_traffic_is_not_called_overdispersed(reference: Reference, calibration: dict[str, Any]) -> None:
    detector = StreamDetector(reference, calibration=calibration)
    detector.update(**WORLD.traffic(9000, np.random.default_rng(4)))
    assert detector.design_effect < 1.3
    assert not detector.overdispersed


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
    reference: Reference, calibration: dict[str, Any], change: Any, limit: int, view: Any
) -> None:
    rng = np.random.default_rng(5)
    delays, errors = [], []
    for _ in range(7):
        detector = StreamDetector(reference, expected_run_time=10_000, calibration=calibration)
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


def test_detects_few_outlying_predictions(reference: Reference, calibration: dict[str, Any]) -> None:
    """A tenth of the predictions is far out; the others are calm."""
    rng = np.random.default_rng(6)
    detector = StreamDetector(reference, expected_run_time=10_000, calibration=calibration)
    while not detector.drift_detected and detector.count < 1000:
        arrays, strange = WORLD.traffic(10, rng), WORLD.traffic(1, rng, noise=4.0)
        for name in arrays:
            arrays[name][3] = strange[name][0]
        detector.update(**arrays)
    assert detector.count <= 200


def test_stays_detected_until_reset(reference: Reference, calibration: dict[str, Any]) -> None:
    rng = np.random.default_rng(7)
    detector = StreamDetector(reference, expected_run_time=10_000, calibration=calibration)
    detector.update(**WORLD.traffic(200, rng, move=1))
    assert detector.drift_detected
    detector.update(**WORLD.traffic(4000, rng))
    assert detector.drift_detected
    detector.reset()
    assert not detector.drift_detected
    assert detector.evidence == 0
    assert detector.change_point is None
    assert detector.count == 4200


def test_restart_after_every_batch_changes_nothing(reference: Reference, calibration: dict[str, Any]) -> None:
    rng = np.random.default_rng(8)
    one = StreamDetector(reference, expected_run_time=5000, calibration=calibration)
    other = StreamDetector.restore(reference, one.state())
    for step in range(60):
        arrays = WORLD.traffic(int(rng.integers(1, 60)), rng, move=0.5 if step > 50 else 0.0)
        one.update(**arrays)
        other.update(**arrays)
        other = StreamDetector.restore(reference, other.state())
        assert (one.evidence, one.threshold, one.count) == (other.evidence, other.threshold, other.count)
        assert (one.drift_detected, one.change_range) == (other.drift_detected, other.change_range)
    assert one.drift_detected


@pytest.mark.parametrize(("world", "n"), [(WORLD, 1500), (World(k=10, d=512), 600), (World(k=150, d=30), 900)])
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
        expected, found = first.state(), other.state()
        assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []


def test_an_alarm_of_repeats_is_noted_where_it_comes_whatever_the_steps(
    reference: Reference, calibration: dict[str, Any]
) -> None:
    """A frozen camera for 300 predictions, then calm traffic, in one step and in many."""
    rng = np.random.default_rng(23)
    arrays = WORLD.traffic(1400, rng)
    for values in arrays.values():
        values[600:900] = values[600]
    alarms: list[Any] = []
    for step in (1400, 50, 9):
        detector = StreamDetector(reference, expected_run_time=100_000, calibration=calibration)
        for start in range(0, 1400, step):
            detector.update(**rows(arrays, slice(start, start + step)))
        alarms.append((detector.leading, detector.change_range, detector.change_point, detector.evidence))
    assert alarms[0][0] == "repeats"
    assert abs(alarms[0][2] - 600) <= 10
    assert alarms[1:] == alarms[:1] * 2


def test_rows_scored_once_serve_the_stream_and_its_slices(reference: Reference, calibration: dict[str, Any]) -> None:
    arrays = WORLD.traffic(400, np.random.default_rng(9), move=0.2)
    camera = np.random.default_rng(10).random(400) < 0.3
    expected, stream = (StreamDetector(reference, calibration=calibration) for _ in range(2))
    expected_slice = StreamDetector(reference, calibration=calibration)
    slice_ = StreamDetector(reference, calibration=calibration, scores=stream.scores)
    expected.update(**arrays)
    expected_slice.update(**rows(arrays, camera))
    scored = stream.score(**arrays)
    assert (scored.shape[0], stream.count) == (400, 0)
    assert scored.dtype == np.float32
    stream.update_scored(scored)
    slice_.update_scored(scored[camera])
    assert (stream.evidence, stream.count) == (expected.evidence, expected.count)
    assert (slice_.evidence, slice_.count) == (expected_slice.evidence, expected_slice.count)


def test_score_rows_of_another_reference_are_refused(reference: Reference, calibration: dict[str, Any]) -> None:
    detector = StreamDetector(reference, calibration=calibration)
    with pytest.raises(ValueError, match="score rows must have shape"):
        detector.update_scored(np.zeros((3, 4), dtype=np.float32))
    other = StreamDetector(World(k=4).reference(400, np.random.default_rng(0)), expected_run_time=1000)
    with pytest.raises(ValueError, match="another reference"):
        StreamDetector(reference, calibration=calibration, scores=other.scores)


@pytest.mark.parametrize(("k", "n"), [(10, 600), (200, 700)])
def test_state_is_plain_and_small(k: int, n: int) -> None:
    rng = np.random.default_rng(10)
    world = World(k=k, d=512)
    detector = StreamDetector(world.reference(n, rng), expected_run_time=1000)
    detector.update(**world.traffic(3000, rng))
    sizes = [np.asarray(value).nbytes for value in detector.state().values()]
    assert sum(sizes) < 10e6
    assert all(np.asarray(value).dtype.kind in "iufbU" for value in detector.state().values())


def test_state_of_another_reference_is_refused(reference: Reference, calibration: dict[str, Any]) -> None:
    state = StreamDetector(reference, calibration=calibration).state()
    with pytest.raises(ValueError, match="another reference"):
        StreamDetector.restore(World(k=4, d=9).reference(300, np.random.default_rng(11)), state)


def test_threshold_is_the_logarithm_of_the_run_time(reference: Reference, calibration: dict[str, Any]) -> None:
    """Evidence is a negative log probability: tenfold run times cost log(10), a little more or less as fitted."""
    thresholds = [
        StreamDetector(reference, expected_run_time=t, calibration=calibration).threshold
        for t in (1e3, 1e4, 1e5, 1e6, 1e9, 1e12)
    ]
    steps = np.diff(thresholds) / np.log([10, 10, 10, 1000, 1000])
    assert (steps > 0.72).all()
    assert (steps < 1.3).all()


def test_extrapolated_tail_holds(reference: Reference, calibration: dict[str, Any]) -> None:
    """The threshold for ten times the longest run time that can be counted, against ten times as many epochs."""
    scores = DetectorScores(reference)
    fitted = DetectorCalibration.from_dict(calibration)
    rows, rng, asked = scores.widen(scores.of_reference), np.random.default_rng(12), 200_000
    maxima = np.concatenate(
        [epoch_maxima(simulate(IndependentStreams(rows, rng), scores, len(rows)), fitted.scale) for _ in range(100)]
    )
    expected = len(maxima) * EPOCH * BLOCK / asked
    found = int((maxima > fitted.threshold(asked)).sum())
    assert stats.poisson.ppf(0.005, expected / 2.5) <= found <= stats.poisson.ppf(0.995, expected)


@pytest.mark.parametrize("references", [10, pytest.param(40, marks=pytest.mark.slow)])
def test_the_run_time_holds_for_nine_references_of_ten(references: int) -> None:
    """The rate of false alarms of small references at the epochs of fresh traffic; few exceed the one asked for."""
    world, asked, rates = World(k=4, d=8), 2000, []
    for seed in range(references):
        rng = np.random.default_rng(100 + seed)
        reference = world.reference(400, rng)
        scores = DetectorScores(reference)
        fitted = calibrate(scores, seed)
        fresh = scores.widen(scores(reference.check(**world.traffic(20_000, rng))))
        simulated = simulate(_Fresh(fresh, rng), scores, len(reference))
        simulated.windows[:, :, 0] /= scores.excess
        exceeded = np.mean(epoch_maxima(simulated, fitted.scale) > fitted.threshold(asked))
        rates.append(-np.log1p(-min(float(exceeded), 0.999)) / (EPOCH * BLOCK) * asked)
    late = np.mean(np.array(rates) > 1.25)  # each rate is known to a fifth or so
    assert late <= stats.binom.ppf(0.99, references, 0.1) / references, sorted(rates)
    assert np.mean(rates) > 0.25  # and it is not kept by never alarming


class _Fresh:
    """Streams of new rows."""

    def __init__(self, rows: Any, rng: np.random.Generator) -> None:
        self._rows, self._rng = rows, rng

    def streams(self, count: int, length: int) -> Any:
        index = self._rng.integers(0, len(self._rows), count * length * BLOCK)
        return sums_of(self._rows, index, BLOCK).reshape(count, length, -1)


def test_longer_windows_have_the_null_of_the_longest_simulated_one() -> None:
    """Evidence of windows of 5,120 and 10,240 predictions at independent times, each against its own new reference."""
    rng = np.random.default_rng(20)
    reference = WORLD.reference(6000, rng)
    scores = DetectorScores(reference)
    scale = calibrate(scores, 0).scale
    steps = long_window_lengths(len(reference))
    assert (steps * COARSE * BLOCK).tolist() == [5120, 10240]
    pool = scores.widen(scores(reference.check(**WORLD.traffic(40_000, rng))))[:, : scores.layout.grouped]
    pool -= pool.mean(axis=0)
    starts, evidence = [group.columns.start for group in scores.groups], []
    for _ in range(200):
        error = pool[rng.integers(0, len(pool), 6000)].mean(axis=0)
        sums = [pool[rng.integers(0, len(pool), w)].sum(axis=0) - w * error for w in (steps * COARSE * BLOCK).tolist()]
        values = quadratic(np.array(sums, dtype=np.float64)[None], starts, norms(steps * COARSE, 6000))[0]
        evidence.append(long_window_evidence(values, scale))
    for level in (0.05, 0.01):
        found = (np.array(evidence) > -np.log(level)).sum(axis=0)
        assert (found <= stats.binom.ppf(0.9999, 200, level * 1.3)).all(), found


def test_a_small_lasting_shift_is_found_by_a_longer_window_and_dated() -> None:
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


def test_a_change_older_than_all_that_is_stored_is_dated_before_it(
    reference: Reference, calibration: dict[str, Any]
) -> None:
    """A stream that was drifted from its start: the range reaches back to the start."""
    rng = np.random.default_rng(22)
    detector = StreamDetector(reference, expected_run_time=10_000, calibration=calibration)
    detector.update(**WORLD.traffic(1000, rng, move=0.15))
    assert detector.drift_detected
    assert detector.change_range is not None
    assert detector.change_range[0] == 0


def test_bad_input_is_a_clear_error(reference: Reference, calibration: dict[str, Any]) -> None:
    detector = StreamDetector(reference, calibration=calibration)
    arrays = WORLD.traffic(30, np.random.default_rng(13))
    with pytest.raises(ValueError, match="NaN"):
        detector.update(**arrays | {"embeddings": np.full((30, 16), np.nan)})
    with pytest.raises(ValueError, match="have none"):
        detector.update(arrays["embeddings"], arrays["probabilities"])
    with pytest.raises(ValueError, match="empty"):
        detector.update(**rows(arrays, slice(0, 0)))
    for run_time in (5, 1e13):
        with pytest.raises(ValueError, match="expected_run_time"):
            StreamDetector(reference, expected_run_time=run_time, calibration=calibration)
    with pytest.raises(ValueError, match="1000 rows"):
        StreamDetector(reference, calm=arrays)
    assert detector.count == 0


def test_constant_columns_and_a_single_class_are_no_evidence_until_they_change() -> Any:
    rng = np.random.default_rng(23)

    def predictions(n: int, constant: float = 0.0) -> Any:
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


@pytest.mark.parametrize(("n", "d"), [(60, 300), (200, 300)])
def test_small_references_keep_the_run_time(n: int, d: int) -> None:
    """Isotropic embeddings with fewer rows than dimensions: ranks are reduced."""
    world, asked, total, found = World(k=5, d=d, spread=3 / np.sqrt(d)), 1000, 4000, 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        detector = StreamDetector(world.reference(n, rng), expected_run_time=asked, seed=seed)
        found += alarms(detector, partial(world.traffic, rng=rng), total)
    assert found <= stats.poisson.ppf(0.995, 3 * total / asked / 0.8)


@pytest.mark.parametrize("of_each_size", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_expected_run_time_is_kept_with_more_classes_than_the_reference_can_tell_apart(of_each_size: int) -> None:
    """150 classes, 4 to 13 reference rows each: without a least number of rows they alarmed 2.5 to 6 times as often."""
    world = World(k=150)
    rng = np.random.default_rng(4)
    asked, total, found = 2000, 5000, 0
    for seed, n in enumerate([600] * of_each_size + [2000] * of_each_size):
        detector = StreamDetector(world.reference(n, rng), expected_run_time=asked, seed=seed)
        found += alarms(detector, lambda n: world.traffic(n, rng), total)
    expected = 2 * of_each_size * total / asked
    assert stats.poisson.ppf(0.005, expected / 1.5) <= found <= stats.poisson.ppf(0.995, expected / 0.8)


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


def test_a_calibration_of_other_scores_is_refused(reference: Reference, calibration: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="calibration is of another reference"):
        StreamDetector(World(k=7).reference(500, np.random.default_rng(0)), calibration=calibration)
    with pytest.raises(ValueError, match="of an earlier version"):
        StreamDetector(reference, calibration=calibration | {"columns": 1})
    state = StreamDetector(reference, calibration=calibration).state()
    del state["pending_ends"]
    with pytest.raises(ValueError, match="of an earlier version"):
        StreamDetector.restore(reference, state)
