"""Accuracy without labels, and accuracy measured on few."""

import numpy as np

from .estimates import AccuracyMethod, Performance
from .intervals import NORMAL_QUANTILE
from .label_shift import share_ratios
from .temperature_scaling import correct
from .types import FloatArray, IntArray

INTERVAL_LEVEL = 0.95  # probability with which the interval of a mean confidence covers
NOTES: dict[AccuracyMethod, str] = {
    "confidence": "The window looks like the reference: the accuracy is the mean calibrated confidence.",
    "reweighted": "The change of class proportions explains the window: the accuracy is the mean calibrated confidence "
    "at these proportions.",
}
LABELS_NEEDED = 50  # labels that a person is asked for when the accuracy is unknown: they give ± 14 points at 95 %
BROKEN = (
    "The images themselves changed, so that the model's confidence may no longer mean what it did on the reference: "
    f"take it as an upper guess. Label {LABELS_NEEDED} images to know the accuracy, or build the reference from "
    "images, so that rehearsals can estimate it."
)


class ConfidenceEstimate:
    """Confidence-based performance estimation: accuracy is the mean calibrated probability of the predicted class.

    Guo et al. (2017) for the calibration; what is left of the calibration error on the reference is subtracted and
    its uncertainty is part of the interval.
    """

    def __init__(self, posterior: FloatArray, predicted: IntArray, labels: IntArray) -> None:
        right = (predicted == labels).astype(np.float64)
        gap = right - _at(posterior, predicted)
        self.accuracy = float(right.mean())
        self._bias = float(gap.mean())
        self._bias_variance = float(gap.var() / len(gap))

    def __call__(
        self, posterior: FloatArray, predicted: IntArray, explained: bool, method: AccuracyMethod = "confidence"
    ) -> Performance:
        """Estimate a window's accuracy from its posterior (m, k), at the window's own class proportions.

        Parameters
        ----------
        explained : bool
            Whether confidence still means what it did on the reference. If not, the accuracy is unknown: the interval
            begins at 0, and ends where neither confidence nor the reference speaks for more.
        method : AccuracyMethod
            How the report names the estimate.
        """
        certainty = _at(posterior, predicted)
        estimate = float(certainty.mean()) + self._bias
        variance = float((certainty * (1 - certainty)).mean() / len(certainty)) + self._bias_variance
        half = NORMAL_QUANTILE * float(np.sqrt(variance))
        lowest, highest = estimate - half, estimate + half
        if not explained:
            lowest, highest = 0.0, max(highest, self.accuracy + half)
        low, middle, high = np.clip([lowest, estimate, highest], 0, 1).tolist()
        return Performance(
            estimated_accuracy=middle,
            low=low,
            high=high,
            reference_accuracy=self.accuracy,
            interval_level=INTERVAL_LEVEL,
            method=method if explained else "unknown",
            assumption_holds=explained,
            operations=(),
            note=NOTES[method] if explained else BROKEN,
        )


def at_proportions(posterior: FloatArray, prior: FloatArray, q: FloatArray) -> FloatArray:
    """Return the posterior (m, k) that goes with class proportions `q` in place of `prior`, both (k,)."""
    return correct(posterior, share_ratios(q, prior))


def _at(posterior: FloatArray, predicted: IntArray) -> FloatArray:
    return np.asarray(posterior[np.arange(len(predicted)), predicted])
