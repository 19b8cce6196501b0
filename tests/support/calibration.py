"""Short calibrations of detectors, for tests of what a monitor does with alarms rather than of their rate."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tidemark.drift import calibration


@contextmanager
def brief_calibrations() -> Iterator[None]:
    """Let a calibration simulate the fewest streams that it may, a third of the usual ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(calibration, "MAX_CHUNKS", calibration.MIN_CHUNKS)
        yield
