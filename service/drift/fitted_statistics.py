"""All statistics of the window test, with their features fitted to pooled rows."""

from collections.abc import Mapping, Sequence

import numpy as np

from .class_groups import group_classes
from .class_share_statistics import ClassShares, LargestClassShift
from .kolmogorov_smirnov import KolmogorovSmirnov
from .mean_statistics import KernelMean, Spectrum, WhitenedMean
from .permutations import Contrasts
from .prediction_views import LOG_OFFSET, PredictionViews, ViewName
from .proportions import one_hot
from .scaling import Scaling
from .statistic import Statistic, Values
from .types import Float32Array, IntArray

KERNEL_STREAM = 2  # number of the random stream of the kernels, which no other use of a seed shares
FINE_RIDGE = 1e-3  # a second, smaller ridge for the few properties: little noise moves one against all others
KS_CLASSES = 32  # most frequent classes whose log-probability has a KS distance

Columns = Mapping[ViewName, Float32Array]


class FittedStatistics:
    """All statistics of the window test, fitted to pooled rows.

    Everything here is a symmetric function of the rows: it is the same for every permutation of reference and
    window, which is what makes the permutation test exact for any number of rows, dimensions and classes.

    Parameters
    ----------
    pooled : PredictionViews
        The rows that are fitted to: reference and window, or calm traffic.
    seed : int
        Seed of the frequencies of the kernels and the rows that its median distance is taken from.
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
            LargestClassShift("largest count", "predicted_label", columns["predicted_label"]),
            LargestClassShift("largest soft count", "soft_label", columns["soft_label"]),
        ]
        if not self._ungrouped:
            soft_labels = columns["soft_label"]
            statistics.append(ClassShares("group counts", "soft_label", soft_labels, self._groups))
            statistics.append(LargestClassShift("largest group count", "soft_label", soft_labels, self._groups))
        if "property" in columns:
            rows = columns["property"]
            identity = np.eye(rows.shape[1], dtype=np.float32)
            statistics.append(KernelMean("property", rows, rng))
            statistics.append(WhitenedMean("property", Spectrum(rows)))
            statistics.append(WhitenedMean("property", Spectrum(rows, FINE_RIDGE), name="fine mean"))
            statistics.append(KolmogorovSmirnov("property", rows, identity, family="properties"))
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
            features = statistic.features(columns[statistic.view])
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


def _unit_vectors(dimensions: int, dimensions_used: IntArray) -> Float32Array:
    return np.asarray(np.eye(dimensions, dtype=np.float32)[:, dimensions_used])
