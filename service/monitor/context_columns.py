"""What the scores of a prediction are expected to depend on: the hour of the week, and values of tags."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_CYCLES = 2  # days or weeks that traffic must span, so that a cycle can be told from a change
DAY, WEEK = dt.timedelta(days=1), dt.timedelta(weeks=1)
DAILY_HARMONICS = (7, 14, 21)  # cycles a week of the first three harmonics of the day
WEEKLY_HARMONICS = (1, 2, 6, 8, 13, 15)  # cycles a week: of the week, and of days that differ between its days
WEEK_IN_MICROSECONDS = 7 * 86_400 * 10**6
MONDAY = 4 * 86_400 * 10**6  # microseconds: the Unix epoch began on a Thursday, the first Monday was four days later
MIN_TAG_ROWS = 200  # predictions with a value of a tag, from which it is a column of its own
MAX_TAG_VALUES = 20  # values of a tag that are columns, the most frequent

Times = NDArray[np.int64]  # microseconds of the Unix epoch
Tags = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class ContextColumns:
    """The covariates of a stream's predictions.

    Parameters
    ----------
    harmonics : tuple of int
        Frequencies in cycles a week; each gives a sine and a cosine of the time of the week in UTC.
    tags : tuple of (str, str)
        Keys and values of tags; each gives a column that is 1 for the predictions that carry it.
    """

    harmonics: tuple[int, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_traffic(cls, times: Times, tags: Tags, keys: Sequence[str]) -> "ContextColumns | None":
        """Return the covariates that traffic is enough for, or None if it is enough for none.

        The hour of the day needs two days, the day of the week two weeks; a tag needs 200 predictions of a value.

        Parameters
        ----------
        times : int64 (m,)
        keys : sequence of str
            The tag keys that may be covariates.
        """
        span = dt.timedelta(microseconds=int(times.max() - times.min())) if len(times) else dt.timedelta()
        harmonics: tuple[int, ...] = ()
        if span >= MIN_CYCLES * DAY:
            harmonics += DAILY_HARMONICS
        if span >= MIN_CYCLES * WEEK:
            harmonics += WEEKLY_HARMONICS
        columns = cls(harmonics, tuple(pair for key in keys for pair in _frequent(tags, key)))
        return columns if len(columns) else None

    def __len__(self) -> int:
        return 2 * len(self.harmonics) + len(self.tags)

    @property
    def text(self) -> str:
        """The covariates in words."""
        weekly = any(frequency in WEEKLY_HARMONICS for frequency in self.harmonics)
        hours = ["the hour of the week" if weekly else "the hour of the day"] if self.harmonics else []
        return " and ".join([*hours, *(f"the tag {key}" for key in dict.fromkeys(key for key, _ in self.tags))])

    def values(self, times: Times, tags: Tags) -> NDArray[np.float64]:
        """Return the covariates (m, c) of predictions.

        Parameters
        ----------
        times : int64 (m,)
        tags : sequence of m mappings
        """
        week = ((times - MONDAY) % WEEK_IN_MICROSECONDS) * (2 * np.pi / WEEK_IN_MICROSECONDS)
        angles = week[:, None] * np.array(self.harmonics, dtype=np.float64)
        columns = np.empty((len(times), len(self)))
        columns[:, : len(self.harmonics)] = np.sin(angles)
        columns[:, len(self.harmonics) : 2 * len(self.harmonics)] = np.cos(angles)
        for at, (key, value) in enumerate(self.tags, start=2 * len(self.harmonics)):
            columns[:, at] = [row.get(key) == value for row in tags]
        return columns

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the covariates as arrays, to be stored with a calibration."""
        return {
            "covariate_harmonics": np.array(self.harmonics, dtype=np.int64),
            "covariate_tags": np.array(self.tags, dtype=np.str_).reshape(-1, 2),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> "ContextColumns | None":
        """Return the covariates that a calibration was made with, or None."""
        if "covariate_harmonics" not in arrays:
            return None
        pairs = np.asarray(arrays["covariate_tags"]).reshape(-1, 2).tolist()
        return cls(
            tuple(int(frequency) for frequency in np.asarray(arrays["covariate_harmonics"]).tolist()),
            tuple((str(key), str(value)) for key, value in pairs),
        )


def _frequent(tags: Tags, key: str) -> list[tuple[str, str]]:
    """Return the frequent values of a tag with its key; none where a single one says nothing."""
    counts: dict[str, int] = {}
    for row in tags:
        if (value := row.get(key)) is not None:
            counts[value] = counts.get(value, 0) + 1
    values = sorted((value for value, count in counts.items() if count >= MIN_TAG_ROWS), key=lambda v: (-counts[v], v))
    missing = len(tags) - sum(counts.values())
    return [(key, value) for value in values[:MAX_TAG_VALUES]] if len(counts) + bool(missing) > 1 else []
