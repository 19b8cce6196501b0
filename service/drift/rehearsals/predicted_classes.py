"""What the reference's rows of each predicted class are like, so that a window is compared class by class."""

import numpy as np

from ..types import FloatArray, IntArray

PRIOR_ROWS = 5  # rows of the whole reference's mean that are added to each class, since a rare class has few of its own


class PredictedClasses:
    """Distances from the predicted class's mean, and the precision, of the reference's rows by predicted class.

    A window of few classes differs from the reference in every mean over rows, whatever the images do. Compared with
    the reference's rows of the same predicted classes it does not.

    Parameters
    ----------
    log_distance : float (n,)
        Logarithm of the squared distance of each row from its predicted class's mean.
    predicted, labels : int (n,)
        Predicted and true classes.
    classes : int
        Number of classes k.
    """

    def __init__(self, log_distance: FloatArray, predicted: IntArray, labels: IntArray, classes: int) -> None:
        self._predicted, self._classes = predicted, classes
        self._distance = self._mean(log_distance)
        self._deviation = np.sqrt(self._mean((log_distance - self._distance[predicted]) ** 2)) + 1e-6
        self._precision = self._mean((predicted == labels).astype(np.float64))

    def relative_distance(self, log_distance: FloatArray, predicted: IntArray) -> float:
        """Return the mean log distance of a window, in deviations of the reference's rows of the same classes."""
        return float(((log_distance - self._distance[predicted]) / self._deviation[predicted]).mean())

    def expected_precision(self, predicted: IntArray) -> float:
        """Return the share of right predictions that the reference has among rows of these predicted classes."""
        return float(self._precision[predicted].mean())

    def _mean(self, values: FloatArray) -> FloatArray:
        """Return the mean (k,) of values (n,) by predicted class."""
        counts = np.bincount(self._predicted, minlength=self._classes)
        sums = np.bincount(self._predicted, values, minlength=self._classes)
        return np.asarray((sums + PRIOR_ROWS * values.mean()) / (counts + PRIOR_ROWS))
