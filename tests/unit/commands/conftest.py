"""Commands, with short window tests and detectors that are calibrated in short."""

from collections.abc import Iterator

import pytest

from tests.support.calibration import brief_calibrations, brief_window_tests


@pytest.fixture(scope="package", autouse=True)
def _brief_statistics() -> Iterator[None]:
    with brief_calibrations(), brief_window_tests():
        yield
