"""What Alertmanager has to hear again and again: that an alert still fires, and whether somebody takes care of it."""

import asyncio
import contextlib
import datetime as dt
import logging
from typing import NamedTuple
from uuid import UUID

import orjson
from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued
from sqlalchemy import Connection, Engine

from ..store import alerts, deliveries
from ..store.alerts import AlertRow
from ..store.deliveries import DeliveryRow
from . import alertmanager_silences
from .outbox import QUEUE, REMIND, REMINDED, delivery_lock
from .webhook_network import WebhookNetwork
from .webhook_transport import DEFAULT_NETWORK, post, run_query

REMIND_ALL = "remind"
MUTED = "muted"  # the entry of an incident's history that a mute leaves
NEWS = dt.timedelta(minutes=10)  # time in which news of an incident that is taken care of may reach people first

logger = logging.getLogger(__name__)


class Handled(NamedTuple):
    """The person who takes care of an incident, and the time since when."""

    at: dt.datetime
    reason: str


def register(app: App, engine: Engine, network: WebhookNetwork) -> None:
    """Add the task that reminds one Alertmanager of one alert, and the one that defers it every minute for all."""

    @app.task(name=REMIND, queue=QUEUE)
    async def remind_of_alert(alert_id: str, lock: str | None = None) -> None:
        await remind(engine, UUID(alert_id), network, lock)

    @app.periodic(cron="* * * * *")
    @app.task(name=REMIND_ALL, queue=QUEUE, queueing_lock=REMIND_ALL)
    async def remind_of_firing(timestamp: int) -> None:
        for row in await run_query(engine, lambda connection: deliveries.due_reminders(connection, REMINDED)):
            if row.alert_id is None:
                continue
            lock = delivery_lock(row.alert_id, row.url)
            task = app.configure_task(REMIND, queue=QUEUE, lock=lock, queueing_lock=f"{REMIND}-{lock}")
            with contextlib.suppress(AlreadyEnqueued):
                await task.defer_async(alert_id=str(row.alert_id), lock=lock)


async def remind(
    engine: Engine, alert_id: UUID, network: WebhookNetwork = DEFAULT_NETWORK, lock: str | None = None
) -> None:
    """Send Alertmanager an alert again that it took and that is still firing: it resolves an alert that it does not
    hear of. One that is acknowledged or muted is silenced there, so that it is not notified again.

    Parameters
    ----------
    lock : str, optional
        The delivery lock of the one receiver that is meant; all Alertmanagers by default.
    """

    def query(connection: Connection) -> tuple[AlertRow | None, list[DeliveryRow]]:
        return alerts.get(connection, alert_id), deliveries.due_reminders(connection, REMINDED, alert_id)

    alert, rows = await run_query(engine, query)
    if alert is not None:
        addressed_rows = [row for row in rows if lock in (None, delivery_lock(alert_id, row.url))]
        await asyncio.gather(*(_remind_of(engine, alert, row, network) for row in addressed_rows))


async def _remind_of(engine: Engine, alert: AlertRow, row: DeliveryRow, network: WebhookNetwork) -> None:
    """Remind one Alertmanager; what failed is stored with the delivery until the next attempt succeeds."""
    now = dt.datetime.now(dt.UTC)
    handling = _last_handling(alert, now)
    failure = None
    if handling is None:
        failure = await alertmanager_silences.end(row.url, alert.id, network)
    elif handling.at >= row.created_at or now - row.created_at >= NEWS:
        labels = orjson.loads(row.body)[-1]["labels"]
        failure = await alertmanager_silences.hold(row.url, alert.id, labels, handling.reason, now, network)
    _, error, _ = await post(row, None, network)
    if error is not None:
        logger.warning("alert %s: Alertmanager was not reminded: %s", row.alert_id, error)
        failure = f"Alertmanager was not reminded: {error}"
    if failure != row.last_error:
        await run_query(engine, lambda connection: deliveries.change(connection, row.id, last_error=failure))


def _last_handling(alert: AlertRow, now: dt.datetime) -> Handled | None:
    """Return who takes care of an incident, or None where it is neither acknowledged nor muted."""
    if alert.muted_until is not None and alert.muted_until > now:
        times = [entry["at"] for entry in alert.history if entry["event"] == MUTED]
        at = dt.datetime.fromisoformat(times[-1]) if times else alert.fired_at
        return Handled(at, f"muted by {alert.muted_by} until {alert.muted_until.isoformat(timespec='seconds')}")
    if alert.acknowledged_at is not None:
        return Handled(alert.acknowledged_at, f"acknowledged by {alert.acknowledged_by}")
    return None
