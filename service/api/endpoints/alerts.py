"""Alerts with their deliveries."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from sqlalchemy import Connection

from ...alerts import outbox
from ...alerts.schemas import Alert
from ...store import alerts
from ...store.alerts import AlertRow
from ..problems import Problem, documented

router = APIRouter(tags=["alerts"])


class AlertList(BaseModel):
    alerts: list[Alert]


class Deferred(BaseModel):
    deliveries: int


@router.get("/alerts", summary="Alerts, newest first", responses=documented(422, 503))
def get_alerts(
    request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 50, stream: str | None = None
) -> AlertList:
    """Return alerts, each with its deliveries."""
    with request.app.state.engine.connect() as connection:
        rows = alerts.newest(connection, limit, stream)
        return AlertList(alerts=_with_deliveries(request, connection, rows))


@router.get("/alerts/{alert_id}", summary="One alert", responses=documented(404, 422, 503))
def get_alert(alert_id: UUID, request: Request) -> Alert:
    """Return one alert with its deliveries."""
    with request.app.state.engine.connect() as connection:
        return _with_deliveries(request, connection, [_existing(connection, alert_id)])[0]


@router.post(
    "/alerts/{alert_id}/deliver", status_code=202, summary="Deliver again", responses=documented(404, 422, 503)
)
def deliver_again(alert_id: UUID, request: Request) -> Deferred:
    """Send the alert's last event to every receiver once more, under its first id."""
    state = request.app.state
    with state.engine.begin() as connection:
        _existing(connection, alert_id)
        return Deferred(deliveries=outbox.deliver_again(connection, state.queue, alert_id))


def _existing(connection: Connection, alert_id: UUID) -> AlertRow:
    row = alerts.get(connection, alert_id)
    if row is None:
        raise Problem(404, f"no alert {alert_id}")
    return row


def _with_deliveries(request: Request, connection: Connection, rows: list[AlertRow]) -> list[Alert]:
    sent = alerts.of_alerts(connection, [row.id for row in rows])
    url, now = request.app.state.settings.public_url, dt.datetime.now(dt.UTC)
    return [Alert.with_deliveries(row, sent, url, now) for row in rows]
