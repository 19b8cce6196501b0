"""Did the share of each predicted label move? The G test and its effect size."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

Matrix = NDArray[np.float64]


def g_statistic(window: Matrix, reference: Matrix) -> Matrix:
    """Return G = 2 Σ O log(O / E) of 2 x k tables of counts, both samples finite (Sokal and Rohlf 1995, box 17.6).

    `window` and `reference` are (..., k) counts; returns (...).
    """
    m, n = window.sum(axis=-1, keepdims=True), reference.sum(axis=-1, keepdims=True)
    pooled = (window + reference) / (m + n)
    parts = xlogy(window, window) + xlogy(reference, reference)
    expected = xlogy(window, pooled * m) + xlogy(reference, pooled * n)
    return np.asarray(2 * (parts - expected).sum(axis=-1))


def total_variation(p: Matrix, q: Matrix) -> float:
    """Return half the sum of |p - q|, between 0 and 1."""
    return float(np.abs(p - q).sum() / 2)


def one_hot(labels: NDArray[np.integer], k: int) -> NDArray[np.float32]:
    """Return labels (m,) as 0/1 rows (m, k)."""
    return np.asarray(np.eye(k, dtype=np.float32)[labels])
