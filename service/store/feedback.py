"""True labels that came back for logged predictions."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from . import label_log
from .predictions import by_ids
from .raw_connection import raw
from .tables import models

SAVE = """
INSERT INTO feedback AS f (prediction_id, model_id, label, predicted, probabilities)
SELECT DISTINCT ON (prediction_id) prediction_id, model_id, label, predicted, probabilities
FROM unnest(%(prediction_id)s::uuid[], %(model_id)s::int[], %(label)s::int[], %(predicted)s::int[],
    %(probabilities)s::bytea[])
    WITH ORDINALITY AS new (prediction_id, model_id, label, predicted, probabilities, place)
ORDER BY prediction_id, place DESC
ON CONFLICT (prediction_id) DO UPDATE SET
    label = excluded.label, created_at = now()
WHERE f.label <> excluded.label
"""


class FeedbackRow(NamedTuple):
    """A label that came back for a prediction."""

    prediction_id: UUID
    model_id: int
    label: int  # index of the class
    predicted: int  # index of the class that the model answered
    probabilities: bytes  # little-endian float16


class Predicted(NamedTuple):
    """The part of a prediction that feedback needs."""

    model_id: int
    labels: list[str]
    predicted: int
    probabilities: bytes

    def labelled(self, prediction_id: UUID, label: int) -> FeedbackRow:
        """Return the row of a label for this prediction."""
        return FeedbackRow(prediction_id, self.model_id, label, self.predicted, self.probabilities)


def find(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Predicted]:
    """Return what is logged under each id; ids that are not in Postgres are missing."""
    rows = by_ids(connection, ids, "p.id, p.model_id, p.label, p.probabilities")
    labels = {row.id: row.labels for row in connection.execute(select(models.c.id, models.c.labels))}
    return {
        key: Predicted(model_id, labels[model_id], label, probabilities)
        for key, model_id, label, probabilities in rows
        if model_id in labels
    }


def save(connection: Connection, rows: Sequence[FeedbackRow]) -> None:
    """Store labels; a repeat takes the earlier label's place. Those whose predictions are in Postgres enter the label
    log at once, the others when their predictions arrive.
    """
    columns = {name: [getattr(row, name) for row in rows] for name in FeedbackRow._fields}
    with raw(connection).cursor() as cursor:
        model_ids = sorted({row.model_id for row in rows})
        label_log.lock(cursor, model_ids)
        cursor.execute(SAVE, columns)
        for model_id in model_ids:
            label_log.place(cursor, model_id)


def labels_of(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the label that came back for each prediction; those without one are missing."""
    statement = "SELECT prediction_id, label FROM feedback WHERE prediction_id = ANY (%s::uuid[])"
    return dict(raw(connection).execute(statement, (list(ids),)).fetchall())
