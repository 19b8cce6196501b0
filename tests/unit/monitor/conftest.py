"""The monitor's decisions, with detectors that are calibrated in short and short window tests."""

from collections.abc import Iterator

import pytest

from tests.support.calibration import brief_calibrations, brief_window_tests


@pytest.fixture(scope="package", autouse=True)
def _brief_statistics() -> Iterator[None]:
    with brief_calibrations(), brief_window_tests():
        yield
