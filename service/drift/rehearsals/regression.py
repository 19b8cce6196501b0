"""Relates features of rehearsals to the accuracy under them, also for families of shifts that were left out."""

from collections.abc import Sequence

import numpy as np

from ..types import BoolArray, FloatArray
from .gaussian_process import GaussianProcess

LENGTHS = (1.0, 1.5, 2.5)  # length scales of the processes whose mean is the regression

Families = frozenset[str]  # families of the operations of a rehearsal; none for unchanged images


class AccuracyRegression:
    """A Gaussian process from features to accuracy, the mean of several length scales.

    Parameters
    ----------
    features : float (r, f)
    accuracy : float (r,)
        Accuracies, or differences of two.
    families : Sequence[frozenset[str]]
        Families of operations of each row; none for unchanged images.
    least : float, default 0
        The smallest value that an estimate may have: 0 for an accuracy, -1 for a difference of two. The largest is 1.

    References
    ----------
    Deng and Zheng (2021), Are labels always necessary for classifier accuracy evaluation?
    """

    def __init__(
        self, features: FloatArray, accuracy: FloatArray, families: Sequence[Families], least: float = 0
    ) -> None:
        self._features = features
        self._accuracy = accuracy
        self._families = families
        self._least = least
        self._processes = self._fit(np.ones(len(accuracy), dtype=bool))

    def __call__(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the estimates (m,) at features (m, f), and their deviations (m,) on a scale of the regression."""
        return self._mean_estimate(self._processes, features)

    def left_out(self, features: FloatArray, families: Sequence[Families]) -> tuple[FloatArray, FloatArray]:
        """Return the estimates (m,) and deviations (m,) at features (m, f), each without rows of its families."""
        estimates, deviations = np.zeros(len(features)), np.zeros(len(features))
        for left_out in sorted(set(families), key=sorted):
            rows = np.array([of_row == left_out for of_row in families])
            others = np.array([not left_out & other for other in self._families])
            estimates[rows], deviations[rows] = self._mean_estimate(self._fit(others), features[rows])
        return estimates, deviations

    def without(self, row: int) -> float:
        """Return the estimate for a row by all others."""
        others = np.arange(len(self._accuracy)) != row
        estimate, _ = self._mean_estimate(self._fit(others), self._features[[row]])
        return float(estimate[0])

    def _fit(self, rows: BoolArray) -> list[GaussianProcess]:
        """Return the processes fitted on some of the rows."""
        return [GaussianProcess(self._features[rows], self._accuracy[rows], length) for length in LENGTHS]

    def _mean_estimate(
        self, processes: Sequence[GaussianProcess], features: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the mean of several processes' estimates (m,) and of their deviations (m,)."""
        estimates, deviations = zip(*(process(features) for process in processes), strict=True)
        return np.clip(np.mean(estimates, axis=0), self._least, 1), np.mean(deviations, axis=0)
