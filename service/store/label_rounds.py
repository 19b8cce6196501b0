"""Label rounds: predictions of a stream that were drawn to be labelled, with the probability of each."""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import args_row
from sqlalchemy import Connection

from .raw_connection import raw

MAX_ROUNDS = 10  # rounds that are stored of a stream, the newest

CREATE = """
INSERT INTO label_rounds (stream_id, since, until, population, requested, mean_confidence, label_variance, requested_by)
VALUES (%(stream_id)s, %(since)s, %(until)s, %(population)s, %(requested)s, %(mean_confidence)s, %(label_variance)s,
    %(requested_by)s)
RETURNING id
"""
REQUEST = """
INSERT INTO label_requests (round_id, place, prediction_id, probability, confidence)
SELECT %(round_id)s, place, prediction_id, probability, confidence
FROM unnest(%(ids)s::uuid[], %(probabilities)s::float8[], %(confidences)s::float8[])
    WITH ORDINALITY AS drawn (prediction_id, probability, confidence, place)
"""
DELETE_OLD = """
DELETE FROM label_rounds WHERE stream_id = %(stream_id)s AND id NOT IN (
    SELECT id FROM label_rounds WHERE stream_id = %(stream_id)s ORDER BY id DESC LIMIT %(limit)s
)
"""
NEWEST = """
SELECT id, stream_id, since, until, population, requested, mean_confidence, label_variance, requested_by, created_at
FROM label_rounds WHERE stream_id = %s ORDER BY id DESC LIMIT 1
"""
REQUESTS = """
SELECT r.prediction_id, r.place, r.probability, r.confidence, r.skipped, f.predicted, f.label,
    f.created_at AS labelled_at
FROM label_requests r LEFT JOIN feedback f ON f.prediction_id = r.prediction_id
WHERE r.round_id = %s ORDER BY r.place
"""
SKIP = """
UPDATE label_requests SET skipped = true WHERE round_id = %s AND prediction_id = %s AND NOT EXISTS (
    SELECT FROM feedback f WHERE f.prediction_id = label_requests.prediction_id
)
"""


class DrawnPrediction(NamedTuple):
    """A prediction that was drawn to be labelled."""

    id: UUID
    probability: float  # probability with which it was drawn
    confidence: float  # calibrated probability of the predicted class


class NewRound(NamedTuple):
    """A round: a population of predictions, and who requested labels of some."""

    stream_id: int
    since: dt.datetime  # time of the earliest prediction
    until: dt.datetime  # time of the latest prediction
    population: int  # number of predictions
    mean_confidence: float  # over the population, calibrated
    label_variance: float  # expected variance of the measured accuracy times the number of labels
    requested_by: str


class LabelRound(NamedTuple):
    """A stored round."""

    id: int
    stream_id: int
    since: dt.datetime
    until: dt.datetime
    population: int
    requested: int  # number of predictions that were drawn
    mean_confidence: float
    label_variance: float
    requested_by: str
    created_at: dt.datetime


class LabelRequest(NamedTuple):
    """A prediction of a round, and the label that came back for it."""

    prediction_id: UUID
    place: int  # number in the random order of labelling, from 1
    probability: float
    confidence: float
    skipped: bool
    predicted: int | None  # the predicted class, once there is a label
    label: int | None
    labelled_at: dt.datetime | None

    @property
    def is_open(self) -> bool:
        """Whether a label is still wanted."""
        return self.label is None and not self.skipped


def create(connection: Connection, new: NewRound, drawn: Sequence[DrawnPrediction]) -> int:
    """Store a round with its predictions in the order in which they are to be labelled; return its id.

    The oldest rounds of the stream beyond `MAX_ROUNDS` are deleted.
    """
    with raw(connection).cursor() as cursor:
        cursor.execute(CREATE, new._asdict() | {"requested": len(drawn)})
        row = cursor.fetchone()
        if row is None:
            raise RuntimeError("an INSERT with RETURNING returned no row")
        values = {
            "round_id": row[0],
            "ids": [item.id for item in drawn],
            "probabilities": [item.probability for item in drawn],
            "confidences": [item.confidence for item in drawn],
        }
        cursor.execute(REQUEST, values)
        cursor.execute(DELETE_OLD, {"stream_id": new.stream_id, "limit": MAX_ROUNDS})
    return int(row[0])


def newest(connection: Connection, stream_id: int) -> LabelRound | None:
    """Return the newest round of a stream, or None."""
    with raw(connection).cursor(row_factory=args_row(LabelRound)) as cursor:
        return cursor.execute(NEWEST, (stream_id,)).fetchone()


def requests(connection: Connection, round_id: int) -> list[LabelRequest]:
    """Return the predictions of a round with their labels, in the order in which they are to be labelled."""
    with raw(connection).cursor(row_factory=args_row(LabelRequest)) as cursor:
        return cursor.execute(REQUESTS, (round_id,)).fetchall()


def skip(connection: Connection, round_id: int, prediction_id: UUID) -> bool:
    """Record that a person cannot decide the class of a prediction; return whether its request was still open."""
    return raw(connection).execute(SKIP, (round_id, prediction_id)).rowcount > 0
