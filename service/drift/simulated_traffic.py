"""Simulated traffic in control, as block sums of scores: from the reference alone, or from traffic declared calm."""

from typing import Protocol

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from .blocks import block_walk
from .context import ridge, with_intercept
from .types import Float32Array, FloatArray, IntArray
from .window_statistics import BLOCK

NEIGHBOUR_SHARE = 0.05  # share of the calm blocks, those of the most similar context, that a residual is drawn from
MAX_NEIGHBOURS = 200  # blocks
SLOPE_ERROR = 0.3  # deviation of a slope's error over the slope once the images have changed; measured: .2 to .35


class Traffic(Protocol):
    """Traffic in control that can be simulated."""

    def streams(self, count: int, length: int) -> Float32Array:
        """Return block sums (count, length, columns) of streams that share one draw of the baseline's own error."""
        ...


class IndependentStreams:
    """Independent predictions.

    All streams of one call draw their predictions from one bootstrap sample of the reference, whose mean is off by
    what the reference itself is off: a double bootstrap.

    Parameters
    ----------
    reference : float32 (n, columns)
        The reference's rows as block columns.
    size : int, default n
        The number of rows whose error the baseline has.
    """

    def __init__(self, reference: Float32Array, rng: np.random.Generator, size: int | None = None) -> None:
        self._reference = reference
        self._rng = rng
        self._size = len(reference) if size is None else size

    def streams(self, count: int, length: int) -> Float32Array:
        """Return block sums (count, length, columns)."""
        resample = self._rng.integers(0, len(self._reference), self._size)
        rows = resample[self._rng.integers(0, self._size, count * length * BLOCK)]
        return sums_of(self._reference, rows, BLOCK).reshape(count, length, -1)


class DependentStreams:
    """Predictions like those of traffic that was declared calm, in blocks of it.

    With a context, each block is a residual drawn from calm blocks of a similar context, so that the variance follows
    the context as well; the path of the context itself is a stretch of the calm traffic.

    Parameters
    ----------
    calm : float32 (blocks, columns)
        Block sums of calm traffic around its own mean, or around its context's.
    mean_block : float
        Blocks that are drawn together on average.
    rng : random.Generator
        Random numbers.
    context : float64 (blocks, c)
        Mean covariates of each block, default None.
    reference : float32 (n, columns), default None
        The rows of the reference, if calm traffic is compared with its mean, whose error is then part of the null; else
        the baseline is the calm traffic's own mean, and the error is its own.
    share : float, default 1
        The share of its span's predictions that the calm traffic holds: while a simulated stream passes a number of
        predictions, its context moves on by that share of them.

    References
    ----------
    Politis and Romano (1994), The stationary bootstrap, JASA 89.
    """

    def __init__(
        self,
        calm: Float32Array,
        mean_block: float,
        rng: np.random.Generator,
        context: FloatArray | None = None,
        reference: Float32Array | None = None,
        share: float = 1.0,
    ) -> None:
        self._calm = calm
        self._share = share
        self._centre = calm.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._mean_block = mean_block
        self._rng = rng
        self._context = context
        self._reference = reference
        self._design = with_intercept(np.zeros((len(calm), 0)) if context is None else context - context.mean(axis=0))
        self._neighbours = None if context is None else _neighbours(context)

    def streams(self, count: int, length: int) -> Float32Array:
        """Return block sums (count, length, columns)."""
        blocks = len(self._calm)
        start = self._rng.integers(0, blocks, count)
        path = (start[:, None] + (np.arange(length) * self._share).astype(np.int64)) % blocks
        drawn = block_walk(blocks, path, self._mean_block, self._rng, self._neighbours)
        error = self._error()
        sums = self._calm[drawn]
        for stream, at in zip(sums, path, strict=True):  # one after the other, so that it fits into the cache
            expected = error[0] if self._context is None else self._design[at] @ error
            np.subtract(stream, expected, out=stream, casting="same_kind")
        return sums

    def redrawn(self) -> "DependentStreams":
        """Return the same from another stretch of calm traffic as long, drawn from this one in blocks."""
        drawn = self._redrawn_blocks()
        context = None if self._context is None else self._context[drawn]
        calm = self._calm[drawn]
        calm += self._centre - calm.mean(axis=0, dtype=np.float64).astype(np.float32)
        return DependentStreams(calm, self._mean_block, self._rng, context, self._reference, self._share)

    def _error(self) -> FloatArray:
        """Return one draw of the baseline's error per block (1 + c, columns): of its mean, or its coefficients."""
        if self._reference is not None:
            n = len(self._reference)
            counts = np.bincount(self._rng.integers(0, n, n), minlength=n) - 1.0
            return np.asarray(counts.astype(np.float32) @ self._reference)[None].astype(np.float64) * (BLOCK / n)
        drawn = self._redrawn_blocks()
        design = self._design[drawn]
        return ridge(design, (self._calm[drawn] - self._centre).astype(np.float64), design.T @ design)

    def _redrawn_blocks(self) -> IntArray:
        path = np.arange(len(self._calm))[None]
        return np.asarray(block_walk(len(self._calm), path, self._mean_block, self._rng, self._neighbours)[0])


class UncertainSlopes:
    """Traffic whose dependence on its context is known from traffic of before only, and may have changed since.

    A change of the images also changes how much they vary with the hour: a score's slope is taken to be off by a normal
    share of itself, one draw of which all streams of one call have in common.

    Parameters
    ----------
    traffic : IndependentStreams or DependentStreams
        Without the cycle.
    path : float64 (blocks, c)
        Covariates of consecutive blocks of the traffic of before, less the baseline's mean.
    slopes : float64 (c, columns)
        Slopes of block sums.
    share : float
        The share of its span's predictions that the traffic of before holds.
    """

    def __init__(
        self,
        traffic: "IndependentStreams | DependentStreams",
        path: FloatArray,
        slopes: FloatArray,
        share: float,
        rng: np.random.Generator,
    ) -> None:
        self._traffic, self._path, self._slopes, self._share, self._rng = traffic, path, slopes, share, rng

    def streams(self, count: int, length: int) -> Float32Array:
        """Return block sums (count, length, columns)."""
        sums = self._traffic.streams(count, length)
        start = self._rng.integers(0, len(self._path), count)
        at = (start[:, None] + (np.arange(length) * self._share).astype(np.int64)) % len(self._path)
        sums += self._path[at] @ (self._slopes * self._rng.normal(scale=SLOPE_ERROR, size=self._slopes.shape[1]))
        return sums

    def redrawn(self) -> "UncertainSlopes":
        """Return the same with another stretch of traffic."""
        traffic = self._traffic
        if isinstance(traffic, DependentStreams):
            traffic = traffic.redrawn()
        return UncertainSlopes(traffic, self._path, self._slopes, self._share, self._rng)


def sums_of(rows: Float32Array, index: IntArray, size: int) -> Float32Array:
    """Return the sums of every `size` of the rows at `index`, in turn."""
    starts = np.arange(0, len(index) + 1, size)
    picked = sparse.csr_array((np.ones(len(index), np.float32), index, starts), shape=(len(starts) - 1, len(rows)))
    return np.asarray(picked @ rows)


def _neighbours(context: FloatArray) -> IntArray:
    """Return for each block the blocks (blocks, k) of the most similar context, in units of each covariate's spread."""
    deviation = context.std(axis=0)
    scaled = context / np.where(deviation > 0, deviation, 1.0)
    count = int(np.clip(NEIGHBOUR_SHARE * len(context), 1, MAX_NEIGHBOURS))
    jitter = 1e-6 * np.random.default_rng(0).random(scaled.shape)  # equal contexts, as of a tag, are chosen at random
    _, index = cKDTree(scaled + jitter).query(scaled, k=count)
    return np.asarray(index, dtype=np.int64).reshape(len(context), count)
