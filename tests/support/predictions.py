"""Predictions as tests log them."""

from typing import Any
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import Connection, Engine, text
from uuid_utils import uuid7

from tests.support.wait import until
from tidemark.store import log, log_writer, models, predictions
from tidemark.store.log_batch import PredictionBatch
from tidemark.store.log_writer import NumberedBatch
from tidemark.store.logged import Logged, logged


def new_ids(count: int) -> bytes:
    """Return ids of predictions that are made now."""
    return b"".join(uuid7().bytes for _ in range(count))


def write(connection: Connection, *batches: Logged, spool: UUID | None = None, first_number: int = 1) -> int:
    """Write predictions of registered models as the forwarder does, by default of a new spool; return how many were
    new."""
    raw: Any = connection.connection.driver_connection
    predictions.ensure_partitions(raw, set().union(*(batch.days for batch in batches)))
    numbered, following = [], dict.fromkeys({batch.model for batch in batches}, first_number)
    for batch in batches:
        numbered.append(NumberedBatch(following[batch.model], batch))
        following[batch.model] += len(batch)
    return log_writer.write(raw, spool or uuid4(), numbered, models.ids(connection))


def logged_predictions(connection: Connection, model_id: int) -> PredictionBatch | None:
    """Return all predictions of a model, up to a thousand, whatever their widths."""
    widths = "SELECT octet_length(embedding) / 2, octet_length(probabilities) / 2 FROM predictions WHERE model_id = :id"
    row = connection.execute(text(widths + " LIMIT 1"), {"id": model_id}).one_or_none()
    return None if row is None else log.read(connection, model_id, 0, 1000, *row)


def await_logged(engine: Engine, model_id: int, count: int) -> PredictionBatch:
    """Wait until so many predictions of a model are in Postgres; return all of them."""

    def stored() -> PredictionBatch | None:
        with engine.connect() as connection:
            batch = logged_predictions(connection, model_id)
        return batch if batch is not None and len(batch) >= count else None

    batch = until(stored, f"{count} predictions in Postgres")
    assert batch is not None
    return batch


def batch(m: int = 1) -> Logged:
    """Return predictions that have all that a prediction may have."""
    whole = (
        np.full((m, 2), 0.5),
        np.ones((m, 8)),
        np.ones((m, 2)),
        [b'{"a":"b"}'] * m,
        np.ones((m, 1)),
        [b"\xff\xd8"] * m,
    )
    return logged("m:1", new_ids(m), *whole)


def stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM predictions")).scalar_one())
