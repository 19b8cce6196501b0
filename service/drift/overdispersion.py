"""Whether a stream varies more than independent predictions would, at time scales from 80 predictions to many days."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from .types import Float32Array, FloatArray
from .window_statistics import BLOCK

SHORTEST = 8  # blocks of one sum at the shortest scale
FACTOR = 4  # ratio between a scale and the next
SCALES = 7  # the longest sum has 8 x 4^6 blocks: 327,680 predictions
LAGS = 2  # sums before a new one that it is compared with
MAX_SAMPLES = 120  # differences of sums that are stored at each scale
MIN_SAMPLES = 50, 24, 12, 12, 12, 12, 12  # differences from which a scale's design effect is reported
BY_CHANCE = 2.5  # standard deviations that a median exceeds one by chance, over all groups and scales
OVERDISPERSED = 2.0  # design effect from which a stream is reported


class Overdispersion:
    """Follows how much successive sums of a stream's scores differ, at several time scales.

    The design effect of a group of scores at a scale is the median, over successive sums and over those two apart, of
    half the squared difference over what independent predictions give: a median, so that one change counts little. It
    is divided by what the median of so few differences reaches by chance. Bursts show at the shortest scale, a cycle
    at about a quarter of its period.

    Parameters
    ----------
    starts : list of int
        First column of each group.
    columns : int
        Number of score columns.
    variances : float (groups,)
        Variance of one prediction's scores, summed over the group's columns.
    dimensions : float (groups,)
        Effective number of independent columns of each group.
    """

    def __init__(self, starts: list[int], columns: int, variances: FloatArray, dimensions: FloatArray) -> None:
        self._starts = starts
        self._variances = variances
        self._dimensions = dimensions
        self._sums = np.zeros((SCALES, columns))  # blocks of the current sum
        self._earlier = np.zeros((SCALES, LAGS, columns))  # the sums before it, newest first
        self._blocks = np.zeros(SCALES, dtype=np.int64)  # added at each scale
        self._samples = np.zeros((SCALES, MAX_SAMPLES, len(starts)))
        self._count = np.zeros(SCALES, dtype=np.int64)

    @property
    def design_effect(self) -> float:
        """The number of predictions that count as one independent one, at the time scale where it is the largest.

        It is at least 1, and 1 until enough predictions were processed.
        """
        largest = 1.0
        for samples, count, least in zip(self._samples, self._count.tolist(), MIN_SAMPLES, strict=True):
            if count >= least:
                by_chance = 1 + BY_CHANCE * np.sqrt(np.pi / (self._dimensions * count / LAGS))
                largest = max(largest, float((np.median(samples[:count], axis=0) / by_chance).max()))
        return largest

    @property
    def overdispersed(self) -> bool:
        """Whether the design effect is so large that false alarms come clearly more often than asked."""
        return self.design_effect > OVERDISPERSED

    def add(self, block: Float32Array) -> None:
        """Add the grouped scores (columns,) of a block."""
        added, values = 1, block.astype(np.float64)
        for scale in range(SCALES):
            self._sums[scale] += values
            self._blocks[scale] += added
            size = SHORTEST * FACTOR**scale
            if self._blocks[scale] % size:
                return
            values, added = self._sums[scale].copy(), size
            self._sums[scale] = 0
            for lag in range(min(int(self._blocks[scale]) // size - 1, LAGS)):
                self._add_difference(scale, values - self._earlier[scale, lag], size)
            self._earlier[scale, 1:] = self._earlier[scale, :-1].copy()
            self._earlier[scale, 0] = values

    def _add_difference(self, scale: int, gap: FloatArray, size: int) -> None:
        if self._count[scale] < MAX_SAMPLES:
            expected = 2 * size * BLOCK * self._variances
            self._samples[scale, self._count[scale]] = np.add.reduceat(gap * gap, self._starts) / expected
            self._count[scale] += 1

    def state(self) -> dict[str, ArrayLike]:
        """Return everything that is known, as arrays."""
        return {
            "dispersion_sums": self._sums,
            "dispersion_earlier": self._earlier,
            "dispersion_blocks": self._blocks,
            "dispersion_samples": self._samples,
            "dispersion_count": self._count,
        }

    def restore(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue where the object that gave `state` stopped."""
        self._sums, self._earlier = np.array(state["dispersion_sums"]), np.array(state["dispersion_earlier"])
        self._blocks, self._count = np.array(state["dispersion_blocks"]), np.array(state["dispersion_count"])
        self._samples = np.array(state["dispersion_samples"])
