"""The end of a stream: it is watched no more, and its incidents end with it."""

import datetime as dt

from sqlalchemy import Connection

from ..store import slices, streams
from ..store.streams import StreamRow
from .lifecycle import Alerts


def retire(connection: Connection, alerts: Alerts, stream: StreamRow, at: dt.datetime) -> int:
    """End a stream and return the number of its incidents, which end as retired.

    The stream of a whole model takes those of its slices with it. The next prediction of its name makes it a new one.
    """
    rows = [stream] if stream.slice else [row for row in streams.every(connection) if row.model_id == stream.model_id]
    ended = 0
    for row in rows:
        slices.retire(connection, row.id, at)
        ended += alerts.resolve_all(connection, row.id, at, "retired")
    return ended
