"""The null distribution of the window test from traffic that was declared calm."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import blocks
from .fitted_statistics import FittedStatistics
from .permutations import Contrasts
from .prediction_views import PredictionViews
from .statistic import Values, joined_values
from .types import Float32Array

SIZE_RATIO = 1.05  # ratio of the window sizes for which windows are drawn; others are scaled to the nearest
MAX_SIZES = 8  # sizes whose null distributions are held
PILOT_DRAWS = 199  # windows drawn from a baseline of traffic to tell how dependent its predictions are
DEPENDENT = 1.3  # design effect from which predictions of a baseline count as dependent
ROWS_AT_A_TIME = 1_000_000  # rows of references in blocks that are drawn at a time
MAX_SERIES_CLASSES = 128  # classes whose probabilities tell the block length; log-probabilities have no more groups


class _Null(NamedTuple):
    size: int
    values: dict[str, Values]
    design_effect: float


class CalmNull:
    """Statistics of windows and references drawn from calm traffic.

    Windows are drawn in blocks (stationary bootstrap), so that bursts and sessions are part of the null distribution.
    Each is compared with a reference that is drawn as the actual one was: independent rows, or blocks of the traffic
    where the reference is that traffic. This puts the sampling error of the reference into the null distribution.
    Statistics are fitted to the calm traffic, in which neither reference nor window takes part.

    Block bootstraps understate the variance of means, and know it only as well as the traffic shows it. The deviation
    of each drawn mean from that of the traffic is therefore multiplied by a factor of `blocks.spread_of_means`, the
    same for a window and its reference in blocks, whose variances err alike.

    Parameters
    ----------
    calm : PredictionViews
        Views of calm traffic in its own order.
    reference_size : int
        Rows of the reference that take part in tests.
    draws : int
        Windows that are drawn.
    seed : int
        Seed of the draws.
    reference_in_blocks : bool, default False
        Whether the reference is the calm traffic itself, or rows that were drawn at random from it.

    References
    ----------
    Politis and Romano (1994), The stationary bootstrap.
    """

    def __init__(
        self, calm: PredictionViews, reference_size: int, draws: int, seed: int, reference_in_blocks: bool = False
    ) -> None:
        self._calm = calm
        self._reference_size = reference_size
        self._reference_in_blocks = reference_in_blocks
        self._draws = draws
        self._seed = seed
        self.statistics = FittedStatistics(calm, seed)
        columns = self.statistics.columns(calm)
        self._series = np.hstack([columns["log_probability"], columns["soft_label"][:, :MAX_SERIES_CLASSES]])
        self._block = blocks.block_length(self._series.astype(np.float64))
        self._null = lru_cache(MAX_SIZES)(self._draw)

    def evaluate(self, pooled: PredictionViews, m: int, further: Sequence[Contrasts]) -> tuple[dict[str, Values], ...]:
        """Return the values of all statistics: first the observed ones, then those of calm windows.

        What `further` contrasts of the pooled rows give follows, a table for each.

        Parameters
        ----------
        pooled : PredictionViews
            The reference's rows followed by the window's.
        m : int
            Rows of the window.
        """
        n = len(pooled) - m
        null = self._null(_nearest_size(m))
        contrast = Contrasts.permutations(n, m, 0, np.random.default_rng(self._seed))
        scale = np.sqrt((1 / null.size + 1 / n) / (1 / m + 1 / n))
        scaled = Contrasts(contrast.weights, (n, null.size), contrast.scale * scale)
        observed, *others = self.statistics.evaluate(pooled, [scaled, *further])
        return {name: joined_values(values, null.values[name]) for name, values in observed.items()}, *others

    def design_effect(self, m: int) -> float:
        """Return how many calm predictions count as one independent prediction, in windows of m."""
        return self._null(_nearest_size(m)).design_effect

    def _draw(self, m: int) -> _Null:
        rng = np.random.default_rng([self._seed, m])
        size = len(self._calm)
        rows = blocks.stationary_bootstrap(size, m, self._block, self._draws, rng)
        windows = blocks.row_weights(rows, size)
        references = self._references_in_blocks(rng) if self._reference_in_blocks else self._references(rng)
        spread = blocks.spread_of_means(self._series.astype(np.float64), self._block, m)
        factors = spread.factors(self._draws, rng).astype(np.float32)
        for weights in (windows, references) if self._reference_in_blocks else (windows,):
            _stretch(weights, factors)
        contrasts = Contrasts.of_calm_traffic(windows, references, (self._reference_size, m))
        (values,) = self.statistics.evaluate(self._calm, [contrasts])
        means = np.stack([self._series[window].mean(axis=0, dtype=np.float64) for window in rows])
        return _Null(m, values, blocks.design_effect(means, self._series, m) * spread.ratio)

    def _references(self, rng: np.random.Generator) -> Float32Array:
        """Return the weights (draws, rows) of the means of references of independent rows."""
        n, size = self._reference_size, len(self._calm)
        return (rng.multinomial(n, np.full(size, 1 / size), size=self._draws) / n).astype(np.float32)

    def _references_in_blocks(self, rng: np.random.Generator) -> Float32Array:
        """Return the weights (draws, rows) of the means of references that are as much traffic as the calm one, or
        rows drawn at random from it."""
        size = len(self._calm)
        sampled = np.sort(rng.permutation(size)[: self._reference_size])
        references = np.empty((self._draws, size), dtype=np.float32)
        step = max(1, ROWS_AT_A_TIME // size)
        for first in range(0, self._draws, step):
            part = references[first : first + step]
            rows = blocks.stationary_bootstrap(size, size, self._block, len(part), rng)
            part[:] = blocks.row_weights(rows[:, sampled], size)
        return references


def _stretch(weights: Float32Array, factors: Float32Array) -> None:
    """Multiply the deviations of drawn means, with weights (draws, rows), from the mean of all rows by factors."""
    mean = np.float32(1 / weights.shape[1])
    weights -= mean
    weights *= factors[:, None]
    weights += mean


def _nearest_size(m: int) -> int:
    return round(SIZE_RATIO ** round(math.log(m, SIZE_RATIO)))


def null_of_baseline(traffic: PredictionViews, rows: int, window_size: int, draws: int, seed: int) -> CalmNull | None:
    """Return the null distribution of a baseline that is traffic, or None if its rows count as independent.

    The mean of a baseline whose rows are dependent errs like that of its blocks.

    Parameters
    ----------
    traffic : PredictionViews
        Views of the baseline in its own order.
    rows : int
        Its rows that take part in tests.
    """
    design_effect = CalmNull(traffic, rows, PILOT_DRAWS, seed).design_effect(window_size)
    if design_effect < DEPENDENT:
        return None
    return CalmNull(traffic, rows, draws, seed, reference_in_blocks=True)


def smallest_calm(window_size: int, has_context: bool) -> int:
    """Return the number of calm rows that windows of a size need: ten windows, or one where they have a context."""
    return window_size if has_context else 10 * window_size
