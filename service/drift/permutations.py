"""Contrasts of a window with a reference: the observed one, and those drawn under a null hypothesis."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .types import Float32Array, FloatArray

KEYS_AT_A_TIME = 4_000_000  # random numbers held at a time while permutations are drawn


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Ways to weight rows so that the weighted sum of a feature is "mean of the window minus mean of the reference".

    Every statistic of the window test is a function of such differences of means. The null hypothesis decides about
    the weights only: permutations of pooled rows, or a bootstrap of traffic that was declared calm.

    Attributes
    ----------
    weights : float32 (rows, contrasts)
        A column a contrast.
    sizes : tuple[int, int]
        Rows of a reference and of a window.
    scale : float
        Factor on the weighted sums.
    """

    weights: Float32Array
    sizes: tuple[int, int]
    scale: float = 1.0

    @classmethod
    def permutations(cls, n: int, m: int, count: int, rng: np.random.Generator) -> "Contrasts":
        """Return the observed contrast and `count` random permutations of n reference rows followed by m window rows.

        A difference of means is (1/n + 1/m) times the sum over the rows called "the window" of features less their
        means over the pooled rows, so that the weights are 0 or 1.
        """
        weights = np.zeros((n + m, count + 1), dtype=np.float32)
        weights[n:, 0] = 1
        step = max(1, KEYS_AT_A_TIME // (n + m))
        for first in range(0, count, step):
            keys = rng.random((min(step, count - first), n + m), dtype=np.float32)
            members = np.argpartition(keys, m - 1, axis=1)[:, :m]
            weights[members, first + 1 + np.arange(len(members))[:, None]] = 1
        return cls(weights, (n, m), 1 / n + 1 / m)

    @classmethod
    def bootstrap(cls, n: int, m: int, count: int, rng: np.random.Generator) -> "Contrasts":
        """Return `count` contrasts of a resampled window with a resampled reference, for intervals."""
        reference = rng.multinomial(n, np.full(n, 1 / n), size=count) / -n
        window = rng.multinomial(m, np.full(m, 1 / m), size=count) / m
        return cls(np.concatenate([reference, window], axis=1).T.astype(np.float32, order="C"), (n, m))

    @classmethod
    def of_calm_traffic(cls, windows: Float32Array, references: Float32Array, sizes: tuple[int, int]) -> "Contrasts":
        """Return contrasts of windows drawn from calm traffic with references drawn from the same.

        Parameters
        ----------
        windows, references : float32 (count, rows)
            The weight of each row of calm traffic in the mean of each drawn window and reference.
        sizes : tuple[int, int]
            Rows of a reference and of a window.
        """
        return cls(np.ascontiguousarray((windows - references).T), sizes)

    def differences(self, features: "Features") -> FloatArray:
        """Return the differences of means (contrasts, columns) of features (rows, columns)."""
        sums: FloatArray = (self.weights.T @ features.columns).astype(np.float64)
        if features.means is not None:
            sums -= self._totals[:, None] * features.means
        sums *= self.scale
        return sums

    @cached_property
    def _totals(self) -> FloatArray:
        """The sum of the weights of each contrast."""
        totals: FloatArray = self.weights.sum(axis=0, dtype=np.float64)
        return totals


class Features(NamedTuple):
    """Features of rows, whose means over all rows are subtracted before or after they are added up.

    Attributes
    ----------
    columns : float32 (rows, columns)
        Centred if there are no means.
    means : float64 (columns,) or None
        The means of the columns, which are to be subtracted from the sums.
    """

    columns: Float32Array
    means: FloatArray | None

    @classmethod
    def of_measures(cls, columns: Float32Array) -> "Features":
        """Return features that are centred first: their sums are small, and those of a constant one exactly zero."""
        return cls(np.asarray(columns - columns.mean(axis=0, dtype=np.float64).astype(np.float32)), None)

    @classmethod
    def of_shares(cls, columns: Float32Array) -> "Features":
        """Return features in 0..1 that are added up as they are.

        Permutations add up zeros and ones to whole numbers: these are the same in whatever order a processor adds, and
        so equal for permutations that are equally extreme.
        """
        return cls(columns, columns.mean(axis=0, dtype=np.float64))
