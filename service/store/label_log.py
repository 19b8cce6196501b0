"""True labels in the order of their positions: each label that came back, and each correction of one.

A label enters the log once its prediction is in Postgres, so that it is known which slices it belongs to; a label whose
prediction does not arrive within `PATIENCE` enters without tags. The labels of a model enter one transaction after the
other, so that their positions follow each other in the order of commits.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray
from psycopg import Cursor as RawCursor
from sqlalchemy import Connection

from . import log_rows
from .log_batch import EXPIRED
from .logged import HALF
from .prediction_id import time_of, uuids
from .raw_connection import raw

PATIENCE = dt.timedelta(minutes=5)  # longest time that a label waits for its prediction
PLACEMENT_BATCH_LABELS = 20_000  # labels that enter the log in one transaction
LABELS_LOCK = 0x71E2  # advisory lock, with the model's id: who lets labels enter
NONE_REPLACED = -1  # value in `LabelBatch.replaced` of a label that corrects no other
UNFIT = "label"  # reason: a class that the model does not have, or probabilities of another length

LOCK = "SELECT pg_advisory_xact_lock(%s, %s)"
PENDING = """
SELECT prediction_id, label, placed, created_at < now() - %(patience)s::interval AS overdue FROM feedback
WHERE model_id = %(model_id)s AND label IS DISTINCT FROM placed
ORDER BY created_at, prediction_id LIMIT %(limit)s
"""
TAGS = """
SELECT p.id, p.tags FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS sought (id, at)
JOIN predictions p ON p.id = sought.id AND p.at = sought.at AND p.at BETWEEN %(at_from)s AND %(at_to)s
WHERE p.writer_id IS NOT NULL
"""
PLACE = """
WITH log_end AS (
    SELECT coalesce(max(position), 0) AS position FROM label_log WHERE model_id = %(model_id)s
), entered AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(labels)s::int[], %(replaced)s::int[], %(tags)s::text[])
        WITH ORDINALITY AS entry (prediction_id, label, replaced, tags, place)
), marked AS (
    UPDATE feedback f SET placed = e.label FROM entered e WHERE f.prediction_id = e.prediction_id
)
INSERT INTO label_log (model_id, position, prediction_id, label, replaced, tags)
SELECT %(model_id)s, position + place, prediction_id, label, replaced, tags::jsonb FROM log_end, entered
"""
READ = """
SELECT count(*), count(f.prediction_id), max(l.position),
    string_agg(int8send(l.position), ''::bytea) FILTER (WHERE fits),
    string_agg(uuid_send(l.prediction_id), ''::bytea) FILTER (WHERE fits),
    string_agg(int4send(f.predicted), ''::bytea) FILTER (WHERE fits),
    string_agg(int4send(l.label), ''::bytea) FILTER (WHERE fits),
    string_agg(int4send(coalesce(l.replaced, -1)), ''::bytea) FILTER (WHERE fits),
    string_agg(f.probabilities, ''::bytea) FILTER (WHERE fits),
    array_agg(l.tags) FILTER (WHERE fits)
FROM (
    SELECT * FROM label_log WHERE model_id = %(model_id)s AND position > %(after)s ORDER BY position LIMIT %(limit)s
) l
LEFT JOIN feedback f ON f.prediction_id = l.prediction_id
CROSS JOIN LATERAL (
    SELECT octet_length(f.probabilities) = %(probability_bytes)s AND l.label < %(classes)s
        AND f.predicted < %(classes)s AS fits
) checked
"""
ARRIVALS = """
SELECT position, at FROM label_log
WHERE model_id = %(model_id)s AND position > %(after)s AND at >= %(since)s AND at < %(until)s
ORDER BY position LIMIT %(limit)s
"""


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """Labels of a model's predictions in the order of their positions.

    `first` and `last` are the positions that were read, those of rejected labels included.
    """

    first: int
    last: int
    positions: NDArray[np.int64]  # (m,)
    ids: list[UUID]  # ids of the predictions
    predicted: NDArray[np.int64]  # (m,) predicted classes
    labels: NDArray[np.int64]  # (m,) true classes
    replaced: NDArray[np.int64]  # (m,) the class that an earlier label of the prediction gave, or NONE_REPLACED
    probabilities: NDArray[np.float32]  # (m, k)
    embeddings: NDArray[np.float32]  # (m, d) of the predictions, NaN where the log does not have them any more
    tags: Sequence[Mapping[str, str]]  # tags of the predictions
    rejected: Mapping[str, int]  # labels that cannot be used, by reason

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "LabelBatch":
        """Return some of the labels; what was read and rejected stays as it is."""
        index = np.arange(len(self))[rows]
        return LabelBatch(
            self.first,
            self.last,
            self.positions[index],
            [self.ids[row] for row in index.tolist()],
            self.predicted[index],
            self.labels[index],
            self.replaced[index],
            self.probabilities[index],
            self.embeddings[index],
            [self.tags[row] for row in index.tolist()],
            self.rejected,
        )


class _Pending(NamedTuple):
    prediction_id: UUID
    label: int
    placed: int | None
    overdue: bool


def read(
    connection: Connection, model_id: int, after: int, limit: int, embedding_size: int, classes: int
) -> LabelBatch | None:
    """Return the labels at the next positions of a model, at most `limit` of them, or None where there is none."""
    values = {
        "model_id": model_id,
        "after": after,
        "limit": limit,
        "classes": classes,
        "probability_bytes": classes * HALF.itemsize,
    }
    with raw(connection).cursor(binary=True) as cursor:
        row = cursor.execute(READ, values).fetchone()
    if row is None or not row[0]:
        return None
    total, present, last, positions, ids, predicted, labels, replaced, probabilities, tags = row
    m = len(tags or ())
    rejected = {EXPIRED: total - present, UNFIT: present - m}
    keys = uuids(ids or b"")
    batch = LabelBatch(
        after + 1,
        last,
        np.frombuffer(positions or b"", ">i8").astype(np.int64),
        keys,
        _integers(predicted),
        _integers(labels),
        _integers(replaced),
        np.frombuffer(probabilities or b"", HALF).astype(np.float32).reshape(m, classes),
        _embeddings(connection, model_id, keys, embedding_size, classes),
        tags or [],
        {name: count for name, count in rejected.items() if count},
    )
    return batch.select(np.argsort(batch.positions, kind="stable"))


def arrivals(
    connection: Connection, model_id: int, after: int, span: tuple[dt.datetime, dt.datetime], limit: int
) -> list[tuple[int, dt.datetime]]:
    """Return positions of a model's labels with the times at which they entered the log, in a span of time and after a
    position, at most `limit` of them."""
    values = {"model_id": model_id, "after": after, "since": span[0], "until": span[1], "limit": limit}
    return list(raw(connection).execute(ARRIVALS, values))


def written_position(connection: Connection, model_id: int) -> int:
    """Return the last position of a model's labels, 0 where none came back."""
    rows = raw(connection).execute("SELECT position FROM log_ends WHERE model_id = %s AND log = 'labels'", (model_id,))
    return next((int(position) for (position,) in rows), 0)


def ends(connection: Connection) -> dict[int, int]:
    """Return the last position of each model's labels by the model's id."""
    return dict(raw(connection).execute("SELECT model_id, position FROM log_ends WHERE log = 'labels'").fetchall())


def lock(cursor: RawCursor[Any], model_ids: Sequence[int]) -> None:
    """Let the labels of these models enter the log in no other transaction before this one ends."""
    for model_id in sorted(model_ids):  # in one order for all, so that no two wait for each other
        cursor.execute(LOCK, (LABELS_LOCK, model_id))


def place(cursor: RawCursor[Any], model_id: int, limit: int = PLACEMENT_BATCH_LABELS) -> int:
    """Let the labels of a locked model enter the log whose predictions are in Postgres, or are waited for no more;
    return how many did."""
    cursor.execute(PENDING, {"model_id": model_id, "patience": PATIENCE, "limit": limit})
    pending = [_Pending(*row) for row in cursor.fetchall()]
    if not pending:
        return 0
    times = [time_of(item.prediction_id) for item in pending]
    values = {
        "ids": [item.prediction_id for item in pending],
        "times": times,
        "at_from": min(times),
        "at_to": max(times),
    }
    cursor.execute(TAGS, values)
    tags = {key: orjson.dumps(value).decode() for key, value in cursor.fetchall()}
    ready = [item for item in pending if item.overdue or item.prediction_id in tags]
    if ready:
        entries = {
            "model_id": model_id,
            "ids": [item.prediction_id for item in ready],
            "labels": [item.label for item in ready],
            "replaced": [item.placed for item in ready],
            "tags": [tags.get(item.prediction_id, "{}") for item in ready],
        }
        cursor.execute(PLACE, entries)
    return len(ready)


def _embeddings(
    connection: Connection, model_id: int, ids: Sequence[UUID], embedding_size: int, classes: int
) -> NDArray[np.float32]:
    """Return the embeddings (m, d) of predictions; NaN where the log does not have them any more."""
    embeddings = np.full((len(ids), embedding_size), np.nan, np.float32)
    logged = log_rows.of_ids(connection, model_id, list(dict.fromkeys(ids)), embedding_size, classes)
    if logged is not None:
        rows = {key: row for row, key in enumerate(logged.uuids)}
        for place, key in enumerate(ids):
            if key in rows:
                embeddings[place] = logged.embeddings[rows[key]]
    return embeddings


def _integers(data: bytes | None) -> NDArray[np.int64]:
    return np.frombuffer(data or b"", ">i4").astype(np.int64)
