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

CONCENTRATIONS = (0.1, 0.3, 1.0, 3.0)  # concentrations of the Dirichlet distribution of proportions: one class to all
DRAWS = 2  # draws of the images with proportions of each concentration, for each rehearsal
FEW_DRAWS = 3  # draws of the images of a few classes in equal proportions, for each rehearsal
MAX_FEW = 0.4  # share of the classes that count as few, at most
LEAST_CONCENTRATION = 1e-3  # concentration of one class, below which its gamma variates are all zero
MIX_SEED = 1  # seed of the draws


class Recorder:
    """Collects rehearsals of one reference.

    Each rehearsal is recorded at the class proportions of the images, and at others that cost no run of the model:
    the images are drawn again with proportions from a Dirichlet distribution, or in equal proportions of a few classes.

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
        self._by_class = [np.flatnonzero(self._labels == label) for label in np.unique(self._labels)]
        self._rng = np.random.default_rng(MIX_SEED)
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
        draws = [self._rows_at(self._dirichlet(concentration)) for concentration in CONCENTRATIONS * DRAWS]
        draws += [self._rows_at(self._few_classes()) for _ in range(FEW_DRAWS)]
        self._mixed_accuracy.append([float(right[rows].mean()) for rows in draws])
        self._mixed_vectors.append([self._features(sample.rows(rows)) for rows in draws])

    def _right(self, sample: Sample) -> FloatArray:
        return np.asarray(sample.probabilities.argmax(axis=1) == self._labels, dtype=np.float64)

    def _dirichlet(self, concentration: float) -> FloatArray:
        """Return proportions of the classes around those of the images."""
        shares = np.array([len(rows) for rows in self._by_class]) / len(self._rows)
        by_class = np.maximum(concentration * len(shares) * shares, LEAST_CONCENTRATION)
        return self._rng.dirichlet(by_class)

    def _few_classes(self) -> FloatArray:
        """Return equal proportions of a few classes; the others have none."""
        classes = len(self._by_class)
        few = self._rng.choice(classes, self._rng.integers(1, max(1, round(MAX_FEW * classes)) + 1), replace=False)
        return np.isin(np.arange(classes), few) / len(few)

    def _rows_at(self, proportions: FloatArray) -> IntArray:
        """Return as many rows as there are images, drawn with replacement within classes."""
        counts = self._rng.multinomial(len(self._rows), proportions)
        drawn = [self._rng.choice(rows, count) for rows, count in zip(self._by_class, counts, strict=True)]
        return np.concatenate(drawn)
