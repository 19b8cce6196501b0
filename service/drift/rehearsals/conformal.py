"""Intervals of estimated accuracies, from the errors on rehearsals whose family of shifts was left out."""

import numpy as np

from ..types import FloatArray

INTERVAL_LEVEL = 0.9  # probability with which an interval covers, over families of shifts that were not rehearsed
LEAST_FALL = 0.1  # fall of the accuracy that errors are compared with at least: an estimate errs more, the lower it is
DISPERSITY_WIDTH = 0.1  # deviation of the normal curve by which windows of other dispersity count less


def error_scale(accuracy: FloatArray, unchanged: float) -> FloatArray:
    """Return what the errors of estimated accuracies grow with: the fall from the accuracy on unchanged images."""
    return np.asarray(LEAST_FALL + np.maximum(unchanged - accuracy, 0))


def conformal_quantile(scores: FloatArray) -> float:
    """Return the quantile of scores that a new one does not exceed with the interval's probability."""
    return _weighted_quantile(scores, np.ones(len(scores)))


class LocalQuantile:
    """The quantile of scores among windows whose predictions are as dispersed as those of a new window.

    The accuracy of a window of few classes is harder to estimate than that of all classes, so that one quantile for
    both is too small for the first and too large for the second.

    Parameters
    ----------
    scores : float (n,)
        Relative errors of estimates.
    dispersity : float (n,)
        Entropy of the predicted class proportions of their windows, in 0..1.

    References
    ----------
    Guan (2023), Localized conformal prediction: a generalized inference framework for conformal prediction. Dunn,
    Wasserman and Ramdas (2023), Distribution-free prediction sets for two-layer hierarchical models.
    """

    def __init__(self, scores: FloatArray, dispersity: FloatArray) -> None:
        self._scores = scores
        self._dispersity = dispersity

    def __call__(self, dispersity: float) -> float:
        """Return the quantile for a window; the largest score if too few windows are like it."""
        distance = (self._dispersity - dispersity) / DISPERSITY_WIDTH
        return _weighted_quantile(self._scores, np.exp(-(distance**2) / 2))


def _weighted_quantile(scores: FloatArray, weights: FloatArray) -> float:
    """Return the quantile of weighted scores and of a new one that has the weight 1 and may be as large as it likes."""
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order]) >= INTERVAL_LEVEL * (weights.sum() + 1) - 1e-9
    return float(scores[order][int(reached.argmax()) if reached.any() else len(scores) - 1])
