"""The monitor's decisions, with detectors that are calibrated in short."""

from collections.abc import Iterator

import pytest

from tests.support.calibration import brief_calibrations


@pytest.fixture(scope="package", autouse=True)
def _brief_calibrations() -> Iterator[None]:
    with brief_calibrations():
        yield
