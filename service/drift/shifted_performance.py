"""The accuracy on a window whose images changed, from the rehearsals of its reference."""

import numpy as np

from .label_shift import share_ratios
from .rehearsals.estimator import INTERVAL_LEVEL, MAX_HALF_WIDTH, RehearsalEstimate, RehearsalEstimator
from .report import AccuracyMethod, Performance
from .samples import Sample
from .types import FloatArray

LABELS_NEEDED = 50  # labels that a person is asked for when the accuracy is unknown: they give ± 14 points at 95 %
LARGEST_WEIGHT = 10.0  # weight of a row of the window at most, so that no few rows stand for a class
NOTES: dict[AccuracyMethod, str] = {
    "recreated": "The window looks like the reference's images under {operations}: the accuracy is the one measured "
    "on them.",
    "regression": "No rehearsed operation recreates the window: the accuracy follows from what it has in common with "
    "all of them.",
    "combined": "Images and class proportions changed: the accuracy follows from the rehearsals, at the window's "
    "class proportions.",
    "unknown": "The window is unlike all rehearsals: label {labels} of its images to know the accuracy.",
}


def shifted_performance(estimator: RehearsalEstimator, sample: Sample, reference_accuracy: float) -> Performance:
    """Return the estimate for a window whose images changed, its class proportions being the reference's."""
    return _performance(estimator(sample), reference_accuracy)


def combined_performance(
    estimator: RehearsalEstimator,
    sample: Sample,
    posterior: FloatArray,
    prior: FloatArray,
    estimated: FloatArray,
    reference_accuracy: float,
) -> Performance:
    """Return the estimate for a window whose images and class proportions changed.

    Rehearsals have the class proportions of the reference. Taken as it is, a window of few classes looks as if the
    model had collapsed, so that the estimate is too low. Thinned to the reference's proportions by its predictions,
    it loses the rows that the model gets wrong, so that the estimate is too high. The mean of the two is the
    estimate, and the interval spans both of theirs.

    Parameters
    ----------
    posterior : float (m, k), calibrated probabilities at the window's class proportions.
    prior, estimated : float (k,), class proportions of the reference and of the window.
    """
    weights = np.minimum(posterior @ share_ratios(prior, estimated), LARGEST_WEIGHT)
    weights /= weights.sum()
    confidence = posterior[np.arange(len(posterior)), sample.probabilities.argmax(axis=1)]
    difference = float(confidence.mean() - confidence @ weights)
    whole, thinned = estimator(sample), estimator(sample.rows(_systematic_rows(weights)))
    low, middle, high = np.clip(
        [
            min(whole.low, thinned.low + difference),
            (whole.accuracy + thinned.accuracy + difference) / 2,
            max(whole.high, thinned.high + difference),
        ],
        0,
        1,
    ).tolist()
    method: AccuracyMethod = "unknown" if high - low > 2 * MAX_HALF_WIDTH else "combined"
    return _performance(RehearsalEstimate(middle, low, high, "regression", ()), reference_accuracy, method)


def _performance(
    estimate: RehearsalEstimate, reference_accuracy: float, method: AccuracyMethod | None = None
) -> Performance:
    method = method or estimate.method
    note = NOTES[method].format(operations=", ".join(estimate.operations) or "an operation", labels=LABELS_NEEDED)
    return Performance(
        estimated_accuracy=estimate.accuracy,
        low=estimate.low,
        high=estimate.high,
        reference_accuracy=reference_accuracy,
        interval_level=INTERVAL_LEVEL,
        method=method,
        assumption_holds=method != "unknown",
        operations=estimate.operations,
        note=note,
    )


def _systematic_rows(weights: FloatArray) -> FloatArray:
    """Return as many row numbers as there are weights, each about in proportion to its weight."""
    places = (np.arange(len(weights)) + 0.5) / len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)
