"""Mean discrepancies in units of a covariance: the regularised Hotelling statistic."""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from .types import Float32Array

Matrix = NDArray[np.float64]

RIDGE = 1e-2  # share of the largest eigenvalue that is added to every one


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
    return reference.joined(Moments.from_rows(window)).covariance


class Moments:
    """Count, mean (d,) and scatter (d, d) of rows, which can be joined."""

    def __init__(self, count: int, mean: Matrix, scatter: Matrix) -> None:
        self.count, self.mean, self.scatter = count, mean, scatter

    @classmethod
    def from_rows(cls, rows: NDArray[np.float32]) -> "Moments":
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


def whitening(rows: Float32Array, rank: int) -> Float32Array:
    """Return the matrix (d, at most `rank`) that turns rows into whitened leading principal components.

    Eigenvalues are raised by `RIDGE` times the largest, as in `inverse_root`.
    """
    covariance = Moments.from_rows(rows).covariance
    d = len(covariance)
    values, vectors = linalg.eigh(covariance, subset_by_index=[max(d - rank, 0), d - 1])
    floor = RIDGE * values[-1] if values[-1] > 0 else 1.0
    return np.asarray(vectors[:, ::-1] / np.sqrt(np.maximum(values[::-1], 0) + floor), dtype=np.float32)


def excess_of_whitening(rows: Float32Array, rank: int) -> float:
    """Return by how much squared lengths of new rows exceed the reference's own after whitening, as a factor.

    A whitening fitted on n rows is tight on those rows. It is fitted on one half and applied to both; half of the
    excess found is that of a fit on twice the rows.
    """
    fitted, fresh = rows[0::2], rows[1::2]
    root = whitening(fitted, rank)
    inside = np.trace(root.T @ Moments.from_rows(fitted).covariance @ root)
    outside = np.trace(root.T @ Moments.from_rows(fresh).covariance @ root)
    return float(max(1.0, 1 + (outside / inside - 1) / 2)) if inside > 0 else 1.0
