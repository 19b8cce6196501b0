"""Principal components in place of wide embeddings, fitted on rows that take no part in a test."""

import numpy as np
from scipy import linalg

from .scaling import Scaling
from .types import Float32Array, FloatArray

MAX_DIMENSIONS = 512  # widest embedding that is compared unit by unit; the cost of a covariance is cubic in the width
MAX_FITTED_ROWS = 512  # rows that the components are fitted on, of which there are thus at most 256
ROWS_PER_COMPONENT = 2  # fewer rows than this for each component would give directions of noise


class Projection:
    """Leading principal components of standardised embeddings.

    Parameters
    ----------
    rows : float32 (h, d)
        Embeddings that take no part in the tests whose input is projected. At most 512 are used.

    Notes
    -----
    The components come from the h x h matrix of products, so that the cost is linear in d. A projection that is
    fitted on other rows is fixed for a test: its permutations stay exact.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(100, 2000)).astype(np.float32)
    >>> Projection(rows)(rows[:3]).shape
    (3, 50)
    """

    def __init__(self, rows: Float32Array) -> None:
        self._scaling = Scaling(rows[:MAX_FITTED_ROWS])
        standardised = self._scaling(rows[:MAX_FITTED_ROWS]).astype(np.float64)
        count = max(len(standardised) // ROWS_PER_COMPONENT, 1)
        squares, left_vectors = linalg.eigh(standardised @ standardised.T)
        roots = np.sqrt(np.maximum(squares[::-1][:count], 1e-12))
        components = standardised.T @ (left_vectors[:, ::-1][:, :count] / roots)
        self._components = with_fixed_signs(components).astype(np.float32)

    def __call__(self, embeddings: Float32Array) -> Float32Array:
        """Return the components (m, r) of embeddings (m, d), computed in blocks of rows."""
        projected = np.empty((len(embeddings), self._components.shape[1]), dtype=np.float32)
        for start in range(0, len(embeddings), MAX_FITTED_ROWS):
            rows = slice(start, start + MAX_FITTED_ROWS)
            projected[rows] = self._scaling(embeddings[rows]) @ self._components
        return projected


def with_fixed_signs(axes: FloatArray) -> FloatArray:
    """Return axes (d, r), each with the sign that makes its largest component positive.

    Both signs of an eigenvector are right, and how a processor rounds decides which of them it finds.
    """
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return np.asarray(axes * np.where(largest < 0, -1.0, 1.0))
