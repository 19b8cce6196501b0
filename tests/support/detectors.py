"""Detectors that process made-up traffic until they alarm."""

from collections.abc import Callable

from numpy.typing import ArrayLike

from tests.support.worlds import Arrays
from tidemark.drift import StreamDetector

CalibrationArrays = dict[str, ArrayLike]  # what a detector stores of its calibration
Traffic = Callable[[int], Arrays]  # returns the next predictions


def alarms_in(detector: StreamDetector, traffic: Traffic, total: int, step: int = 500) -> list[str]:
    """Return the leading view of each alarm in `total` predictions; the detector starts again after each."""
    leading = []
    for _ in range(0, total, step):
        detector.update(**traffic(step))
        if detector.drift_detected:
            leading.append(str(detector.leading))
            detector.reset()
    return leading


def delay_of(detector: StreamDetector, traffic: Traffic, limit: int, step: int) -> int:
    """Return after how many predictions the detector alarms, or `limit` or a little more if it does not."""
    detector.reset()
    start = detector.count
    while not detector.drift_detected and detector.count < start + limit:
        detector.update(**traffic(step))
    return detector.count - start
