"""Logged predictions by their ids, and the days that they are partitioned by."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection as RawConnection
from psycopg import Cursor as RawCursor
from psycopg import sql
from sqlalchemy import Connection, select

from .prediction_id import time_of
from .raw_connection import raw
from .tables import feedback, models, predictions

PARTITION_LOCK = 0x71DF  # advisory lock: who makes partitions
PARTITIONED = ("slice_predictions", "predictions")  # those of the first are made by servers of an earlier version


@dataclass(frozen=True)
class StoredPrediction:
    """A logged prediction with its model and the label that came back for it."""

    id: UUID
    at: dt.datetime
    model_name: str
    model_version: str
    labels: list[str]  # names of the model's classes
    label: int  # the predicted class
    confidence: float
    properties: bytes | None  # little-endian float32 (p,)
    corrected: bytes | None  # little-endian float16 (k,), the probabilities at other class proportions
    tags: dict[str, str]
    thumbnail: bytes | None  # an encoded image
    feedback: int | None  # the true class


def get(connection: Connection, prediction_id: UUID) -> StoredPrediction | None:
    """Return one logged prediction, or None."""
    p, m = predictions.c, models.c
    query = (
        select(
            *(p.id, p.at, m.name.label("model_name"), m.version.label("model_version"), m.labels),
            *(
                p.label,
                p.confidence,
                p.properties,
                p.corrected,
                p.tags,
                p.thumbnail,
                feedback.c.label.label("feedback"),
            ),
        )
        .join(models, m.id == p.model_id)
        .outerjoin(feedback, feedback.c.prediction_id == p.id)
        .where(p.id == prediction_id, p.at == time_of(prediction_id))
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredPrediction(**row._asdict())


def thumbnails(connection: Connection, ids: Sequence[UUID]) -> list[bytes]:
    """Return the encoded images of predictions that were logged with one."""
    return [image for (image,) in by_ids(connection, ids, "p.thumbnail") if image is not None]


def by_ids(connection: Connection, ids: Sequence[UUID], columns: str) -> list[tuple[Any, ...]]:
    """Return columns, as SQL names them, of the logged predictions with these ids.

    The times inside the ids say which days to read: a join with an array, which Postgres plans at once for any
    number of ids, and which locks no other day.
    """
    if not ids:
        return []
    times = [time_of(key) for key in ids]
    statement = (
        f"SELECT {columns} FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS sought (id, at) "
        "JOIN predictions p ON p.id = sought.id AND p.at = sought.at AND p.at BETWEEN %(at_from)s AND %(at_to)s"
    )
    values = {"ids": list(ids), "times": times, "at_from": min(times), "at_to": max(times)}
    with raw(connection).cursor(binary=True) as cursor:
        return cursor.execute(statement, values, prepare=False).fetchall()


def ensure_partitions(connection: RawConnection[Any], days: Iterable[dt.date]) -> None:
    """Make the daily partitions that are missing; several processes may do so at a time."""
    day_by_name = {partition("predictions", day): day for day in sorted(set(days))}
    with connection.cursor() as cursor:
        if day_by_name.keys() <= partitions(cursor):
            return
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (PARTITION_LOCK,))
        for name in day_by_name.keys() - partitions(cursor):
            day = day_by_name[name]
            parent, part = sql.Identifier("predictions"), sql.Identifier(name)
            cursor.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING STORAGE)").format(part, parent)
            )
            cursor.execute(
                sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                    parent, part, sql.Literal(f"{day} 00:00+00"), sql.Literal(f"{day + dt.timedelta(days=1)} 00:00+00")
                )
            )


def partition(parent: str, day: dt.date) -> str:
    """Return the name of a day's partition."""
    return f"{parent}_{day:%Y%m%d}"


def partitions(cursor: RawCursor[Any]) -> set[str]:
    """Return the names of the existing partitions."""
    cursor.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = ANY(%s::regclass[])",
        (list(PARTITIONED),),
    )
    return {name for (name,) in cursor.fetchall()}
