"""Gives positions to what has none: rows of servers of an earlier version, labels that waited for a prediction."""

from typing import Any

from psycopg import Cursor as RawCursor
from sqlalchemy import Connection

from . import label_log
from .log_writer import lock_writers, runs_of, take_positions
from .raw_connection import raw
from .tables import SWEEP_SPOOL

SWEEP_BATCH_ROWS = 10_000  # rows of one transaction
SWEEP_LOCK = 0x71E0  # advisory lock: one sweep at a time is enough

FIND = """
SELECT model_id FROM predictions WHERE writer_id IS NULL ORDER BY model_id LIMIT 1
"""
FIND_LABELS = """
SELECT DISTINCT model_id FROM feedback WHERE label IS DISTINCT FROM placed ORDER BY model_id
"""
NUMBER = """
WITH next AS (
    SELECT id, at, row_number() OVER (ORDER BY number) AS place FROM (
        SELECT id, at, number FROM predictions WHERE model_id = %(model_id)s AND writer_id IS NULL
        ORDER BY number LIMIT %(limit)s
    ) waiting
)
UPDATE predictions p SET writer_id = %(writer_id)s, number = %(last_number)s + next.place
FROM next WHERE p.id = next.id AND p.at = next.at RETURNING p.number, p.at
"""


def sweep(connection: Connection) -> int:
    """Give positions to rows and labels that have none, in the connection's transaction; return how many got one.

    A server of an earlier version does not number what it writes. A bounded number is placed: call it again, every few
    seconds. While another process sweeps, nothing is done.
    """
    with raw(connection).cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (SWEEP_LOCK,))
        if not (cursor.fetchone() or (False,))[0]:
            return 0
        return _sweep_predictions(cursor) + _sweep_labels(cursor)


def _sweep_predictions(cursor: RawCursor[Any]) -> int:
    first = cursor.execute(FIND).fetchone()
    if first is None:
        return 0
    (model_id,) = first
    writer = lock_writers(cursor, SWEEP_SPOOL, [model_id])[model_id]
    values = {
        "model_id": model_id,
        "writer_id": writer.id,
        "last_number": writer.last_number,
        "limit": SWEEP_BATCH_ROWS,
    }
    rows = cursor.execute(NUMBER, values).fetchall()
    if not rows:
        return 0
    numbers, times = sorted(number for number, _ in rows), [at for _, at in rows]
    take_positions(cursor, model_id, writer.id, runs_of(numbers), (min(times), max(times)))
    return len(rows)


def _sweep_labels(cursor: RawCursor[Any]) -> int:
    model_ids = [model_id for (model_id,) in cursor.execute(FIND_LABELS).fetchall()]
    if not model_ids:
        return 0
    label_log.lock(cursor, model_ids)
    return sum(label_log.place(cursor, model_id) for model_id in model_ids)
