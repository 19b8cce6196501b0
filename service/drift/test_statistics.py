"""The statistics of the window test: features fitted to pooled rows, and functions of their differences of means.

Each statistic is written once. The null distribution is decided by the contrasts (see `permutations`) alone.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from scipy import linalg, special

from .class_groups import group_classes
from .mmd import median_squared_distance
from .permutations import Contrasts, centred
from .prediction_views import LOG_OFFSET, PredictionViews, ViewName
from .proportions import one_hot
from .scaling import Scaling
from .types import Float32Array, FloatArray, IntArray
from .whitening import RIDGE

FREQUENCIES = 128  # random frequencies of the kernel; each gives a cosine and a sine
KERNEL_STREAM = 2  # number of the random stream of the kernels, which no other use of a seed shares
KERNEL_ROWS = 500  # pooled rows from which the median distance is taken
KS_COMPONENTS = 8  # leading principal components of the embedding that have a KS distance of their own
KS_CLASSES = 32  # most frequent classes whose log-probability has a KS distance
GRID = 32  # pooled quantiles at which distribution functions are compared

Columns = Mapping[ViewName, Float32Array]


class Values(NamedTuple):
    """One statistic under each contrast.

    Attributes
    ----------
    statistic : float (contrasts,), large where window and reference differ.
    effect : float (contrasts,), the size of the difference in units that do not depend on the numbers of rows.
    components : float (components, contrasts), what the statistic is made of, where a report needs it.
    """

    statistic: FloatArray
    effect: FloatArray
    components: FloatArray


class Statistic(Protocol):
    """Features of a view, and what their differences of means say."""

    name: str
    family: str  # the test of the report that it belongs to
    view: ViewName

    def features(self, columns: Float32Array) -> Float32Array:
        """Return the features (rows, c) of the view's columns (rows, ...)."""
        ...

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the statistic from differences of means (contrasts, c) of samples of these sizes."""
        ...


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
        some = columns[rng.permutation(len(columns))[:KERNEL_ROWS]]
        frequencies = orthogonal_frequencies(columns.shape[1], FREQUENCIES, rng)
        self._frequencies = (frequencies * np.sqrt(2 / median_squared_distance(some))).astype(np.float32)
        self._similarity = float((self._waves(columns).mean(axis=0, dtype=np.float64) ** 2).sum())

    def features(self, columns: Float32Array) -> Float32Array:
        """Return cosines and sines (rows, 256); the product of two rows estimates their kernel."""
        return self._waves(columns)

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

    def __init__(self, view: ViewName, spectrum: "Spectrum") -> None:
        self.name, self.view = f"mean {view}", view
        self._root = spectrum.root

    def features(self, columns: Float32Array) -> Float32Array:
        """Return the columns themselves."""
        return columns

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the squared length d² of the whitened difference; its effect is d² / (1 + d²)."""
        square = ((differences @ self._root) ** 2).sum(axis=1)
        return Values(square, square / (1 + square), np.abs(differences).T)


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
        self._grid = np.quantile(columns @ directions, levels, axis=0, method="inverted_cdf").T

    def features(self, columns: Float32Array) -> Float32Array:
        """Return for each direction and grid value whether a row lies at or below it, (rows, directions * 32)."""
        below = (columns @ self._directions)[:, :, None] <= self._grid
        return np.asarray(below.reshape(len(columns), -1), dtype=np.float32)

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the largest distance; the distance of each direction is a component."""
        distances = np.abs(differences).reshape(len(differences), -1, GRID).max(axis=2).T
        return Values(distances.max(axis=0), distances.max(axis=0), distances)


class ClassShares:
    """G test of the shares of predicted classes, or of mean probabilities, both samples being finite.

    G = 2 Σ_c [m p_c log(p_c / π_c) + n r_c log(r_c / π_c)] with the shares p of the window, r of the reference and π
    of both together.

    References
    ----------
    Sokal and Rohlf (1995), Biometry, box 17.6.
    """

    family = "proportions"

    def __init__(self, name: str, view: ViewName, columns: Float32Array, groups: IntArray | None = None) -> None:
        self.name, self.view = name, view
        self._groups = None if groups is None else one_hot(groups, int(groups.max()) + 1)
        self._pooled = self.features(columns).mean(axis=0, dtype=np.float64)

    def features(self, columns: Float32Array) -> Float32Array:
        """Return each row's weight on each class, or group of classes, (rows, groups)."""
        return columns if self._groups is None else columns @ self._groups

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return G; its effect is the total variation distance of the shares."""
        n, m = sizes
        window = np.maximum(self._pooled + differences * (n / (n + m)), 0)
        reference = np.maximum(self._pooled - differences * (m / (n + m)), 0)
        log_pooled = np.log(np.maximum(self._pooled, 1e-300))
        parts = m * (special.xlogy(window, window) - window * log_pooled)
        parts += n * (special.xlogy(reference, reference) - reference * log_pooled)
        statistic = 2 * parts.sum(axis=1)
        return Values(statistic, np.abs(differences).sum(axis=1) / 2, statistic[None])


class LargestClassShift:
    """The mean probability of the class, or group of classes, that moved most, in deviations.

    It sees a change of one class among many, which a sum over all classes dilutes.
    """

    family = "proportions"

    def __init__(self, name: str, view: ViewName, columns: Float32Array, groups: IntArray | None = None) -> None:
        self.name, self.view = name, view
        self._groups = None if groups is None else one_hot(groups, int(groups.max()) + 1)
        self._deviation = np.maximum(self.features(columns).std(axis=0, dtype=np.float64), 1e-9)

    def features(self, columns: Float32Array) -> Float32Array:
        """Return each row's weight on each class, or group of classes, (rows, groups)."""
        return columns if self._groups is None else columns @ self._groups

    def values(self, differences: FloatArray, sizes: tuple[int, int]) -> Values:
        """Return the largest standardised difference; its effect is the largest difference of a mean probability."""
        statistic = np.abs(differences / self._deviation).max(axis=1)
        return Values(statistic, np.abs(differences).max(axis=1), statistic[None])


class Spectrum:
    """Eigenvalues and axes of the covariance of pooled columns (rows, c)."""

    def __init__(self, columns: Float32Array) -> None:
        centred = columns - columns.mean(axis=0, dtype=np.float64).astype(np.float32)
        values, vectors = linalg.eigh((centred.T @ centred).astype(np.float64) / max(len(columns) - 1, 1))
        values = np.maximum(values, 0)
        ridge = RIDGE * values[-1] if values[-1] > 0 else 1.0
        self.root: FloatArray = vectors / np.sqrt(values + ridge)  # (c, c), turns columns into whitened components
        self.leading: Float32Array = vectors[:, ::-1][:, :KS_COMPONENTS].astype(np.float32)


class FittedStatistics:
    """All statistics of the window test, fitted to pooled rows.

    Everything here is a symmetric function of the rows: it is the same for every permutation of reference and
    window, which is what makes the permutation test exact for any number of rows, dimensions and classes.

    Parameters
    ----------
    pooled : the rows that are fitted to: reference and window, or calm traffic.
    seed : of the frequencies of the kernels and the rows that its median distance is taken from.
    """

    def __init__(self, pooled: PredictionViews, seed: int) -> None:
        rng = np.random.default_rng([seed, KERNEL_STREAM])
        self._groups = group_classes(pooled.probabilities)
        self._group_matrix = one_hot(self._groups, int(self._groups.max()) + 1)
        self._ungrouped = len(self._groups) == self._group_matrix.shape[1]
        self._scalings = {name: Scaling(columns) for name, columns in self._unscaled(pooled).items()}
        columns = self.columns(pooled)
        embedding = Spectrum(columns["embedding"])
        frequent = np.sort(np.argsort(-self._grouped(pooled).mean(axis=0), kind="stable")[:KS_CLASSES])
        log_probability = columns["log_probability"]
        statistics: list[Statistic] = [
            KernelMean("embedding", columns["embedding"], rng),
            KernelMean("log_probability", log_probability, rng),
            WhitenedMean("embedding", embedding),
            WhitenedMean("log_probability", Spectrum(log_probability)),
            KolmogorovSmirnov("embedding", columns["embedding"], embedding.leading),
            KolmogorovSmirnov("log_probability", log_probability, _unit_vectors(log_probability.shape[1], frequent)),
            ClassShares("counts", "predicted_label", columns["predicted_label"]),
            ClassShares("soft counts", "soft_label", columns["soft_label"]),
            LargestClassShift("largest soft count", "soft_label", columns["soft_label"]),
        ]
        if not self._ungrouped:
            soft_labels = columns["soft_label"]
            statistics.append(ClassShares("group counts", "soft_label", soft_labels, self._groups))
            statistics.append(LargestClassShift("largest group count", "soft_label", soft_labels, self._groups))
        if "property" in columns:
            rows = columns["property"]
            every = np.eye(rows.shape[1], dtype=np.float32)
            statistics.append(WhitenedMean("property", Spectrum(rows)))
            statistics.append(KolmogorovSmirnov("property", rows, every, family="properties"))
        self.statistics: tuple[Statistic, ...] = tuple(statistics)

    def columns(self, views: PredictionViews) -> Columns:
        """Return the columns of each view, standardised where their units differ."""
        columns = {name: self._scalings[name](rows) for name, rows in self._unscaled(views).items()}
        columns["soft_label"] = views.probabilities
        columns["predicted_label"] = one_hot(views.predicted, views.probabilities.shape[1])
        return columns

    def evaluate(self, views: PredictionViews, contrasts: Sequence[Contrasts]) -> list[dict[str, Values]]:
        """Return for each set of contrasts of these rows the values of all statistics by name."""
        columns = self.columns(views)
        tables: list[dict[str, Values]] = [{} for _ in contrasts]
        for statistic in self.statistics:
            features = centred(statistic.features(columns[statistic.view]))
            for table, contrast in zip(tables, contrasts, strict=True):
                table[statistic.name] = statistic.values(contrast.differences(features), contrast.sizes)
        return tables

    def _unscaled(self, views: PredictionViews) -> dict[ViewName, Float32Array]:
        unscaled: dict[ViewName, Float32Array] = {
            "embedding": views.embedding,
            "log_probability": np.log(self._grouped(views) + np.float32(LOG_OFFSET)),
        }
        if views.properties is not None:
            unscaled["property"] = views.properties
        return unscaled

    def _grouped(self, views: PredictionViews) -> Float32Array:
        return views.probabilities if self._ungrouped else np.asarray(views.probabilities @ self._group_matrix)


def orthogonal_frequencies(dimensions: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return standard normal directions (dimensions, count), orthogonal in blocks of at most `dimensions`."""
    blocks = []
    width = min(dimensions, count)
    for _ in range(-(-count // width)):
        axes, _ = np.linalg.qr(rng.normal(size=(dimensions, width)))
        blocks.append(axes * np.sqrt(rng.chisquare(dimensions, size=width)))
    return np.hstack(blocks)[:, :count]


def _unit_vectors(dimensions: int, chosen: IntArray) -> Float32Array:
    return np.asarray(np.eye(dimensions, dtype=np.float32)[:, chosen])
