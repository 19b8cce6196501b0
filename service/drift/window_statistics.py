"""Evidence of a change from sums of scores, at all groups and time scales at once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from .scores import Group
from .types import Float32Array, FloatArray, IntArray

Real = NDArray[np.floating[Any]]

BLOCK = 10  # predictions that are added up before anything is tested
LONGEST = 256  # blocks of the longest window whose null distribution is simulated
COARSE = 128  # blocks of one step of the longer windows
COARSE_STEPS = 256  # steps of the longest window: 327,680 predictions
REFERENCE_SHARE = 1.0  # times the reference's rows that a window may be long
LONG_REFERENCE_SHARE = 2.0  # the same for longer windows; beyond, the reference's own error hides all that they add
MIN_LONGEST = 4  # blocks of the longest window, however small the reference is
TAIL = 0.99  # quantile above which each component's tail is exponential on its own scale
AT_TAIL = -np.log(1 - TAIL)


class Scale(NamedTuple):
    """How each component's raw value becomes evidence: e such that traffic in control exceeds it with probability
    exp(-e) at a given time. Windows have shape (groups, scales), ratios (ratios,).

    References
    ----------
    Wilson and Hilferty (1931), The distribution of chi-square, PNAS 17.
    """

    mean: FloatArray  # of the cube root of a window's statistic (Wilson and Hilferty)
    deviation: FloatArray
    window_start: FloatArray  # normal evidence at the TAIL quantile
    window_slope: FloatArray  # mean excess beyond it
    ratio_start: FloatArray  # cumulated log-likelihood ratio at the TAIL quantile
    ratio_slope: FloatArray  # mean excess beyond it


def window_lengths(reference_size: int) -> IntArray:
    """Return the lengths in blocks of windows whose null is simulated: 2, 4, 8, ..., as far as the reference allows."""
    lengths = 2 ** np.arange(1, LONGEST.bit_length())
    return np.asarray(lengths[lengths <= max(REFERENCE_SHARE * reference_size / BLOCK, MIN_LONGEST)])


def long_window_lengths(reference_size: int) -> IntArray:
    """Return the lengths of longer windows in coarse steps of 128 blocks; none for a small reference.

    Their statistics have the null distribution of the longest simulated window: both are quadratic forms of a mean
    that is normal by then, in units of its own variance.
    """
    steps = 2 ** np.arange(2, COARSE_STEPS.bit_length())
    return np.asarray(steps[steps * COARSE * BLOCK <= LONG_REFERENCE_SHARE * reference_size])


def norms(lengths: IntArray, reference_size: int) -> FloatArray:
    """Return the factor that turns a squared window sum into |mean|² / (1/w + 1/n), per window length in blocks."""
    w = lengths.astype(np.float64) * BLOCK
    return np.asarray(1 / (w**2 * (1 / w + 1 / reference_size)))


def quadratic(sums: FloatArray, starts: list[int], norm: FloatArray) -> FloatArray:
    """Return |sum|² x norm of window sums (blocks, scales, columns) per group, as (blocks, groups, scales)."""
    squares = np.add.reduceat(sums * sums, starts, axis=2)
    return np.asarray(squares.transpose(0, 2, 1) * norm)


def window_statistics(
    sums: Float32Array, groups: tuple[Group, ...], lengths: IntArray, norm: FloatArray, first: int
) -> Iterator[FloatArray]:
    """Yield the quadratic forms (streams, blocks, groups, 1) of each window length in turn, from block `first` on.

    Parameters
    ----------
    sums : float32 (streams, blocks, columns), block sums.
    """
    streams, length, columns = sums.shape
    prefix = np.zeros((streams, length + 1, columns), dtype=np.float32)
    np.cumsum(sums, axis=1, out=prefix[:, 1:])
    for w, factor in zip(lengths, norm, strict=True):
        window = prefix[:, first + 1 :] - prefix[:, first + 1 - w : length + 1 - w]
        squares = [np.einsum("sbd,sbd->sb", part, part) for part in (window[..., g.columns] for g in groups)]
        yield np.stack(squares, axis=-1)[..., None] * factor


def cusums(ratios: Float32Array) -> FloatArray:
    """Return Page's CUSUM max(0, S + x) of block sums (streams, blocks, ratios) along the blocks."""
    path = np.cumsum(ratios, axis=1, dtype=np.float64)
    lowest = np.minimum(np.minimum.accumulate(path, axis=1), 0)
    return np.asarray(path - lowest)


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
