"""Window reports: one row an evaluated window."""

import datetime as dt
from typing import Any, NamedTuple, NotRequired, TypedDict, Unpack

from sqlalchemy import Connection, Select, select
from sqlalchemy.dialects.postgresql import insert

from .page_bounds import first_page, with_short_reports
from .report_json import WindowReportJson
from .streams import stream_name, with_names
from .tables import models, streams, windows


class WindowRow(NamedTuple):
    """An evaluated window of a stream."""

    id: int
    stream_id: int
    stream: str  # model:version[/slice]
    model_name: str
    model_version: str
    start: dt.datetime  # time of its earliest prediction
    end: dt.datetime  # time of its latest prediction
    first: int  # position of its first prediction in the stream
    size: int  # predictions
    p_value: float
    drifted: bool
    kind: str
    evidence: float | None  # nats
    threshold: float | None  # nats
    seconds: float  # time to evaluate it
    report: WindowReportJson
    created_at: dt.datetime


class WindowValues(TypedDict):
    """Columns of a window that are written."""

    stream_id: int
    start: dt.datetime
    end: dt.datetime
    first: int
    size: int
    p_value: float
    drifted: bool
    kind: str
    evidence: NotRequired[float | None]
    threshold: NotRequired[float | None]
    seconds: float
    report: WindowReportJson


def save(connection: Connection, **values: Unpack[WindowValues]) -> int:
    """Store an evaluated window; return its id.

    The report of an alarm may be about the very rows of a window: it takes the window's place.
    """
    statement = insert(windows).values(**values)
    later = {name: statement.excluded[name] for name in values if name not in ("stream_id", "first", "size")}
    statement = statement.on_conflict_do_update(index_elements=["stream_id", "first", "size"], set_=later)
    return int(connection.execute(statement.returning(windows.c.id)).scalar_one())


def newest(
    connection: Connection, stream: str | None = None, limit: int = 20, before: int | None = None
) -> list[WindowRow]:
    """Return windows, newest first, at most `limit` and as many as a page may hold; `before` is a window's id."""
    query = _newest(stream, before).limit(limit)
    return [WindowRow(**row._asdict()) for row in connection.execute(first_page(query, "id"))]


def has_older(connection: Connection, stream: str | None, before: int) -> bool:
    """Check whether there are windows before a window's id, of one stream or of all."""
    return bool(connection.execute(_newest(stream, before).with_only_columns(windows.c.id).limit(1)).first())


def last_of_each(connection: Connection) -> dict[int, WindowRow]:
    """Return the newest window of every stream that has one, by the stream's id.

    Reports beyond the bytes of a page are without their large members.
    """
    newest = select(windows).where(windows.c.stream_id == streams.c.id).order_by(windows.c.id.desc()).limit(1).lateral()
    query = with_names(newest).where(streams.c.retired_at.is_(None))
    rows = connection.execute(with_short_reports(query, "stream_id"))
    return {row.stream_id: WindowRow(**row._asdict()) for row in rows}


def get(connection: Connection, window_id: int) -> WindowRow | None:
    """Return one window, or None."""
    row = connection.execute(with_names(windows).where(windows.c.id == window_id)).one_or_none()
    return None if row is None else WindowRow(**row._asdict())


def _newest(stream: str | None, before: int | None) -> Select[Any]:
    query = with_names(windows).order_by(windows.c.id.desc())
    if stream is not None:
        stream_id = select(streams.c.id).join(models).where(stream_name == stream).scalar_subquery()
        query = query.where(windows.c.stream_id == stream_id)
    return query if before is None else query.where(windows.c.id < before)
