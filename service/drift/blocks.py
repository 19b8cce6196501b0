"""Resampling of traffic that is not independent: the stationary block bootstrap and what it costs in rows."""

from typing import NamedTuple

import numpy as np

from .types import Float32Array, FloatArray, IntArray

MAX_BLOCK_SHARE = 0.25  # longest mean block as a share of the series: a cycle seen four times fits
AGGREGATION = 8  # rows that become one when longer memories are looked for
MIN_AGGREGATED = 200  # rows of the shortest aggregated series
MIN_UNBIASED = 0.5  # least factor by which the mean of few rows makes autocovariances too small
RUN = 200  # consecutive rows of one run when a long span is thinned


def block_length(series: FloatArray) -> int:
    """Return the mean block length of the stationary bootstrap for rows (n, features) in their own order.

    The automatic choice for each feature, and the largest of them, since one bootstrap serves all. It looks at about
    sqrt(n) lags only; means of 8, 64, ... rows are taken as well, so that a block can hold a slow cycle.

    References
    ----------
    Politis and White (2004), Automatic block-length selection for the dependent bootstrap, Econometric Reviews 23,
    section 3.2, corrected by Patton, Politis and White (2009).
    """
    n = len(series)
    best, factor = _automatic_length(series), 1
    while n // (factor * AGGREGATION) >= MIN_AGGREGATED:
        factor *= AGGREGATION
        whole = n // factor * factor
        means = series[:whole].reshape(-1, factor, series.shape[1]).mean(axis=1)
        longer = _automatic_length(means)
        if longer > 2:  # means that depend on each other beyond their neighbours
            best = max(best, longer * factor)
    return int(np.ceil(min(best, MAX_BLOCK_SHARE * n)))


def stationary_bootstrap(
    n: int, length: int, mean_block: int, count: int, rng: np.random.Generator, phase: int = 1
) -> IntArray:
    """Return rows (count, length) of `count` series drawn in blocks of geometric length.

    A block starts at the row's own place within `phase` rows, so that bundles of a multiple of it stay aligned with
    what is added up in steps of `phase`.

    References
    ----------
    Politis and Romano (1994), The stationary bootstrap, JASA 89.
    """
    fresh = rng.random((count, length)) < 1 / mean_block
    fresh[:, 0] = True
    position = np.arange(length)
    n -= n % phase
    start = rng.integers(0, n // phase, (count, length)) * phase + position % phase
    since = np.maximum.accumulate(np.where(fresh, position, 0), axis=1)
    return np.asarray((np.take_along_axis(start, since, axis=1) + position - since) % n)


def block_walk(
    n: int, path: IntArray, mean_block: float, rng: np.random.Generator, neighbours: IntArray | None = None
) -> IntArray:
    """Return rows (count, length) drawn along `path` (count, length) in blocks of geometric length.

    Parameters
    ----------
    n : int
        Number of rows to draw from.
    path : IntArray
        The rows whose places are to be filled.
    mean_block : float
        Mean length of a block in rows, at least 1.
    neighbours : int (n, k), default None
        The rows from which a block at a row of the path may start; any by default.
    """
    count, length = path.shape
    fresh = rng.random((count, length)) < 1 / max(mean_block, 1.0)
    fresh[:, 0] = True
    position = np.arange(length)
    if neighbours is None:
        start = rng.integers(0, n, (count, length))
    else:
        start = neighbours[path, rng.integers(0, neighbours.shape[1], (count, length))]
    since = np.maximum.accumulate(np.where(fresh, position, 0), axis=1)
    return np.asarray((np.take_along_axis(start, since, axis=1) + position - since) % n)


def row_weights(drawn: IntArray, n: int) -> Float32Array:
    """Return the weights (count, n) that n rows have in the means of series (count, length) drawn from them."""
    count, length = drawn.shape
    weights = np.zeros((count, n), dtype=np.float32)
    places = (drawn + n * np.arange(count)[:, None]).ravel()
    np.add.at(weights.reshape(-1), places, np.float32(1 / length))
    return weights


def spread_runs(n: int, limit: int) -> IntArray:
    """Return at most `limit` of `n` rows as runs of 200 consecutive ones, spread evenly over the whole span."""
    if n <= limit:
        return np.arange(n)
    runs = max(limit // RUN, 1)
    starts = np.linspace(0, n - min(RUN, limit), runs).astype(np.int64)
    return np.unique(np.minimum((starts[:, None] + np.arange(min(RUN, limit))).ravel(), n - 1))


def design_effect(means: FloatArray, rows: Float32Array, size: int) -> float:
    """Return how many rows count as one independent row: the variance of means of `size` rows over the same if they
    were independent, on average over the features; `means` is (draws, features), `rows` (n, features)."""
    independent = float(rows.var(axis=0, dtype=np.float64).sum()) / size
    return max(1.0, float(means.var(axis=0).sum()) / independent) if independent > 0 else 1.0


class SpreadOfMeans(NamedTuple):
    """How well the spread of bootstrapped means is that of the traffic.

    Attributes
    ----------
    ratio : float
        The variance of means of the traffic over that of bootstrapped means, at least 1.
    degrees : float
        Degrees of freedom of the bootstrapped variance.
    """

    ratio: float
    degrees: float

    def factors(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return factors (count,) on the deviations of bootstrapped means that make up for bias and error of their
        variance: with s² ratio chi²(degrees) / degrees for a variance s², the next mean has a t distribution."""
        return np.asarray(np.sqrt(self.ratio * self.degrees / rng.chisquare(self.degrees, count)))


def spread_of_means(series: FloatArray, mean_block: float, size: int, drawn_from: float | None = None) -> SpreadOfMeans:
    """Return how well the stationary bootstrap of rows (n, features) shows the variance of means of `size` rows.

    With autocovariances c(k), means of m rows vary by V = Σ (1 - |k|/m) c(k) / m over |k| < m. Blocks of mean length b
    keep c(k) with the probability (1 - 1/b)^|k| only, since a block may end in between: the bootstrap's variance is
    B = Σ u(k) c(k) / m with u(k) = (1 - |k|/m) (1 - 1/b)^|k|. V is estimated without that bias by a flat-top taper λ in
    place of (1 - 1/b)^|k|. Autocovariances around the mean of n rows are too small by about m V / n each, so that
    the estimate Σ (1 - |k|/m) λ(k) c(k) / m is divided by 1 - Σ (1 - |k|/m) λ(k) / n. The relative variance of B is
    about 2 Σ u(k)² / n, that of a chi² variable with n / Σ u(k)² degrees of freedom over their number. Where means are
    drawn from a part of the rows only, n is the number of those: the variance is theirs, around their mean. Sums over
    the features stand for c(k).

    Parameters
    ----------
    series : float (n, features)
        Rows in their own order.
    mean_block : float
        Mean length of a block in rows, at least 1.
    size : int
        Rows of a mean.
    drawn_from : float, default n
        How many of the rows the means are drawn from: those of a similar context, for instance.

    References
    ----------
    Politis and Romano (1994), The stationary bootstrap, JASA 89, lemma 1. Politis and Romano (1995), Bias-corrected
    nonparametric spectral estimation, Journal of Time Series Analysis 16. Priestley (1981), Spectral analysis and time
    series, section 6.2.4.
    """
    n = len(series)
    rows = n if drawn_from is None else drawn_from
    lags, limit = _lags(n)
    shown = min(max(size, limit + 1), n)
    covariance = np.zeros(shown)
    for values in series.T:
        covariance += _covariance(values - values.mean(), shown)
    if covariance[0] <= 0:
        return SpreadOfMeans(1.0, float(rows))
    cut = _cut(np.abs(covariance[: limit + 1] / covariance[0]), lags, 2 * np.sqrt(np.log10(n) / n))
    covariance = covariance[:size]
    lag = np.arange(len(covariance))
    both_signs = np.where(lag == 0, 1.0, 2.0)
    tapered = (1 - lag / size) * np.clip(2 * (1 - lag / (2 * cut)), 0, 1)
    drawn = (1 - lag / size) * (1 - 1 / max(mean_block, 1.0)) ** lag
    variance = float(both_signs @ (tapered * covariance)) / max(1 - float(both_signs @ tapered) / rows, MIN_UNBIASED)
    bootstrapped = float(both_signs @ (drawn * covariance))
    ratio = max(1.0, variance / bootstrapped) if bootstrapped > 0 else 1.0
    return SpreadOfMeans(ratio, rows / float(both_signs @ drawn**2))


def _lags(n: int) -> tuple[int, int]:
    """Return how many lags in a row must be without correlation for n rows, and the largest lag looked at."""
    lags = max(5, int(np.sqrt(np.log10(n))))
    return lags, min(n // 3, int(np.ceil(np.sqrt(n)) + lags))


def _covariance(centred: FloatArray, lags: int) -> FloatArray:
    """Return the autocovariances at the first lags, from 0 on."""
    n = len(centred)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    return np.asarray(np.fft.irfft(spectrum)[:lags] / n)


def _automatic_length(series: FloatArray) -> float:
    n = len(series)
    lags, limit = _lags(n)
    best = 1.0
    for values in series.T:
        centred = values - values.mean()
        variance = float(centred @ centred) / n
        if variance <= 0:
            continue
        covariance = _covariance(centred, limit + 1)
        correlation = covariance / variance
        cut = _cut(np.abs(correlation), lags, 2 * np.sqrt(np.log10(n) / n))
        lag = np.arange(-2 * cut, 2 * cut + 1)
        taper = np.minimum(1, 2 * (1 - np.abs(lag) / (2 * cut)))
        weighted = taper * covariance[np.minimum(np.abs(lag), limit)]
        g = float((weighted * np.abs(lag)).sum())
        long_run = float(weighted.sum())
        if long_run > 0:
            best = max(best, (2 * g**2 / (2 * long_run**2)) ** (1 / 3) * n ** (1 / 3))
    return best


def _cut(correlation: FloatArray, run: int, bound: float) -> int:
    """Return the lag after which `run` correlations in a row stay inside the bound."""
    inside = correlation[1:] < bound
    for lag in range(len(inside) - run + 1):
        if inside[lag : lag + run].all():
            return max(lag, 1)
    return max(len(inside), 1)
