"""Maximum mean discrepancy with a Gaussian kernel: the kernel, the statistic, and the witness function."""

from typing import NamedTuple

import numpy as np

from .types import Float32Array, FloatArray, IntArray

BANDWIDTH_ROWS = 1000  # rows at most from which a median distance is taken
BLOCK_ROWS = 512  # rows of a kernel matrix that are held at a time


class Witnesses(NamedTuple):
    """The similarity of the rows of a window to those of a reference.

    Attributes
    ----------
    values : float (m,)
        The witness function: low where a row is less like the reference than like the window.
    nearest : int (m,)
        The reference row that is most like each.
    similarity : float (m,)
        The kernel of each row with its nearest reference row.
    """

    values: FloatArray
    nearest: IntArray
    similarity: FloatArray


def gaussian(x: Float32Array, y: Float32Array, bandwidth: float) -> Float32Array:
    """Return exp(-|x_i - y_j|² / bandwidth) as float32 (rows of x, rows of y)."""
    squared = x @ y.T
    squared *= -2
    squared += np.einsum("ij,ij->i", x, x)[:, None]
    squared += np.einsum("ij,ij->i", y, y)
    np.maximum(squared, 0, out=squared)
    squared *= np.float32(-1 / bandwidth)
    np.exp(squared, out=squared)
    return np.asarray(squared)


def median_squared_distance(rows: Float32Array) -> float:
    """Return the median squared distance between different rows (at most 1,000 of them); 1 if it is 0."""
    subsample = rows[np.linspace(0, len(rows) - 1, min(len(rows), BANDWIDTH_ROWS)).astype(int)].astype(np.float64)
    norms = np.einsum("ij,ij->i", subsample, subsample)
    squared = norms[:, None] + norms - 2 * subsample @ subsample.T
    median = float(np.median(squared[np.tri(len(subsample), k=-1, dtype=bool).T]))
    return median if median > 0 else 1.0


def unbiased_mmd2(kernel: FloatArray, members: FloatArray) -> FloatArray:
    """Return unbiased MMD² of each way to split pooled rows in two.

    With K the kernel without its diagonal, W the membership matrix, r = K1 and S = 1ᵀK1:
    yy = colsum(W ∘ KW), xy = rᵀW - yy, xx = S - 2 xy - yy.

    Parameters
    ----------
    kernel : float (rows, rows)
        Symmetric, its diagonal zero.
    members : float (rows, splits)
        1 where a row belongs to the second sample of a split, else 0.

    Returns
    -------
    float (splits,)

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, equation 3.
    """
    m = members[:, 0].sum()
    n = len(members) - m
    rows = kernel.sum(axis=1)
    yy = ((kernel @ members) * members).sum(axis=0)
    xy = rows @ members - yy
    xx = rows.sum() - 2 * xy - yy
    return np.asarray(xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m))


def witness_function(reference: Float32Array, window: Float32Array, bandwidth: float) -> Witnesses:
    """Return the witness function of a window's rows, in blocks of 512 rows of either sample.

    Parameters
    ----------
    reference : float32 (n, d)
    window : float32 (m, d)
        A row is not compared with itself.
    bandwidth : float
        Bandwidth of the kernel.

    References
    ----------
    Gretton et al. (2012), A kernel two-sample test, section 2.3.
    """
    n, m = len(reference), len(window)
    near, inside, best, nearest = np.zeros(m), np.zeros(m), np.full(m, -1.0), np.zeros(m, dtype=np.int64)
    for start in range(0, n, BLOCK_ROWS):
        block = gaussian(reference[start : start + BLOCK_ROWS], window, bandwidth)
        near += block.sum(axis=0, dtype=np.float64)
        index = block.argmax(axis=0)
        similarity = block[index, np.arange(m)]
        nearest = np.where(similarity > best, start + index, nearest)
        best = np.maximum(best, similarity)
    for start in range(0, m, BLOCK_ROWS):
        inside += gaussian(window[start : start + BLOCK_ROWS], window, bandwidth).sum(axis=0, dtype=np.float64)
    return Witnesses(near / n - (inside - 1) / max(m - 1, 1), nearest, best)
