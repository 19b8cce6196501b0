"""The streams of a model's slices: opened, retired, and which predictions and labels belong to them."""

import datetime as dt
import typing
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection as RawConnection
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    Row,
    Text,
    Uuid,
    cast,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from .feedback import Labelled
from .logged import HALF
from .prediction_id import time_of
from .predictions import Cursor, ensure_partitions
from .tables import XID8, slice_feedback, slice_predictions, streams


def active(connection: Connection, model_id: int) -> dict[str, int]:
    """Return the ids of a model's slice streams that are not retired, by their names `key=value`."""
    c = streams.c
    query = select(c.slice, c.id).where(c.model_id == model_id, c.slice != "", c.retired_at.is_(None))
    return dict(connection.execute(query).all())


def start(connection: Connection, whole: Row[Any], name: str) -> int:
    """Make a slice's stream, or take it up again where it was retired, from the whole stream's place on; return its
    id."""
    c = streams.c
    place = {
        "cursor_xid": whole.cursor_xid,
        "cursor_seq": whole.cursor_seq,
        "window_xid": whole.cursor_xid,
        "window_seq": whole.cursor_seq,
        "feedback_xid": whole.feedback_xid,
        "feedback_seq": whole.feedback_seq,
        "reference_id": whole.reference_id,
        "position": whole.position,
        "label_position": whole.label_position,
        "window_position": whole.position,
    }
    afresh: dict[str, Any] = {"detector": None, "concept": None, "state": "warming_up", "status": {}, "calm_windows": 0}
    statement = insert(streams).values(model_id=whole.model_id, slice=name, **place)
    statement = statement.on_conflict_do_update(
        index_elements=[c.model_id, c.slice],
        set_=place | afresh | {"retired_at": None, "tested": c.seen, "window_start": c.seen, "last_window_at": None},
    )
    return int(connection.execute(statement.returning(c.id)).scalar_one())


def retire(connection: Connection, stream_id: int, at: dt.datetime) -> None:
    """End a slice's stream: it is looked at no more; its windows and alerts stay."""
    calm = {"state": "calm", "kind": "none", "since": None}
    connection.execute(update(streams).where(streams.c.id == stream_id).values(retired_at=at, **calm))
    connection.execute(delete(slice_feedback).where(slice_feedback.c.stream_id == stream_id))


def add_predictions(
    connection: Connection, stream_ids: Sequence[int], cursors: Sequence[Cursor], ids: Sequence[UUID]
) -> None:
    """Let predictions belong to streams of slices."""
    raw = typing.cast("RawConnection[Any]", connection.connection.driver_connection)
    ensure_partitions(raw, {time_of(key).date() for key in ids})  # an older server makes those of predictions only
    columns = (
        _array(stream_ids, Integer),
        _xids(cursors),
        _array([cursor.seq for cursor in cursors], BigInteger),
        _array([time_of(key) for key in ids], DateTime(timezone=True)),
        _array(list(ids), Uuid),
    )
    names = ["stream_id", "xid", "seq", "at", "id"]
    rows = func.unnest(*columns).table_valued(*names).render_derived()
    connection.execute(insert(slice_predictions).from_select(names, select(*rows.c)))


def add_labels(connection: Connection, stream_ids: Sequence[int], rows: Sequence[int], labels: Labelled) -> None:
    """Give rows of fed-back labels to streams of slices."""
    cursors = [labels.cursors[row] for row in rows]
    columns = (
        _array(stream_ids, Integer),
        _xids(cursors),
        _array([cursor.seq for cursor in cursors], BigInteger),
        _array([labels.ids[row] for row in rows], Uuid),
        _array(labels.labels[rows].tolist(), Integer),
        _array(labels.predicted[rows].tolist(), Integer),
        _array([labels.probabilities[row].astype(HALF).tobytes() for row in rows], LargeBinary),
    )
    names = ["stream_id", "xid", "seq", "prediction_id", "label", "predicted", "probabilities"]
    given = func.unnest(*columns).table_valued(*names).render_derived()
    connection.execute(insert(slice_feedback).from_select(names, select(*given.c)))


def _array(values: Sequence[Any], element: Any) -> Any:
    return cast(literal(list(values), ARRAY(element)), ARRAY(element))


def _xids(cursors: Sequence[Cursor]) -> Any:
    return cast(_array([cursor.xid for cursor in cursors], Text), ARRAY(XID8()))
