"""One scale for all statistics of the sequential detector: evidence, minus the logarithm of a tail probability."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from .types import Float32Array, FloatArray

Real = NDArray[np.floating[Any]]

TAIL = 0.99  # quantile above which each component's tail is exponential on its own scale
AT_TAIL = -np.log(1 - TAIL)  # nats of evidence at that quantile
LEAST_DEVIATION = 1e-9  # smallest standard deviation of a component: a constant one is evidence once it varies
CONSTANT_START = 1e3  # nats of normal evidence from which a component that was constant counts
COMPONENT_WEIGHT = 50.0  # independent exceedances that the theoretical tail of a component counts as
COPIED_COLUMNS = 16  # float32 columns that are copied at once: a cache line's
RATIO_MEMORY = 64.0  # blocks after which a CUSUM has forgotten its past, about


class Scale(NamedTuple):
    """The scales by which each component's raw value becomes evidence.

    Traffic in control exceeds an evidence of e with probability exp(-e) at a given time. Windows
    have shape (groups, scales), ratios (ratios,).

    References
    ----------
    Wilson and Hilferty (1931), The distribution of chi-square, PNAS 17.
    """

    mean: FloatArray  # mean of the cube root of a window's statistic (Wilson and Hilferty)
    deviation: FloatArray
    window_start: FloatArray  # normal evidence at the TAIL quantile
    window_slope: FloatArray  # mean excess beyond it
    ratio_start: FloatArray  # cumulated log-likelihood ratio at the TAIL quantile
    ratio_slope: FloatArray  # mean excess beyond it


def normal_evidence(statistic: Real, mean: Real, deviation: Real) -> FloatArray:
    """Return -log of the upper tail of a quadratic form, taking its cube root as normal."""
    return np.asarray(-log_ndtr((mean - np.cbrt(statistic)) / deviation))


def window_evidence(statistic: Real, scale: Scale) -> FloatArray:
    """Return the evidence of window statistics (..., groups, scales)."""
    normal = normal_evidence(statistic, scale.mean, scale.deviation)
    return np.asarray(AT_TAIL + (normal - scale.window_start) / scale.window_slope)


def long_window_evidence(statistic: Real, scale: Scale) -> FloatArray:
    """Return the evidence of statistics (groups, scales) of longer windows, on the longest simulated one's scale."""
    normal = normal_evidence(statistic, scale.mean[:, -1:], scale.deviation[:, -1:])
    return np.asarray(AT_TAIL + (normal - scale.window_start[:, -1:]) / scale.window_slope[:, -1:])


def ratio_evidence(cumulated: Real, scale: Scale) -> FloatArray:
    """Return the evidence of CUSUMs of log-likelihood ratios (..., ratios); none where a CUSUM is zero."""
    evidence = AT_TAIL + (cumulated - scale.ratio_start) / scale.ratio_slope
    return np.where(cumulated > 0, evidence, 0.0)


def fit_scale(windows: list[Float32Array], ratios: list[Float32Array]) -> Scale:
    """Return the scale on which simulated statistics in control are evidence.

    Parameters
    ----------
    windows : list of float32 (streams, blocks, groups, scales)
        Window statistics.
    ratios : list of float32 (streams, blocks, ratios)
        CUSUMs of the same streams.
    """
    shape = windows[0].shape[2:]
    mean, deviation, start, slope = (np.empty(shape) for _ in range(4))
    for at, values in zip(np.ndindex(shape), _columns(windows), strict=True):
        roots = np.cbrt(values)
        mean[at] = roots.mean(dtype=np.float64)
        deviation[at] = max(float(roots.std(dtype=np.float64)), LEAST_DEVIATION)
        quantile, beyond = _exceedances(values)
        start[at] = normal_evidence(quantile, mean[at], deviation[at])
        excess = normal_evidence(beyond, mean[at], deviation[at]) - start[at]
        slope[at] = _slope(excess, len(values) / 2 ** (at[1] + 1))
        if deviation[at] <= LEAST_DEVIATION:
            start[at] = CONSTANT_START
    ratio_start, ratio_slope = np.empty((2, ratios[0].shape[2]))
    for column, values in enumerate(_columns(ratios)):
        quantile, beyond = _exceedances(values)
        ratio_start[column], ratio_slope[column] = quantile, _slope(beyond - quantile, len(values) / RATIO_MEMORY)
    return Scale(mean, deviation, start, slope, ratio_start, ratio_slope)


def _columns(parts: list[Float32Array]) -> Iterator[Float32Array]:
    """Yield for each component in turn its values (streams x blocks x parts,) in parts (streams, blocks, ...)."""
    rows = [part.reshape(part.shape[0] * part.shape[1], -1) for part in parts]
    for first in range(0, rows[0].shape[1], COPIED_COLUMNS):
        yield from np.concatenate([part[:, first : first + COPIED_COLUMNS].T for part in rows], axis=1)


def _exceedances(values: Float32Array) -> tuple[FloatArray, FloatArray]:
    """Return the TAIL quantile of values (n,), interpolated linearly, and the values beyond it, in any order.

    One partition gives both, in a quarter of the time of `numpy.quantile` and a comparison of all values.
    """
    position = TAIL * (len(values) - 1)
    below = int(position)
    largest = np.partition(values, below)[below:].astype(np.float64)
    above = largest[1:].min(initial=np.inf)
    quantile = np.asarray(largest[0] + (above - largest[0]) * (position - below) if position > below else largest[0])
    return quantile, largest[largest > quantile]


def _slope(excess: FloatArray, independent: float) -> float:
    """Return the mean excess beyond the TAIL quantile, shrunk to the theoretical one nat.

    Window statistics are normal on their scale, and for a log-likelihood ratio E exp(x) = 1, so that both tails fall
    by one nat per nat. Of values that depend on each other only `independent` tell anything about it: without the
    shrinkage the maximum over components would select those whose excess was underestimated.
    """
    if not len(excess) or excess.mean() <= 1e-9:
        return 1.0
    weight = independent * (1 - TAIL)
    return float((weight * excess.mean() + COMPONENT_WEIGHT) / (weight + COMPONENT_WEIGHT))
