"""Detectors of traffic that follows a declared context: the cycle raises nothing and hides nothing."""

from functools import partial

import numpy as np
import pytest

from tests.support.cycles import Cycle, without_context
from tests.support.detectors import CalibrationArrays, alarms_in, delay_of
from tests.support.rates import assert_run_time
from tests.support.worlds import World
from tidemark.drift import Reference, StreamDetector

pytestmark = pytest.mark.usefixtures("short_calibrations")

WORLD = World()
RUN_TIME = 5000  # expected run time in predictions
AMPLITUDE = 0.2  # deviations


@pytest.fixture(scope="module")
def cyclic_detector(large_reference: Reference) -> StreamDetector:
    calm = Cycle(np.random.default_rng(15), AMPLITUDE)(10_000)
    return StreamDetector(large_reference, expected_run_time=RUN_TIME, calm=calm)


def test_a_cycle_with_its_context_raises_nothing_and_hides_nothing(
    large_reference: Reference, cyclic_detector: StreamDetector
) -> None:
    rng = np.random.default_rng(16)
    cycle, calibration = Cycle(rng, AMPLITUDE), cyclic_detector.calibration()
    detector = StreamDetector(large_reference, expected_run_time=RUN_TIME, calibration=calibration)
    assert detector.context_columns == 2
    often_alarming = StreamDetector(large_reference, expected_run_time=1000, calibration=calibration)
    assert_run_time(len(alarms_in(often_alarming, cycle, 10_000, step=100)), 10_000, 1000)
    delays = []
    for _ in range(5):
        cycle.time += 700
        delays.append(delay_of(detector, partial(cycle, move=0.25), limit=2000, step=20))
    assert np.median(delays) <= 300, delays


def test_a_cycle_that_is_not_declared_is_reported(
    large_reference: Reference, brief_calibration: CalibrationArrays
) -> None:
    cycle = Cycle(np.random.default_rng(17), AMPLITUDE)
    detector = StreamDetector(large_reference, expected_run_time=100_000, calibration=brief_calibration)
    steady = StreamDetector(large_reference, expected_run_time=100_000, calibration=brief_calibration)
    alarms_in(detector, lambda n: without_context(cycle(n)), 20_000)
    rng = np.random.default_rng(18)
    alarms_in(steady, partial(WORLD.traffic, rng=rng), 20_000)
    assert detector.overdispersed
    assert detector.design_effect > 2
    assert steady.design_effect < 1.3


def test_state_of_a_detector_with_a_context_is_restored(
    large_reference: Reference, cyclic_detector: StreamDetector
) -> None:
    cycle = Cycle(np.random.default_rng(19), AMPLITUDE)
    other = StreamDetector.restore(large_reference, cyclic_detector.state())
    arrays = cycle(300)
    cyclic_detector.update(**arrays)
    other.update(**arrays)
    assert (other.evidence, other.threshold) == (cyclic_detector.evidence, cyclic_detector.threshold)
    cyclic_detector.reset()


def test_a_context_that_does_not_fit_is_a_clear_error(
    large_reference: Reference, cyclic_detector: StreamDetector
) -> None:
    arrays = Cycle(np.random.default_rng(20), AMPLITUDE)(50)
    with pytest.raises(ValueError, match="declared with a context"):
        cyclic_detector.update(**without_context(arrays))
    with pytest.raises(ValueError, match="context must have shape"):
        cyclic_detector.update(**arrays | {"context": np.zeros((50, 3))})
    with pytest.raises(ValueError, match="context holds NaN"):
        cyclic_detector.update(**arrays | {"context": np.full((50, 2), np.nan)})
    with pytest.raises(ValueError, match="context must have shape"):
        StreamDetector(
            large_reference, calm=WORLD.traffic(1000, np.random.default_rng(0)) | {"context": np.zeros(1000)}
        )
