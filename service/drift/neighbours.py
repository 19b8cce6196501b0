"""Which rows of a reference are most like given predictions, among those that can be shown to people."""

import numpy as np
from numpy.typing import NDArray

from .reference import Reference
from .report import Neighbour
from .samples import Sample
from .views import View, Views


class Neighbours:
    """Finds the nearest reference rows by standardised embedding.

    Parameters
    ----------
    rows : int (s,)
        The rows of the reference that may be named.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = Reference(rng.normal(size=(100, 4)), rng.dirichlet([1, 1, 1], 100))
    >>> nearest = Neighbours(reference, np.array([3, 7]))(reference.sample.rows(np.array([7])), count=2)
    >>> [(row.row, row.distance) for row in nearest[0]][0]
    (7, 0.0)
    """

    def __init__(self, reference: Reference, rows: NDArray[np.int64]) -> None:
        self._reference = reference
        self._views = Views(reference)
        self._rows = rows
        self._embeddings = self._views(reference.sample.rows(rows))[View.EMBEDDING]

    def __call__(self, sample: Sample, count: int) -> list[tuple[Neighbour, ...]]:
        """Return up to `count` neighbours of each prediction, nearest first."""
        return [self._nearest(row, count) for row in self._views(sample)[View.EMBEDDING]]

    def _nearest(self, embedding: NDArray[np.float32], count: int) -> tuple[Neighbour, ...]:
        distances = np.sqrt(np.mean((self._embeddings - embedding) ** 2, axis=1, dtype=np.float64))
        return tuple(self._neighbour(at, distances[at]) for at in np.argsort(distances, kind="stable")[:count])

    def _neighbour(self, at: np.int64, distance: float) -> Neighbour:
        row, labels = int(self._rows[at]), self._reference.labels
        name = None if labels is None else self._reference.class_names[labels[row]]
        return Neighbour(row, name, float(distance))
