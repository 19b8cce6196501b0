"""Columns on one scale: centred, and divided by a deviation that cannot vanish."""

import numpy as np

from .types import Float32Array, FloatArray

MIN_RELATIVE_DEVIATION = 0.1  # share of the median deviation that a column's deviation counts for at least


class Scaling:
    """Standardises columns by the mean and deviation of the rows that it was fitted on.

    Deviations below a tenth of the median one are raised to it, so that units that are all but dead do not explode.

    Parameters
    ----------
    rows : float32 (n, columns)
    """

    def __init__(self, rows: Float32Array) -> None:
        self._mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._factor = (1 / floored_deviations(rows)).astype(np.float32)

    def __call__(self, rows: Float32Array) -> Float32Array:
        """Return standardised rows (m, columns) as float32."""
        return np.asarray((rows - self._mean) * self._factor)


def floored_deviations(rows: Float32Array) -> FloatArray:
    """Return each column's deviation (columns,), raised to a tenth of the median one where it is smaller."""
    deviations: FloatArray = rows.std(axis=0, dtype=np.float64)
    alive = deviations[deviations > 0]
    floor = MIN_RELATIVE_DEVIATION * float(np.median(alive)) if len(alive) else 1.0
    return np.maximum(deviations, floor)
