"""Mean discrepancies in units of a covariance: the regularised Hotelling statistic."""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Matrix = NDArray[np.float64]

RIDGE = 1e-2  # of the largest eigenvalue, added to every one


def inverse_root(covariance: Matrix, ridge: float = RIDGE) -> Matrix:
    """Return (C + λI)^(-1/2), symmetric, with λ = ridge x the largest eigenvalue of C.

    The spectral regularisation of Hagrass, Sriperumbudur and Li (2022) for a linear kernel: directions of small
    variance weigh more than in the plain discrepancy, but not without bound.
    """
    values, vectors = linalg.eigh(covariance)
    values = np.maximum(values, 0)
    floor = ridge * values[-1] if values[-1] > 0 else 1.0
    return np.asarray((vectors / np.sqrt(values + floor)) @ vectors.T)


def pooled_covariance(reference: "Moments", window: NDArray[np.float32]) -> Matrix:
    """Return the covariance of reference and window rows together."""
    return reference.joined(Moments.of(window)).covariance


class Moments:
    """Count, mean (d,) and scatter (d, d) of rows, which can be joined."""

    def __init__(self, count: int, mean: Matrix, scatter: Matrix) -> None:
        self.count, self.mean, self.scatter = count, mean, scatter

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> "Moments":
        mean = rows.mean(axis=0, dtype=np.float64)
        centred = (rows - mean).astype(np.float32)
        return cls(len(rows), mean, (centred.T @ centred).astype(np.float64))

    def joined(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        gap = other.mean - self.mean
        between = np.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Matrix:
        return self.scatter / max(self.count - 1, 1)
