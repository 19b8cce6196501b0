"""Streams: the predictions of a model version or of one slice of it, how far they are watched, and the drift state."""

import datetime as dt
from typing import Any, NamedTuple, TypedDict, Unpack
from uuid import UUID

from psycopg.rows import args_row
from sqlalchemy import Connection, FromClause, Select, func, select, text, update

from ..errors import TidemarkError
from .raw_connection import raw
from .stream_status import StatusJson
from .tables import models, streams

STREAMS = """
SELECT s.id, s.model_id, m.name AS model_name, m.version AS model_version, m.sha256 AS model_sha256, m.labels,
    m.name || ':' || m.version || coalesce('/' || nullif(s.slice, ''), '') AS stream, s.slice, s.reference_id,
    s.state, s.kind, s.since, s.position, s.label_position, s.window_position, coalesce(p.position, 0) AS written,
    coalesce(l.position, 0) AS labels_written, p.at AS written_at, s.seen, s.tested, s.window_start, s.calm_windows,
    s.status, s.rejected, s.blind_reason, s.lease_owner, s.lease_until, s.last_success_at,
    s.last_window_at, s.retired_at
FROM streams s
JOIN models m ON m.id = s.model_id
LEFT JOIN log_ends p ON p.model_id = s.model_id AND p.log = 'predictions'
LEFT JOIN log_ends l ON l.model_id = s.model_id AND l.log = 'labels'
"""

IDLE = text(
    """
    SELECT s.id FROM streams s JOIN log_ends e ON e.model_id = s.model_id AND e.log = 'predictions'
    WHERE s.retired_at IS NULL AND now() - :age > CASE
        WHEN s.slice <> '' THEN
            (SELECT at FROM evidence_points p WHERE p.stream_id = s.id ORDER BY position DESC LIMIT 1)
        WHEN s.reference_id IS NULL OR s.position >= e.position THEN e.at
    END
    ORDER BY s.slice <> '', s.id
    """
)

stream_name = models.c.name + ":" + models.c.version + func.coalesce("/" + func.nullif(streams.c.slice, ""), "")


def with_names(table: FromClause) -> Select[Any]:
    """Return a query of the rows of a table that belong to streams, with the names of their streams and models."""
    return (
        select(
            table,
            stream_name.label("stream"),
            models.c.name.label("model_name"),
            models.c.version.label("model_version"),
        )
        .select_from(streams)
        .join(models, models.c.id == streams.c.model_id)
        .join(table, table.c.stream_id == streams.c.id)
    )


class StreamRow(NamedTuple):
    """A stream: the predictions of a model version, or of one slice of it, and how far they are watched."""

    id: int
    model_id: int
    model_name: str
    model_version: str
    model_sha256: str
    labels: list[str]  # names of the model's classes
    stream: str  # name of the stream: model:version[/slice]
    slice: str  # key=value; empty for the whole model
    reference_id: int | None
    state: str
    kind: str
    since: dt.datetime | None
    position: int  # position of the last prediction watched
    label_position: int  # position of the last label watched
    window_position: int  # position of the last prediction before the next window
    written: int  # position of the model's last prediction in Postgres
    labels_written: int  # position of the model's last label in Postgres
    written_at: dt.datetime | None  # time at which predictions were last committed
    seen: int  # predictions of the stream that its detector has been given
    tested: int  # predictions up to the end of the last window
    window_start: int  # predictions before the next window
    calm_windows: int
    status: StatusJson  # small and versioned, of the monitor
    rejected: dict[str, int]  # predictions that could not be watched, by reason
    blind_reason: str | None  # why the stream is not watched; None: it is
    lease_owner: UUID | None  # the monitor that watches it,
    lease_until: dt.datetime | None  # end of the lease unless its owner renews it
    last_success_at: dt.datetime | None
    last_window_at: dt.datetime | None
    retired_at: dt.datetime | None

    @property
    def lag(self) -> int:
        """Positions of the model that are in Postgres and that this stream has not been watched up to."""
        return max(self.written - self.position, 0)


def load_all(connection: Connection) -> list[StreamRow]:
    """Return all streams but the retired ones, in the order of their names."""
    return _fetch(connection, "WHERE s.retired_at IS NULL ORDER BY stream")


def with_retired(connection: Connection) -> list[StreamRow]:
    """Return all streams, the retired ones too, in the order of their names."""
    return _fetch(connection, "ORDER BY stream")


def find(connection: Connection, name: str) -> StreamRow | None:
    """Return the stream called `model:version[/slice]`, or None."""
    condition = "WHERE m.name || ':' || m.version || coalesce('/' || nullif(s.slice, ''), '') = %(name)s"
    return next(iter(_fetch(connection, condition, name=name)), None)


def require(connection: Connection, name: str) -> StreamRow:
    """Return the stream that a person named.

    Raises
    ------
    TidemarkError
        No such stream.
    """
    row = find(connection, name)
    if row is None:
        names = ", ".join(stream.stream for stream in load_all(connection)) or "none"
        raise TidemarkError(f"no stream {name!r}; there are: {names}")
    return row


def with_reference(connection: Connection, name: str) -> tuple[StreamRow, int]:
    """Return the stream that a person named, and the id of its reference.

    Raises
    ------
    TidemarkError
        No such stream, or no reference yet.
    """
    row = require(connection, name)
    if row.reference_id is None:
        raise TidemarkError(f"stream {name!r} has no reference; run `tidemark reference build` first")
    return row, row.reference_id


def get(connection: Connection, stream_id: int) -> StreamRow:
    """Return a stream."""
    (row,) = _fetch(connection, "WHERE s.id = %(id)s", id=stream_id)
    return row


def lock_model(connection: Connection, model_id: int) -> None:
    """Lock the row of a model's whole stream until the end of the transaction.

    Every transaction that changes streams of a model takes this lock before it changes other rows, and holds that of
    one model only: two of them wait for each other, and never both.
    """
    s = streams.c
    connection.execute(select(s.id).where(s.model_id == model_id, s.slice == "").with_for_update(key_share=True))


class StreamValues(TypedDict, total=False):
    """Columns of a stream that change outside a monitor's step."""

    reference_id: int | None
    position: int
    state: str
    kind: str
    since: dt.datetime | None


def save(connection: Connection, stream_id: int, **values: Unpack[StreamValues]) -> None:
    """Change a stream."""
    connection.execute(update(streams).where(streams.c.id == stream_id).values(**values))


def idle(connection: Connection, age: dt.timedelta) -> list[int]:
    """Return the ids of streams whose last prediction came longer ago than an age, those of whole models first.

    That of a whole model is the last one committed, once it is watched or has no reference; that of a slice the last
    one watched.
    """
    return list(connection.execute(IDLE, {"age": age}).scalars())


def restart(connection: Connection, stream_id: int) -> None:
    """Let a stream's detector start again, without a drift: what it is compared with has changed."""
    save(connection, stream_id, state="calm", kind="none", since=None)


def _fetch(connection: Connection, condition: str, **values: str | int) -> list[StreamRow]:
    with raw(connection).cursor(row_factory=args_row(StreamRow)) as cursor:
        return cursor.execute(STREAMS + condition, values).fetchall()
