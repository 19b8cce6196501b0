"""True labels that came back for logged predictions."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from . import label_log
from .logged import HALF
from .predictions import Cursor, after_cursor, by_ids
from .raw_connection import raw
from .tables import feedback, models

COLUMNS = ("prediction_id", "model_id", "label", "predicted", "probabilities")
SAVE = """
INSERT INTO feedback AS f (prediction_id, model_id, label, predicted, probabilities)
SELECT DISTINCT ON (prediction_id) prediction_id, model_id, label, predicted, probabilities
FROM unnest(%(prediction_id)s::uuid[], %(model_id)s::int[], %(label)s::int[], %(predicted)s::int[],
    %(probabilities)s::bytea[])
    WITH ORDINALITY AS new (prediction_id, model_id, label, predicted, probabilities, place)
ORDER BY prediction_id, place DESC
ON CONFLICT (prediction_id) DO UPDATE SET
    label = excluded.label, xid = pg_current_xact_id(), seq = nextval('prediction_seq'), created_at = now()
WHERE f.label <> excluded.label
"""


class Predicted(NamedTuple):
    """What feedback needs to know of a prediction."""

    model_id: int
    labels: list[str]
    predicted: int
    probabilities: bytes


class Labelled(NamedTuple):
    """Fed-back predictions in commit order."""

    ids: list[UUID]
    cursors: list[Cursor]
    predicted: NDArray[np.int64]  # (m,)
    probabilities: NDArray[np.float32]  # (m, k)
    labels: NDArray[np.int64]  # (m,)


def find(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Predicted]:
    """Return what is logged under each id; ids that are not in Postgres are missing."""
    rows = by_ids(connection, ids, "p.id, p.model_id, p.label, p.probabilities")
    labels = {row.id: row.labels for row in connection.execute(select(models.c.id, models.c.labels))}
    return {
        key: Predicted(model_id, labels[model_id], label, probabilities)
        for key, model_id, label, probabilities in rows
        if model_id in labels
    }


def save(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store labels; a repeat takes the earlier label's place. Those whose predictions are in Postgres enter the label
    log at once, the others when their predictions arrive.

    Parameters
    ----------
    rows : `prediction_id`, `model_id`, `label`, `predicted`, and `probabilities` (little-endian float16) each.
    """
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    with raw(connection).cursor() as cursor:
        model_ids = sorted(set(columns["model_id"]))
        label_log.lock(cursor, model_ids)
        cursor.execute(SAVE, columns)
        for model_id in model_ids:
            label_log.place(cursor, model_id)


def of(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the label that came back for each prediction; those without one are missing."""
    statement = "SELECT prediction_id, label FROM feedback WHERE prediction_id = ANY (%s::uuid[])"
    return dict(raw(connection).execute(statement, (list(ids),)).fetchall())


def read(connection: Connection, model_id: int, after: Cursor, limit: int) -> Labelled | None:
    """Return the next fed-back labels of a model in commit order, or None."""
    c = feedback.c
    query = (
        select(c.prediction_id, c.predicted, c.probabilities, c.label, c.xid, c.seq)
        .where(*after_cursor(c, model_id, after))
        .order_by(c.xid, c.seq)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    return labelled_of(rows) if rows else None


def labelled_of(rows: Sequence[Any]) -> Labelled:
    """Return rows of labels as arrays."""
    joined = b"".join(row.probabilities for row in rows)
    return Labelled(
        ids=[row.prediction_id for row in rows],
        cursors=[Cursor(row.xid, row.seq) for row in rows],
        predicted=np.array([row.predicted for row in rows], dtype=np.int64),
        probabilities=np.frombuffer(joined, dtype=HALF).reshape(len(rows), -1).astype(np.float32),
        labels=np.array([row.label for row in rows], dtype=np.int64),
    )
