"""The shifts that a detector with this reference detects by when, at a few rates of traffic."""

from typing import TypedDict

from ..durations import prediction_rate
from ..monitor.budget import detectable_changes, stream_budget
from ..monitor.pace import Pace
from ..pages.budget import detectable_text
from ..settings import Settings

RATES = 10 / 86_400, 1 / 60, 1.0, 100.0  # predictions a second: 10 a day, 1 a minute, 1 a second, 100 a second


class DetectableAtRate(TypedDict):
    """When a change of a class share is detected at a rate of traffic."""

    rate: float  # predictions a second
    class_share: list[float]  # share before and after the change
    predictions: int | None
    seconds: float | None
    text: str


def detectable_at_rates(rows: int, settings: Settings) -> list[DetectableAtRate]:
    """Return for each of RATES and each change of a class share when the detector sees it, and the same in words.

    Parameters
    ----------
    rows : int
        The rows of the reference.
    """
    table: list[DetectableAtRate] = []
    for rate in RATES:
        pace = Pace(rate=rate)
        run_time = stream_budget(settings, pace).detector
        for change in detectable_changes(run_time, rows):
            watched_rate = rate * pace.watched_share
            table.append(
                {
                    "rate": rate,
                    "class_share": [change.before, change.after],
                    "predictions": change.predictions,
                    "seconds": None if change.predictions is None else change.predictions / watched_rate,
                    "text": f"at {prediction_rate(rate)}: {detectable_text(change, watched_rate)}",
                }
            )
    return table
