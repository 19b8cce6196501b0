"""Deliveries: one event of an incident to one receiver, or a test event."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import Connection, Select, delete, func, insert, or_, select, true, update
from sqlalchemy.dialects.postgresql import distinct_on

from .tables import alerts, deliveries

MAX_TESTS = 50  # test deliveries that are kept, the newest
OUTCOMES = ("pending", "delivered", "failed", "superseded", "muted")


@dataclass(frozen=True)
class DeliveryRow:
    """A stored delivery of one event to one receiver; `alert_id` is None for a test event."""

    id: UUID
    alert_id: UUID | None
    event: str
    url: str
    format: str
    body: str
    outcome: str
    attempts: int
    last_status: int | None
    last_error: str | None
    delivered_at: dt.datetime | None
    give_up_at: dt.datetime
    created_at: dt.datetime
    sequence: int


class DeliveryValues(TypedDict, total=False):
    """Columns of a delivery that are written."""

    id: UUID
    alert_id: UUID | None
    event: str
    url: str
    format: str
    body: str
    outcome: str
    attempts: int
    last_status: int | None
    last_error: str | None
    delivered_at: dt.datetime | None
    give_up_at: dt.datetime
    sequence: int


def add(connection: Connection, **values: Unpack[DeliveryValues]) -> None:
    """Store a delivery to be made."""
    connection.execute(insert(deliveries).values(**values))


def get(connection: Connection, delivery_id: UUID) -> DeliveryRow | None:
    """Return one delivery, or None."""
    rows = _deliveries(connection, select(deliveries).where(deliveries.c.id == delivery_id))
    return rows[0] if rows else None


def change(connection: Connection, delivery_id: UUID, **values: Unpack[DeliveryValues]) -> None:
    """Record the outcome of an attempt."""
    connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(**values))


def of_alerts(connection: Connection, alert_ids: Sequence[UUID]) -> list[DeliveryRow]:
    """Return the deliveries of alerts, in the order of their events."""
    query = select(deliveries).where(deliveries.c.alert_id.in_(alert_ids))
    return _deliveries(connection, query.order_by(deliveries.c.sequence, deliveries.c.created_at))


def receivers(connection: Connection, alert_id: UUID) -> list[tuple[str, str]]:
    """Return the URL and the format of each receiver that events of an alert were addressed to."""
    d = deliveries.c
    rows = connection.execute(select(d.url, d.format).where(d.alert_id == alert_id).distinct().order_by(d.url))
    return [(row.url, row.format) for row in rows]


def is_superseded(connection: Connection, delivery: DeliveryRow, skippable: str) -> bool:
    """Check whether a later event for the same receiver makes a delivery pointless.

    Parameters
    ----------
    skippable : str
        The event that only details an earlier one (`drift.changed`): it is superseded by any later event and
        supersedes only its like, for a receiver that never heard of an incident needs the event that opens it.
    """
    d = deliveries.c
    later = select(d.id).where(d.alert_id == delivery.alert_id, d.url == delivery.url, d.sequence > delivery.sequence)
    if delivery.event != skippable:
        later = later.where(d.event != skippable)
    return connection.execute(later.where(d.outcome != "muted").limit(1)).first() is not None


def hold_back(connection: Connection, alert_id: UUID, exempt: str) -> None:
    """Mark the pending deliveries of an alert as muted, except those of the event `exempt`."""
    d = deliveries.c
    pending = (d.alert_id == alert_id) & (d.outcome == "pending") & (d.event != exempt)
    connection.execute(update(deliveries).where(pending).values(outcome="muted"))


def release(connection: Connection, alert_id: UUID, give_up_at: dt.datetime) -> list[DeliveryRow]:
    """Make the muted deliveries of an alert pending again and return them in the order of their events."""
    d = deliveries.c
    statement = update(deliveries).where(d.alert_id == alert_id, d.outcome == "muted")
    rows = connection.execute(statement.values(outcome="pending", give_up_at=give_up_at).returning(deliveries))
    return sorted((DeliveryRow(**row._asdict()) for row in rows), key=lambda row: (row.sequence, row.created_at))


def due_reminders(connection: Connection, format: str, alert_id: UUID | None = None) -> list[DeliveryRow]:
    """Return the newest delivered event for each receiver in a format of each alert that fires, or of one of them."""
    d, a = deliveries.c, alerts.c
    query = (
        select(deliveries)
        .ext(distinct_on(d.alert_id, d.url))
        .join(alerts, a.id == d.alert_id)
        .where(a.state == "firing", d.format == format, d.outcome == "delivered")
        .where(true() if alert_id is None else a.id == alert_id)
        .order_by(d.alert_id, d.url, d.sequence.desc())
    )
    return _deliveries(connection, query)


def outcomes(connection: Connection) -> dict[str, int]:
    """Return the number of deliveries by outcome, without those of test events."""
    query = select(deliveries.c.outcome, func.count()).where(deliveries.c.alert_id.is_not(None))
    rows = connection.execute(query.group_by(deliveries.c.outcome)).all()
    return dict.fromkeys(OUTCOMES, 0) | {row[0]: row[1] for row in rows}


def recent_failures(connection: Connection, age: dt.timedelta) -> int:
    """Return the number of deliveries that were given up within an age, or whose alerts still fire."""
    d, a = deliveries.c, alerts.c
    query = select(func.count()).select_from(deliveries).join(alerts, a.id == d.alert_id).where(d.outcome == "failed")
    return int(connection.execute(query.where(or_(d.give_up_at > func.now() - age, a.state == "firing"))).scalar_one())


def failing_reminders(connection: Connection) -> int:
    """Return the number of alerts that fire and that an Alertmanager was not reminded of, or did not silence, at the
    last attempt."""
    d, a = deliveries.c, alerts.c
    query = (
        select(func.count(d.alert_id.distinct()))
        .select_from(deliveries)
        .join(alerts, a.id == d.alert_id)
        .where(a.state == "firing", d.outcome == "delivered", d.last_error.is_not(None))
    )
    return int(connection.execute(query).scalar_one())


def forget_tests(connection: Connection) -> None:
    """Drop the deliveries of test events beyond the newest MAX_TESTS."""
    d = deliveries.c
    newest = select(d.id).where(d.alert_id.is_(None)).order_by(d.created_at.desc()).limit(MAX_TESTS)
    connection.execute(delete(deliveries).where(d.alert_id.is_(None), d.id.not_in(newest)))


def _deliveries(connection: Connection, query: Select[Any]) -> list[DeliveryRow]:
    return [DeliveryRow(**row._asdict()) for row in connection.execute(query)]
