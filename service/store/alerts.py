"""Alerts (one an incident) and the deliveries of their events."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, case, delete, func, insert, literal, or_, select, true, update
from sqlalchemy.dialects.postgresql import distinct_on

from .page_bounds import first_page
from .streams import stream_name
from .tables import alerts, deliveries, models, streams

MAX_HISTORY = 200  # entries of an incident's history; the oldest are dropped beyond it
MAX_TESTS = 50  # test deliveries that are kept, the newest
LABEL_KINDS = ("concept", "harm")  # the kinds of alerts that labels raise
OUTCOMES = ("pending", "delivered", "failed", "superseded", "muted")


@dataclass(frozen=True)
class AlertRow:
    """A stored alert with the names of its stream and model."""

    id: UUID
    stream_id: int
    kind: str
    state: str
    since: dt.datetime
    fired_at: dt.datetime
    resolved_at: dt.datetime | None
    position: int
    window_id: int | None
    p_value: float
    summary: str
    report: dict[str, Any]
    severity: str
    certainty: str
    sequence: int
    resolution: str | None
    reopened: int
    acknowledged_at: dt.datetime | None
    acknowledged_by: str | None
    acknowledged_note: str | None
    muted_until: dt.datetime | None
    muted_by: str | None
    parent_id: UUID | None
    history: list[dict[str, Any]]
    stream: str
    model_name: str
    model_version: str


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


@dataclass(frozen=True)
class OpenIncidents:
    """Firing alerts of a stream that have the same kind and severity and were handled alike."""

    stream_id: int
    kind: str
    severity: str
    state: str  # new, acknowledged or muted
    count: int


def firing(connection: Connection, stream_id: int) -> list[AlertRow]:
    """Return the alerts of a stream that are firing, oldest first."""
    query = _query().where(alerts.c.stream_id == stream_id, alerts.c.state == "firing")
    return _alerts(connection, query.order_by(alerts.c.fired_at))


def firing_parent(connection: Connection, stream_id: int, kind: str) -> UUID | None:
    """Return the firing alert of the whole model that a slice belongs to, of images and predictions or, for one
    that labels raise, of labels; None for the stream of a whole model."""
    part, whole = streams.alias(), streams.alias()
    query = (
        select(alerts.c.id)
        .join(whole, whole.c.id == alerts.c.stream_id)
        .join(part, part.c.model_id == whole.c.model_id)
        .where(part.c.id == stream_id, part.c.slice != "", whole.c.slice == "", alerts.c.state == "firing")
        .where(alerts.c.kind.in_(LABEL_KINDS) if kind in LABEL_KINDS else alerts.c.kind.not_in(LABEL_KINDS))
    )
    parent: UUID | None = connection.execute(query.order_by(alerts.c.fired_at).limit(1)).scalar_one_or_none()
    return parent


def leave_parent(connection: Connection, parent_id: UUID) -> list[AlertRow]:
    """Part the firing alerts of slices from the alert of their model, and return them."""
    children = _alerts(connection, _query().where(alerts.c.parent_id == parent_id, alerts.c.state == "firing"))
    ids = [child.id for child in children]
    connection.execute(update(alerts).where(alerts.c.id.in_(ids)).values(parent_id=None))
    return children


def children(connection: Connection, parent_id: UUID) -> list[AlertRow]:
    """Return the alerts of slices that are part of an alert of their model, oldest first."""
    return _alerts(connection, _query().where(alerts.c.parent_id == parent_id).order_by(alerts.c.fired_at))


def save(connection: Connection, **values: Any) -> None:
    """Store a new alert."""
    connection.execute(insert(alerts).values(**values))


def update_alert(connection: Connection, alert_id: UUID, present_state: str, **values: Any) -> int | None:
    """Change an alert that is in a state and number the event; return its number, or None where it is in another."""
    statement = update(alerts).where(alerts.c.id == alert_id, alerts.c.state == present_state)
    statement = statement.values(sequence=alerts.c.sequence + 1, **values)
    number: int | None = connection.execute(statement.returning(alerts.c.sequence)).scalar_one_or_none()
    return number


def annotate(connection: Connection, alert_id: UUID, **values: Any) -> None:
    """Store what a person said of an alert, without a further event."""
    connection.execute(update(alerts).where(alerts.c.id == alert_id).values(**values))


def record(connection: Connection, alert_id: UUID, entry: Mapping[str, Any]) -> None:
    """Append an entry to an alert's history, and drop the oldest beyond MAX_HISTORY."""
    of_alert = alerts.c.id == alert_id
    history = connection.execute(select(alerts.c.history).where(of_alert).with_for_update()).scalar_one()
    connection.execute(update(alerts).where(of_alert).values(history=[*history, dict(entry)][-MAX_HISTORY:]))


def newest(
    connection: Connection, limit: int = 50, stream: str | None = None, before: UUID | None = None
) -> list[AlertRow]:
    """Return alerts, newest first, at most `limit` and as many as a page may hold; `before` is an alert's id."""
    query = _query().order_by(alerts.c.fired_at.desc()).limit(limit)
    if stream is not None:
        query = query.where(stream_name == stream)
    if before is not None:
        last = alerts.alias()
        query = query.where(alerts.c.fired_at < select(last.c.fired_at).where(last.c.id == before).scalar_subquery())
    return _alerts(connection, first_page(query, "fired_at"))


def fired_between(
    connection: Connection, model_id: int, since: dt.datetime, until: dt.datetime, limit: int = 1000
) -> list[AlertRow]:
    """Return the alerts of a model's streams that fired in a span of time, oldest first."""
    query = _query().where(streams.c.model_id == model_id, alerts.c.fired_at >= since, alerts.c.fired_at < until)
    return _alerts(connection, query.order_by(alerts.c.fired_at).limit(limit))


def get(connection: Connection, alert_id: UUID) -> AlertRow | None:
    """Return one alert, or None."""
    rows = _alerts(connection, _query().where(alerts.c.id == alert_id))
    return rows[0] if rows else None


def open_incidents(connection: Connection) -> list[OpenIncidents]:
    """Return the number of firing alerts of each stream by kind, severity and what a person has said of them."""
    a = alerts.c
    state = case(
        (a.muted_until > func.now(), literal("muted")),
        (a.acknowledged_at.is_not(None), literal("acknowledged")),
        else_=literal("new"),
    )
    groups = (a.stream_id, a.kind, a.severity, state.label("state"))
    query = select(*groups, func.count()).where(a.state == "firing").group_by(*groups)
    return [OpenIncidents(*row) for row in connection.execute(query)]


def add_delivery(connection: Connection, **values: Any) -> None:
    """Store a delivery to be made."""
    connection.execute(insert(deliveries).values(**values))


def get_delivery(connection: Connection, delivery_id: UUID) -> DeliveryRow | None:
    """Return one delivery, or None."""
    rows = _deliveries(connection, select(deliveries).where(deliveries.c.id == delivery_id))
    return rows[0] if rows else None


def update_delivery(connection: Connection, delivery_id: UUID, **values: Any) -> None:
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


def forget_tests(connection: Connection) -> None:
    """Drop the deliveries of test events beyond the newest MAX_TESTS."""
    d = deliveries.c
    kept = select(d.id).where(d.alert_id.is_(None)).order_by(d.created_at.desc()).limit(MAX_TESTS)
    connection.execute(delete(deliveries).where(d.alert_id.is_(None), d.id.not_in(kept)))


def _alerts(connection: Connection, query: Select[Any]) -> list[AlertRow]:
    return [AlertRow(**row._asdict()) for row in connection.execute(query)]


def _deliveries(connection: Connection, query: Select[Any]) -> list[DeliveryRow]:
    return [DeliveryRow(**row._asdict()) for row in connection.execute(query)]


def _query() -> Select[Any]:
    return (
        select(
            alerts,
            stream_name.label("stream"),
            models.c.name.label("model_name"),
            models.c.version.label("model_version"),
        )
        .join(streams, streams.c.id == alerts.c.stream_id)
        .join(models, models.c.id == streams.c.model_id)
    )
