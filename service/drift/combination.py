"""Several dependent tests as one: permutation p-values and their half-Cauchy combination."""

import numpy as np

from .types import FloatArray, IntArray

TIED = 1e-5  # relative difference up to which values are equal but for rounding; sums in single precision have 1e-6
TAIL = 0.1  # share of the draws whose excesses give the exponential tail of a statistic


def p_values(statistics: FloatArray) -> FloatArray:
    """Return the p-value of every draw among all of them: p_b = #{b': T_b' >= T_b} / (1 + B).

    Its first column is the p-value (1 + k) / (1 + B) of Phipson and Smyth (2010) of what was observed; the others
    are what it would have been, had that draw been observed. Values that differ by rounding errors only count as
    equal, as in SciPy's `permutation_test`. `statistics` is (tests, B + 1), or (B + 1,).
    """
    values = np.asarray(statistics, dtype=np.float64)
    counts = np.apply_along_axis(_counts_at_least, -1, values)
    return np.asarray(counts / values.shape[-1])


def _counts_at_least(row: FloatArray) -> IntArray:
    """Return for each value how many values of the row are at least as large, itself among them."""
    return len(row) - np.searchsorted(np.sort(row), row - TIED * np.abs(row))


def extended_p_values(statistics: FloatArray) -> FloatArray:
    """Return p-values that go on falling where ranks end: the tail of each statistic (a row) is taken as exponential.

    A statistic far beyond all its draws then outweighs many that see nothing. Every draw is treated alike, so that
    what is calibrated by ranking the draws again stays exact.
    """
    p = p_values(statistics)
    start = np.quantile(statistics, 1 - TAIL, axis=-1, keepdims=True)
    excess = np.maximum(statistics - start, 0)
    excess[excess <= TIED * np.abs(start)] = 0
    mean = excess.sum(axis=-1, keepdims=True) / np.maximum((excess > 0).sum(axis=-1, keepdims=True), 1)
    tail = TAIL * np.exp(-np.divide(excess, mean, out=np.zeros_like(excess), where=mean > 0))
    return np.where(excess > 0, np.maximum(tail, 1e-300), p)


def half_cauchy(p: FloatArray) -> FloatArray:
    """Return the mean of cot(πp/2) over the tests (rows): the Cauchy combination (Liu and Xie 2020, eq. 3) without its
    left half, in which one p-value near one could hide another near zero (Gui, Jiang and Wang 2023)."""
    mean: FloatArray = np.mean(1 / np.tan(np.pi / 2 * np.clip(p, 1e-300, 1)), axis=0)
    return mean


def combined(statistics: FloatArray) -> float:
    """Return the p-value of several statistics (tests, B + 1) together, calibrated by the same draws: exact, whatever
    the tests' dependence."""
    return float(p_values(half_cauchy(extended_p_values(statistics)))[0])


def evidence(statistics: FloatArray) -> float:
    """Return minus the logarithm of the p-value of several statistics (tests, B + 1) together, in nats.

    It goes beyond what B draws can show: each tail is extrapolated, and the combination is taken as Cauchy, which is
    approximate.
    """
    observed = float(half_cauchy(extended_p_values(statistics))[0])
    return float(-np.log(2 / np.pi * np.arctan(1 / max(observed, 1e-300))))
