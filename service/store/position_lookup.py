"""The positions of single predictions in the log of their model."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from .prediction_id import time_of
from .raw_connection import raw

QUERY = """
SELECT p.id, s.first_position + p.number - s.first_number
FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS sought (id, at)
JOIN predictions p ON p.id = sought.id AND p.at = sought.at AND p.at BETWEEN %(at_from)s AND %(at_to)s
CROSS JOIN LATERAL (
    SELECT first_position, first_number FROM segments
    WHERE model_id = %(model_id)s AND writer_id = p.writer_id AND first_number <= p.number
    ORDER BY first_number DESC LIMIT 1
) s
WHERE p.model_id = %(model_id)s
"""


def positions_of(connection: Connection, model_id: int, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the positions of those of a model's predictions that are in its log, by their ids."""
    if not ids:
        return {}
    times = [time_of(key) for key in ids]
    values = {"model_id": model_id, "ids": list(ids), "times": times, "at_from": min(times), "at_to": max(times)}
    return dict(raw(connection).execute(QUERY, values, prepare=False).fetchall())
