"""Rows of the log whose embeddings tell their order, and the positions that they get."""

from uuid import UUID

import numpy as np
import orjson
from sqlalchemy import Connection

from tests.support.predictions import new_ids
from tidemark.store import (
    log,
)
from tidemark.store.logged import Logged, logged

D, K = 4, 2


def predictions(count: int = 1, tags: dict[str, str] | None = None, model: str = "m:1") -> Logged:
    """Return predictions whose embeddings tell their order."""
    tag = None if tags is None else [orjson.dumps(tags)] * count
    embeddings = np.arange(count * D, dtype=np.float32).reshape(count, D)
    return logged(model, new_ids(count), np.tile([0.25, 0.75], (count, 1)), embeddings, tags=tag)


def positions(connection: Connection, model_id: int, step: int = 7) -> tuple[list[int], list[UUID]]:
    """Return all positions of a model and the ids at them, read a few at a time."""
    after, read_positions, ids = 0, [], []
    while (batch := log.read(connection, model_id, after, step, D, K)) is not None:
        read_positions += batch.positions.tolist()
        ids += batch.uuids
        after = batch.last
    return read_positions, ids
