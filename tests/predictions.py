"""Predictions as tests log them."""

from typing import Any

from sqlalchemy import Connection
from uuid_utils import uuid7

from tidemark.store import models, predictions
from tidemark.store.logged import Logged


def new_ids(count: int) -> bytes:
    """Return ids of predictions that are made now."""
    return b"".join(uuid7().bytes for _ in range(count))


def write(connection: Connection, *batches: Logged) -> int:
    """Write predictions of registered models as the forwarder does; return how many were new."""
    raw: Any = connection.connection.driver_connection
    predictions.ensure_partitions(raw, set().union(*(batch.days for batch in batches)))
    return predictions.copy(raw, batches, models.ids(connection))
