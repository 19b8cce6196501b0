"""Windows and further baselines within a cycle: the cycle is no drift, and what comes on top of it is."""

from functools import partial

import numpy as np
import pytest

from tests.support.cycles import Cycle, without_context
from tests.support.detectors import alarms_in
from tests.support.rates import assert_level, assert_run_time
from tests.support.worlds import Arrays, World
from tidemark.drift import Reference, StreamDetector, WindowTest
from tidemark.drift import detector_simulation as room
from tidemark.drift.learnt_slopes import LearntContext

WORLD = World()
RUN_TIME = 20_000  # expected run time in predictions


def cycle_of(seed: int, time: int = 0) -> Cycle:
    return Cycle(np.random.default_rng(seed), amplitude=0.3, time=time)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(3000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def calm() -> Arrays:
    return cycle_of(1)(10_000)


def test_windows_of_a_cycle_keep_the_level_and_find_a_shift_on_it(reference: Reference, calm: Arrays) -> None:
    test = WindowTest(reference, window_size=200, level=0.05, calm=calm)
    cycle = cycle_of(2)
    assert_level([test.p_value(**cycle(200)) for _ in range(18)])
    assert [test.p_value(**cycle(200, move=0.3)) <= 0.01 for _ in range(4)] == [True] * 4
    report = test(**cycle(200))
    assert not report.drifted
    assert report.design_effect is not None
    assert report.design_effect < 1.5  # the cycle itself is no dependence
    with pytest.raises(ValueError, match="declared with a context"):
        test(**without_context(cycle(200)))
    with pytest.raises(ValueError, match="context must have shape"):
        test(**cycle(200) | {"context": np.zeros((200, 3))})


@pytest.mark.parametrize("burst", [1, 20])
@pytest.mark.parametrize("spans", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_level_holds_with_a_context_learnt_from_few_cycles(reference: Reference, burst: int, spans: int) -> None:
    """Five cycles of 600 predictions, independent ones and bursts of 20 of one class: a window of 150 matches about 45
    bursts. With blocks taken for the traffic itself 40 % of the windows of bursts, and 36 % of the others, have
    p-values up to .2."""
    rng, p = np.random.default_rng(7), []
    for seed in range(spans):
        calm = Cycle(rng, amplitude=0.3, period=600, burst=burst)(3000)
        test = WindowTest(reference, window_size=150, level=0.05, seed=seed, calm=calm)
        for _ in range(8):
            start = burst * int(rng.integers(600))
            p.append(test.p_value(**Cycle(rng, amplitude=0.3, time=start, period=600, burst=burst)(150)))
    assert_level(p)
    assert np.mean(p) > 0.4
    assert test.p_value(**Cycle(rng, amplitude=0.3, period=600, burst=burst)(150, move=0.6)) <= 0.05


def test_windows_of_one_hour_are_compared_with_the_same_hour_of_other_days(reference: Reference, calm: Arrays) -> None:
    """All rows of a window at one phase: the night looks like the night, the same images by day do not."""
    test = WindowTest(reference, window_size=200, calm=calm)
    night = cycle_of(3, time=1450)(100)
    assert not test(**night).drifted
    assert test(**night | {"context": cycle_of(3, time=450)(100)["context"]}).drifted


def test_a_shift_on_a_cycle_of_the_images_is_named_against_what_is_normal_at_its_time(
    reference: Reference, calm: Arrays
) -> None:
    test = WindowTest(reference, window_size=200, calm=calm)
    phases = [0, 700, 1300]
    skewed = [test(**cycle_of(50, start)(200, prior=[0.1, 0.1, 0.1, 0.2, 0.5])) for start in phases]
    assert [report.kind for report in skewed] == ["label"] * 3
    shifted = [test(**cycle_of(60, start)(200, move=0.3)) for start in phases]
    assert [report.kind for report in shifted] == ["covariate"] * 3
    usual = []
    for report in shifted:
        assert "than is normal for their time and tags" in report.summary
        [brightness] = [item for item in report.properties if item.name == "brightness"]
        assert brightness.effect > 0
        usual.append(brightness.reference_mean)
    assert max(usual) - min(usual) > 0.2  # The normal brightness follows the cycle.


@pytest.mark.parametrize("start", [0, 900])
def test_a_baseline_of_a_part_of_a_cycle_learns_the_rest_from_before(
    reference: Reference, calm: Arrays, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_CHUNKS", 16)
    cycle = cycle_of(4, time=start)
    drifted = cycle(600, move=0.5)
    baseline = reference.accept(**without_context(drifted))
    detector = StreamDetector(baseline, RUN_TIME, learnt=LearntContext(calm, drifted["context"]))
    often_alarming = StreamDetector(baseline, 1000, calibration=detector.calibration())
    alarms = alarms_in(often_alarming, partial(cycle, move=0.5), 8000, step=100)
    assert_run_time(len(alarms), 8000, 1000)
    for _ in range(10):
        detector.update(**cycle(20, move=0.9))
    assert detector.drift_detected
