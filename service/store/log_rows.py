"""Rows of the log as arrays that Postgres has put together.

Postgres joins the columns of the rows into one byte string each: no object is made for a row.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from .log_batch import EXPIRED, Columns, PredictionBatch, batch_of
from .logged import HALF
from .prediction_id import time_of
from .raw_connection import raw
from .segments import LEGACY_WRITER, Segment
from .slice_filter import SliceFilter

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
IN_SLICE = "AND tags ->> %(key)s = %(value)s"
IN_OTHER_SLICES = "AND tags ->> %(key)s IS NOT NULL AND tags ->> %(key)s <> ALL (%(excluded)s::text[])"
ROWS_BY_ID = """
SELECT (row_number() OVER ())::bigint AS position, p.id, p.at, p.embedding, p.probabilities, p.properties, p.tags
FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS requested (id, at)
JOIN predictions p ON p.id = requested.id AND p.at = requested.at AND p.at BETWEEN %(at_from)s AND %(at_to)s
WHERE p.model_id = %(model_id)s
"""


def of_ids(
    connection: Connection, model_id: int, ids: Sequence[UUID], embedding_size: int, classes: int
) -> PredictionBatch | None:
    """Return those of a model's predictions that have these ids, or None; their positions are not read."""
    if not ids:
        return None
    times = [time_of(key) for key in ids]
    values = {"ids": list(ids), "times": times, "at_from": min(times), "at_to": max(times), "model_id": model_id}
    columns = _columns(connection, ROWS_BY_ID, values, embedding_size, classes)
    return batch_of(columns, (0, 0), embedding_size, classes) if columns.count else None


def of_segments(
    connection: Connection,
    model_id: int,
    parts: Sequence[Segment],
    embedding_size: int,
    classes: int,
    slice_filter: SliceFilter | None = None,
    times: tuple[dt.datetime, dt.datetime] | None = None,
) -> PredictionBatch:
    """Return the rows of parts of segments."""
    values: dict[str, object] = {
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
    conditions = []
    if slice_filter is not None:
        values |= {"key": slice_filter.key, "value": slice_filter.value, "excluded": list(slice_filter.excluded or ())}
        conditions.append(IN_SLICE if slice_filter.excluded is None else IN_OTHER_SLICES)
    if times is not None:
        values |= {"since": times[0], "until": times[1]}
        conditions.append("AND at >= %(since)s AND at < %(until)s")
    columns = _columns(connection, ROWS.format(condition=" ".join(conditions)), values, embedding_size, classes)
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
