"""Streams: the predictions of one model version, with the monitor's place in them and what it found."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, func, select, text, update

from service.store.predictions import Cursor, after_cursor, pending
from service.store.tables import feedback, models, predictions, streams

stream_name = models.c.name + ":" + models.c.version + func.coalesce("/" + func.nullif(streams.c.slice, ""), "")


def _query() -> Select[Any]:
    return select(
        streams,
        models.c.name.label("model_name"),
        models.c.version.label("model_version"),
        models.c.sha256.label("model_sha256"),
        models.c.labels,
        stream_name.label("stream"),
    ).join(models, models.c.id == streams.c.model_id)


def every(connection: Connection) -> Sequence[Row[Any]]:
    """Return all streams, in the order of their names."""
    return connection.execute(_query().order_by(stream_name)).all()


def find(connection: Connection, name: str) -> Row[Any] | None:
    """Return the stream called `model:version[/slice]`, or None."""
    return connection.execute(_query().where(stream_name == name)).one_or_none()


def get(connection: Connection, stream_id: int) -> Row[Any]:
    """Return a stream."""
    return connection.execute(_query().where(streams.c.id == stream_id)).one()


def lock(connection: Connection, stream_id: int) -> Row[Any] | None:
    """Return a stream, held for the rest of the transaction, or None where another monitor is moving it."""
    query = _query().where(streams.c.id == stream_id).with_for_update(of=streams, skip_locked=True)
    return connection.execute(query).one_or_none()


def save(connection: Connection, stream_id: int, **values: Any) -> None:
    """Change a stream."""
    connection.execute(update(streams).where(streams.c.id == stream_id).values(**values))


def waiting(connection: Connection, min_size: int, max_age: float) -> list[int]:
    """Return the ids of streams that the monitor should look at.

    Those with predictions or feedback not yet looked at; those whose last window is older than `max_age` seconds
    while `min_size` predictions are not yet in one; those with a detection that is not yet an alert.
    """
    c = streams.c
    old = (c.tested + min_size <= c.seen) & (c.last_window_at < func.now() - text(f"interval '{max_age} seconds'"))
    query = select(streams, (old | c.status.has_key("detected_at")).label("due")).where(c.reference_id.is_not(None))
    found = []
    for row in connection.execute(query.order_by(c.id)).all():
        new = exists().where(*after_cursor(predictions.c, row.model_id, Cursor(row.cursor_xid, row.cursor_seq)))
        fed = exists().where(*after_cursor(feedback.c, row.model_id, Cursor(row.feedback_xid, row.feedback_seq)))
        if row.due or connection.execute(select(new | fed)).scalar_one():
            found.append(row.id)
    return found


def lag(connection: Connection, row: Row[Any]) -> int:
    """Count the stream's predictions that the monitor has not looked at."""
    return pending(connection, row.model_id, Cursor(row.cursor_xid, row.cursor_seq))
