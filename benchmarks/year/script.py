"""What happens in the year: how many predictions come at each hour, and what is planted when."""

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.year.world import Condition

START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)  # a Monday
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
NIGHT = 0.15  # rate in the middle of the night, over that of the middle of the day
WEEKEND = 0.4  # rate on Saturday and Sunday, over that of a working day

SKEWED = (0.34, 0.165, 0.165, 0.165, 0.165)  # mix of classes during the campaign: the first grows from 20 %


@dataclass(frozen=True)
class Planted:
    """A change of the traffic between two days.

    Parameters
    ----------
    name : str
    kind : str
        The kind that an alert of it should have; empty where any name is right.
    begins, ends : float
        Days of the year.
    condition : Condition
    role : str
        "drift" is to be found and named, "accepted" to be found and then silent, "rain" comes back.
    """

    name: str
    kind: str
    begins: float
    ends: float
    condition: Condition
    role: str = "drift"

    @property
    def start(self) -> dt.datetime:
        """When it begins."""
        return START + self.begins * DAY

    @property
    def end(self) -> dt.datetime:
        """When it ends."""
        return START + self.ends * DAY


@dataclass(frozen=True)
class Script:
    """The course of a simulation.

    Parameters
    ----------
    days : int
    per_day : float
        The mean number of predictions a day.
    planted : tuple of Planted
        In the order of their beginnings; a later one replaces an earlier one while it lasts.
    accepted_after : float
        Days after the beginning of the accepted change at which somebody accepts it.
    version_ends : float, optional
        The day on which the model's version is taken out of service, and its successor begins.
    labelled : float
        The share of predictions whose label comes back.
    """

    days: int
    per_day: float
    planted: tuple[Planted, ...] = field(default_factory=tuple)
    accepted_after: float = 1.0
    version_ends: float | None = None
    labelled: float = 0.02

    @property
    def end(self) -> dt.datetime:
        """The end of the simulation."""
        return START + self.days * DAY

    def times(self, day: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the times of a day's predictions in hours, ascending: a Poisson process by the hour of the week."""
        counts = rng.poisson(self.per_day * shares(day))
        return np.sort(np.repeat(np.arange(24.0), counts) + rng.random(counts.sum()))

    def condition(self, days: float) -> Condition:
        """Return how images come at a time, in days since the start."""
        condition = Condition()
        for change in self.planted:
            if change.role == "accepted" and days >= change.begins:
                condition = change.condition
        for change in self.planted:
            if change.role != "accepted" and change.begins <= days < change.ends:
                change_condition = change.condition
                condition = condition.with_values(
                    mix=change_condition.mix if change_condition.mix != Condition().mix else condition.mix,
                    shift=condition.shift + change_condition.shift,
                    noise=change_condition.noise,
                    swapped=change_condition.swapped,
                )
        return condition


def shares(day: int) -> NDArray[np.float64]:
    """Return the share of a mean day's predictions that each hour of a day of the week brings."""
    hours = np.arange(24)
    daily = NIGHT + (1 - NIGHT) * (1 - np.cos(2 * np.pi * (hours - 2) / 24)) / 2
    weekly = np.where(np.arange(7) >= 5, WEEKEND, 1.0)
    hourly: NDArray[np.float64] = daily / daily.sum() * weekly[day % 7] / weekly.mean()
    return hourly


def year(predictions: int = 250_000) -> Script:
    """Return the year: three drifts, one change that is accepted, rain that comes back, a version that is retired."""
    rain = [
        Planted(f"rain {number}", "", day + 0.5, day + 0.75, Condition(noise=0.9), "rain")
        for number, day in enumerate((33, 76, 121, 164, 211, 233, 267, 331), start=1)
    ]
    planted = [
        Planted("a dirty lens", "covariate", 60, 67, Condition(shift=-0.35)),
        Planted("a new camera", "covariate", 100, 365, Condition(shift=0.45), "accepted"),
        Planted("a campaign", "label", 180, 190, Condition(mix=SKEWED)),
        Planted("new labelling rules", "concept", 250, 262, Condition(swapped=True)),
        *rain,
    ]
    ordered = tuple(sorted(planted, key=lambda change: change.begins))
    return Script(days=365, per_day=predictions / 365, planted=ordered, version_ends=300)


def month(per_day: float = 600) -> Script:
    """Return a short course with one of each, for tests."""
    planted = (
        Planted("a dirty lens", "covariate", 6, 9, Condition(shift=-0.5)),
        Planted("a new camera", "covariate", 14, 40, Condition(shift=0.6), "accepted"),
        Planted("rain 1", "", 22.5, 22.8, Condition(noise=1.5), "rain"),
    )
    return Script(days=34, per_day=per_day, planted=planted, version_ends=26)
