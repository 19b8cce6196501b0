"""The end of a stream: it is watched no more, and its incidents end with it."""

import datetime as dt

from sqlalchemy import Connection, Engine

from ..store import monitor_progress, streams
from ..store.streams import StreamRow
from .lifecycle import Alerts


def retire(connection: Connection, alerts: Alerts, stream: StreamRow, at: dt.datetime) -> int:
    """End a stream and return the number of its incidents, which end as retired.

    The stream of a whole model takes those of its slices with it. The next prediction of its name makes it a new one.
    """
    streams.lock_model(connection, stream.model_id)
    rows = [stream]
    if not stream.slice:
        rows = [row for row in streams.load_all(connection) if row.model_id == stream.model_id]
    ended = 0
    for row in rows:
        monitor_progress.retire(connection, row.id, at)
        monitor_progress.save(connection, row.id, {"status": {}})
        ended += alerts.resolve_all(connection, row.id, at, "retired")
    return ended


def retire_idle(engine: Engine, alerts: Alerts, age: dt.timedelta, at: dt.datetime) -> list[str]:
    """End the streams that had traffic once and none for an age, and return their names.

    A stream that never had any is left alone: its model may not be in service yet. Each stream ends in a transaction
    of its own, so that none holds the locks of two models.
    """
    names = []
    with engine.connect() as connection:
        idle = streams.idle(connection, age)
    for stream_id in idle:
        with engine.begin() as connection:
            stream = streams.get(connection, stream_id)
            if stream.retired_at is None:  # else it has ended with its model's stream
                retire(connection, alerts, stream, at)
                names.append(stream.stream)
    return names
