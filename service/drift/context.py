"""What is normal at an hour of the week or for a tag: a regression of scores on covariates, and its sampling error."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .row_products import row_products
from .types import Float32Array, FloatArray

RIDGE = 1.0  # predictions by which a coefficient is shrunk, in units of its covariate's variance


class ContextModel(NamedTuple):
    """The expected score row given covariates: ridge regression of traffic in control, intercept included.

    References
    ----------
    Hoerl and Kennard (1970), Ridge regression, Technometrics 12.
    Cobb and Van Looveren (2022), Context-aware drift detection, ICML; there with kernels.
    """

    location: FloatArray  # (c,) mean of each covariate
    coefficients: FloatArray  # (1 + c, columns), intercept first

    @classmethod
    def fit(cls, context: FloatArray, rows: Float32Array) -> "ContextModel":
        """Return the model of `rows` (n, columns) given `context` (n, c)."""
        location = context.mean(axis=0)
        design = with_intercept(context - location)
        return cls(location, ridge(design, rows.astype(np.float64), design.T @ design))

    def expected(self, context: FloatArray) -> Float32Array:
        """Return the expected rows (m, columns)."""
        return row_products(with_intercept(context - self.location), self.coefficients).astype(np.float32)


def with_intercept(context: FloatArray) -> FloatArray:
    """Return covariates (n, c) with a column of ones before them."""
    return np.hstack([np.ones((len(context), 1)), context])


def ridge(design: FloatArray, rows: FloatArray, gram: FloatArray) -> FloatArray:
    """Return coefficients (1 + c, columns); the intercept is not shrunk, the others by `RIDGE` predictions each."""
    penalty = RIDGE * np.diag(gram) / max(len(design), 1)
    penalty[0] = 0
    penalty[1:] += 1e-9 * max(float(gram[0, 0]), 1.0)  # keeps covariates that are constant or collinear at zero
    return np.asarray(np.linalg.solve(gram + np.diag(penalty), design.T @ rows))


def check_context(context: ArrayLike, m: int, columns: int | None = None) -> FloatArray:
    """Return covariates as float64 (m, c).

    Raises
    ------
    ValueError
        Another shape, or values that are not finite.
    """
    values = np.asarray(context, dtype=np.float64)
    if values.ndim != 2 or len(values) != m or (columns is not None and values.shape[1] != columns):
        expected = f"({m}, {'c' if columns is None else columns})"
        raise ValueError(f"context must have shape {expected}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("context holds NaN or infinity")
    return values
