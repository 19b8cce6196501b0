"""Short calibrations of detectors and short window tests, for tests of what is done with their results."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tidemark.drift import detector_simulation, residual, window

CHUNKS = 10  # draws of the baseline's error in a short calibration
DRAWS = 99  # permutations of a short window test: the fewest with which a p-value can be .01


@contextmanager
def brief_calibrations() -> Iterator[None]:
    """Let a calibration simulate a fifth of the usual streams, of dependent traffic less than half."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(detector_simulation, "MIN_CHUNKS", CHUNKS)
        patched.setattr(detector_simulation, "MAX_CHUNKS", CHUNKS)
        patched.setattr(detector_simulation, "CALM_CHUNKS", CHUNKS)
        patched.setattr(detector_simulation, "REDRAWN_STRETCHES", CHUNKS)
        patched.setattr(detector_simulation, "STRETCH_CHUNKS", 2)
        yield


@contextmanager
def brief_window_tests() -> Iterator[None]:
    """Let window tests draw a fifth of the usual permutations, which are as exact; their smallest p-value is .01."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(window, "DRAWS_PER_LEVEL", 1)
        patched.setattr(window, "MIN_DRAWS", DRAWS)
        patched.setattr(window, "BOOTSTRAP_DRAWS", 20)
        patched.setattr(residual, "MAX_REDRAWS", DRAWS)
        patched.setattr(residual, "MIN_REDRAWS", DRAWS)
        yield
