"""The reading end of the log: predictions of a model by position, as arrays that Postgres has put together.

A segment says that consecutive positions of a model are consecutive numbers of a writer. Reading finds the segments,
then lets Postgres join the columns of their rows into one byte string each: no object is made for a row.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from . import segments
from .log_batch import EXPIRED, Columns, PredictionBatch, batch_of, joined
from .logged import HALF
from .prediction_id import time_of
from .raw_connection import raw
from .segments import LEGACY_WRITER, Segment

MAX_BYTES = 128_000_000  # bytes of embeddings and probabilities in one batch: bounds the memory of wide models
SCAN = 20_000  # positions in which one query searches for the rows of a slice
MAX_SCANNED = 1_000_000  # positions after which the search ends
SEGMENTS_AT_ONCE = 5_000  # segments that are fetched at a time, of which a span of days may have millions
NEWEST = 2**62  # beyond any position
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
FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS sought (id, at)
JOIN predictions p ON p.id = sought.id AND p.at = sought.at AND p.at BETWEEN %(at_from)s AND %(at_to)s
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
    begin = segments.next_from(connection, model_id, after + 1)
    if begin is None:
        return None
    first = max(begin.first_position, after + 1)
    parts = segments.spanning(connection, model_id, first, first + limit - 1)
    batch = _batch(connection, model_id, parts, embedding_size, classes)
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
    batches: list[PredictionBatch] = []
    last, matching = upto, 0
    while last > max(upto - MAX_SCANNED, 0) and matching < count:
        after = max(last - scanned, 0)
        parts = segments.spanning(connection, model_id, after + 1, last)
        if not parts:  # the retention has dropped what came before
            break
        batches.append(_batch(connection, model_id, parts, embedding_size, classes, slice_filter))
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
    limit = min(limit, max(MAX_BYTES // (HALF.itemsize * (embedding_size + classes)), 1))
    batches: list[PredictionBatch] = []
    pending: list[Segment] = []  # oldest last
    before, scanned, matching = NEWEST, 0, 0
    while matching < limit and scanned < MAX_SCANNED:
        parts: list[Segment] = []
        room = limit - matching if slice_filter is None else SCAN
        while room > 0:
            if not pending:
                pending = segments.by_time(connection, model_id, since, until, before, SEGMENTS_AT_ONCE)[::-1]
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
        batches.append(_batch(connection, model_id, parts[::-1], embedding_size, classes, slice_filter, (since, until)))
        matching += len(batches[-1])
    return _newest(batches[::-1], limit)


def by_ids(
    connection: Connection, model_id: int, ids: Sequence[UUID], embedding_size: int, classes: int
) -> PredictionBatch | None:
    """Return those of a model's predictions that have these ids, or None; their positions are not read."""
    if not ids:
        return None
    times = [time_of(key) for key in ids]
    values = {"ids": list(ids), "times": times, "at_from": min(times), "at_to": max(times), "model_id": model_id}
    columns = _columns(connection, ROWS_BY_ID, values, embedding_size, classes)
    return batch_of(columns, (0, 0), embedding_size, classes) if columns.count else None


def _batch(
    connection: Connection,
    model_id: int,
    parts: Sequence[Segment],
    embedding_size: int,
    classes: int,
    slice_filter: SliceFilter | None = None,
    times: tuple[dt.datetime, dt.datetime] | None = None,
) -> PredictionBatch:
    """Return the rows of parts of segments."""
    values: dict[str, Any] = {
        "model_id": model_id,
        "writer_ids": [part.writer_id for part in parts],
        "first_numbers": [part.first_number for part in parts],
        "last_numbers": [part.last_number for part in parts],
        "shifts": [part.first_position - part.first_number for part in parts],
        "from_times": [part.at_from for part in parts],
        "to_times": [part.at_to for part in parts],
        "at_from": min(part.at_from for part in parts),
        "at_to": max(part.at_to for part in parts),
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
    span = parts[0].first_position, parts[-1].last_position
    batch = batch_of(columns, span, embedding_size, classes)
    if conditions or any(part.writer_id == LEGACY_WRITER for part in parts):
        return batch
    expired = sum(part.size for part in parts) - columns.total
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
