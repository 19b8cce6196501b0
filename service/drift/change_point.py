"""The date of a change: the split of the past that explains the evidence best (Hinkley 1970)."""

from typing import NamedTuple

import numpy as np

from .score_sums import ScoreSums
from .types import FloatArray, IntArray
from .window_statistics import BLOCK

LOG_LIKELIHOOD_DROP = 3.0  # nats below the likeliest change point, within which others are likely, too


class ChangePoint(NamedTuple):
    """Numbers of predictions seen before a change: the likeliest, and the range in which it lies."""

    earliest: int
    best: int
    latest: int


def change_of_means(sums: ScoreSums, columns: slice, back: int) -> ChangePoint:
    """Return where the mean scores of `columns` changed, as seen `back` blocks before the last one.

    The past is split where the mean w after the split explains most: max w |mean|² / 2.
    """
    since, blocks, before = sums.path(columns, back)
    return _most_likely((since**2).sum(axis=1) / (blocks * BLOCK) / 2, before, sums.start)


def change_of_ratio(sums: ScoreSums, column: int, zeroed: int, back: int) -> ChangePoint:
    """Return where a log-likelihood ratio began to rise, as seen `back` blocks before the last one.

    Parameters
    ----------
    zeroed : int
        Predictions before its CUSUM was last zero.
    """
    since, _, before = sums.path(slice(column, column + 1), back)
    earliest, best, latest = _most_likely(since[:, 0], before, sums.start)
    return ChangePoint(min(earliest, zeroed), min(best, zeroed), latest)


def _most_likely(log_likelihood_ratio: FloatArray, before: IntArray, start: int) -> ChangePoint:
    """Return the change point with the largest gain in nats.

    Where nothing older is stored, the earliest possible point is the detector's start.
    """
    best = int(log_likelihood_ratio.argmax())
    near = np.flatnonzero(log_likelihood_ratio >= log_likelihood_ratio[best] - LOG_LIKELIHOOD_DROP)
    earliest = int(before[near[-1]]) if near[-1] < len(log_likelihood_ratio) - 1 else start
    return ChangePoint(earliest, int(before[best]), int(before[near[0]]))
