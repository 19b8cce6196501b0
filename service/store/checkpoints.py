"""The states of a stream's detectors at a position, from which a monitor replays the log after a crash."""

import datetime as dt
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from .tables import checkpoints


class Checkpoint(NamedTuple):
    """The state of a stream's detectors after a prediction and a label."""

    position: int
    label_position: int
    state: bytes  # as the monitor packs it
    at: dt.datetime


def save(connection: Connection, stream_id: int, position: int, label_position: int, state: bytes) -> None:
    """Store the state of a stream in place of the one before."""
    statement = insert(checkpoints).values(
        stream_id=stream_id, position=position, label_position=label_position, state=state
    )
    values = {
        "position": position,
        "label_position": label_position,
        "state": state,
        "at": func.now(),
    }
    connection.execute(statement.on_conflict_do_update(index_elements=[checkpoints.c.stream_id], set_=values))


def load(connection: Connection, stream_id: int) -> Checkpoint | None:
    """Return the state of a stream, or None."""
    c = checkpoints.c
    query = select(c.position, c.label_position, c.state, c.at).where(c.stream_id == stream_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Checkpoint(*row)


def drop(connection: Connection, stream_id: int) -> None:
    """Forget the state of a stream: its detectors start again."""
    connection.execute(delete(checkpoints).where(checkpoints.c.stream_id == stream_id))
