"""References that several tests share, and how many draws they use: as few as their claims need, all with `--slow`."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.calibration import brief_calibrations, brief_window_tests
from tests.support.detectors import CalibrationArrays
from tests.support.worlds import World
from tidemark.drift import Reference, StreamDetector, WindowTest

WORLD = World()


@pytest.fixture(scope="module", autouse=True)
def _brief_window_tests(pytestconfig: pytest.Config) -> Iterator[None]:
    """Test windows with 99 permutations: a permutation test has its level with any number of them."""
    if pytestconfig.getoption("--slow"):
        yield
        return
    with brief_window_tests():
        yield


@pytest.fixture(scope="module")
def short_calibrations(pytestconfig: pytest.Config) -> Iterator[None]:
    """Calibrate with a third of the streams, where the run time itself is not what is tested."""
    if pytestconfig.getoption("--slow"):
        yield
        return
    with brief_calibrations():
        yield


@pytest.fixture(scope="module")
def reference() -> Reference:
    """A reference of 1,500 rows, for window tests."""
    return WORLD.reference(1500, np.random.default_rng(0))


@pytest.fixture(scope="module")
def window_test(reference: Reference) -> WindowTest:
    """A test of windows of 200 predictions."""
    return WindowTest(reference, window_size=200, seed=0)


@pytest.fixture(scope="module")
def stream_reference() -> Reference:
    """A reference of 2,000 rows, for detectors."""
    return WORLD.reference(2000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def stream_calibration(stream_reference: Reference) -> CalibrationArrays:
    """The calibration of a detector that is compared with `stream_reference`."""
    return StreamDetector(stream_reference, expected_run_time=10_000, seed=0).calibration()


@pytest.fixture(scope="module")
def large_reference() -> Reference:
    """A reference of 3,000 rows, of which traffic can be accepted."""
    return WORLD.reference(3000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def brief_calibration(large_reference: Reference) -> CalibrationArrays:
    """The calibration of a detector that is compared with `large_reference`, for modules of short calibrations."""
    return StreamDetector(large_reference, expected_run_time=100_000, seed=0).calibration()
