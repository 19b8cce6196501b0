"""Maximum mean discrepancy with a Gaussian kernel, for all permutations in one product."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .permutations import Draws

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

BANDWIDTH_ROWS = 1000
BLOCK_ROWS = 512  # of the reference's kernel matrix held at a time: 512 x n x 4 bytes


class Discrepancy(NamedTuple):
    """MMD² of every draw, and for the window that came the kernel columns that explain it."""

    mmd2: Doubles  # (B + 1,)
    effect: float  # MMD² over the sum of its two within-terms, 0..1
    witness: Doubles  # (m,) the witness function at the window's rows
    nearest: NDArray[np.int64]  # (m,) the reference row most like each


class MMD:
    """Unbiased MMD² (Gretton et al. 2012, eq. 3) between a reference and windows of one size.

    The kernel is exp(-|x - y|² / bandwidth), the bandwidth being the median squared distance within the reference.
    With K the zero-diagonal kernel matrix of the pooled rows, W the 0/1 membership of the draws, r = K1 and
    S = 1ᵀK1: yy = colsum(W ∘ KW), xy = rᵀW - yy, xx = S - 2xy - yy. All that has to do with the reference alone is
    computed here; K itself is never held, only BLOCK_ROWS rows of it.
    """

    def __init__(self, reference: Floats, draws: Draws) -> None:
        self._reference = reference
        self._draws = draws
        self._bandwidth = median_squared_distance(reference)
        n = len(reference)
        self._row_sums = np.empty(n)
        self._within = np.zeros(draws.reference.shape[1])
        for start in range(0, n, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            block = gaussian(reference[rows], reference, self._bandwidth)
            index = np.arange(*rows.indices(n))
            block[index - start, index] = 0
            self._row_sums[rows] = block.sum(axis=1, dtype=np.float64)
            self._within += _column_sums(draws.reference[rows], block @ draws.reference)

    def against_all(self, m: int) -> Doubles:
        """Return MMD² (B,) of draws of m rows from the reference itself against all of it."""
        n = len(self._reference)
        to_all = self._row_sums @ self._draws.reference
        within = self._row_sums.sum() / (n * (n - 1)) + self._within / (m * (m - 1))
        return np.asarray(within - 2 * to_all / (m * (n - 1)))

    def __call__(self, window: Floats) -> Discrepancy:
        """Test a window (m, d)."""
        n, m = self._draws.sizes
        cross = gaussian(self._reference, window, self._bandwidth)
        own = gaussian(window, window, self._bandwidth)
        np.fill_diagonal(own, 0)
        near, inside = cross.sum(axis=0, dtype=np.float64), own.sum(axis=1, dtype=np.float64)
        rows = self._row_sums + cross.sum(axis=1, dtype=np.float64)
        total = rows.sum() + near.sum() + inside.sum()
        yy = self._within + 2 * _column_sums(self._draws.reference, cross @ self._draws.window)
        yy += _column_sums(self._draws.window, own @ self._draws.window)
        xy = rows @ self._draws.reference + (near + inside) @ self._draws.window - yy
        xx = total - 2 * xy - yy
        mmd2 = xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)
        within = xx[0] / (n * (n - 1)) + yy[0] / (m * (m - 1))
        return Discrepancy(
            mmd2=mmd2,
            effect=float(np.clip(mmd2[0] / within, 0, 1)) if within > 0 else 0.0,
            witness=near / n - inside / (m - 1),
            nearest=cross.argmax(axis=0),
        )


def gaussian(x: Floats, y: Floats, bandwidth: float) -> Floats:
    """Return exp(-|x_i - y_j|² / bandwidth) as (rows of x, rows of y)."""
    squared = x @ y.T
    squared *= -2
    squared += np.einsum("ij,ij->i", x, x)[:, None]
    squared += np.einsum("ij,ij->i", y, y)
    np.maximum(squared, 0, out=squared)
    squared *= np.float32(-1 / bandwidth)
    np.exp(squared, out=squared)
    return np.asarray(squared)


def median_squared_distance(rows: Floats) -> float:
    """Return the median squared distance between different rows (at most BANDWIDTH_ROWS of them); 1 if it is 0."""
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), BANDWIDTH_ROWS)).astype(int)].astype(np.float64)
    norms = np.einsum("ij,ij->i", some, some)
    squared = norms[:, None] + norms - 2 * some @ some.T
    median = float(np.median(squared[np.triu_indices(len(some), 1)]))
    return median if median > 0 else 1.0


def _column_sums(left: Floats, right: Floats) -> Doubles:
    return np.asarray((left * right).sum(axis=0, dtype=np.float64))
