"""How far images are from a window, in embeddings and properties: MMD² with the uncertainty of its differences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...drift.combination import p_values
from ...drift.mmd import gaussian, median_squared_distance, unbiased_mmd2
from ...drift.permutations import Contrasts
from ...drift.reference import Reference
from ...drift.samples import Sample
from ...drift.views import View, Views

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

SIZES = ("width", "height")  # properties that no operation on pixels moves
RESAMPLES = 400


@dataclass(frozen=True, eq=False)
class Distance:
    """Unbiased MMD² of one set of images to the window, with the kernels from which it was made."""

    mmd2: float
    within: Matrix  # (n, n) kernel among the images, diagonal zero
    cross: Matrix  # (n, m) kernel between images and window


class Target:
    """A window, as images are to resemble it.

    The kernel is the sum of a Gaussian one on standardised embeddings and one on standardised properties, so that the
    discrepancy is the sum of both views' MMD² (Gretton et al. 2012, eq. 3). Bandwidths are the median squared
    distances within reference and window together: from the reference alone a window far away would be
    equally far from everything.

    Parameters
    ----------
    reference : Reference
        Reference in whose units embeddings and properties are.
    window : Sample
        Embeddings and properties (m rows); without properties embeddings alone are compared.
    """

    def __init__(self, reference: Reference, window: Sample) -> None:
        self._views = Views(reference)
        self._columns = [i for i, name in enumerate(reference.property_names) if name not in SIZES]
        self._window = self._features(window)
        both = zip(self._features(reference.sample), self._window, strict=False)
        self._bandwidths = [median_squared_distance(_pooled(*pair)) for pair in both]
        m = len(window)
        self._within_window = self._kernel(self._window, self._window)
        np.fill_diagonal(self._within_window, 0)
        self._mean_within_window = float(self._within_window.sum()) / (m * (m - 1))

    def distance(self, images: Sample) -> Distance:
        """Return the discrepancy of images (n rows, at least 2)."""
        features = self._features(images)
        within = self._kernel(features, features)
        np.fill_diagonal(within, 0)
        cross = self._kernel(features, self._window)
        n = len(images)
        mmd2 = float(within.sum()) / (n * (n - 1)) - 2 * float(cross.mean()) + self._mean_within_window
        return Distance(mmd2, within, cross)

    def reduction(self, before: Distance, after: Distance, seed: int = 0) -> Matrix:
        """Return the paired bootstrap of MMD²(before) - MMD²(after), both of the same images: (RESAMPLES,).

        Images and window rows are redrawn; pairs of a row with itself stay out of the redrawn means. What is redrawn
        of the window's own kernel cancels.
        """
        rng = np.random.default_rng(seed)
        n, m = before.cross.shape
        images = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
        window = rng.multinomial(m, np.full(m, 1 / m), size=RESAMPLES) / m
        pairs = images.sum(axis=1) ** 2 - (images**2).sum(axis=1)
        within = ((images @ (before.within - after.within)) * images).sum(axis=1) / pairs
        cross = ((images @ (before.cross - after.cross)) * window).sum(axis=1) / n
        return np.asarray(within - 2 * cross)

    def p_value(self, distance: Distance, seed: int = 0) -> float:
        """Return the permutation p-value (1 + #{as large}) / (1 + B) of images and window coming from one source."""
        n, m = distance.cross.shape
        kernel = np.block([[distance.within, distance.cross], [distance.cross.T, self._within_window]])
        permutations = Contrasts.permutations(n, m, RESAMPLES, np.random.default_rng(seed))
        mmd2 = unbiased_mmd2(kernel, permutations.weights.astype(np.float64))
        return float(p_values(mmd2)[0])

    def _features(self, sample: Sample) -> list[Floats]:
        views = self._views(sample)
        properties = views.get(View.PROPERTY)
        parts = [views[View.EMBEDDING]]
        if properties is not None and self._columns:
            parts.append(np.ascontiguousarray(properties[:, self._columns]))
        return parts

    def _kernel(self, first: list[Floats], second: list[Floats]) -> Matrix:
        parts = [gaussian(x, y, width) for x, y, width in zip(first, second, self._bandwidths, strict=False)]
        return np.asarray(sum(parts[1:], parts[0]), dtype=np.float64)


def _pooled(reference: Floats, window: Floats) -> Floats:
    """Return as many rows of the reference as of the window, with these."""
    rows = np.linspace(0, len(reference) - 1, min(len(reference), len(window))).astype(int)
    return np.concatenate([reference[rows], window])
