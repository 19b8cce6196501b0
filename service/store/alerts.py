"""Alerts and their deliveries."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import Connection, Row, func, insert, select, update

from .streams import stream_name
from .tables import alerts, deliveries, models, streams


def firing(connection: Connection, stream_id: int) -> Sequence[Row[Any]]:
    """Return the alerts of a stream that are firing."""
    query = _query().where(alerts.c.stream_id == stream_id, alerts.c.state == "firing").order_by(alerts.c.fired_at)
    return connection.execute(query).all()


def save(connection: Connection, **values: Any) -> None:
    """Store a new alert."""
    connection.execute(insert(alerts).values(**values))


def resolve(connection: Connection, alert_id: UUID, at: dt.datetime) -> None:
    """Mark an alert as resolved."""
    connection.execute(update(alerts).where(alerts.c.id == alert_id).values(state="resolved", resolved_at=at))


def newest(connection: Connection, limit: int = 50, stream: str | None = None) -> Sequence[Row[Any]]:
    """Return alerts, newest first."""
    query = _query().order_by(alerts.c.fired_at.desc()).limit(limit)
    return connection.execute(query.where(stream_name == stream) if stream else query).all()


def get(connection: Connection, alert_id: UUID) -> Row[Any] | None:
    """Return one alert, or None."""
    return connection.execute(_query().where(alerts.c.id == alert_id)).one_or_none()


def count_firing(connection: Connection) -> dict[int, int]:
    """Return the number of firing alerts by stream."""
    query = select(alerts.c.stream_id, func.count()).where(alerts.c.state == "firing").group_by(alerts.c.stream_id)
    return dict(connection.execute(query).all())


def add_delivery(connection: Connection, **values: Any) -> None:
    """Store a delivery to be made."""
    connection.execute(insert(deliveries).values(**values))


def get_delivery(connection: Connection, delivery_id: UUID) -> Row[Any] | None:
    """Return one delivery, or None."""
    return connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).one_or_none()


def update_delivery(connection: Connection, delivery_id: UUID, **values: Any) -> None:
    """Record what became of an attempt."""
    connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(**values))


def of_alerts(connection: Connection, alert_ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Return the deliveries of alerts, oldest first."""
    query = select(deliveries).where(deliveries.c.alert_id.in_(alert_ids)).order_by(deliveries.c.created_at)
    return connection.execute(query).all()


def taken_and_firing(connection: Connection, format: str) -> Sequence[Row[Any]]:
    """Return the deliveries in a format that were taken and whose alerts are still firing."""
    query = (
        select(deliveries)
        .join(alerts, alerts.c.id == deliveries.c.alert_id)
        .where(alerts.c.state == "firing", deliveries.c.format == format, deliveries.c.event == "drift.firing")
        .where(deliveries.c.outcome == "delivered")
    )
    return connection.execute(query).all()


def outcomes(connection: Connection) -> dict[str, int]:
    """Return the number of deliveries by outcome."""
    query = select(deliveries.c.outcome, func.count()).group_by(deliveries.c.outcome)
    return {"pending": 0, "delivered": 0, "failed": 0} | dict(connection.execute(query).all())


def as_json(row: Row[Any], sent: Sequence[Row[Any]], public_url: str) -> dict[str, Any]:
    """Return an alert with its deliveries as the HTTP contract gives it."""
    return {
        "id": str(row.id),
        "stream": row.stream,
        "kind": row.kind,
        "state": row.state,
        "since": row.since.isoformat(),
        "fired_at": row.fired_at.isoformat(),
        "resolved_at": row.resolved_at.isoformat() if row.resolved_at else None,
        "position": row.position,
        "window": row.window_id,
        "p_value": row.p_value,
        "summary": row.summary,
        "report": row.report,
        "url": page_url(public_url, row.id),
        "deliveries": [_delivery(d) for d in sent if d.alert_id == row.id],
    }


def page_url(public_url: str, alert_id: UUID) -> str:
    """Return the address of an alert's page."""
    return f"{public_url.rstrip('/')}/alerts/{alert_id}/page"


def shown_url(url: str) -> str:
    """Return a receiver's address without what may be a secret: user and password, path (Slack's token) and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{'/…' if parts.path.strip('/') or parts.query else ''}"


def _delivery(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "event": row.event,
        "url": shown_url(row.url),
        "format": row.format,
        "outcome": row.outcome,
        "attempts": row.attempts,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "delivered_at": row.delivered_at.isoformat() if row.delivered_at else None,
    }


def _query() -> Any:
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
