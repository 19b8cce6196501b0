"""Baselines of the streams of a model over time: traffic that was declared calm, or accepted."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, text

HISTORY = text(
    """
    SELECT s.slice, s.reference_id, NULL::int AS calibration_id, b.id AS baseline_id,
        b.created_at AS from_time, b.undone_at AS until_time
    FROM baselines b JOIN streams s ON s.id = b.stream_id AND s.reference_id = b.reference_id
    WHERE s.model_id = :model_id
    UNION ALL
    SELECT s.slice, s.reference_id, c.id, NULL, c.created_at, NULL
    FROM calibrations c JOIN streams s ON s.id = c.stream_id AND s.reference_id = c.reference_id
    WHERE s.model_id = :model_id
    ORDER BY from_time
    """
)


@dataclass(frozen=True)
class BaselinePeriod:
    """The time in which a stream could be compared with a calibration or with accepted traffic.

    Parameters
    ----------
    slice : str
        The name of the stream's slice, empty for the whole model.
    reference_id : int
        The present reference of the stream.
    calibration_id, baseline_id : int, optional
        The traffic that was declared calm, or that was accepted.
    from_time : datetime
    until_time : datetime, optional
        When it was undone.
    """

    slice: str
    reference_id: int
    calibration_id: int | None
    baseline_id: int | None
    from_time: dt.datetime
    until_time: dt.datetime | None

    def applies_at(self, moment: dt.datetime) -> bool:
        """Check whether it was in force at a time."""
        return self.from_time <= moment and (self.until_time is None or moment < self.until_time)


def of_model(connection: Connection, model_id: int) -> list[BaselinePeriod]:
    """Return the calibrations and accepted baselines of a model's streams, in the order in which they began."""
    return [BaselinePeriod(**row._asdict()) for row in connection.execute(HISTORY, {"model_id": model_id})]
