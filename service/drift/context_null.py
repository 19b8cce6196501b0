"""The null distribution of a window whose predictions depend on their context: calm traffic of the same context."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from . import blocks
from .context import ContextModel
from .fitted_statistics import FittedStatistics
from .permutations import Contrasts
from .prediction_views import PredictionViews
from .samples import Sample
from .statistic import Statistic, Values, joined_values
from .types import Float32Array, FloatArray, IntArray

NEIGHBOUR_SHARE = 0.05  # share of the calm rows, those of the most similar context, that a row of a window matches
MAX_NEIGHBOURS = 500  # calm rows that a row of a window matches, at most
JITTER = 1e-6  # deviations by which contexts are moved, so that among equal ones, as of a tag, some match at random
NORMAL_ROWS = 2000  # calm rows that stand for what is normal in the context of a window
MAX_SERIES_COLUMNS = 32  # columns of a view from which the block length is chosen


class NormalRows(NamedTuple):
    """Calm rows of a window's context: their numbers (NORMAL_ROWS,), each about as often as the window matches it, and
    how many independent rows they are worth."""

    rows: IntArray
    size: int


class ContextOutcome(NamedTuple):
    """The values of all statistics: observed ones followed by those of calm windows, and those of resampled windows,
    which are empty without bootstrap draws; how many calm rows count as one independent one; and the calm rows that the
    window is compared with."""

    values: dict[str, Values]
    resampled: dict[str, Values]
    statistics: tuple[Statistic, ...]
    design_effect: float
    normal: NormalRows


class ContextNull:
    """Compares windows with calm traffic of the same context, and with windows drawn from it.

    Each prediction of a window is matched with the calm ones whose context is most similar. The window is compared with
    the mean of its matches. Windows of the null distribution are blocks of calm traffic that begin at a match, and are
    compared with matches that are drawn again, so that the sampling error of calm traffic is part of the null.
    Statistics are fitted to the calm rows that take part.

    Block bootstraps understate the variance of means, and know it only as well as the rows of a similar context show
    it. As where windows have no context (`calm_null`), the deviations of drawn windows from the mean of the matches are
    multiplied by factors of `blocks.spread_of_means`. The number of rows that the matches are worth follows from the
    same variance, so that window and matches share its error.

    Parameters
    ----------
    calm : PredictionViews
        Views of calm traffic in its own order.
    context : float64 (n, c)
        Its covariates.
    draws : int
        Windows that are drawn.
    seed : int
        Seed of what is fitted.

    Attributes
    ----------
    columns : int
        The number of covariates.

    References
    ----------
    Cobb and Van Looveren (2022), Context-aware drift detection, ICML; there with kernels and conditional resampling.
    Politis and Romano (1994), The stationary bootstrap, JASA 89.
    """

    def __init__(self, calm: PredictionViews, context: FloatArray, draws: int, seed: int) -> None:
        self._calm, self._draws, self._seed = calm, draws, seed
        deviation = context.std(axis=0)
        self._unit = np.where(deviation > 0, deviation, 1.0)
        self.columns = context.shape[1]
        self._tree = cKDTree(_jittered(context / self._unit, np.random.default_rng(seed)))
        self._count = int(np.clip(NEIGHBOUR_SHARE * len(calm), 1, MAX_NEIGHBOURS))
        series = _series(calm)
        self._residual = series - ContextModel.fit(context, series).expected(context)
        self._block = float(blocks.block_length(self._residual.astype(np.float64)))

    def evaluate(
        self, window: PredictionViews, context: FloatArray, rng: np.random.Generator, bootstrap_draws: int
    ) -> ContextOutcome:
        """Return the values of all statistics.

        Parameters
        ----------
        context : float64 (m, c)
            The covariates of the window's rows in their order.
        """
        m = len(window)
        matches = self._matches(context, rng)
        path = np.tile(np.arange(m), (self._draws, 1))
        drawn = blocks.block_walk(len(self._calm), path, self._block, rng, matches)
        rows, inverse = np.unique(np.concatenate([matches.ravel(), drawn.ravel()]), return_inverse=True)
        matches, drawn = inverse[: matches.size].reshape(matches.shape), inverse[matches.size :].reshape(drawn.shape)
        share = np.bincount(matches.ravel(), minlength=len(rows)) / matches.size
        calm, windows = self._calm.rows(rows), _weights(drawn, len(rows))
        means = (windows.T @ self._residual[rows]).astype(np.float64)
        independent = 1 / float(share @ share)  # rows that the matches would be worth if calm rows were independent
        spread = blocks.spread_of_means(self._residual.astype(np.float64), self._block, m, independent)
        design_effect = blocks.design_effect(means, self._residual[rows], m) * spread.ratio
        size = max(int(independent / design_effect), 1)
        statistics = FittedStatistics(calm, self._seed)
        windows = _stretched(windows, share, spread.ratio)
        factors = spread._replace(ratio=1.0).factors(self._draws, rng).astype(np.float32)  # the ratio is in both
        null = Contrasts((windows - _references(share, size, self._draws, rng)) * factors, (size, m))
        observed = np.concatenate([-share, np.full(m, 1 / m)]).astype(np.float32)[:, None]
        contrasts = [Contrasts(observed, (size, m))]
        if bootstrap_draws:
            resampled = rng.multinomial(m, np.full(m, 1 / m), size=bootstrap_draws).T / m
            reference = _references(share, size, bootstrap_draws, rng)
            contrasts.append(Contrasts(np.concatenate([-reference, resampled]).astype(np.float32), (size, m)))
        (of_calm,) = statistics.evaluate(calm, [null])
        of_window, *resamples = statistics.evaluate(calm.joined(window), contrasts)
        values = {name: joined_values(of_window[name], of_calm[name]) for name in of_window}
        places = (np.arange(NORMAL_ROWS) + 0.5) / NORMAL_ROWS  # systematic sampling
        normal = NormalRows(rows[np.minimum(np.searchsorted(np.cumsum(share), places), len(rows) - 1)], size)
        resampled_values = resamples[0] if resamples else {}
        return ContextOutcome(values, resampled_values, statistics.statistics, design_effect, normal)

    def _matches(self, context: FloatArray, rng: np.random.Generator) -> IntArray:
        """Return the calm rows (m, count) that each row of a window matches."""
        _, index = self._tree.query(_jittered(context / self._unit, rng), k=self._count)
        return np.asarray(index, dtype=np.int64).reshape(len(context), self._count)


def _jittered(context: FloatArray, rng: np.random.Generator) -> FloatArray:
    return np.asarray(context + JITTER * rng.random(context.shape))


def _weights(drawn: IntArray, rows: int) -> Float32Array:
    """Return the weights (rows, draws) of the means of drawn windows (draws, m)."""
    weights = np.zeros((len(drawn), rows), dtype=np.float32)
    np.add.at(weights, (np.arange(len(drawn))[:, None], drawn), np.float32(1 / drawn.shape[1]))
    return np.ascontiguousarray(weights.T)


def _stretched(windows: Float32Array, share: FloatArray, ratio: float) -> Float32Array:
    """Return the weights (rows, draws) of drawn means whose deviations from the mean of all matches vary by a ratio
    more."""
    mean = share.astype(np.float32)[:, None]
    return np.asarray(mean + np.float32(np.sqrt(ratio)) * (windows - mean))


def _references(share: FloatArray, size: int, draws: int, rng: np.random.Generator) -> Float32Array:
    """Return the weights (rows, draws) of the means of `size` matches each, drawn by their shares."""
    return np.ascontiguousarray((rng.multinomial(size, share, size=draws) / size).astype(np.float32).T)


def _series(calm: PredictionViews) -> Float32Array:
    """Return the columns from which the dependence of calm predictions is estimated."""
    parts = [calm.probabilities[:, :MAX_SERIES_COLUMNS], calm.embedding[:, :MAX_SERIES_COLUMNS]]
    if calm.properties is not None:
        parts.append(calm.properties[:, :MAX_SERIES_COLUMNS])
    series = np.hstack(parts)
    return np.asarray(series / np.maximum(series.std(axis=0), np.float32(1e-6)), dtype=np.float32)


class CalmTraffic(NamedTuple):
    """Calm traffic with its covariates, and the null distribution of windows that are compared with it."""

    calm: Sample
    null: ContextNull
