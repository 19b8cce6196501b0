"""The predictions and labels of a stream in commit order: of a whole model, or of one slice of it."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select, true, tuple_

from . import feedback, predictions
from .feedback import Labelled
from .predictions import READ, Batch, Cursor, batch_of, place
from .tables import predictions as logged
from .tables import slice_feedback, slice_predictions

_s = slice_predictions.c


def read(connection: Connection, stream: Row[Any], after: Cursor, limit: int) -> Batch | None:
    """Return the next predictions of a stream in commit order, or None.

    A slice holds what the whole model's stream has looked at, written by one transaction after the other in commit
    order, so that none can come before what is read here.
    """
    if not stream.slice:
        return predictions.read(connection, stream.model_id, after, limit)
    places = _places(stream).where(tuple_(_s.xid, _s.seq) > place(after)).order_by(_s.xid, _s.seq)
    rows = _rows(connection, places.limit(limit))
    return batch_of(rows) if rows else None


def last(connection: Connection, stream: Row[Any], upto: Cursor, limit: int) -> Batch | None:
    """Return the newest predictions of a stream up to and including a cursor, in commit order, or None."""
    if not stream.slice:
        return predictions.last(connection, stream.model_id, upto, limit)
    places = _places(stream).where(tuple_(_s.xid, _s.seq) <= place(upto)).order_by(_s.xid.desc(), _s.seq.desc())
    rows = _rows(connection, places.limit(limit))
    return batch_of(rows[::-1]) if rows else None


def between(
    connection: Connection, stream: Row[Any], since: dt.datetime, until: dt.datetime, limit: int
) -> Batch | None:
    """Return the newest predictions of a stream made in a span of time, in commit order, or None."""
    if not stream.slice:
        return predictions.between(connection, stream.model_id, since, until, limit)
    places = _places(stream).where(_s.at >= since, _s.at < until).order_by(_s.xid.desc(), _s.seq.desc())
    rows = _rows(connection, places.limit(limit))
    return batch_of(rows[::-1]) if rows else None


def labels(connection: Connection, stream: Row[Any], after: Cursor, limit: int) -> Labelled | None:
    """Return the next fed-back labels of a stream in commit order, or None."""
    if not stream.slice:
        return feedback.read(connection, stream.model_id, after, limit)
    c = slice_feedback.c
    query = select(slice_feedback).where(c.stream_id == stream.id, tuple_(c.xid, c.seq) > place(after))
    rows = connection.execute(query.order_by(c.xid, c.seq).limit(limit)).all()
    return feedback.labelled_of(rows) if rows else None


def forget_labels(connection: Connection, stream: Row[Any], upto: Cursor) -> None:
    """Drop the labels of a slice up to and including a cursor: nothing reads them again."""
    c = slice_feedback.c
    connection.execute(delete(slice_feedback).where(c.stream_id == stream.id, tuple_(c.xid, c.seq) <= place(upto)))


def _places(stream: Row[Any]) -> Select[Any]:
    return select(_s.id, _s.at).where(_s.stream_id == stream.id)


def _rows(connection: Connection, places: Select[Any]) -> Sequence[Row[Any]]:
    """Fetch predictions by their places, in that order.

    The limits keep Postgres at one look into one day's index a row: it cannot join in any other way.
    """
    chosen = places.subquery()
    found = select(*READ).where(logged.c.id == chosen.c.id, logged.c.at == chosen.c.at).limit(1).lateral()
    return connection.execute(select(*found.c).select_from(chosen).join(found, true())).all()
