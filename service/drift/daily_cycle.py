"""Whether the scores of a stream follow the hour of the day: an analysis of variance of hours and days."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .types import Float32Array, FloatArray
from .window_statistics import BLOCK

BINS = 8  # parts of a day, of three hours each
BIN = 3 * 3600 * 10**6  # microseconds
MIN_ROWS = 20  # predictions of a part of a day; a day with fewer in one of its parts does not count
MIN_DAYS = 2  # days before anything is reported
MAX_DAYS = 60  # days that are added up
LEVEL = 1e-4  # probability of a ratio of variances as large by chance, per group, below which a cycle is reported
HARMFUL = 1.0  # variance between hours over that of a mean of half the baseline's rows, from which it raises alarms


class DailyCycle:
    """Adds up mean scores of each three hours, to tell what comes again each day from what does not.

    Let m(d, h) be the mean scores of part h of day d. Without a cycle, the mean square between hours of the means over
    days is that of the interaction of hours and days, whatever the dependence of the traffic within a day, as long as
    days are alike. The ratio of the two is that of an analysis of variance (Fisher 1925), with as many degrees of
    freedom for each as a group has effective dimensions. A cycle is reported if it is significant, and so strong that
    windows as long as the baseline allows see it.

    Parameters
    ----------
    starts : list of int
        The first column of each group of scores.
    columns : int
        The number of score columns in groups.
    variances : float (groups,)
        The variance of one prediction's scores, summed over the group's columns.
    dimensions : float (groups,)
        The effective number of independent columns of each group.
    baseline_rows : int
        The rows of the baseline.
    """

    def __init__(
        self,
        starts: list[int],
        columns: int,
        variances: FloatArray,
        dimensions: FloatArray,
        baseline_rows: int,
    ) -> None:
        self._dimensions = dimensions
        self._starts = starts
        self._harmless = 2 * HARMFUL * variances / baseline_rows
        self._sums = np.zeros((BINS, columns))  # sums of the current day's parts
        self._counts = np.zeros(BINS, dtype=np.int64)
        self._bin = -1  # number of the newest part of a day since the Unix epoch
        self._of_hours = np.zeros((BINS, columns))  # means of each part, added up over days
        self._squares = np.zeros(len(starts))  # squares of these means, over days and parts
        self._squares_of_days = np.zeros(len(starts))  # squares of the means of whole days
        self.days = 0

    @property
    def follows_hour(self) -> bool:
        """Whether the scores follow the hour of the day."""
        if self.days < MIN_DAYS:
            return False
        overall = self._group(self._of_hours.sum(axis=0) ** 2) / (BINS * self.days)
        hours = self._group((self._of_hours**2).sum(axis=0)) / self.days - overall
        days = BINS * self._squares_of_days - overall
        interaction = np.maximum(self._squares - overall - hours - days, 0)
        between = hours / (BINS - 1)
        within = interaction / ((BINS - 1) * (self.days - 1))
        amplitude = (between - within) / self.days
        freedom = (BINS - 1) * self._dimensions
        by_chance = special.fdtrc(freedom, freedom * (self.days - 1), between / np.maximum(within, 1e-300))
        return bool(((by_chance < LEVEL) & (amplitude > self._harmless)).any())

    def add(self, time: int, block: Float32Array) -> None:
        """Add the grouped scores (columns,) of a block of ten predictions, the last of which was made at a time in
        microseconds of the Unix epoch; a block that comes late counts in the part of the day in which it comes."""
        if self.days >= MAX_DAYS:
            return
        part = max(time // BIN, self._bin)
        if part != self._bin:
            self._move_to(part)
        self._sums[part % BINS] += block
        self._counts[part % BINS] += BLOCK

    def _move_to(self, part: int) -> None:
        if part // BINS != self._bin // BINS:
            if (self._counts >= MIN_ROWS).all():
                means = self._sums / self._counts[:, None]
                self._of_hours += means
                self._squares += self._group((means**2).sum(axis=0))
                self._squares_of_days += self._group(means.mean(axis=0) ** 2)
                self.days += 1
            self._sums[:], self._counts[:] = 0, 0
        self._bin = part

    def _group(self, columns: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(columns, self._starts))

    def state(self) -> dict[str, ArrayLike]:
        """Return everything that is known, as arrays."""
        return {
            "cycle_sums": self._sums,
            "cycle_counts": self._counts,
            "cycle_bin": self._bin,
            "cycle_of_hours": self._of_hours,
            "cycle_squares": self._squares,
            "cycle_of_days": self._squares_of_days,
            "cycle_days": self.days,
        }

    def restore(self, state: Mapping[str, ArrayLike]) -> None:
        """Continue where the object that gave `state` stopped; nothing is known if an earlier version gave it."""
        if "cycle_sums" not in state:
            return
        self._sums, self._counts = np.array(state["cycle_sums"]), np.array(state["cycle_counts"])
        self._bin, self.days = int(np.asarray(state["cycle_bin"])), int(np.asarray(state["cycle_days"]))
        self._of_hours, self._squares = np.array(state["cycle_of_hours"]), np.array(state["cycle_squares"])
        self._squares_of_days = np.array(state["cycle_of_days"])
