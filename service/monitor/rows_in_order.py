"""Logged predictions by their ids, in the order of a stream."""

from collections.abc import Callable
from uuid import UUID

import numpy as np
from sqlalchemy import Connection

from ..drift import Reference
from ..store import log_rows
from ..store.log_batch import PredictionBatch
from .events import IdRows

ReadRows = Callable[[IdRows], PredictionBatch | None]  # returns those that the log has, in any order


def read_in_order(connection: Connection, model_id: int, ids: IdRows, reference: Reference) -> PredictionBatch | None:
    """Return those of a model's predictions with these ids (m, 16) that the log has, in this order; None without any.

    Parameters
    ----------
    reference : Reference
        Of the model; its rows have the sizes of the predictions.
    """
    keys = [UUID(bytes=row.tobytes()) for row in ids]
    sizes = reference.embeddings.shape[1], reference.classes
    return in_order(log_rows.of_ids(connection, model_id, keys, *sizes), ids)


def in_order(batch: PredictionBatch | None, ids: IdRows) -> PredictionBatch | None:
    """Return predictions in the order of their ids (m, 16); None without any."""
    if batch is None or not len(batch):
        return None
    places = {row.tobytes(): place for place, row in enumerate(ids)}
    return batch.select(np.argsort([places[row.tobytes()] for row in batch.ids], kind="stable"))
