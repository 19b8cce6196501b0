"""Window reports: one row an evaluated window."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, FromClause, Row, select
from sqlalchemy.dialects.postgresql import insert

from .streams import stream_name
from .tables import models, streams, windows


def save(connection: Connection, **values: Any) -> int:
    """Store an evaluated window; return its id.

    An alarm may look at the very rows of a window: its report takes the window's place.
    """
    statement = insert(windows).values(**values)
    later = {name: statement.excluded[name] for name in values if name not in ("stream_id", "first", "size")}
    statement = statement.on_conflict_do_update(index_elements=["stream_id", "first", "size"], set_=later)
    return int(connection.execute(statement.returning(windows.c.id)).scalar_one())


def newest(
    connection: Connection, stream: str | None = None, limit: int = 20, before: int | None = None
) -> Sequence[Row[Any]]:
    """Return windows, newest first; `before` is a window's id."""
    query = _query().order_by(windows.c.id.desc()).limit(limit)
    if stream is not None:
        own = select(streams.c.id).join(models).where(stream_name == stream).scalar_subquery()
        query = query.where(windows.c.stream_id == own)
    if before is not None:
        query = query.where(windows.c.id < before)
    return connection.execute(query).all()


def last_of_each(connection: Connection) -> dict[int, Row[Any]]:
    """Return the newest window of every stream that has one, by the stream's id."""
    newest = select(windows).where(windows.c.stream_id == streams.c.id).order_by(windows.c.id.desc()).limit(1).lateral()
    query = _query(newest).where(streams.c.retired_at.is_(None))
    return {row.stream_id: row for row in connection.execute(query)}


def get(connection: Connection, window_id: int) -> Row[Any] | None:
    """Return one window, or None."""
    return connection.execute(_query().where(windows.c.id == window_id)).one_or_none()


def _query(found: FromClause = windows) -> Any:
    return (
        select(
            found,
            stream_name.label("stream"),
            models.c.name.label("model_name"),
            models.c.version.label("model_version"),
        )
        .select_from(streams)
        .join(models, models.c.id == streams.c.model_id)
        .join(found, found.c.stream_id == streams.c.id)
    )


def as_json(row: Row[Any]) -> dict[str, Any]:
    """Return a window report as the HTTP contract gives it."""
    return {
        "id": row.id,
        "stream": row.stream,
        "start": row.start.isoformat(),
        "end": row.end.isoformat(),
        **row.report,
        "evidence": row.evidence,
        "threshold": row.threshold,
    }
