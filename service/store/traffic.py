"""The logged predictions of a stream: of a whole model, or of one slice of it."""

import datetime as dt
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, select

from . import log
from .log_batch import PredictionBatch, join_batches
from .slice_filter import SliceFilter
from .streams import StreamRow
from .tables import streams

POOLED = "other"  # the value of the slice that pools the values of a tag without streams
RUN = 200  # consecutive predictions of one run, where a long span is read in runs: several bursts fit


class SpreadTraffic(NamedTuple):
    """Predictions from all of a span, in the order of the log.

    Parameters
    ----------
    batch : PredictionBatch
    share : float
        The share of the span's predictions that they are, about.
    """

    batch: PredictionBatch
    share: float


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


def spread(
    connection: Connection, stream: StreamRow, since: dt.datetime, until: dt.datetime, limit: int, embedding_size: int
) -> SpreadTraffic | None:
    """Return about `limit` predictions of a stream that were made in a span of time, or None if there is none.

    Of wide predictions they are fewer, as many as are read at a time.

    If the span has more, these are runs of 200 consecutive ones at equal distances of time, so that each hour of the
    week is among them; the share is estimated from how quickly the predictions of a run follow each other.

    Parameters
    ----------
    embedding_size : int
        The width of the embeddings; predictions of another width are left out.
    """
    limit = min(limit, log.rows_within(embedding_size + len(stream.labels)))
    newest = between(connection, stream, since, until, limit, embedding_size)
    if newest is None:
        return None
    if len(newest) < limit or limit < 2 * RUN:
        return SpreadTraffic(newest, 1.0)
    until = min(until, newest.time(-1) + dt.timedelta(seconds=1))
    edges = [since + (until - since) * part / (limit // RUN) for part in range(limit // RUN + 1)]
    parts = [
        part
        for begin, end in pairwise(edges)
        if (part := between(connection, stream, begin, end, RUN, embedding_size)) is not None
    ]
    seconds = np.array([np.ptp(part.times) / 1e6 for part in parts])
    rows = np.array([len(part) for part in parts])
    step = (edges[1] - edges[0]).total_seconds()
    in_step = np.where(rows < RUN, rows, rows * step / np.clip(seconds, 1e-3, step))
    batch = join_batches(parts)
    return SpreadTraffic(batch, min(len(batch) / float(in_step.sum()), 1.0))


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
