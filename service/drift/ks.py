"""Kolmogorov-Smirnov distances of many dimensions at once, ties handled."""

import numpy as np
from numpy.typing import NDArray

from .permutations import Draws, MeanDifferences

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

GRID = 64  # quantiles of the reference at which distribution functions are compared


class KolmogorovSmirnov:
    """D = max |F_window - F_reference| per dimension, for every draw.

    The distribution functions are right-continuous, so tied values count once, and are compared at GRID quantiles
    of the reference, which lowers D by at most 1 / GRID.
    """

    def __init__(self, reference: Floats, draws: Draws) -> None:
        self._grid = np.quantile(reference, np.arange(GRID) / GRID, axis=0, method="inverted_cdf").T
        self._differences = MeanDifferences(self._below(reference), draws)

    def __call__(self, window: Floats) -> Matrix:
        """Return D as (dimensions, B + 1)."""
        differences = np.abs(self._differences(self._below(window)))
        return np.asarray(differences.reshape(len(differences), -1, GRID).max(axis=2).T)

    def against_all(self, rows: Floats, m: int) -> Matrix:
        """Return D as (dimensions, B) of draws of m rows from `rows`, the reference itself, against all of it."""
        differences = np.abs(self._differences.against_all(self._below(rows), m))
        return np.asarray(differences.reshape(len(differences), -1, GRID).max(axis=2).T)

    def _below(self, rows: Floats) -> Floats:
        return (rows[:, :, None] <= self._grid).reshape(len(rows), -1).astype(np.float32)


def distance(x: Floats, y: Floats) -> float:
    """Return the two-sample KS distance of two vectors, exactly."""
    both = np.concatenate([x, y])
    below_x = np.searchsorted(np.sort(x), both, side="right") / len(x)
    below_y = np.searchsorted(np.sort(y), both, side="right") / len(y)
    return float(np.abs(below_x - below_y).max())
