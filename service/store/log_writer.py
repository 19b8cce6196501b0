"""The writing end of the log: rows by binary COPY, and the segment that gives them their positions.

A writer is the rows of one model in one spool file; the spool numbers them without gaps. A transaction copies rows and,
as its last statement, takes the next positions of their model under a lock that is held for that statement and the
commit only. Positions therefore follow each other in the order of commits, whatever other transactions do.

Rows are only added, to predictions and to segments: a transaction that stays open for days, and keeps Postgres from
removing old versions of rows, slows nothing down here.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection as RawConnection
from psycopg import Cursor as RawCursor
from psycopg.errors import UniqueViolation

from .binary_copy import COPIED, copy_into, encoded_rows
from .logged import Logged

LOG_LOCK = 0x71E1  # advisory lock, with the model's id: who takes positions
REPORT_EVERY = "5 seconds"  # time after which a writer reports again how many rows it still holds

STAGE = """
CREATE TEMP TABLE IF NOT EXISTS stage (
    id uuid, at timestamptz, model_id int4, label int4, confidence float4, probabilities bytea, embedding bytea,
    properties bytea, corrected bytea, writer_id int4, number int8, tags jsonb, thumbnail bytea
) ON COMMIT DELETE ROWS
"""
OPEN = """
INSERT INTO writers (spool, model_id) SELECT %(spool)s, unnest(%(model_ids)s::int[]) ON CONFLICT DO NOTHING
"""
LOCK = """
SELECT model_id, id FROM writers
WHERE spool = %(spool)s AND model_id = ANY(%(model_ids)s) ORDER BY model_id FOR UPDATE
"""
LAST_NUMBERS = """
SELECT writer_id, last.number FROM unnest(%(writer_ids)s::int[]) AS w (writer_id)
CROSS JOIN LATERAL (
    SELECT s.first_number + s.last_position - s.first_position AS number FROM segments s
    WHERE s.writer_id = w.writer_id ORDER BY s.first_number DESC LIMIT 1
) last
"""
REPORT = f"""
UPDATE writers SET pending = %(pending)s, written_at = now()
WHERE id = %(id)s AND (written_at < now() - interval '{REPORT_EVERY}' OR pending > 0 AND %(pending)s = 0)
"""
LOCK_END = "SELECT pg_advisory_xact_lock(%s, %s)"
TAKE = """
WITH log_end AS (
    SELECT coalesce(max(last_position), 0) AS position FROM segments WHERE model_id = %(model_id)s
), runs AS (
    SELECT number, count, sum(count) OVER (ORDER BY number) AS upto
    FROM unnest(%(numbers)s::bigint[], %(counts)s::bigint[]) AS run (number, count)
)
INSERT INTO segments (model_id, last_position, first_position, first_number, writer_id, at_from, at_to)
SELECT %(model_id)s, position + upto, position + upto - count + 1, number, %(writer_id)s, %(at_from)s, %(at_to)s
FROM log_end, runs
"""


class NumberedBatch(NamedTuple):
    """Predictions whose numbers follow each other."""

    first_number: int
    predictions: Logged

    @property
    def last_number(self) -> int:
        """The number of the last prediction."""
        return self.first_number + len(self.predictions) - 1


class Run(NamedTuple):
    """Rows of a writer whose numbers follow each other."""

    number: int  # number of the first row
    rows: int


class Writer(NamedTuple):
    """A writer as it is committed."""

    id: int
    last_number: int  # number of the last row committed, 0 at first


def write(
    connection: RawConnection[Any],
    spool: UUID,
    batches: Sequence[NumberedBatch],
    model_ids: Mapping[str, int],
    pending: int = 0,
) -> int:
    """Write predictions in the connection's transaction and commit it.

    Rows that this spool has committed before are recognised by their numbers. A row whose id is there already (two
    deliveries of one event, or a replay after a change of version) is left out.

    Parameters
    ----------
    connection : RawConnection[Any]
        Connection of psycopg, in a transaction.
    spool : UUID
        The identity of the spool file that numbers the rows.
    batches : sequence of NumberedBatch
        Batches in the order of their numbers, at least one.
    model_ids : Mapping[str, int]
        Model ids by `name:version`.
    pending : int
        Rows that the spool still holds after these, for the record.

    Returns
    -------
    int
        How many rows are new.
    """
    ids = sorted({model_ids[batch.predictions.model] for batch in batches})
    with connection.cursor() as cursor:
        writers = lock_writers(cursor, spool, ids)
        new = [
            unwritten
            for batch in batches
            if (unwritten := _unwritten_rest(batch, writers[model_ids[batch.predictions.model]]))
        ]
        runs = _copy(cursor, new, model_ids, writers)
        cursor.execute(REPORT, {"pending": pending, "id": writers[ids[0]].id})
        _commit(connection, cursor, new, model_ids, writers, runs)
    return sum(run.rows for model_runs in runs.values() for run in model_runs)


def lock_writers(cursor: RawCursor[Any], spool: UUID, model_ids: Sequence[int]) -> dict[int, Writer]:
    """Return the spool's writers by their model's id, locked, so that no other process replays the same file."""
    values = {"spool": spool, "model_ids": list(model_ids)}
    for _ in range(2):
        cursor.execute(LOCK, values)
        ids = dict(cursor.fetchall())
        if len(ids) == len(model_ids):
            break
        cursor.execute(OPEN, values)
    cursor.execute(LAST_NUMBERS, {"writer_ids": list(ids.values())})
    last = dict(cursor.fetchall())
    return {model_id: Writer(writer_id, last.get(writer_id, 0)) for model_id, writer_id in ids.items()}


def take_positions(
    cursor: RawCursor[Any], model_id: int, writer_id: int, runs: Sequence[Run], span: tuple[dt.datetime, dt.datetime]
) -> None:
    """Give rows the next positions of their model; `span` holds the times of all of them."""
    values = {
        "model_id": model_id,
        "writer_id": writer_id,
        "numbers": [run.number for run in runs],
        "counts": [run.rows for run in runs],
        "at_from": span[0],
        "at_to": span[1],
    }
    cursor.execute(LOCK_END, (LOG_LOCK, model_id))  # a statement of its own: the next one sees what was committed
    cursor.execute(TAKE, values)


def runs_of(numbers: Iterable[int]) -> list[Run]:
    """Return sorted numbers as runs of those that follow each other."""
    runs: list[Run] = []
    for number in numbers:
        if runs and number == runs[-1].number + runs[-1].rows:
            runs[-1] = Run(runs[-1].number, runs[-1].rows + 1)
        else:
            runs.append(Run(number, 1))
    return runs


def _commit(
    connection: RawConnection[Any],
    cursor: RawCursor[Any],
    batches: Sequence[NumberedBatch],
    model_ids: Mapping[str, int],
    writers: Mapping[int, Writer],
    runs: Mapping[int, Sequence[Run]],
) -> None:
    """Take the positions and commit, sent together: no other writer waits for this process in between, even where it
    hangs."""
    with connection.pipeline():
        for model_id in sorted(runs):  # in one order for all, so that no two wait for each other
            times = [
                batch.predictions.milliseconds for batch in batches if model_ids[batch.predictions.model] == model_id
            ]
            span = _utc_time(min(int(part.min()) for part in times)), _utc_time(max(int(part.max()) for part in times))
            take_positions(cursor, model_id, writers[model_id].id, runs[model_id], span)
        connection.commit()


def _unwritten_rest(batch: NumberedBatch, writer: Writer) -> NumberedBatch | None:
    """Return the part of a batch that the writer has not committed, or None."""
    written_count = writer.last_number - batch.first_number + 1
    if written_count <= 0:
        return batch
    if written_count >= len(batch.predictions):
        return None
    return NumberedBatch(writer.last_number + 1, batch.predictions.after(written_count))


def _copy(
    cursor: RawCursor[Any], batches: Sequence[NumberedBatch], model_ids: Mapping[str, int], writers: dict[int, Writer]
) -> dict[int, list[Run]]:
    """Write rows and return the runs of those that are new, by their model's id."""
    if not batches:
        return {}
    runs: dict[int, list[Run]] = {}
    rows = []
    for number, predictions in batches:
        model_id = model_ids[predictions.model]
        rows.append(encoded_rows(predictions, model_id, writers[model_id].id, number))
        numbers_of_model = runs.setdefault(model_id, [])
        if numbers_of_model and number == numbers_of_model[-1].number + numbers_of_model[-1].rows:
            numbers_of_model[-1] = Run(numbers_of_model[-1].number, numbers_of_model[-1].rows + len(predictions))
        else:
            numbers_of_model.append(Run(number, len(predictions)))
    cursor.execute("SAVEPOINT straight")
    try:
        copy_into("predictions", cursor, rows)
    except UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT straight")
        return _copy_new(cursor, rows)
    return runs


def _copy_new(cursor: RawCursor[Any], rows: Sequence[bytes]) -> dict[int, list[Run]]:
    """Write the rows whose ids are not there yet, and return their runs."""
    cursor.execute(STAGE)
    copy_into("stage", cursor, rows)
    cursor.execute(
        f"INSERT INTO predictions ({COPIED}) SELECT {COPIED} FROM stage ORDER BY number "
        "ON CONFLICT DO NOTHING RETURNING model_id, number"
    )
    numbers: dict[int, list[int]] = {}
    for model_id, number in cursor.fetchall():
        numbers.setdefault(model_id, []).append(number)
    return {model_id: runs_of(sorted(numbers_of_model)) for model_id, numbers_of_model in numbers.items()}


def _utc_time(milliseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(milliseconds / 1000, tz=dt.UTC)
