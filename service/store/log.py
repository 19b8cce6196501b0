"""The reading end of the log: predictions of a model by position or by time.

A segment says that consecutive positions of a model are consecutive numbers of a writer. Reading searches for the
segments, then for their rows.
"""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from . import log_rows, segments
from .log_batch import EXPIRED, PredictionBatch, join_batches
from .logged import HALF
from .raw_connection import raw
from .segments import Segment
from .slice_filter import SliceFilter

MAX_BYTES = 128_000_000  # bytes of embeddings and probabilities in one batch: bounds the memory of wide models
SCAN = 20_000  # positions in which one query searches for the rows of a slice
MAX_SCANNED = 1_000_000  # positions after which the search ends
SEGMENT_BATCH_ROWS = 5_000  # segments that are fetched at a time, of which a span of days may have millions
NEWEST = 2**62  # beyond any position


class LogEnd(NamedTuple):
    """The end of a model's log."""

    position: int  # position of the last prediction committed
    at: dt.datetime  # time of that commit


def rows_within(columns: int) -> int:
    """Return how many predictions with so many values each are read at a time."""
    return max(MAX_BYTES // (HALF.itemsize * columns), 1)


def written_position(connection: Connection, model_id: int) -> int:
    """Return the last position of a model's log, 0 where nothing was logged."""
    row = raw(connection).execute(
        "SELECT position FROM log_ends WHERE model_id = %s AND log = 'predictions'", (model_id,)
    )
    return next((int(position) for (position,) in row), 0)


def ends(connection: Connection) -> dict[int, LogEnd]:
    """Return the end of each model's log by the model's id; models without predictions are missing."""
    statement = "SELECT model_id, position, at FROM log_ends WHERE log = 'predictions' AND at IS NOT NULL"
    rows = raw(connection).execute(statement)
    return {model_id: LogEnd(position, at) for model_id, position, at in rows}


def read(
    connection: Connection, model_id: int, after: int, limit: int, embedding_size: int, classes: int
) -> PredictionBatch | None:
    """Return the predictions at the next positions of a model, at most `limit` of them, or None where there is none.

    Parameters
    ----------
    after : int
        The last position read before, 0 at first.
    embedding_size, classes : int
        The widths d and k of the model; rows of other widths are rejected.
    """
    limit = min(limit, rows_within(embedding_size + classes))
    parts = segments.spanning(connection, model_id, after + 1, after + limit)
    if not parts or parts[0].first_position > after + 1:
        begin = segments.next_from(connection, model_id, after + 1)
        if begin is None:
            return None
        parts = segments.spanning(connection, model_id, begin.first_position, begin.first_position + limit - 1)
    batch = log_rows.of_segments(connection, model_id, parts, embedding_size, classes)
    expired = parts[0].first_position - after - 1  # positions whose segments the retention has dropped
    return batch.with_rejected({EXPIRED: expired}) if after and expired else batch


def latest(
    connection: Connection,
    model_id: int,
    upto: int,
    count: int,
    embedding_size: int,
    classes: int,
    slice_filter: SliceFilter | None = None,
) -> PredictionBatch | None:
    """Return the newest `count` predictions of a model, or of a slice of it, up to and including a position, or None.

    The search for those of a slice ends after `MAX_SCANNED` positions.
    """
    most = rows_within(embedding_size + classes)
    count = min(count, most)
    scanned = count if slice_filter is None else max(count, min(SCAN, most))
    batches: list[PredictionBatch] = []
    last, matching = upto, 0
    while last > max(upto - MAX_SCANNED, 0) and matching < count:
        after = max(last - scanned, 0)
        parts = segments.spanning(connection, model_id, after + 1, last)
        if not parts:  # the retention has dropped what came before
            break
        batches.append(log_rows.of_segments(connection, model_id, parts, embedding_size, classes, slice_filter))
        matching += len(batches[-1])
        last = after
    return _newest(batches[::-1], count)


def between(
    connection: Connection,
    model_id: int,
    since: dt.datetime,
    until: dt.datetime,
    limit: int,
    embedding_size: int,
    classes: int,
    slice_filter: SliceFilter | None = None,
) -> PredictionBatch | None:
    """Return the newest `limit` predictions of a model, or of a slice of it, that were made in a span of time, or
    None.

    The search for those of a slice ends after `MAX_SCANNED` positions.
    """
    most = rows_within(embedding_size + classes)
    limit = min(limit, most)
    batches: list[PredictionBatch] = []
    pending: list[Segment] = []  # oldest last
    before, scanned, matching = NEWEST, 0, 0
    while matching < limit and scanned < MAX_SCANNED:
        parts: list[Segment] = []
        room = limit - matching if slice_filter is None else min(SCAN, most)
        while room > 0:
            if not pending:
                pending = segments.by_time(connection, model_id, since, until, before, SEGMENT_BATCH_ROWS)[::-1]
                if not pending:
                    break
                before = pending[0].last_position
            segment = pending.pop()
            part = segment.cut(segment.last_position - room + 1, segment.last_position)
            if part.size < segment.size:
                pending.append(segment.cut(segment.first_position, part.first_position - 1))
            parts.append(part)
            room -= part.size
            scanned += part.size
        if not parts:
            break
        rows = log_rows.of_segments(
            connection, model_id, parts[::-1], embedding_size, classes, slice_filter, (since, until)
        )
        batches.append(rows)
        matching += len(batches[-1])
    return _newest(batches[::-1], limit)


def _newest(parts: Sequence[PredictionBatch], count: int) -> PredictionBatch | None:
    """Return the last `count` predictions of batches that follow each other, or None."""
    if not any(map(len, parts)):
        return None
    return join_batches(parts).select(slice(-count, None))
