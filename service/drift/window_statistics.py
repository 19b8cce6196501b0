"""Evidence of a change from sums of scores, at all groups and time scales at once."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Matrix = NDArray[np.float64]
Real = NDArray[np.floating[Any]]

BLOCK = 10  # predictions that are added up before anything is tested
LONGEST = 256  # blocks of the longest window
REFERENCE_SHARE = 0.3  # of the reference's rows that a window may be long: beyond, the reference's own error decides
TAIL = 0.99  # quantile above which each component's tail is exponential on its own scale
AT_TAIL = -np.log(1 - TAIL)


class Scale(NamedTuple):
    """How each component's raw value becomes evidence: e such that calm traffic exceeds it with probability exp(-e)
    at a given time. Windows have shape (groups, scales), ratios (ratios,)."""

    mean: Matrix  # of the cube root of a window's statistic (Wilson and Hilferty 1931)
    deviation: Matrix
    window_start: Matrix  # normal evidence at the TAIL quantile, and the mean excess beyond it
    window_slope: Matrix
    ratio_start: Matrix  # cumulated log-likelihood ratio at the TAIL quantile, and the mean excess beyond it
    ratio_slope: Matrix


def quadratic(sums: Matrix, starts: list[int], norm: Matrix) -> Matrix:
    """Return |sum|² x norm of window sums (scales, columns) per group, as (groups, scales); see `norms`."""
    return np.asarray(np.add.reduceat(sums * sums, starts, axis=1).T * norm)


def window_lengths(reference_size: int) -> NDArray[np.int64]:
    """Return the window lengths in blocks: 2, 4, 8, ..., 256, as far as the reference allows."""
    lengths = 2 ** np.arange(1, LONGEST.bit_length())
    return np.asarray(lengths[lengths * BLOCK <= max(REFERENCE_SHARE * reference_size, 4 * BLOCK)])


def norms(lengths: NDArray[np.int64], reference_size: int) -> Matrix:
    """Return what makes a squared window sum |mean|² / (1/w + 1/n), per window length."""
    w = lengths.astype(np.float64) * BLOCK
    return np.asarray(1 / (w**2 * (1 / w + 1 / reference_size)))


def normal_evidence(statistic: Real, mean: Real, deviation: Real) -> Matrix:
    """Return -log of the upper tail of a quadratic form, taking its cube root as normal."""
    return np.asarray(-log_ndtr((mean - np.cbrt(statistic)) / deviation))


def window_evidence(statistic: Real, scale: Scale) -> Matrix:
    """Return the evidence of window statistics (..., groups, scales)."""
    normal = normal_evidence(statistic, scale.mean, scale.deviation)
    return np.asarray(AT_TAIL + (normal - scale.window_start) / scale.window_slope)


def ratio_evidence(cumulated: Real, scale: Scale) -> Matrix:
    """Return the evidence of CUSUMs of log-likelihood ratios (..., ratios) (Page 1954)."""
    return np.asarray(AT_TAIL + (cumulated - scale.ratio_start) / scale.ratio_slope)
