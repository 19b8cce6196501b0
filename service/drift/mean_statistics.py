"""Statistics that compare means: of a kernel's features, and in units of the pooled covariance."""

import numpy as np
from scipy import linalg

from .mmd import median_squared_distance
from .permutations import Features
from .prediction_views import ViewName
from .principal_components import with_fixed_signs
from .statistic import Values
from .types import Float32Array, FloatArray
from .whitening import MIN_SHARE, RIDGE

FREQUENCIES = 128  # random frequencies of the kernel; each gives a cosine and a sine
KERNEL_ROWS = 500  # pooled rows from which the median distance is taken
LEADING_COMPONENTS = 8  # principal components whose distribution functions are compared


class KernelMean:
    """Squared maximum mean discrepancy with a Gaussian kernel, by random Fourier features.

    The kernel is exp(-|x - y|² / b), b being the median squared distance of pooled rows. Features that the window's
    rows share make every permutation a product of matrices, for a reference of any size.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola (2012), A kernel two-sample test.
    Rahimi and Recht (2007), Random features for large-scale kernel machines.
    Yu, Suresh, Choromanski, Holtmann-Rice and Kumar (2016), Orthogonal random features.
    """

    family = "mmd"

    def __init__(self, view: ViewName, columns: Float32Array, rng: np.random.Generator) -> None:
        self.name, self.view = f"mmd {view}", view
        sample = columns[rng.permutation(len(columns))[:KERNEL_ROWS]]
        frequencies = orthogonal_frequencies(columns.shape[1], FREQUENCIES, rng)
        self._frequencies = (frequencies * np.sqrt(2 / median_squared_distance(sample))).astype(np.float32)
        self._similarity = float((self._waves(columns).mean(axis=0, dtype=np.float64) ** 2).sum())

    def features(self, columns: Float32Array) -> Features:
        """Return cosines and sines (rows, 256); the product of two rows estimates their kernel."""
        return Features.of_measures(self._waves(columns))

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return MMD², and as its effect MMD² relative to the similarity within the samples, in 0..1."""
        mmd2 = (differences**2).sum(axis=1)
        return Values(mmd2, np.clip(mmd2 / (2 * self._similarity + mmd2 / 2), 0, 1), mmd2[None])

    def _waves(self, columns: Float32Array) -> Float32Array:
        phases = columns @ self._frequencies
        waves = np.hstack([np.cos(phases), np.sin(phases)])
        waves *= np.float32(1 / np.sqrt(FREQUENCIES))
        return waves


class WhitenedMean:
    """Squared distance of the means in units of the pooled covariance: a regularised Hotelling statistic.

    References
    ----------
    Hagrass, Sriperumbudur and Li (2022), Spectral regularized kernel two-sample tests.
    """

    family = "mean"

    def __init__(self, view: ViewName, spectrum: "Spectrum", name: str = "mean") -> None:
        self.name, self.view = f"{name} {view}", view
        self._root = spectrum.root

    def features(self, columns: Float32Array) -> Features:
        """Return the columns themselves."""
        return Features.of_measures(columns)

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the squared length d² of the whitened difference; its effect is d² / (1 + d²)."""
        square = ((differences @ self._root) ** 2).sum(axis=1)
        return Values(square, square / (1 + square), np.abs(differences).T)


class Spectrum:
    """Eigenvalues and axes of the covariance of pooled columns (rows, c).

    Parameters
    ----------
    ridge : float, default 0.01
        Share of the largest eigenvalue that is added to all.
    """

    def __init__(self, columns: Float32Array, ridge: float = RIDGE) -> None:
        centred = columns - columns.mean(axis=0, dtype=np.float64).astype(np.float32)
        values, vectors = linalg.eigh((centred.T @ centred).astype(np.float64) / max(len(columns) - 1, 1))
        values = np.maximum(values, 0)
        diagonal = ridge * values[-1] if values[-1] > 0 else 1.0
        self.root: FloatArray = vectors / np.sqrt(values + diagonal)  # (c, c), turns columns into whitened components
        leading = with_fixed_signs(vectors[:, ::-1][:, :LEADING_COMPONENTS])
        leading[:, values[::-1][:LEADING_COMPONENTS] <= MIN_SHARE * values[-1]] = 0  # what is left is rounding errors
        self.leading: Float32Array = leading.astype(np.float32)


def orthogonal_frequencies(dimensions: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return standard normal directions (dimensions, count), orthogonal in blocks of at most `dimensions`."""
    blocks = []
    width = min(dimensions, count)
    for _ in range(-(-count // width)):
        axes, _ = np.linalg.qr(rng.normal(size=(dimensions, width)))
        blocks.append(axes * np.sqrt(rng.chisquare(dimensions, size=width)))
    return np.hstack(blocks)[:, :count]
