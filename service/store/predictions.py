"""Logged predictions: written in bulk, read in commit order, partitioned by day."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection as RawConnection
from psycopg import Cursor as RawCursor
from psycopg import sql
from sqlalchemy import Connection, Row, cast, literal, select, text, tuple_

from .logged import HALF, SINGLE
from .prediction_id import time_of
from .raw_connection import raw
from .tables import XID8, feedback, models, predictions

PARTITION_LOCK = 0x71DF
PARTITIONED = ("slice_predictions", "predictions")  # retention takes the days from them in this order
HORIZON = text("pg_snapshot_xmin(pg_current_snapshot())")  # no transaction that still runs lies below it

_c = predictions.c
READ = (_c.id, _c.at, _c.xid, _c.seq.label("seq"), _c.embedding, _c.probabilities, _c.properties, _c.tags)


class Cursor(NamedTuple):
    """A place in a stream's commit order."""

    xid: str = "0"
    seq: int = 0


@dataclass(frozen=True)
class Batch:
    """Consecutive predictions of a stream."""

    ids: list[UUID]
    at: list[dt.datetime]
    cursors: list[Cursor]
    embeddings: NDArray[np.float32]  # (m, d)
    probabilities: NDArray[np.float32]  # (m, k)
    measured: NDArray[np.float32] | None  # (m, p), image properties, NaN in rows without; None where no row has them
    tags: list[dict[str, str]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def properties(self) -> NDArray[np.float32] | None:
        """Image properties (m, p); None unless every row has them."""
        return None if self.measured is None or np.isnan(self.measured).any() else self.measured

    def newest(self, count: int) -> "Batch":
        """Return the last `count` predictions."""
        measured = None if self.measured is None else self.measured[-count:]
        return Batch(
            self.ids[-count:],
            self.at[-count:],
            self.cursors[-count:],
            self.embeddings[-count:],
            self.probabilities[-count:],
            measured,
            self.tags[-count:],
        )


def ensure_partitions(connection: RawConnection[Any], days: Iterable[dt.date]) -> None:
    """Make the daily partitions that are missing; safe against another process that does the same."""
    wanted = {partition(parent, day): (parent, day) for day in sorted(set(days)) for parent in PARTITIONED}
    with connection.cursor() as cursor:
        if wanted.keys() <= partitions(cursor):
            return
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (PARTITION_LOCK,))
        for name in wanted.keys() - partitions(cursor):
            parent, day = wanted[name]
            whole, part = sql.Identifier(parent), sql.Identifier(name)
            cursor.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING STORAGE)").format(part, whole)
            )
            cursor.execute(
                sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                    whole, part, sql.Literal(f"{day} 00:00+00"), sql.Literal(f"{day + dt.timedelta(days=1)} 00:00+00")
                )
            )


def partition(parent: str, day: dt.date) -> str:
    """Return the name of a day's partition."""
    return f"{parent}_{day:%Y%m%d}"


def partitions(cursor: RawCursor[Any]) -> set[str]:
    """Return the names of the partitions that there are."""
    cursor.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = ANY(%s::regclass[])",
        (list(PARTITIONED),),
    )
    return {name for (name,) in cursor.fetchall()}


def read(connection: Connection, model_id: int, after: Cursor, limit: int) -> Batch | None:
    """Return the next predictions of a model in commit order, or None.

    Only rows of transactions below the snapshot's xmin are read: no transaction still running can add a row
    before them, so that none is ever skipped.
    """
    c = predictions.c
    query = select(*READ).where(*after_cursor(c, model_id, after)).order_by(c.xid, c.seq).limit(limit)
    rows = connection.execute(query).all()
    return batch_of(rows) if rows else None


def last(connection: Connection, model_id: int, upto: Cursor, limit: int) -> Batch | None:
    """Return the newest predictions of a model up to and including a cursor, in commit order, or None."""
    c = predictions.c
    query = (
        select(*READ)
        .where(c.model_id == model_id, tuple_(c.xid, c.seq) <= place(upto))
        .order_by(c.xid.desc(), c.seq.desc())
        .limit(limit)
    )
    rows = connection.execute(query).all()
    return batch_of(rows[::-1]) if rows else None


def between(connection: Connection, model_id: int, since: dt.datetime, until: dt.datetime, limit: int) -> Batch | None:
    """Return the newest predictions of a model made in a span of time, in commit order, or None."""
    c = predictions.c
    query = (
        select(*READ)
        .where(c.model_id == model_id, c.at >= since, c.at < until)
        .order_by(c.xid.desc(), c.seq.desc())
        .limit(limit)
    )
    rows = connection.execute(query).all()
    return batch_of(rows[::-1]) if rows else None


def get(connection: Connection, prediction_id: UUID) -> Row[Any] | None:
    """Return one logged prediction with its model and the fed-back label, or None."""
    query = (
        select(
            predictions,
            models.c.name.label("model_name"),
            models.c.version.label("model_version"),
            models.c.labels,
            feedback.c.label.label("feedback"),
        )
        .join(models, models.c.id == predictions.c.model_id)
        .outerjoin(feedback, feedback.c.prediction_id == predictions.c.id)
        .where(predictions.c.id == prediction_id, predictions.c.at == time_of(prediction_id))
    )
    return connection.execute(query).one_or_none()


def tags(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, dict[str, str]]:
    """Return the tags of logged predictions; those that are not in Postgres are missing."""
    return dict(by_ids(connection, ids, "p.id, p.tags"))


def thumbnails(connection: Connection, ids: Sequence[UUID]) -> list[bytes]:
    """Return the encoded images of predictions that were logged with one."""
    return [image for (image,) in by_ids(connection, ids, "p.thumbnail") if image is not None]


def by_ids(connection: Connection, ids: Sequence[UUID], columns: str) -> list[tuple[Any, ...]]:
    """Return columns, as SQL names them, of the logged predictions with these ids.

    The times inside the ids say which days to look in: a join with an array, which Postgres plans at once for any
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


def after_cursor(columns: Any, model_id: int, after: Cursor) -> list[Any]:
    """Return the conditions that a row belongs to a model, lies after a cursor and below the transaction horizon."""
    return [
        columns.model_id == model_id,
        tuple_(columns.xid, columns.seq) > place(after),
        columns.xid < HORIZON,
    ]


def place(cursor: Cursor) -> Any:
    """Return a cursor as Postgres compares it with (xid, seq)."""
    return tuple_(cast(literal(cursor.xid), XID8), literal(cursor.seq))


def batch_of(rows: Sequence[Any]) -> Batch:
    """Return rows of the columns `READ` as a batch."""
    lengths = {len(row.properties) for row in rows if row.properties is not None}
    missing = np.full(max(lengths, default=0) // SINGLE.itemsize, np.nan, SINGLE).tobytes()

    def matrix(column: str, dtype: np.dtype[Any]) -> NDArray[np.float32]:
        joined = b"".join(getattr(row, column) or missing for row in rows)
        return np.frombuffer(joined, dtype=dtype).reshape(len(rows), -1).astype(np.float32)

    return Batch(
        ids=[row.id for row in rows],
        at=[row.at for row in rows],
        cursors=[Cursor(row.xid, row.seq) for row in rows],
        embeddings=matrix("embedding", HALF),
        probabilities=matrix("probabilities", HALF),
        measured=matrix("properties", SINGLE) if lengths else None,
        tags=[row.tags for row in rows],
    )
