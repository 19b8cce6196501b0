"""How many draws the statistical tests use: as few as their claims need, and the usual ones with `--slow`."""

from collections.abc import Iterator

import pytest

from tests.support.calibration import brief_calibrations, brief_window_tests


@pytest.fixture(scope="package", autouse=True)
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
