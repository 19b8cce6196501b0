"""The reading end of the log: predictions of a model by position, as arrays that Postgres has put together.

A segment says that consecutive positions of a model are consecutive numbers of a writer. Reading looks the segments up,
then lets Postgres join the columns of their rows into one byte string each: no object is made for a row.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from .log_batch import EXPIRED, Columns, PredictionBatch, batch_of, joined
from .logged import HALF
from .prediction_id import time_of
from .raw_connection import raw

LEGACY_WRITER = 0  # of rows from before the log had segments: their numbers are shared with other models

MAX_BYTES = 128_000_000  # of embeddings and probabilities in one batch, so that a wide model cannot exhaust the memory
SCAN = 20_000  # positions in which one query searches for the rows of a slice
MAX_SCANNED = 1_000_000  # positions after which the search ends
SEGMENT_COLUMNS = "first_position, last_position, first_number, writer_id, at_from, at_to"
FIRST_SEGMENT = f"""
SELECT {SEGMENT_COLUMNS} FROM segments
WHERE model_id = %(model_id)s AND last_position >= %(first)s ORDER BY last_position LIMIT 1
"""
SEGMENTS = f"""
SELECT {SEGMENT_COLUMNS} FROM segments
WHERE model_id = %(model_id)s AND last_position >= %(first)s AND last_position <= %(last)s ORDER BY last_position
"""
SEGMENTS_BY_TIME = f"""
SELECT {SEGMENT_COLUMNS} FROM segments
WHERE model_id = %(model_id)s AND at_to >= %(since)s AND at_from < %(until)s ORDER BY last_position
"""
COLUMNS = """
SELECT count(*),
    count(*) FILTER (WHERE fits),
    string_agg(int8send(position), ''::bytea) FILTER (WHERE fits),
    string_agg(uuid_send(id), ''::bytea) FILTER (WHERE fits),
    string_agg(timestamptz_send(at), ''::bytea) FILTER (WHERE fits),
    string_agg(embedding, ''::bytea) FILTER (WHERE fits),
    string_agg(probabilities, ''::bytea) FILTER (WHERE fits),
    string_agg(int4send(coalesce(octet_length(properties), -1)), ''::bytea) FILTER (WHERE fits),
    string_agg(properties, ''::bytea) FILTER (WHERE fits),
    '[' || string_agg(tags::text, ',') FILTER (WHERE fits) || ']'
FROM (
    SELECT *, octet_length(embedding) = %(embedding_bytes)s
        AND octet_length(probabilities) = %(probability_bytes)s AS fits
    FROM ({rows}) rows
) checked
"""
ROWS = """
SELECT p.number + s.shift AS position, p.id, p.at, p.embedding, p.probabilities, p.properties, p.tags
FROM unnest(%(writer_ids)s::int[], %(first_numbers)s::bigint[], %(last_numbers)s::bigint[], %(shifts)s::bigint[],
    %(from_times)s::timestamptz[], %(to_times)s::timestamptz[])
    AS s (writer_id, first_number, last_number, shift, at_from, at_to)
CROSS JOIN LATERAL (
    SELECT * FROM predictions
    WHERE model_id = %(model_id)s AND writer_id = s.writer_id AND number BETWEEN s.first_number AND s.last_number
        AND at BETWEEN s.at_from AND s.at_to AND at BETWEEN %(at_from)s AND %(at_to)s {condition}
    ORDER BY number
) p
"""
ROWS_BY_ID = """
SELECT (row_number() OVER ())::bigint AS position, p.id, p.at, p.embedding, p.probabilities, p.properties, p.tags
FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS wanted (id, at)
JOIN predictions p ON p.id = wanted.id AND p.at = wanted.at AND p.at BETWEEN %(at_from)s AND %(at_to)s
WHERE p.model_id = %(model_id)s
"""


class LogEnd(NamedTuple):
    """The end of a model's log."""

    position: int  # of the last prediction committed
    at: dt.datetime  # when it was committed


@dataclass(frozen=True)
class SliceFilter:
    """Which predictions belong to a slice: those with a value of a tag, or, for the slice that pools the remaining
    values, those with any value but the listed ones.

    Parameters
    ----------
    key : the tag.
    value : the value, where `excluded` is None.
    excluded : values that have slices of their own.
    """

    key: str
    value: str
    excluded: tuple[str, ...] | None = None

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Check whether a prediction with these tags belongs to the slice."""
        value = tags.get(self.key)
        return value == self.value if self.excluded is None else value is not None and value not in self.excluded


class _Segment(NamedTuple):
    first_position: int
    last_position: int
    first_number: int
    writer_id: int
    at_from: dt.datetime
    at_to: dt.datetime

    def cut(self, first: int, last: int) -> "_Segment":
        """Return the part between two positions, both included."""
        start, end = max(first, self.first_position), min(last, self.last_position)
        return self._replace(
            first_position=start, last_position=end, first_number=self.first_number + start - self.first_position
        )


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
    after : the last position read before, 0 at first.
    embedding_size, classes : the widths d and k of the model; rows of other widths are rejected.
    """
    limit = min(limit, max(MAX_BYTES // (HALF.itemsize * (embedding_size + classes)), 1))
    begin = _segment_at(connection, model_id, after + 1)
    if begin is None:
        return None
    first = max(begin.first_position, after + 1)
    segments = _segments(connection, model_id, first, first + limit - 1)
    batch = _batch(connection, model_id, segments, embedding_size, classes)
    expired = first - after - 1  # positions whose segments the retention has dropped
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
    count = min(count, max(MAX_BYTES // (HALF.itemsize * (embedding_size + classes)), 1))
    scanned = count if slice_filter is None else max(count, SCAN)
    parts: list[PredictionBatch] = []
    last, found = upto, 0
    while last > max(upto - MAX_SCANNED, 0) and found < count:
        after = max(last - scanned, 0)
        segments = _segments(connection, model_id, after + 1, last)
        if not segments:  # the retention has dropped what came before
            break
        parts.append(_batch(connection, model_id, segments, embedding_size, classes, slice_filter))
        found += len(parts[-1])
        last = after
    return _newest(parts[::-1], count)


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
    None."""
    limit = min(limit, max(MAX_BYTES // (HALF.itemsize * (embedding_size + classes)), 1))
    span = {"since": since, "until": until}
    rows = raw(connection).execute(SEGMENTS_BY_TIME, {"model_id": model_id} | span)
    segments = [_Segment(*row) for row in rows]
    parts: list[PredictionBatch] = []
    found = 0
    while segments and found < limit:
        chosen: list[_Segment] = []
        wanted = limit - found if slice_filter is None else max(limit, SCAN)
        while segments and wanted > 0:
            segment = segments.pop()
            part = segment.cut(segment.last_position - wanted + 1, segment.last_position)
            chosen.append(part)
            wanted -= part.last_position - part.first_position + 1
            if part.first_position > segment.first_position:
                segments.append(segment.cut(segment.first_position, part.first_position - 1))
        parts.append(_batch(connection, model_id, chosen[::-1], embedding_size, classes, slice_filter, (since, until)))
        found += len(parts[-1])
    return _newest(parts[::-1], limit)


def by_ids(
    connection: Connection, model_id: int, ids: Sequence[UUID], embedding_size: int, classes: int
) -> PredictionBatch | None:
    """Return those of a model's predictions that have these ids, or None; their positions are not looked up."""
    if not ids:
        return None
    times = [time_of(key) for key in ids]
    values = {"ids": list(ids), "times": times, "at_from": min(times), "at_to": max(times), "model_id": model_id}
    columns = _columns(connection, ROWS_BY_ID, values, embedding_size, classes)
    return batch_of(columns, (0, 0), embedding_size, classes) if columns.count else None


def _segments(connection: Connection, model_id: int, first: int, last: int) -> list[_Segment]:
    """Return the parts of segments between two positions, both included."""
    values = {"model_id": model_id, "first": first, "last": last}
    segments = [_Segment(*row) for row in raw(connection).execute(SEGMENTS, values, prepare=False)]
    following = _segment_at(connection, model_id, max(last, segments[-1].last_position if segments else 0) + 1)
    if following is not None and following.first_position <= last:
        segments.append(following)
    return [segment.cut(first, last) for segment in segments]


def _segment_at(connection: Connection, model_id: int, position: int) -> _Segment | None:
    """Return the segment of a position, or the first one after it, or None."""
    row = raw(connection).execute(FIRST_SEGMENT, {"model_id": model_id, "first": position}).fetchone()
    return None if row is None else _Segment(*row)


def _batch(
    connection: Connection,
    model_id: int,
    segments: Sequence[_Segment],
    embedding_size: int,
    classes: int,
    slice_filter: SliceFilter | None = None,
    times: tuple[dt.datetime, dt.datetime] | None = None,
) -> PredictionBatch:
    """Return the rows of segments."""
    values: dict[str, Any] = {
        "model_id": model_id,
        "writer_ids": [segment.writer_id for segment in segments],
        "first_numbers": [segment.first_number for segment in segments],
        "last_numbers": [segment.first_number + segment.last_position - segment.first_position for segment in segments],
        "shifts": [segment.first_position - segment.first_number for segment in segments],
        "from_times": [segment.at_from for segment in segments],
        "to_times": [segment.at_to for segment in segments],
        "at_from": min(segment.at_from for segment in segments),
        "at_to": max(segment.at_to for segment in segments),
    }
    conditions = ""
    if slice_filter is not None:
        values |= {"key": slice_filter.key, "value": slice_filter.value, "excluded": list(slice_filter.excluded or ())}
        if slice_filter.excluded is None:
            conditions += "AND tags ->> %(key)s = %(value)s "
        else:
            conditions += "AND tags ->> %(key)s IS NOT NULL AND tags ->> %(key)s <> ALL (%(excluded)s::text[]) "
    if times is not None:
        values |= {"since": times[0], "until": times[1]}
        conditions += "AND at >= %(since)s AND at < %(until)s "
    columns = _columns(connection, ROWS.format(condition=conditions), values, embedding_size, classes)
    span = segments[0].first_position, segments[-1].last_position
    batch = batch_of(columns, span, embedding_size, classes)
    if conditions or any(segment.writer_id == LEGACY_WRITER for segment in segments):
        return batch
    expired = sum(segment.last_position - segment.first_position + 1 for segment in segments) - columns.total
    return batch.with_rejected({EXPIRED: expired}) if expired else batch


def _columns(
    connection: Connection, rows: str, values: Mapping[str, Any], embedding_size: int, classes: int
) -> Columns:
    """Fetch the columns of rows; planned with the values, so that days ruled out by `at` are not even locked."""
    sizes = {"embedding_bytes": embedding_size * HALF.itemsize, "probability_bytes": classes * HALF.itemsize}
    with raw(connection).cursor(binary=True) as cursor:
        row = cursor.execute(COLUMNS.format(rows=rows), {**values, **sizes}, prepare=False).fetchone()
    if row is None:
        raise RuntimeError("an aggregate returned no row")
    return Columns(*row)


def _newest(parts: Sequence[PredictionBatch], count: int) -> PredictionBatch | None:
    """Return the last `count` predictions of batches that follow each other, or None."""
    if not any(map(len, parts)):
        return None
    return joined(parts).select(slice(-count, None))
