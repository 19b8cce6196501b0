"""Statistics that compare the shares of classes, or of groups of classes."""

import numpy as np
from scipy import special

from .prediction_views import ViewName
from .proportions import one_hot
from .statistic import Values
from .types import Float32Array, FloatArray, IntArray


class ClassShares:
    """G test of the shares of predicted classes, or of mean probabilities, both samples being finite.

    G = 2 Σ_c [m p_c log(p_c / π_c) + n r_c log(r_c / π_c)] with the shares p of the window, r of the reference and π
    of both together.

    References
    ----------
    Sokal and Rohlf (1995), Biometry, box 17.6.
    """

    family = "proportions"

    def __init__(self, name: str, view: ViewName, columns: Float32Array, groups: IntArray | None = None) -> None:
        self.name, self.view = name, view
        self._groups = None if groups is None else one_hot(groups, int(groups.max()) + 1)
        self._pooled = self.features(columns).mean(axis=0, dtype=np.float64)

    def features(self, columns: Float32Array) -> Float32Array:
        """Return each row's weight on each class, or group of classes, (rows, groups)."""
        return columns if self._groups is None else columns @ self._groups

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return G; its effect is the total variation distance of the shares."""
        n, m = sizes
        window = np.maximum(self._pooled + differences * (n / (n + m)), 0)
        reference = np.maximum(self._pooled - differences * (m / (n + m)), 0)
        log_pooled = np.log(np.maximum(self._pooled, 1e-300))
        parts = m * (special.xlogy(window, window) - window * log_pooled)
        parts += n * (special.xlogy(reference, reference) - reference * log_pooled)
        statistic = 2 * parts.sum(axis=1)
        return Values(statistic, np.abs(differences).sum(axis=1) / 2, statistic[None])


class LargestClassShift:
    """The mean probability of the class, or group of classes, that moved most, in deviations.

    It sees a change of one class among many, which a sum over all classes dilutes.
    """

    family = "proportions"

    def __init__(self, name: str, view: ViewName, columns: Float32Array, groups: IntArray | None = None) -> None:
        self.name, self.view = name, view
        self._groups = None if groups is None else one_hot(groups, int(groups.max()) + 1)
        self._deviation = np.maximum(self.features(columns).std(axis=0, dtype=np.float64), 1e-9)

    def features(self, columns: Float32Array) -> Float32Array:
        """Return each row's weight on each class, or group of classes, (rows, groups)."""
        return columns if self._groups is None else columns @ self._groups

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the largest standardised difference; its effect is the largest difference of a mean probability."""
        statistic = np.abs(differences / self._deviation).max(axis=1)
        return Values(statistic, np.abs(differences).max(axis=1), statistic[None])
