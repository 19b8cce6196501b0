"""The logged predictions of a stream: of a whole model, or of one slice of it."""

import datetime as dt

from sqlalchemy import Connection, select

from . import log
from .log_batch import PredictionBatch
from .slice_filter import SliceFilter
from .streams import StreamRow
from .tables import streams

POOLED = "other"  # the value of the slice that pools the values of a tag without streams


def between(
    connection: Connection, stream: StreamRow, since: dt.datetime, until: dt.datetime, limit: int, embedding_size: int
) -> PredictionBatch | None:
    """Return the newest predictions of a stream that were made in a span of time, in the order of the log, or None.

    Parameters
    ----------
    embedding_size : int
        The width of the embeddings; predictions of another width are left out.
    """
    return log.between(
        connection,
        stream.model_id,
        since,
        until,
        limit,
        embedding_size,
        len(stream.labels),
        slice_filter(connection, stream),
    )


def slice_filter(connection: Connection, stream: StreamRow) -> SliceFilter | None:
    """Return which predictions of its model belong to a stream, by the slices that have streams now; None if all do."""
    if not stream.slice:
        return None
    key, _, value = stream.slice.partition("=")
    if value != POOLED:
        return SliceFilter(key, value)
    s = streams.c
    query = select(s.slice).where(s.model_id == stream.model_id, s.slice != "", s.retired_at.is_(None))
    names = [name.partition("=") for name in connection.execute(query).scalars()]
    return SliceFilter(key, value, tuple(name for tag, _, name in names if tag == key and name != POOLED))
