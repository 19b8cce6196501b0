"""The jobs of deliveries: deferred in order, again on request, and once a mute is over."""

import datetime as dt
import hashlib
from uuid import UUID

from procrastinate import App
from sqlalchemy import Connection

from ..store import alerts, deliveries
from ..store.deliveries import DeliveryRow
from .queue import defer

QUEUE = "deliveries"
DELIVER = "deliver"
UNMUTE = "unmute"
REMIND = "remind_of_alert"
REMINDED = "alertmanager"  # the format of the receivers that forget an alert which is not repeated
GIVE_UP = dt.timedelta(hours=24)  # time after an event in which its delivery is attempted


def delivery_lock(alert_id: UUID, url: str) -> str:
    """Return the lock under which one receiver gets the events of one incident in their order; it hides the URL."""
    return f"alert-{alert_id}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def defer_delivery(connection: Connection, queue: App, delivery_id: UUID, alert_id: UUID | None, url: str) -> None:
    """Defer a stored delivery, after the earlier ones of its incident to the same receiver; a test waits for none."""
    lock = None if alert_id is None else delivery_lock(alert_id, url)
    defer(queue, connection, DELIVER, QUEUE, {"delivery_id": str(delivery_id)}, lock=lock)


def defer_reminders(connection: Connection, queue: App, alert_id: UUID) -> None:
    """Defer at once the reminders that Alertmanagers get of a firing alert every minute: after a person has
    said something about it."""
    for row in deliveries.due_reminders(connection, REMINDED, alert_id):
        lock = delivery_lock(alert_id, row.url)
        defer(queue, connection, REMIND, QUEUE, {"alert_id": str(alert_id), "lock": lock}, lock=lock)


def defer_unmute(connection: Connection, queue: App, alert_id: UUID, until: dt.datetime) -> None:
    """Defer the release of what a mute holds back until its end."""
    defer(queue, connection, UNMUTE, QUEUE, {"alert_id": str(alert_id)}, at=until)


def deliver_again(connection: Connection, queue: App, alert_id: UUID) -> int:
    """Defer the deliveries of an alert's last event once more, under their ids; return their number."""
    sent = deliveries.of_alerts(connection, [alert_id])
    last = [row for row in sent if row.sequence == sent[-1].sequence]
    give_up_at = dt.datetime.now(dt.UTC) + GIVE_UP
    for row in last:
        deliveries.change(connection, row.id, outcome="pending", give_up_at=give_up_at)
        defer_delivery(connection, queue, row.id, alert_id, row.url)
    return len(last)


def release(connection: Connection, queue: App, alert_id: UUID, at: dt.datetime) -> list[DeliveryRow]:
    """Defer the deliveries that were held back and return them; those that later events supersede are dropped when
    their turn comes. An incident that has ended, is muted, or is part of another one releases nothing."""
    alert = alerts.get(connection, alert_id)
    if alert is None or alert.state != "firing" or alert.parent_id is not None:
        return []
    if alert.muted_until is not None and alert.muted_until > at:
        return []
    rows = deliveries.release(connection, alert_id, at + GIVE_UP)
    for row in rows:
        defer_delivery(connection, queue, row.id, alert_id, row.url)
    return rows
