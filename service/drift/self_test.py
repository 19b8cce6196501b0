"""A self-test of the sequential detector: a planted shift that every working detector finds within seconds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .detector import StreamDetector
from .reference import Reference

CALM_ROWS = 300  # calm predictions before the shift, in which a working detector does not alarm
MAX_DELAY = 2_000  # predictions after the shift, within which a working detector alarms; it needs 10 to 50
STRENGTH = 1.0  # standard deviations of each embedding dimension that the planted shift moves it by
JITTER = 1e-3  # standard deviations of noise, so that a row that is drawn twice is no repeat to the detector
STEP = 10  # predictions of one update
ATTEMPTS = 2  # calm stretches: a false alarm in one of them is bad luck, in two of them a fault


@dataclass(frozen=True)
class SelfTestResult:
    """The outcome of a self-test.

    Parameters
    ----------
    delay : int or None
        The number of predictions from the planted shift to the alarm; None where the test failed.
    reason : str or None
        Why it failed.
    """

    delay: int | None
    reason: str | None = None


def self_test(new_detector: Callable[[], StreamDetector], reference: Reference, seed: int = 0) -> SelfTestResult:
    """Let a new detector process calm predictions, then the same with their embeddings moved.

    Calm predictions are drawn with replacement from the reference, with a little noise: else the detector would count
    those that come again as repeats, and alarm of these. Nothing is read or written: the detector of the traffic is
    not touched.

    Parameters
    ----------
    new_detector : callable
        Returns a detector of the reference that has processed nothing.
    reference : Reference
        What calm predictions look like.
    seed : int, default 0
        The seed of the draws; another one for each run makes the tests independent.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> embeddings = rng.normal(size=(500, 4))
    >>> reference = Reference(embeddings, np.full((500, 2), 0.5))
    >>> detector = StreamDetector(reference)
    >>> calibration = detector.calibration()
    >>> result = self_test(lambda: StreamDetector(reference, calibration=calibration), reference)
    >>> result.delay is not None and result.delay < 100
    True
    """
    rng = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        detector = new_detector()
        _process(detector, reference, CALM_ROWS, rng, 0.0)
        if not detector.drift_detected:
            delay = _process(detector, reference, MAX_DELAY, rng, STRENGTH)
            reason = None if detector.drift_detected else f"a planted shift was not found in {MAX_DELAY} predictions"
            return SelfTestResult(None if reason else delay, reason)
    return SelfTestResult(None, f"the detector alarmed in calm traffic, {ATTEMPTS} times of {ATTEMPTS}")


def _process(
    detector: StreamDetector, reference: Reference, rows: int, rng: np.random.Generator, strength: float
) -> int:
    """Let a detector process drawn predictions until it alarms or they end; return their number."""
    deviations = np.maximum(reference.embeddings.std(axis=0), np.finfo(np.float32).eps)
    for processed in range(0, rows, STEP):
        index = rng.integers(len(reference), size=STEP)
        moves = strength + JITTER * rng.normal(size=(STEP, len(deviations)))
        properties = None if reference.properties is None else reference.properties[index]
        detector.update(reference.embeddings[index] + deviations * moves, reference.probabilities[index], properties)
        if detector.drift_detected:
            return processed + STEP
    return rows
