"""The end of a stream: of a slice, or of a whole model."""

import datetime as dt

from sqlalchemy import Connection, delete, update

from .tables import checkpoints, streams


def retire(connection: Connection, stream_id: int, at: dt.datetime) -> None:
    """End a stream: it is not watched any more; its windows and alerts stay."""
    connection.execute(
        update(streams)
        .where(streams.c.id == stream_id)
        .values(retired_at=at, state="calm", kind="none", since=None, blind_reason=None, status={})
    )
    connection.execute(delete(checkpoints).where(checkpoints.c.stream_id == stream_id))
