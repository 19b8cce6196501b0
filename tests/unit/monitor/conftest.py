"""The monitor's decisions, with detectors that are calibrated in short and short window tests."""

from collections.abc import Iterator

import pytest

from tests.support.calibration import brief_calibrations, brief_window_tests
from tests.support.watched_stream import short_reference
from tidemark.monitor.prepared_reference import PreparedReference


@pytest.fixture(scope="package", autouse=True)
def _brief_statistics() -> Iterator[None]:
    with brief_calibrations(), brief_window_tests():
        yield


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    """Return a short reference with its calibrated detector, which the module's streams are compared with."""
    return short_reference()
