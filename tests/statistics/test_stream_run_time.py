"""The sequential detector's run time: in calm traffic alarms come as seldom as was asked for."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from tests.support.detectors import CalibrationArrays, alarms_in
from tests.support.rates import assert_run_time
from tests.support.worlds import World
from tidemark.drift import DetectorScores, Reference, StreamDetector
from tidemark.drift.detector_calibration import DetectorCalibration
from tidemark.drift.detector_simulation import calibrate
from tidemark.drift.evidence_scale import long_window_evidence
from tidemark.drift.simulated_epochs import EPOCH, epoch_maxima, simulate
from tidemark.drift.simulated_traffic import IndependentStreams, sums_of
from tidemark.drift.types import Float32Array
from tidemark.drift.window_statistics import BLOCK, COARSE, long_window_lengths, norms, quadratic

WORLD = World()


@pytest.mark.parametrize("references", [8, pytest.param(24, marks=pytest.mark.slow)])
def test_expected_run_time_holds_with_fresh_references(references: int) -> None:
    """References of 1,500 rows, which alarm half as often on average as one of ten may: at least a quarter as often."""
    rng = np.random.default_rng(1)
    run_time, total, count = 1000, 20_000, 0
    for seed in range(references):
        detector = StreamDetector(WORLD.reference(1500, rng), expected_run_time=run_time, seed=seed)
        count += len(alarms_in(detector, partial(WORLD.traffic, rng=rng), total, step=100))
    assert_run_time(count, references * total, run_time, share=0.7)
    assert count >= stats.poisson.ppf(0.005, references * total / run_time / 4)


@pytest.mark.slow
@pytest.mark.parametrize("run_time", [10_000, 100_000])
def test_long_expected_run_times_hold(run_time: int) -> None:
    rng = np.random.default_rng(2)
    total, count = run_time, 0
    for seed in range(20):
        detector = StreamDetector(WORLD.reference(4000, rng), expected_run_time=run_time, seed=seed)
        count += len(alarms_in(detector, partial(WORLD.traffic, rng=rng), total))
    assert_run_time(count, 20 * total, run_time)
    assert count >= stats.poisson.ppf(0.005, 20 / 4)


def test_expected_run_time_holds_in_bursts_that_were_declared_calm() -> None:
    """Bursts of 20 of one class; without `calm` the same stream alarms many times as often, and says why."""
    rng = np.random.default_rng(3)
    run_time, total = 1000, 12_000
    reference = WORLD.reference(1500, rng)
    calibrated = StreamDetector(reference, expected_run_time=run_time, seed=0, calm=WORLD.bursts(6000, rng))
    plain = StreamDetector(reference, expected_run_time=run_time, seed=0)
    with_calm, without = (
        len(alarms_in(detector, partial(WORLD.bursts, rng=rng), total, step=100)) for detector in (calibrated, plain)
    )
    assert_run_time(with_calm, total, run_time)
    assert without > 5 * max(with_calm, 1)
    assert plain.overdispersed
    assert plain.design_effect > 5
    assert not calibrated.overdispersed


def test_independent_traffic_is_not_called_overdispersed(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    detector = StreamDetector(stream_reference, calibration=stream_calibration)
    detector.update(**WORLD.traffic(9000, np.random.default_rng(4)))
    assert detector.design_effect < 1.3
    assert not detector.overdispersed


def test_threshold_is_the_logarithm_of_the_run_time(
    stream_reference: Reference, stream_calibration: CalibrationArrays
) -> None:
    """Evidence is a negative log probability: tenfold run times cost log(10), a little more or less as fitted."""
    thresholds = [
        StreamDetector(stream_reference, expected_run_time=t, calibration=stream_calibration).threshold
        for t in (1e3, 1e4, 1e5, 1e6, 1e9, 1e12)
    ]
    steps = np.diff(thresholds) / np.log([10, 10, 10, 1000, 1000])
    assert (steps > 0.72).all()
    assert (steps < 1.3).all()


def test_extrapolated_tail_holds(stream_reference: Reference, stream_calibration: CalibrationArrays) -> None:
    """The threshold for ten times the longest run time that can be counted, against ten times as many epochs."""
    scores = DetectorScores(stream_reference)
    fitted = DetectorCalibration.from_dict(stream_calibration)
    rows, rng, run_time = scores.widen(scores.of_reference), np.random.default_rng(12), 200_000
    maxima = np.concatenate(
        [epoch_maxima(simulate(IndependentStreams(rows, rng), scores, len(rows)), fitted.scale) for _ in range(100)]
    )
    expected = len(maxima) * EPOCH * BLOCK / run_time
    count = int((maxima > fitted.threshold(run_time)).sum())
    assert stats.poisson.ppf(0.005, expected / 2.5) <= count <= stats.poisson.ppf(0.995, expected)


@pytest.mark.parametrize("references", [10, pytest.param(40, marks=pytest.mark.slow)])
def test_the_run_time_holds_for_nine_references_of_ten(references: int) -> None:
    """The rate of false alarms of small references at the epochs of fresh traffic; few exceed the one asked for."""
    world, run_time, rates = World(k=4, d=8), 2000, []
    for seed in range(references):
        rng = np.random.default_rng(100 + seed)
        reference = world.reference(400, rng)
        scores = DetectorScores(reference)
        fitted = calibrate(scores, seed)
        fresh = scores.widen(scores(reference.check(**world.traffic(20_000, rng))))
        simulated = simulate(FreshStreams(fresh, rng), scores, len(reference))
        simulated.windows[:, :, 0] /= scores.excess
        exceeded = np.mean(epoch_maxima(simulated, fitted.scale) > fitted.threshold(run_time))
        rates.append(-np.log1p(-min(float(exceeded), 0.999)) / (EPOCH * BLOCK) * run_time)
    # Each rate is estimated to a fifth or so. The second bound refuses a detector that never alarms.
    assert np.sum(np.array(rates) > 1.25) <= stats.binom.ppf(0.99, references, 0.1), sorted(rates)
    assert np.mean(rates) > 0.25


class FreshStreams:
    """Streams of rows that the reference does not hold."""

    def __init__(self, rows: Float32Array, rng: np.random.Generator) -> None:
        self._rows, self._rng = rows, rng

    def streams(self, count: int, length: int) -> Float32Array:
        """Return block sums (count, length, columns)."""
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
        exceeded = (np.array(evidence) > -np.log(level)).sum(axis=0)
        assert (exceeded <= stats.binom.ppf(0.9999, 200, level * 1.3)).all(), exceeded


@pytest.mark.parametrize(("n", "d"), [(60, 300), pytest.param(200, 300, marks=pytest.mark.slow)])
def test_small_references_keep_the_run_time(n: int, d: int) -> None:
    """Isotropic embeddings with fewer rows than dimensions: ranks are reduced."""
    world, run_time, total, count = World(k=5, d=d, spread=3 / np.sqrt(d)), 1000, 6000, 0
    for seed in range(2):
        rng = np.random.default_rng(seed)
        detector = StreamDetector(world.reference(n, rng), expected_run_time=run_time, seed=seed)
        count += len(alarms_in(detector, partial(world.traffic, rng=rng), total, step=100))
    assert_run_time(count, 2 * total, run_time)


@pytest.mark.parametrize(("of_each_size", "total"), [(1, 16_000), pytest.param(6, 8000, marks=pytest.mark.slow)])
def test_expected_run_time_holds_with_more_classes_than_the_reference_can_tell_apart(
    of_each_size: int, total: int
) -> None:
    """150 classes, 4 to 13 reference rows each: without a least number of rows they alarmed 2.5 to 6 times as often."""
    world = World(k=150)
    rng = np.random.default_rng(4)
    run_time, count = 1000, 0
    for seed, n in enumerate([600] * of_each_size + [2000] * of_each_size):
        detector = StreamDetector(world.reference(n, rng), expected_run_time=run_time, seed=seed)
        count += len(alarms_in(detector, partial(world.traffic, rng=rng), total, step=100))
    assert_run_time(count, 2 * of_each_size * total, run_time)
    assert count >= stats.poisson.ppf(0.005, 2 * of_each_size * total / run_time / 4)
