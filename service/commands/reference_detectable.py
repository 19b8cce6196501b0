"""The shifts that a detector with this reference detects by when, at a few rates of traffic."""

from typing import Any

from ..durations import prediction_rate
from ..monitor.budget import detectable_changes, stream_budget
from ..monitor.pace import Pace
from ..pages.budget import detectable_text
from ..settings import Settings

RATES = 10 / 86_400, 1 / 60, 1.0, 100.0  # predictions a second: 10 a day, 1 a minute, 1 a second, 100 a second


def detectable_at_rates(rows: int, settings: Settings) -> list[dict[str, Any]]:
    """Return for each of RATES and each change of a class share when the detector sees it, and the same in words.

    Parameters
    ----------
    rows : int
        The rows of the reference.
    """
    table = []
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
