"""Statistics that compare the shares of classes, or of groups of classes."""

import numpy as np
from scipy import special

from .permutations import Features
from .prediction_views import ViewName
from .proportions import one_hot
from .statistic import Values
from .types import Float32Array, FloatArray, IntArray

MIN_ROWS = 0.5  # rows of a class that count at least: one row of a class that calm traffic lacks must not decide


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
        shares = self._shares(columns)
        self._pooled = np.maximum(shares.mean(axis=0, dtype=np.float64), MIN_ROWS / len(columns))

    def features(self, columns: Float32Array) -> Features:
        """Return each row's weight on each class, or group of classes, (rows, groups)."""
        return Features.of_shares(self._shares(columns))

    def _shares(self, columns: Float32Array) -> Float32Array:
        return columns if self._groups is None else columns @ self._groups

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return G; its effect is the total variation distance of the shares."""
        n, m = sizes
        window = np.maximum(self._pooled + differences * (n / (n + m)), 0)
        reference = np.maximum(self._pooled - differences * (m / (n + m)), 0)
        log_pooled = np.log(self._pooled)
        parts = m * (special.xlogy(window, window) - window * log_pooled)
        parts += n * (special.xlogy(reference, reference) - reference * log_pooled)
        statistic = 2 * parts.sum(axis=1)
        return Values(statistic, np.abs(differences).sum(axis=1) / 2, statistic[None])


class LargestClassShift:
    """The share of the class, or group of classes, that moved most, by its G statistic against all others.

    It sees a change of one class among many, which a sum over all classes dilutes. The shares p of the window, r of
    the reference and π of both together are those of a class and of the rest: G = 2 [m KL(p, π) + n KL(r, π)], with
    KL(p, π) = p log(p / π) + (1 - p) log((1 - p) / (1 - π)). A difference in deviations would understate how unlikely
    a missing class is, for a share cannot fall below zero. Mean probabilities vary less than counts: their G is
    multiplied by π (1 - π) over the pooled variance of the probabilities.
    """

    family = "proportions"

    def __init__(self, name: str, view: ViewName, columns: Float32Array, groups: IntArray | None = None) -> None:
        self.name, self.view = name, view
        self._groups = None if groups is None else one_hot(groups, int(groups.max()) + 1)
        shares = self._shares(columns)
        least = MIN_ROWS / len(columns)
        self._pooled = np.clip(shares.mean(axis=0, dtype=np.float64), least, 1 - least)
        variance = np.maximum(shares.var(axis=0, dtype=np.float64), least * (1 - least))
        self._precision = self._pooled * (1 - self._pooled) / variance

    def features(self, columns: Float32Array) -> Features:
        """Return each row's weight on each class, or group of classes, (rows, groups)."""
        return Features.of_shares(self._shares(columns))

    def _shares(self, columns: Float32Array) -> Float32Array:
        return columns if self._groups is None else columns @ self._groups

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the largest G of a class; its effect is the largest difference of a mean probability."""
        n, m = sizes
        window = np.clip(self._pooled + differences * (n / (n + m)), 0, 1)
        reference = np.clip(self._pooled - differences * (m / (n + m)), 0, 1)
        g = 2 * (m * _binary_divergence(window, self._pooled) + n * _binary_divergence(reference, self._pooled))
        statistic = (g * self._precision).max(axis=1)
        return Values(statistic, np.abs(differences).max(axis=1), statistic[None])


def _binary_divergence(p: FloatArray, q: FloatArray) -> FloatArray:
    """Return the Kullback-Leibler divergence of a share p from a share q in 0 < q < 1, in nats."""
    return np.asarray(special.xlogy(p, p / q) + special.xlogy(1 - p, (1 - p) / (1 - q)))
