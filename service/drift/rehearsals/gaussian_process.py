"""Regression of accuracies on features by a Gaussian process, whose deviation grows away from what it has seen."""

import numpy as np
from scipy import linalg

from ..types import FloatArray

LINEAR_SHARE = 1.0  # variance of the linear part of the prior, where that of the smooth part is 1
NOISE = 0.02  # variance of one accuracy's sampling error, where that of the smooth part is 1
MAX_FEATURE = 5.0  # deviations beyond which a feature counts as no larger, so that nothing is extrapolated far


class GaussianProcess:
    """A Gaussian process whose kernel is the sum of a constant, a linear and a Gaussian one.

    Parameters
    ----------
    features : float (n, f)
    values : float (n,)
    length : float
        Length scale of the Gaussian kernel in root mean square deviations of a feature.

    References
    ----------
    Rasmussen and Williams (2006), Gaussian processes for machine learning, algorithm 2.1.
    """

    def __init__(self, features: FloatArray, values: FloatArray, length: float) -> None:
        self._mean, self._deviation = features.mean(axis=0), features.std(axis=0) + 1e-9
        self._length = length
        self._rows = (features - self._mean) / self._deviation
        self._middle = float(values.mean())
        covariance = self._kernel(self._rows, self._rows) + NOISE * np.eye(len(values))
        self._factor = linalg.cho_factor(covariance, lower=True)
        self._weights = linalg.cho_solve(self._factor, values - self._middle)

    def __call__(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the mean (m,) and the relative deviation (m,), noise included, at features (m, f)."""
        rows = np.clip((features - self._mean) / self._deviation, -MAX_FEATURE, MAX_FEATURE)
        kernel = self._kernel(rows, self._rows)
        prior = 2 + LINEAR_SHARE * (rows**2).mean(axis=1)
        explained = (kernel * linalg.cho_solve(self._factor, kernel.T).T).sum(axis=1)
        return self._middle + kernel @ self._weights, np.sqrt(np.maximum(prior - explained, 0) + NOISE)

    def _kernel(self, first: FloatArray, second: FloatArray) -> FloatArray:
        products = first @ second.T
        squares = (first**2).sum(axis=1)[:, None] - 2 * products + (second**2).sum(axis=1)
        count = first.shape[1]
        smooth = np.exp(-np.maximum(squares, 0) / (2 * self._length**2 * count))
        return np.asarray(1 + LINEAR_SHARE * products / count + smooth)
