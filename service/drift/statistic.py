"""What a statistic of the window test is: features of rows, and a function of their differences of means.

Each statistic is written once. The null distribution is decided by the contrasts (see `permutations`) alone.
"""

from typing import NamedTuple, Protocol

import numpy as np

from .permutations import Features
from .prediction_views import ViewName
from .types import Float32Array, FloatArray


class Values(NamedTuple):
    """One statistic under each contrast.

    Attributes
    ----------
    statistic : float (contrasts,)
        Large where window and reference differ.
    effect : float (contrasts,)
        The size of the difference in units that do not depend on the numbers of rows.
    components : float (components, contrasts)
        What the statistic is made of, where a report needs it.
    """

    statistic: FloatArray
    effect: FloatArray
    components: FloatArray


def joined_values(observed: Values, null: Values) -> Values:
    """Return the values of observed contrasts followed by those of the null distribution."""
    return Values(
        np.concatenate([observed.statistic, null.statistic]),
        np.concatenate([observed.effect, null.effect]),
        np.concatenate([observed.components, null.components], axis=1),
    )


class Statistic(Protocol):
    """Features of a view, and what their differences of means say."""

    name: str
    family: str  # the test of the report that it belongs to
    view: ViewName

    def features(self, columns: Float32Array) -> Features:
        """Return the features (rows, c) of the view's columns (rows, ...)."""
        ...

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the statistic from differences of means (contrasts, c) of samples of these sizes."""
        ...
