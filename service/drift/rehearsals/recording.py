"""Turns predictions under each rehearsed operation into the record that a reference stores."""

from typing import TYPE_CHECKING

import numpy as np

from ..samples import Sample
from ..types import FloatArray, IntArray
from .features import WindowFeatures
from .fingerprint import Fingerprint
from .record import Rehearsal, Rehearsals

if TYPE_CHECKING:
    from ..reference import Reference


class Recorder:
    """Collects rehearsals of one reference.

    Parameters
    ----------
    reference : Reference with labels.
    rows : int (I,), its rows whose images are rehearsed.

    Attributes
    ----------
    unchanged_accuracy : float, the accuracy on the images as they are.

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
        self.unchanged_accuracy = float((unchanged.probabilities.argmax(axis=1) == self._labels).mean())
        self._features = WindowFeatures(reference, rows, len(rows))
        self._fingerprint = Fingerprint(self._features, unchanged)
        self._rehearsals: list[Rehearsal] = []
        self._accuracy: list[float] = []
        self._vectors: list[FloatArray] = [self._features(unchanged)]
        self._fingerprints: list[FloatArray] = [self._fingerprint(unchanged)]

    def add(self, rehearsal: Rehearsal, sample: Sample) -> float:
        """Add the predictions of the changed images, in the order of `rows`, and return the accuracy on them."""
        accuracy = float((sample.probabilities.argmax(axis=1) == self._labels).mean())
        self._rehearsals.append(rehearsal)
        self._accuracy.append(accuracy)
        self._vectors.append(self._features(sample))
        self._fingerprints.append(self._fingerprint(sample))
        return accuracy

    def rehearsals(self) -> Rehearsals:
        """Return all that were added."""
        return Rehearsals(
            rehearsals=tuple(self._rehearsals),
            rows=self._rows,
            accuracy=np.array(self._accuracy),
            features=np.stack(self._vectors),
            fingerprints=np.stack(self._fingerprints),
        )
