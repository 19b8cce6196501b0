"""Turns predictions under each rehearsed operation into the record that a reference stores."""

from typing import TYPE_CHECKING

import numpy as np

from ..samples import Sample
from ..types import FloatArray, IntArray
from .class_draws import ClassDraws
from .features import WindowFeatures
from .fingerprint import Fingerprint
from .record import Rehearsal, Rehearsals

if TYPE_CHECKING:
    from ..reference import Reference


class Recorder:
    """Collects rehearsals of one reference.

    Each rehearsal is recorded at the class proportions of the images, and at others that cost no run of the model.

    Parameters
    ----------
    reference : Reference
        Reference with labels.
    rows : int (I,)
        Its rows whose images are rehearsed.

    Attributes
    ----------
    unchanged_accuracy : float
        The accuracy on the images as they are.

    Raises
    ------
    ValueError
        The reference has no labels.
    """

    def __init__(self, reference: "Reference", rows: IntArray) -> None:
        if reference.labels is None:
            raise ValueError("rehearsals need a reference with labels")
        unchanged = reference.sample.rows(rows)
        self._rows = rows
        self._labels = reference.labels[rows]
        self._draws = ClassDraws(self._labels)
        self.unchanged_accuracy = float(self._right(unchanged).mean())
        self._features = WindowFeatures(reference, rows, len(rows))
        self._fingerprint = Fingerprint(self._features, unchanged)
        self._rehearsals: list[Rehearsal] = []
        self._accuracy: list[float] = []
        self._vectors: list[FloatArray] = []
        self._fingerprints: list[FloatArray] = []
        self._mixed_accuracy: list[list[float]] = []
        self._mixed_vectors: list[list[FloatArray]] = []
        self._record(unchanged)

    def add(self, rehearsal: Rehearsal, sample: Sample) -> float:
        """Add the predictions of the changed images, in the order of `rows`, and return the accuracy on them."""
        accuracy = float(self._right(sample).mean())
        self._rehearsals.append(rehearsal)
        self._accuracy.append(accuracy)
        self._record(sample)
        return accuracy

    def rehearsals(self) -> Rehearsals:
        """Return all that were added."""
        return Rehearsals(
            rehearsals=tuple(self._rehearsals),
            rows=self._rows,
            accuracy=np.array(self._accuracy),
            features=np.stack(self._vectors),
            fingerprints=np.stack(self._fingerprints),
            mixed_accuracy=np.array(self._mixed_accuracy),
            mixed_features=np.array(self._mixed_vectors),
        )

    def _record(self, sample: Sample) -> None:
        self._vectors.append(self._features(sample))
        self._fingerprints.append(self._fingerprint(sample))
        right = self._right(sample)
        draws = self._draws()
        self._mixed_accuracy.append([float(right[rows].mean()) for rows in draws])
        self._mixed_vectors.append([self._features(sample.rows(rows)) for rows in draws])

    def _right(self, sample: Sample) -> FloatArray:
        return np.asarray(sample.probabilities.argmax(axis=1) == self._labels, dtype=np.float64)
