"""Products of rows with a matrix that give a row the same result, whatever other rows come with it."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)

ROWS = 4  # rows that are multiplied at a time: kernels of BLAS treat four alike, and are fast for that few


def row_products(rows: NDArray[Real], matrix: NDArray[Real]) -> NDArray[Real]:
    """Return `rows @ matrix`, multiplied by four rows at a time, the last of them filled up with zeros.

    The order in which BLAS adds up depends on the shape of a product. With one shape for all, the sums of a stream
    are the same bit for bit however its predictions are divided into steps, and so is a replay of its log.

    Parameters
    ----------
    rows : float32 or float64 (m, d)
    matrix : float of the same type (d, r)

    Returns
    -------
    float of the same type (m, r)
    """
    m, d = rows.shape
    filled = -(-m // ROWS) * ROWS
    if filled != m:
        padded = np.zeros((filled, d), dtype=rows.dtype)
        padded[:m] = rows
        rows = padded
    products: NDArray[Real] = np.matmul(rows.reshape(filled // ROWS, ROWS, d), matrix)
    return products.reshape(filled, matrix.shape[1])[:m]
