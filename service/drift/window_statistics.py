"""Evidence of a change from sums of scores, at all groups and time scales at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .score_layout import Group
from .types import Float32Array, FloatArray, IntArray

Real = NDArray[np.floating[Any]]

BLOCK = 10  # predictions that are added up before anything is tested
LONGEST = 256  # blocks of the longest window whose null distribution is simulated
COARSE = 128  # blocks of one step of the longer windows
COARSE_STEPS = 256  # steps of the longest window: 327,680 predictions
REFERENCE_SHARE = 1.0  # times the reference's rows that a window may be long
LONG_REFERENCE_SHARE = 2.0  # the same for longer windows; beyond, the reference's own error hides all that they add
PART_NUMBERS = 2**16  # float32 numbers of windows that are squared at once: 256 KB fit into the processor's cache
MIN_LONGEST = 4  # blocks of the longest window, however small the reference is


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
    sums : float32 (streams, blocks, columns)
        Block sums.
    """
    streams, length, columns = sums.shape
    prefix = np.zeros((length + 1, streams, columns), dtype=np.float32)
    for before, block, after in zip(prefix[:-1], sums.transpose(1, 0, 2), prefix[1:], strict=True):
        np.add(before, block, out=after)
    rows = max(PART_NUMBERS // (streams * columns), 1)
    buffer = np.empty((rows, streams, columns), dtype=np.float32)
    for w, factor in zip(lengths, norm, strict=True):
        squares = np.empty((streams, length - first, len(groups)), dtype=np.float32)
        for start in range(first + 1, length + 1, rows):
            stop = min(start + rows, length + 1)
            window = np.subtract(prefix[start:stop], prefix[start - w : stop - w], out=buffer[: stop - start])
            for number, group in enumerate(groups):
                part = window[..., group.columns]
                squares[:, start - first - 1 : stop - first - 1, number] = np.einsum("bsd,bsd->sb", part, part)
        yield squares[..., None] * factor


def cusums(ratios: Float32Array) -> FloatArray:
    """Return Page's CUSUM max(0, S + x) of block sums (streams, blocks, ratios) along the blocks.

    It is the path of the sums less its lowest value so far. Block after block, these fit into the processor's cache.
    """
    streams, blocks, width = ratios.shape
    cumulated = np.empty((blocks, streams, width))
    path, lowest = np.zeros((2, streams, width))
    for block, out in zip(ratios.transpose(1, 0, 2), cumulated, strict=True):
        np.add(path, block, out=path)
        np.minimum(lowest, path, out=lowest)
        np.subtract(path, lowest, out=out)
    return cumulated.transpose(1, 0, 2)
