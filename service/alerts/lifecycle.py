"""An alert's life: it fires, is delivered, resolves; each step in the transaction of the window that caused it."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from procrastinate import App
from sqlalchemy import Connection, Row
from uuid_utils.compat import uuid7

from ..settings import WebhookReceiver
from ..store import alerts
from .delivery import DELIVER, GIVE_UP, QUEUE
from .formats import render
from .queue import defer


class Alerts:
    """Raises and resolves alerts, and defers their deliveries.

    Parameters
    ----------
    queue : where deliveries are deferred.
    receivers : who is told.
    public_url : start of the links in alerts.
    """

    def __init__(self, queue: App, receivers: Sequence[WebhookReceiver], public_url: str) -> None:
        self._queue = queue
        self._receivers = receivers
        self._public_url = public_url

    def fire(
        self,
        connection: Connection,
        stream: Row[Any],
        at: dt.datetime,
        *,
        kind: str,
        since: dt.datetime,
        position: int,
        window_id: int | None,
        report: dict[str, Any],
    ) -> UUID:
        """Raise an alert on a stream and defer its deliveries; return its id."""
        alert_id = uuid7()
        alerts.save(
            connection,
            id=alert_id,
            stream_id=stream.id,
            kind=kind,
            state="firing",
            since=since,
            fired_at=at,
            position=position,
            window_id=window_id,
            p_value=report["p_value"],
            summary=report["summary"],
            report=report,
        )
        self._announce(connection, "drift.firing", alert_id, at)
        return alert_id

    def resolve(self, connection: Connection, alert_id: UUID, at: dt.datetime) -> None:
        """Resolve a firing alert and defer the news."""
        alerts.resolve(connection, alert_id, at)
        self._announce(connection, "drift.resolved", alert_id, at)

    def _announce(self, connection: Connection, event: str, alert_id: UUID, at: dt.datetime) -> None:
        row = alerts.get(connection, alert_id)
        if row is None:
            raise LookupError(f"no alert {alert_id}")
        data = alert_data(row, self._public_url)
        for receiver in self._receivers:
            delivery_id = uuid7()
            alerts.add_delivery(
                connection,
                id=delivery_id,
                alert_id=alert_id,
                event=event,
                url=receiver.url,
                format=receiver.format,
                body=render(receiver.format, event, at, data),
                give_up_at=at + GIVE_UP,
            )
            defer(self._queue, connection, DELIVER, QUEUE, {"delivery_id": str(delivery_id)})


def alert_data(row: Row[Any], public_url: str) -> dict[str, Any]:
    """Return an alert as webhooks carry it."""
    return {
        "alert_id": str(row.id),
        "stream": row.stream,
        "kind": row.kind,
        "since": row.since.isoformat(),
        "p_value": row.p_value,
        "summary": row.summary,
        "report": row.report,
        "url": alerts.page_url(public_url, row.id),
    }


def deliver_again(connection: Connection, queue: App, alert_id: UUID) -> int:
    """Defer the deliveries of an alert's last event once more, under their ids; return how many there are."""
    sent = alerts.of_alerts(connection, [alert_id])
    last = [row for row in sent if row.event == sent[-1].event]
    give_up_at = dt.datetime.now(dt.UTC) + GIVE_UP
    for row in last:
        alerts.update_delivery(connection, row.id, outcome="pending", give_up_at=give_up_at)
        defer(queue, connection, DELIVER, QUEUE, {"delivery_id": str(row.id)})
    return len(last)
