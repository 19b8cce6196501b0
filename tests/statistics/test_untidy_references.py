"""References as users have them: rows that are copies of others, a model whose confidence is wrong, few rows.

Levels and run times are held to exact binomial and Poisson bounds.
"""

import numpy as np
import pytest
from scipy import stats

from tests.support.rates import assert_level, assert_run_time
from tests.support.worlds import Arrays, World, rows
from tidemark.drift import Reference, StreamDetector, WindowTest

WORLD = World(k=4, d=8)


def count_alarms(detector: StreamDetector, world: World, total: int, rng: np.random.Generator, power: float = 1) -> int:
    """Return the alarms in calm traffic; the detector starts again after each."""
    alarms = 0
    for _ in range(0, total, 200):
        detector.update(**with_confidence(world.traffic(200, rng), power))
        if detector.drift_detected:
            alarms += 1
            detector.reset()
    return alarms


def with_confidence(arrays: Arrays, power: float) -> Arrays:
    """Return predictions of a model whose logits are `power` times too large: wrong confidence, the same classes."""
    probabilities = np.maximum(arrays["probabilities"], 1e-12) ** power
    return arrays | {"probabilities": probabilities / probabilities.sum(axis=1, keepdims=True)}


def copied(world: World, different: int, copies: int, rng: np.random.Generator) -> Reference:
    """Return a reference in which every row is there several times."""
    labels = world.labels(different, rng)
    index = np.tile(np.arange(different), copies)
    return Reference(**rows(world.see(labels, rng), index), labels=labels[index])


def test_windows_keep_their_level_against_a_reference_of_copies() -> None:
    """Every row three times: counted as rows of their own they reject a quarter of the windows at .05."""
    rng, p = np.random.default_rng(0), []
    for seed in range(60):
        test = WindowTest(copied(WORLD, 100, 3, rng), window_size=100, seed=seed)
        p.append(test.p_value(**WORLD.traffic(100, rng)))
    assert_level(p)


def test_copies_of_a_reference_change_no_report() -> None:
    rng = np.random.default_rng(1)
    labels = WORLD.labels(200, rng)
    arrays, window = WORLD.see(labels, rng) | {"labels": labels}, WORLD.traffic(60, rng, move=0.3)
    once = WindowTest(Reference(**arrays), window_size=60)
    twice = WindowTest(Reference(**rows(arrays, np.tile(np.arange(200), 2))), window_size=60)
    assert once.p_value(**window) == twice.p_value(**window)


def test_the_run_time_holds_against_a_reference_of_copies() -> None:
    """Every row five times."""
    run_time, total, alarms = 2000, 8000, 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        detector = StreamDetector(copied(WORLD, 200, 5, rng), expected_run_time=run_time, seed=seed)
        alarms += count_alarms(detector, WORLD, total, rng)
    assert_run_time(alarms, 4 * total, run_time)


@pytest.mark.parametrize("power", [0.3, 4.0])
def test_windows_keep_their_level_whatever_the_confidence(power: float) -> None:
    """Underconfident by a factor of three, and overconfident by four: 40 windows."""
    rng, p = np.random.default_rng(2), []
    for seed in range(40):
        labels = WORLD.labels(150, rng)
        reference = Reference(**with_confidence(WORLD.see(labels, rng), power), labels=labels)
        p.append(WindowTest(reference, 100, seed).p_value(**with_confidence(WORLD.traffic(100, rng), power)))
    assert_level(p)


@pytest.mark.parametrize("power", [pytest.param(0.3, marks=pytest.mark.slow), 4.0])
def test_the_run_time_holds_whatever_the_confidence(power: float) -> None:
    """Likelihood ratios of classes take calibrated posteriors; their tails are simulated where these are wrong."""
    run_time, total, alarms = 2000, 8000, 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        labels = WORLD.labels(500, rng)
        reference = Reference(**with_confidence(WORLD.see(labels, rng), power), labels=labels)
        detector = StreamDetector(reference, expected_run_time=run_time, seed=seed)
        alarms += count_alarms(detector, WORLD, total, rng, power)
    assert_run_time(alarms, 3 * total, run_time)


@pytest.mark.parametrize("n", [60, *(pytest.param(n, marks=pytest.mark.slow) for n in (100, 150))])
def test_small_references_keep_the_run_time(n: int) -> None:
    """Ranks and groups of classes are reduced until new traffic looks like the reference's own: 4 references each."""
    world, run_time, total, alarms = World(k=5, d=16), 1000, 4000, 0
    for seed in range(4):
        rng = np.random.default_rng([n, seed])
        detector = StreamDetector(world.reference(n, rng), expected_run_time=run_time, seed=seed)
        alarms += count_alarms(detector, world, total, rng)
    assert_run_time(alarms, 4 * total, run_time)


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 100, 150])
def test_nine_small_references_of_ten_keep_longer_run_times(n: int) -> None:
    """Ten references each, 50,000 predictions at a run time of 10,000; one of them may alarm too often."""
    world, run_time, total, counts = World(k=5, d=16), 10_000, 50_000, []
    for seed in range(10):
        rng = np.random.default_rng([n, seed])
        detector = StreamDetector(world.reference(n, rng), expected_run_time=run_time, seed=seed)
        counts.append(count_alarms(detector, world, total, rng))
    assert np.sum(np.array(counts) > stats.poisson.ppf(0.99, total / run_time)) <= stats.binom.ppf(0.99, 10, 0.1)
    assert_run_time(sum(counts), 10 * total, run_time)


@pytest.mark.parametrize("n", [20, 49])
def test_a_reference_with_too_few_rows_is_refused_with_the_number_needed(n: int) -> None:
    with pytest.raises(ValueError, match=f"needs at least 50 rows, got {n}"):
        WORLD.reference(n, np.random.default_rng(0))


@pytest.mark.parametrize("n", [50, 99])
def test_the_fewest_rows_find_a_large_shift(n: int) -> None:
    rng = np.random.default_rng(n)
    reference = WORLD.reference(n, rng)
    detector = StreamDetector(reference, expected_run_time=10_000)
    detector.update(**WORLD.traffic(300, rng, move=3.0))
    assert detector.drift_detected
    assert WindowTest(reference, 100)(**WORLD.traffic(100, rng, move=3.0)).drifted
