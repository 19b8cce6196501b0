"""Other estimates of the accuracy without labels, all from the model's confidence."""

from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from benchmarks.world import Arrays
from tidemark.drift import Reference
from tidemark.drift.temperature_scaling import TemperatureScaling

STANDARD_ERRORS = 3.0  # half width of NannyML's confidence band

Estimate = Callable[[Arrays], tuple[float, tuple[float, float] | None]]


def confidence_estimates(labelled: Reference, window_size: int) -> dict[str, Estimate]:
    """Return the estimates by name, each a function of a window; those without an interval return None for it."""
    return {
        "CBPE (NannyML's formula)": _cbpe(labelled, window_size),
        "difference of confidences": _confidences(labelled),
        "ATC": _thresholds(labelled),
    }


def _cbpe(labelled: Reference, window_size: int) -> Estimate:
    """Confidence-based performance estimation as NannyML does it: isotonic calibration of each class, normalised."""
    labels = np.asarray(labelled.labels)
    curves = []
    for column in range(labelled.classes):
        scores = labelled.probabilities[:, column].astype(float)
        order = np.argsort(scores, kind="stable")
        fit = optimize.isotonic_regression((labels == column)[order].astype(float))
        curves.append((scores[order], fit.x))
    right = (labelled.probabilities.argmax(axis=1) == labels).astype(float)
    error = STANDARD_ERRORS * right.std() / np.sqrt(window_size)

    def estimate(window: Arrays) -> tuple[float, tuple[float, float] | None]:
        raw = window["probabilities"]
        calibrated = np.stack([np.interp(raw[:, i], *curve) for i, curve in enumerate(curves)], axis=1)
        calibrated /= np.maximum(calibrated.sum(axis=1, keepdims=True), 1e-9)
        middle = float(calibrated[np.arange(len(raw)), raw.argmax(axis=1)].mean())
        return middle, (middle - error, middle + error)

    return estimate


def _confidences(labelled: Reference) -> Estimate:
    """Difference of confidences: the fall of the mean confidence is the fall of the accuracy (Guillory et al. 2021)."""
    accuracy = float((labelled.probabilities.argmax(axis=1) == labelled.labels).mean())
    before = float(labelled.calibration(labelled.probabilities).max(axis=1).mean())

    def estimate(window: Arrays) -> tuple[float, tuple[float, float] | None]:
        after = float(labelled.calibration(window["probabilities"]).max(axis=1).mean())
        return accuracy + after - before, None

    return estimate


def _thresholds(labelled: Reference) -> Estimate:
    """Average thresholded confidence on negative entropy (Garg et al. 2022)."""
    errors = float((labelled.probabilities.argmax(axis=1) != labelled.labels).mean())
    calibration: TemperatureScaling = labelled.calibration
    threshold = np.quantile(-special.entr(calibration(labelled.probabilities)).sum(axis=1), errors)

    def estimate(window: Arrays) -> tuple[float, tuple[float, float] | None]:
        entropy = -special.entr(calibration(window["probabilities"])).sum(axis=1)
        return float((entropy >= threshold).mean()), None

    return estimate
