"""What monitors read and write of streams: who watches which model, how far, and what came of it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from .tables import checkpoints, streams

FORGET_MONITORS = "1 day"  # time without a heartbeat after which a monitor's row is dropped

TARGETS = text(
    """
    SELECT s.id, s.model_id, s.slice, s.reference_id, s.position, s.label_position, s.seen,
        s.lease_owner, s.window_requested_at, coalesce(s.lease_until > now(), false) AS leased,
        coalesce(p.position, 0) AS written, coalesce(l.position, 0) AS labels_written,
        (SELECT max(c.id) FROM calibrations c WHERE c.stream_id = s.id AND c.reference_id = s.reference_id)
            AS calibration_id,
        (SELECT max(b.id) FROM baselines b
            WHERE b.stream_id = s.id AND b.reference_id = s.reference_id AND b.undone_at IS NULL) AS baseline_id
    FROM streams s
    LEFT JOIN log_ends p ON p.model_id = s.model_id AND p.log = 'predictions'
    LEFT JOIN log_ends l ON l.model_id = s.model_id AND l.log = 'labels'
    WHERE s.retired_at IS NULL
    ORDER BY s.id
    """
)
ACQUIRE = text(
    """
    UPDATE streams SET lease_owner = :owner, lease_until = now() + make_interval(secs => :seconds)
    WHERE id = (
        SELECT id FROM streams
        WHERE id = :id AND (lease_owner IS NULL OR lease_owner = :owner OR lease_until < now())
        FOR UPDATE SKIP LOCKED
    )
    """
)
RENEW = text(
    """
    UPDATE streams SET lease_until = now() + make_interval(secs => :seconds)
    WHERE id IN (SELECT id FROM streams WHERE id = ANY(:ids) AND lease_owner = :owner FOR UPDATE SKIP LOCKED)
    """
)
RELEASE = text(
    """
    UPDATE streams SET lease_owner = NULL, lease_until = NULL
    WHERE id IN (SELECT id FROM streams WHERE id = ANY(:ids) AND lease_owner = :owner ORDER BY id FOR NO KEY UPDATE)
    """
)
HEARTBEAT = text(
    """
    INSERT INTO monitors (id, name) VALUES (:id, :name)
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
    """
)
LIVE = text("SELECT count(*) FROM monitors WHERE heartbeat_at > now() - make_interval(secs => :seconds)")
OPEN = text(
    """
    INSERT INTO streams (model_id, slice, reference_id, position, label_position)
    VALUES (:model_id, :slice, :reference_id, :position, :label_position)
    ON CONFLICT (model_id, slice) DO UPDATE SET
        retired_at = NULL, state = 'warming_up', kind = 'none', since = NULL, status = '{}', blind_reason = NULL,
        reference_id = excluded.reference_id, last_success_at = NULL, last_window_at = NULL
    RETURNING id, seen
    """
)

REOPEN = text(
    """
    UPDATE streams s SET retired_at = NULL, position = g.first_position - 1, state = 'warming_up', status = '{}',
        lease_owner = NULL, lease_until = NULL, last_success_at = NULL, blind_reason = NULL
    FROM (
        SELECT r.id, (
            SELECT min(first_position) FROM segments WHERE model_id = r.model_id AND committed_at > r.retired_at
        ) AS first_position
        FROM streams r JOIN log_ends e ON e.model_id = r.model_id AND e.log = 'predictions' AND e.at > r.retired_at
        WHERE r.slice = '' AND r.retired_at IS NOT NULL
        FOR NO KEY UPDATE OF r SKIP LOCKED
    ) g
    WHERE s.id = g.id
    """
)


@dataclass(frozen=True)
class Target:
    """A stream that is to be watched, and how far that has got.

    Parameters
    ----------
    written, labels_written : int
        The last positions of its model's predictions and labels.
    leased : bool
        Whether the lease of `lease_owner` holds.
    calibration_id, baseline_id : int, optional
        The newest traffic that was declared calm, and the newest that was accepted.
    window_requested_at : datetime, optional
        When a person requested a window test that is not stored yet.
    """

    id: int
    model_id: int
    slice: str
    reference_id: int | None
    position: int
    label_position: int
    seen: int
    lease_owner: UUID | None
    leased: bool
    written: int
    labels_written: int
    calibration_id: int | None
    baseline_id: int | None
    window_requested_at: dt.datetime | None


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint's bytes, and the positions up to which its state has processed the log."""

    position: int
    label_position: int
    state: bytes


def targets(connection: Connection) -> list[Target]:
    """Return every stream that is not retired."""
    return [Target(**row._asdict()) for row in connection.execute(TARGETS)]


def acquire(connection: Connection, stream_id: int, owner: UUID, seconds: float) -> bool:
    """Take the lease of a stream, unless another monitor holds it; return whether it is held now."""
    return connection.execute(ACQUIRE, {"id": stream_id, "owner": owner, "seconds": seconds}).rowcount == 1


def renew(connection: Connection, stream_ids: Sequence[int], owner: UUID, seconds: float) -> None:
    """Extend the leases that a monitor holds."""
    connection.execute(RENEW, {"ids": list(stream_ids), "owner": owner, "seconds": seconds})


def release(connection: Connection, stream_ids: Sequence[int], owner: UUID) -> None:
    """Give leases back, so that another monitor need not wait for their end."""
    connection.execute(RELEASE, {"ids": list(stream_ids), "owner": owner})


def heartbeat(connection: Connection, owner: UUID, name: str) -> None:
    """Record that a monitor works."""
    connection.execute(HEARTBEAT, {"id": owner, "name": name})
    connection.execute(
        text("DELETE FROM monitors WHERE heartbeat_at < now() - CAST(:age AS interval)"), {"age": FORGET_MONITORS}
    )


def sign_off(connection: Connection, owner: UUID) -> None:
    """Forget a monitor that ends."""
    connection.execute(text("DELETE FROM monitors WHERE id = :id"), {"id": owner})


def live_monitors(connection: Connection, seconds: float) -> int:
    """Return the number of monitors with a heartbeat in the last seconds."""
    return int(connection.execute(LIVE, {"seconds": seconds}).scalar_one())


def advance(
    connection: Connection, stream_id: int, owner: UUID, read_position: int, values: Mapping[str, object]
) -> bool:
    """Store a step of a model's whole stream; return False if another monitor has watched it meanwhile."""
    statement = streams.update().where(
        streams.c.id == stream_id, streams.c.position == read_position, streams.c.lease_owner == owner
    )
    return connection.execute(statement.values(**values)).rowcount == 1


def save(connection: Connection, stream_id: int, values: Mapping[str, object]) -> None:
    """Change a stream's row."""
    connection.execute(streams.update().where(streams.c.id == stream_id).values(**values))


def open_slice(connection: Connection, model_stream: Target, name: str) -> tuple[int, int]:
    """Make the stream of a slice, or open it again where it was retired; return its id and the number of predictions
    that it had processed."""
    values = {
        "model_id": model_stream.model_id,
        "slice": name,
        "reference_id": model_stream.reference_id,
        "position": model_stream.position,
        "label_position": model_stream.label_position,
    }
    row = connection.execute(OPEN, values).one()
    connection.execute(checkpoints.delete().where(checkpoints.c.stream_id == row.id))
    return int(row.id), int(row.seen)


def retire(connection: Connection, stream_id: int, at: dt.datetime) -> None:
    """End a slice's stream; its windows and alerts stay."""
    calm = {"state": "calm", "kind": "none", "since": None, "blind_reason": None}
    save(connection, stream_id, {"retired_at": at, **calm})
    connection.execute(checkpoints.delete().where(checkpoints.c.stream_id == stream_id))


def skip_to(connection: Connection, stream_id: int, position: int, label_position: int) -> None:
    """Let a stream without reference begin after what was logged so far."""
    values = {"position": position, "label_position": label_position}
    statement = streams.update().where(streams.c.id == stream_id, streams.c.reference_id.is_(None))
    connection.execute(statement.values(**values))


def reopen(connection: Connection) -> int:
    """Let models that were retired and receive predictions again begin as new streams; return their number."""
    return connection.execute(REOPEN).rowcount


def load_checkpoint(connection: Connection, stream_id: int) -> StoredCheckpoint | None:
    """Return a stream's checkpoint, or None."""
    c = checkpoints.c
    query = checkpoints.select().with_only_columns(c.position, c.label_position, c.state)
    row = connection.execute(query.where(c.stream_id == stream_id)).one_or_none()
    return None if row is None else StoredCheckpoint(row.position, row.label_position, row.state)


def save_checkpoint(connection: Connection, stream_id: int, position: int, label_position: int, state: bytes) -> None:
    """Replace a stream's checkpoint."""
    connection.execute(
        text(
            """
            INSERT INTO checkpoints (stream_id, position, label_position, state)
            VALUES (:stream_id, :position, :label_position, :state)
            ON CONFLICT (stream_id) DO UPDATE SET position = excluded.position,
                label_position = excluded.label_position, state = excluded.state, at = now()
            """
        ),
        {"stream_id": stream_id, "position": position, "label_position": label_position, "state": state},
    )
