"""Streams: the predictions of one model version, with the monitor's place in them and what it found."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, case, func, or_, select, text, true, tuple_, update

from ..errors import TidemarkError
from .predictions import HORIZON
from .tables import feedback, models, predictions, slice_feedback, slice_predictions, streams

COUNTED = 1000  # predictions that wait, up to which they are counted

stream_name = models.c.name + ":" + models.c.version + func.coalesce("/" + func.nullif(streams.c.slice, ""), "")


def _query() -> Select[Any]:
    return select(
        streams,
        models.c.name.label("model_name"),
        models.c.version.label("model_version"),
        models.c.sha256.label("model_sha256"),
        models.c.labels,
        stream_name.label("stream"),
    ).join(models, models.c.id == streams.c.model_id)


def every(connection: Connection) -> Sequence[Row[Any]]:
    """Return all streams but the retired ones, in the order of their names."""
    return connection.execute(_query().where(streams.c.retired_at.is_(None)).order_by(stream_name)).all()


def find(connection: Connection, name: str) -> Row[Any] | None:
    """Return the stream called `model:version[/slice]`, or None."""
    return connection.execute(_query().where(stream_name == name)).one_or_none()


def with_retired(connection: Connection) -> Sequence[Row[Any]]:
    """Return all streams, the retired ones too, in the order of their names."""
    return connection.execute(_query().order_by(stream_name)).all()


def named(connection: Connection, name: str) -> Row[Any]:
    """Return the stream that a person named.

    Raises
    ------
    TidemarkError
        No such stream.
    """
    row = find(connection, name)
    if row is None:
        names = ", ".join(stream.stream for stream in every(connection)) or "none"
        raise TidemarkError(f"no stream {name!r}; there are: {names}")
    return row


def watched(connection: Connection, name: str) -> Row[Any]:
    """Return the stream that a person named, which has a reference.

    Raises
    ------
    TidemarkError
        No such stream, or no reference yet.
    """
    row = named(connection, name)
    if row.reference_id is None:
        raise TidemarkError(f"stream {name!r} has no reference; run `tidemark reference build` first")
    return row


def get(connection: Connection, stream_id: int) -> Row[Any]:
    """Return a stream."""
    return connection.execute(_query().where(streams.c.id == stream_id)).one()


def lock(connection: Connection, stream_id: int) -> Row[Any] | None:
    """Return a stream, held for the rest of the transaction, or None where another monitor is moving it."""
    query = _query().where(streams.c.id == stream_id).with_for_update(of=streams, skip_locked=True)
    return connection.execute(query).one_or_none()


def save(connection: Connection, stream_id: int, **values: Any) -> None:
    """Change a stream."""
    connection.execute(update(streams).where(streams.c.id == stream_id).values(**values))


def restart(connection: Connection, stream_id: int) -> None:
    """Let a stream's detector start again, without a drift: what it is compared with has changed."""
    save(connection, stream_id, detector=None, state="calm", kind="none", since=None, calm_windows=0)


def waiting(connection: Connection, min_size: int, max_age: float) -> list[int]:
    """Return the ids of streams that the monitor should look at.

    Those with predictions or feedback not yet looked at; those whose last window is older than `max_age` seconds
    while `min_size` predictions are not yet in one; those with a detection that is not yet an alert.
    """
    c = streams.c
    old = (c.tested + min_size <= c.seen) & (c.last_window_at < func.now() - text(f"interval '{max_age} seconds'"))
    looked, heard = tuple_(c.cursor_xid, c.cursor_seq), tuple_(c.feedback_xid, c.feedback_seq)
    new_of_model = or_(
        *(
            _next(t, t.c.model_id == c.model_id, tuple_(t.c.xid, t.c.seq) > after, t.c.xid < HORIZON)
            for t, after in ((predictions, looked), (feedback, heard))
        )
    )
    new_of_slice = or_(
        *(
            _next(t, t.c.stream_id == c.id, tuple_(t.c.xid, t.c.seq) > after)
            for t, after in ((slice_predictions, looked), (slice_feedback, heard))
        )
    )
    new = case((c.slice == "", new_of_model), else_=new_of_slice)
    query = select(c.id).where(c.reference_id.is_not(None), c.retired_at.is_(None))
    due = old | c.status.has_key("detected_at") | new
    return list(connection.execute(query.where(due).order_by(c.id)).scalars())


def _next(table: Table, *conditions: Any) -> Any:
    """Return whether a table has a row for a stream; asked for the first in commit order, so that Postgres looks into
    the index, which it may not do for EXISTS."""
    t = table.c
    first = select(t.seq).where(*conditions).order_by(t.xid, t.seq).limit(1).correlate(streams)
    return first.scalar_subquery().is_not(None)


def lags(connection: Connection) -> dict[int, int]:
    """Return how many predictions of each stream the monitor has not looked at; of a slice, those that the whole
    model's stream has handed on.

    Up to COUNTED are counted. Beyond, the number is estimated from the sequence that numbers all predictions, as if
    the stream's share of it went on: a backlog of millions must not make this slow.
    """
    c = streams.c
    looked = tuple_(c.cursor_xid, c.cursor_seq)
    found: dict[int, int] = {}
    for table, own, whole in (
        (predictions, predictions.c.model_id == c.model_id, True),
        (slice_predictions, slice_predictions.c.stream_id == c.id, False),
    ):
        t = table.c
        below = t.xid < HORIZON
        first = select(t.seq).where(own, tuple_(t.xid, t.seq) > looked, below).order_by(t.xid, t.seq).limit(COUNTED)
        near = first.correlate(streams).subquery()
        ahead = select(func.count().label("waiting"), func.max(near.c.seq).label("reached")).select_from(near).lateral()
        final = select(t.seq.label("final")).where(own, below, ahead.c.waiting == COUNTED)
        end = final.order_by(t.xid.desc(), t.seq.desc()).limit(1).correlate(streams, ahead).lateral()
        query = (
            select(c.id, c.cursor_seq, ahead.c.waiting, ahead.c.reached, end.c.final)
            .select_from(streams)
            .join(ahead, true())
            .outerjoin(end, true())
            .where(c.slice == "" if whole else c.slice != "", c.retired_at.is_(None))
        )
        for row in connection.execute(query):
            beyond = max((row.final or 0) - (row.reached or 0), 0) if row.waiting == COUNTED else 0
            share = COUNTED / max(row.reached - row.cursor_seq, COUNTED) if beyond else 0
            found[row.id] = row.waiting + round(beyond * share)
    return found
