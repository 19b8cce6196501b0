"""The embedding as rehearsals compare it: standardised, with its covariance and the reference's class means."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from ..principal_components import MAX_DIMENSIONS, MAX_FITTED_ROWS, Projection
from ..scaling import Scaling
from ..types import Float32Array, FloatArray, IntArray

RIDGE = 0.01  # share of the largest variance that is added to each, so that empty directions do not explode
WITHIN_RIDGE = 0.03  # share of the mean variance within classes that is added to each


@dataclass(frozen=True, eq=False)
class ClassDistances:
    """Distances of embeddings from the class means, in deviations within classes.

    Attributes
    ----------
    squared : float (m, k)
    log_posterior : float (m, k)
        Log posterior of a linear discriminant on the embeddings, not normalised.
    """

    squared: FloatArray
    log_posterior: FloatArray


class EmbeddingSpace:
    """Standardised embeddings of one reference; wide ones are projected on components of the reference's rows.

    Parameters
    ----------
    embeddings : float32 (n, d)
        Rows of the reference.
    labels : int (n,)
        Their true classes.
    classes : int
        Number of classes k.
    """

    def __init__(self, embeddings: Float32Array, labels: IntArray, classes: int) -> None:
        wide = embeddings.shape[1] > MAX_DIMENSIONS
        self._projection = Projection(embeddings[:MAX_FITTED_ROWS]) if wide else None
        projected = embeddings if self._projection is None else self._projection(embeddings)
        self._scaling = Scaling(projected)
        rows = self._scaling(projected).astype(np.float64)
        self._mean = rows.mean(axis=0)
        self.variances, self.axes = _eigen(np.cov(rows.T, ddof=0))
        counts = np.bincount(labels, minlength=classes)
        sums = np.zeros((classes, rows.shape[1]))
        np.add.at(sums, labels, rows)
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], self._mean)
        within, axes = _eigen((rows - means[labels]).T @ (rows - means[labels]) / len(rows))
        self._whitening = axes / np.sqrt(within + WITHIN_RIDGE * within.mean() + 1e-12)
        self._means = means @ self._whitening
        with np.errstate(divide="ignore"):
            self._log_prior = np.log(counts / len(rows))

    def __call__(self, embeddings: Float32Array) -> FloatArray:
        """Return standardised embeddings (m, r)."""
        projected = embeddings if self._projection is None else self._projection(embeddings)
        return self._scaling(projected).astype(np.float64)

    def components(self, rows: FloatArray, count: int) -> FloatArray:
        """Return the leading principal components (m, count) of standardised embeddings, of mean square 1 in all."""
        leading = self.axes[:, ::-1][:, :count]
        scale = np.sqrt(max(float(self.variances[::-1][:count].sum()), 1e-12))
        return np.asarray((rows - self._mean) @ leading / scale)

    def squared_shift(self, rows: FloatArray) -> float:
        """Return the squared distance of the rows' mean from the reference's, less what sampling alone makes of it."""
        weights = 1 / (self.variances + RIDGE * self.variances[-1] + 1e-12)
        shift = (rows.mean(axis=0) - self._mean) @ self.axes
        return max(float((shift**2 * weights).sum() - (self.variances * weights).sum() / len(rows)), 0.0)

    def class_distances(self, rows: FloatArray) -> ClassDistances:
        """Return the distances of standardised embeddings from the class means."""
        whitened = rows @ self._whitening
        squares = (whitened**2).sum(axis=1)[:, None] - 2 * whitened @ self._means.T + (self._means**2).sum(axis=1)
        squared = np.maximum(squares, 0)
        return ClassDistances(squared, self._log_prior - squared / 2)


def _eigen(covariance: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues in ascending order, at least 0, and the eigenvectors as columns."""
    values, vectors = linalg.eigh(np.atleast_2d(covariance))
    return np.maximum(values, 0), np.asarray(vectors)
