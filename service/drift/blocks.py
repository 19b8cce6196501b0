"""Resampling of traffic that is not independent: the stationary block bootstrap and what it costs in rows."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

MAX_BLOCK_SHARE = 0.1  # of the series


def block_length(series: Matrix) -> int:
    """Return the mean block length of the stationary bootstrap for rows (n, features) in their own order.

    The automatic choice of Politis and White (2004, section 3.2, corrected by Patton, Politis and White 2009), per
    feature; the largest of them, since one bootstrap serves all.
    """
    n = len(series)
    lags = max(5, int(np.sqrt(np.log10(n))))
    limit = min(n // 3, int(np.ceil(np.sqrt(n)) + lags))
    best = 1.0
    for values in series.T:
        centred = values - values.mean()
        variance = float(centred @ centred) / n
        if variance <= 0:
            continue
        spectrum = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
        covariance = np.fft.irfft(spectrum)[: limit + 1] / n
        correlation = covariance / variance
        cut = _cut(np.abs(correlation), lags, 2 * np.sqrt(np.log10(n) / n))
        lag = np.arange(-2 * cut, 2 * cut + 1)
        taper = np.minimum(1, 2 * (1 - np.abs(lag) / (2 * cut)))
        weighted = taper * covariance[np.minimum(np.abs(lag), limit)]
        g = float((weighted * np.abs(lag)).sum())
        long_run = float(weighted.sum())
        if long_run > 0:
            best = max(best, (2 * g**2 / (2 * long_run**2)) ** (1 / 3) * n ** (1 / 3))
    return int(np.ceil(min(best, MAX_BLOCK_SHARE * n)))


def stationary_bootstrap(
    n: int, length: int, mean_block: int, count: int, rng: np.random.Generator, phase: int = 1
) -> NDArray[np.int64]:
    """Return rows (count, length) of `count` series drawn in blocks of geometric length (Politis and Romano 1994).

    A block starts at the row's own place within `phase` rows, so that bundles of a multiple of it stay aligned with
    what is added up in steps of `phase`.
    """
    fresh = rng.random((count, length)) < 1 / mean_block
    fresh[:, 0] = True
    position = np.arange(length)
    n -= n % phase
    start = rng.integers(0, n // phase, (count, length)) * phase + position % phase
    since = np.maximum.accumulate(np.where(fresh, position, 0), axis=1)
    return (np.take_along_axis(start, since, axis=1) + position - since) % n


def design_effect(means: Matrix, rows: Floats, size: int) -> float:
    """Return how many rows count as one independent row: the variance of means of `size` rows over the same if they
    were independent, on average over the features; `means` is (draws, features), `rows` (n, features)."""
    independent = float(rows.var(axis=0, dtype=np.float64).sum()) / size
    return max(1.0, float(means.var(axis=0).sum()) / independent) if independent > 0 else 1.0


def _cut(correlation: Matrix, run: int, bound: float) -> int:
    """Return the lag after which `run` correlations in a row stay inside the bound."""
    inside = correlation[1:] < bound
    for lag in range(len(inside) - run + 1):
        if inside[lag : lag + run].all():
            return max(lag, 1)
    return max(len(inside), 1)
