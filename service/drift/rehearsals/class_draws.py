"""Draws of rehearsed images at other class proportions than their own, which cost no run of the model."""

import numpy as np

from ..types import FloatArray, IntArray

CONCENTRATIONS = (0.1, 0.3, 1.0, 3.0)  # concentrations of the Dirichlet distribution of proportions: one class to all
DRAWS = 2  # draws of the images with proportions of each concentration, for each rehearsal
FEW_DRAWS = 3  # draws of the images of a few classes in equal proportions, for each rehearsal
MAX_FEW = 0.4  # share of the classes that count as few, at most
LEAST_CONCENTRATION = 1e-3  # concentration of one class, below which its gamma variates are all zero
MIX_SEED = 1  # seed of the draws


class ClassDraws:
    """Draws images again, with proportions from a Dirichlet distribution or in equal proportions of a few classes.

    Parameters
    ----------
    labels : int (I,)
        True classes of the images.
    """

    def __init__(self, labels: IntArray) -> None:
        self._images = len(labels)
        self._by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._rng = np.random.default_rng(MIX_SEED)

    def __call__(self) -> list[IntArray]:
        """Return the rows (I,) of each of eleven further draws."""
        draws = [self._rows_at(self._dirichlet(concentration)) for concentration in CONCENTRATIONS * DRAWS]
        return draws + [self._rows_at(self._few_classes()) for _ in range(FEW_DRAWS)]

    def _dirichlet(self, concentration: float) -> FloatArray:
        """Return proportions of the classes around those of the images."""
        shares = np.array([len(rows) for rows in self._by_class]) / self._images
        by_class = np.maximum(concentration * len(shares) * shares, LEAST_CONCENTRATION)
        return self._rng.dirichlet(by_class)

    def _few_classes(self) -> FloatArray:
        """Return equal proportions of a few classes; the others have none."""
        classes = len(self._by_class)
        few = self._rng.choice(classes, self._rng.integers(1, max(1, round(MAX_FEW * classes)) + 1), replace=False)
        return np.isin(np.arange(classes), few) / len(few)

    def _rows_at(self, proportions: FloatArray) -> IntArray:
        """Return as many rows as there are images, drawn with replacement within classes."""
        counts = self._rng.multinomial(self._images, proportions)
        drawn = [self._rng.choice(rows, count) for rows, count in zip(self._by_class, counts, strict=True)]
        return np.concatenate(drawn)
