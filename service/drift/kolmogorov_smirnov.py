"""The Kolmogorov-Smirnov distance over several directions of a view."""

import numpy as np

from .permutations import Features
from .prediction_views import ViewName
from .row_products import row_products
from .statistic import Values
from .types import Float32Array, FloatArray

GRID = 32  # pooled quantiles at which distribution functions are compared


class KolmogorovSmirnov:
    """Largest difference of distribution functions, over some directions of a view.

    Distribution functions are right-continuous, so that tied values count once, and are compared at 32 pooled
    quantiles, which lowers a distance by at most 1/32.

    References
    ----------
    Rabanser, Günnemann and Lipton (2019), Failing loudly.
    """

    def __init__(self, view: ViewName, columns: Float32Array, directions: Float32Array, family: str = "ks") -> None:
        self.name, self.view, self.family = f"ks {view}", view, family
        self._directions = directions
        levels = np.arange(GRID) / GRID
        places = row_products(columns, directions)
        self._grid = np.quantile(places, levels, axis=0, method="inverted_cdf").T

    def features(self, columns: Float32Array) -> Features:
        """Return for each direction and grid value whether a row lies at or below it, (rows, directions * 32)."""
        below = row_products(columns, self._directions)[:, :, None] <= self._grid
        return Features.of_shares(np.asarray(below.reshape(len(columns), -1), dtype=np.float32))

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the largest distance; the distance of each direction is a component."""
        distances = np.abs(differences).reshape(len(differences), -1, GRID).max(axis=2).T
        return Values(distances.max(axis=0), distances.max(axis=0), distances)
