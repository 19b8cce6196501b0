"""The rate of a model's predictions over days, and the expected run time and the thinning that follow from it.

Everything depends on the times of predictions alone, not on the clock or on how they are divided into steps, so that
the same log gives the same thresholds when it is processed again.
"""

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..setting_types import MAX_RUN_TIME, MIN_RUN_TIME

ASSUMED_RATE = 1.0  # predictions a second of a model in its first day, unless it is faster already
MAX_WATCHED_RATE = 100.0  # predictions a second that are watched of a faster model: a month then has 3 in 10^8
HYSTERESIS = 1.25  # ratio of the measured rate to the one in use, or the inverse, from which it is taken over
DAYS = 7  # days that the rate is the mean of
MOST_OF_MEDIAN = 3.0  # times the median day that a single day counts at the most, so that a load test counts little
FIRST_CHECK = 3600  # predictions of the first day after which its rate is measured; then after each doubling
HOURS_A_DAY = 24
LONGEST_GAP = 24  # hours without predictions that count: a longer pause does not make the model a slower one
HOUR = 3_600_000_000  # microseconds
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd factor near 2^64 / golden ratio, which spreads ids evenly (Knuth)

Times = NDArray[np.int64]  # microseconds of the Unix epoch


class PacePart(NamedTuple):
    """Consecutive predictions of a batch with the pace that is in use for them."""

    rows: slice
    pace: "Pace"


class PaceJson(TypedDict):
    """A pace as a checkpoint holds it."""

    hours: list[int]
    newest: int
    first: int
    received: int
    rate: float


@dataclass(frozen=True)
class Pace:
    """The predictions of a model by the hour, and the rate in use.

    Parameters
    ----------
    hours : tuple of int
        The predictions of each hour of the last week, oldest first; the newest hour is not over.
    newest : int
        The number of the newest hour since the Unix epoch.
    first : int
        The time of the first prediction, in microseconds of the Unix epoch.
    received : int
        The predictions so far, thinned ones included.
    rate : float
        The rate in use, in predictions a second.
    """

    hours: tuple[int, ...] = ()
    newest: int = -1
    first: int = 0
    received: int = 0
    rate: float = ASSUMED_RATE

    @classmethod
    def steady(cls, rate: float, at: int) -> "Pace":
        """Return the pace of a model that has had a rate, in predictions a second, for a week before a time in
        microseconds of the Unix epoch."""
        totals = np.floor(rate * 3600 * np.arange(DAYS * HOURS_A_DAY + 2)).astype(np.int64)
        hours = tuple(np.diff(totals).tolist())
        return cls(hours, at // HOUR, at - DAYS * HOURS_A_DAY * HOUR, sum(hours), rate)

    @property
    def is_assumed(self) -> bool:
        """Whether the rate is not yet that of a whole day."""
        return len(self.hours) <= HOURS_A_DAY

    @property
    def watched_share(self) -> float:
        """The share of the predictions that is watched: a power of one half that keeps to MAX_WATCHED_RATE."""
        return 2.0 ** -max(math.ceil(math.log2(self.rate / MAX_WATCHED_RATE)), 0)

    @property
    def watched_rate(self) -> float:
        """The predictions a second that are watched."""
        return self.rate * self.watched_share

    def parts(self, times: Times) -> Iterator[PacePart]:
        """Yield the predictions with these times in parts, each with the pace in use for it.

        The pace of the last part has counted all of them. The rate is measured where an hour begins, and in the first
        day also after 3600, 7200, 14400, … predictions.
        """
        pace, start = self, 0
        hours = np.maximum.accumulate(np.maximum(times // HOUR, self.newest))
        while start < len(times):
            pace = pace._at(int(hours[start]), int(times[start]))
            stop = start + int(np.searchsorted(hours[start:], hours[start], side="right"))
            if pace.is_assumed:
                stop = min(stop, start + _next_check(pace.received) - pace.received)
            count = stop - start
            pace = replace(pace, hours=(*pace.hours[:-1], pace.hours[-1] + count), received=pace.received + count)
            yield PacePart(slice(start, stop), pace)
            start = stop

    def run_time(self, requested: dt.timedelta | float) -> float:
        """Return the expected run time that was asked for in watched predictions of the model."""
        if not isinstance(requested, dt.timedelta):
            return requested
        return float(np.clip(requested.total_seconds() * self.rate * self.watched_share, MIN_RUN_TIME, MAX_RUN_TIME))

    def _at(self, hour: int, time: int) -> "Pace":
        """Return the pace before a prediction in an hour, with the rate measured again where that is due."""
        if not self.hours:
            return replace(self, hours=(0,), newest=hour, first=time)
        if hour > self.newest:
            gap = min(hour - self.newest, LONGEST_GAP)
            hours = (*self.hours, *(0,) * gap)[-DAYS * HOURS_A_DAY - 1 :]
            return replace(self, hours=hours, newest=hour)._measured(time)
        if self.is_assumed and self.received == _next_check(self.received - 1):
            return self._measured(time)
        return self

    def _measured(self, time: int) -> "Pace":
        """Return the pace with the measured rate, if that is clearly another one than the one in use."""
        rate = self._rate_of_first_day(time) if self.is_assumed else self._rate_of_days()
        if rate == 0 or 1 / HYSTERESIS < rate / self.rate < HYSTERESIS:
            return self
        return replace(self, rate=rate)

    def _rate_of_first_day(self, time: int) -> float:
        return max(ASSUMED_RATE, self.received / (max(time - self.first, HOUR) / 1e6))

    def _rate_of_days(self) -> float:
        """Return the mean rate of the last whole days, each limited to a few times the median one."""
        over = self.hours[:-1]
        days = [sum(over[stop - HOURS_A_DAY : stop]) for stop in range(len(over), HOURS_A_DAY - 1, -HOURS_A_DAY)]
        limit = MOST_OF_MEDIAN * median(days) or math.inf
        return sum(min(day, limit) for day in days) / (len(days) * HOURS_A_DAY * 3600)

    def to_json(self) -> PaceJson:
        """Return the pace as JSON values."""
        return {
            "hours": list(self.hours),
            "newest": self.newest,
            "first": self.first,
            "received": self.received,
            "rate": self.rate,
        }

    @classmethod
    def from_json(cls, values: PaceJson) -> "Pace":
        """Return the pace that `to_json` gave."""
        return cls(tuple(values["hours"]), values["newest"], values["first"], values["received"], values["rate"])


def watched(ids: NDArray[np.uint8], share: float) -> NDArray[np.bool_]:
    """Check which predictions are watched if only a share of them is: always the same ones of the same ids.

    Parameters
    ----------
    ids : uint8 (m, 16)
    share : float
        A power of one half. The predictions of a smaller share are among those of a larger one.
    """
    words = np.ascontiguousarray(ids).view(np.uint64)
    mixed = ((words[:, 0] * MIX) ^ words[:, 1]) * MIX
    return np.asarray((mixed >> np.uint64(32)).astype(np.float64) < share * 2.0**32)


def _next_check(received: int) -> int:
    """Return the next number of predictions after `received` at which the rate of the first day is measured."""
    if received < FIRST_CHECK:
        return FIRST_CHECK
    return int(FIRST_CHECK << ((received // FIRST_CHECK).bit_length()))
