"""Relates features of rehearsals to the accuracy under them, with an interval that covers new families of shifts."""

from collections.abc import Sequence

import numpy as np

from ..types import BoolArray, FloatArray, IntArray
from .gaussian_process import GaussianProcess

INTERVAL_LEVEL = 0.9  # probability with which an interval covers, over families of shifts that were not rehearsed
LENGTHS = (1.0, 1.5, 2.5)  # length scales of the processes whose mean is the regression
LEAST_FALL = 0.1  # fall of the accuracy that errors are compared with at least: an estimate errs more, the lower it is


class AccuracyRegression:
    """A Gaussian process from features to accuracy, whose interval is that of families it has not seen.

    The errors on each family of operations, while all of that family are left out, give the interval (conformal
    prediction with families as groups). They are taken relative to the estimated fall of the accuracy, and to the
    process's deviation where that is above what it is for left-out families.

    Parameters
    ----------
    features : float (r, f)
    accuracy : float (r,)
    families : Sequence[frozenset[str]]
        Families of operations of each row; none for unchanged images.
    tested : bool (r,)
        Rows whose errors give the interval.
    unchanged : float
        Accuracy on the unchanged images.

    References
    ----------
    Deng and Zheng (2021), Are labels always necessary for classifier accuracy evaluation? Lei, G'Sell, Rinaldo,
    Tibshirani and Wasserman (2018), Distribution-free predictive inference for regression. Dunn, Wasserman and Ramdas
    (2023), Distribution-free prediction sets for two-layer hierarchical models.
    """

    def __init__(
        self,
        features: FloatArray,
        accuracy: FloatArray,
        families: Sequence[frozenset[str]],
        tested: BoolArray,
        unchanged: float,
    ) -> None:
        self._features = features
        self._accuracy = accuracy
        self._families = families
        self._unchanged = unchanged
        errors, estimates, deviations = self._leave_out(tested)
        self._usual_deviation = float(np.median(deviations))
        self._quantile = conformal_quantile(np.abs(errors) / self._scale(estimates, deviations))
        self._processes = self._fit(np.ones(len(accuracy), dtype=bool))

    def __call__(self, features: FloatArray) -> tuple[float, float]:
        """Return the accuracy at features (f,) and half the width of its interval."""
        accuracy, deviation = _mean_estimate(self._processes, features[None])
        return float(accuracy[0]), float(self._quantile * self._scale(accuracy, deviation)[0])

    def without(self, row: int) -> float:
        """Return the estimate for a row by all others."""
        others = np.arange(len(self._accuracy)) != row
        estimate, _ = _mean_estimate(self._fit(others), self._features[[row]])
        return float(estimate[0])

    def _fit(self, rows: BoolArray) -> list[GaussianProcess]:
        """Return the processes fitted on some of the rows."""
        return [GaussianProcess(self._features[rows], self._accuracy[rows], length) for length in LENGTHS]

    def _scale(self, accuracy: FloatArray, deviation: FloatArray) -> FloatArray:
        """Return what errors of estimates are compared with."""
        unfamiliar = np.maximum(deviation / self._usual_deviation, 1)
        return np.asarray(error_scale(accuracy, self._unchanged) * unfamiliar)

    def _leave_out(self, tested: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return errors, estimates and deviations for the tested rows, their family left out."""
        rows: IntArray = np.flatnonzero(tested)
        results = []
        for families in sorted({self._families[row] for row in rows.tolist()}, key=sorted):
            of_family = [row for row in rows.tolist() if self._families[row] == families]
            others = np.array([not families & other for other in self._families])
            estimates, deviation = _mean_estimate(self._fit(others), self._features[of_family])
            results.append((estimates - self._accuracy[of_family], estimates, deviation))
        errors, means, deviations = (np.concatenate(parts) for parts in zip(*results, strict=True))
        return errors, means, deviations


def _mean_estimate(processes: Sequence[GaussianProcess], features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean of several processes' estimates (m,) and of their deviations (m,)."""
    estimates, deviations = zip(*(process(features) for process in processes), strict=True)
    return np.clip(np.mean(estimates, axis=0), 0, 1), np.mean(deviations, axis=0)


def error_scale(accuracy: FloatArray, unchanged: float) -> FloatArray:
    """Return what the errors of estimated accuracies grow with: the fall from the accuracy on unchanged images."""
    return np.asarray(LEAST_FALL + np.maximum(unchanged - accuracy, 0))


def conformal_quantile(scores: FloatArray) -> float:
    """Return the quantile of scores that a new one does not exceed with the interval's probability."""
    rank = int(np.ceil((len(scores) + 1) * INTERVAL_LEVEL))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])
