"""Alerts with their deliveries."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from ...alerts import outbox
from ...alerts.schemas import Alert
from ...store import alerts, deliveries
from ..problems import documented
from ..server_state import database_state
from .alert_actions import alert_answer, existing_alert

router = APIRouter(tags=["alerts"])


class AlertList(BaseModel):
    alerts: list[Alert]
    next: UUID | None = Field(description="The `before` of the page after this one; null if this is the last one.")


class Deferred(BaseModel):
    deliveries: int


@router.get("/alerts", summary="Alerts, newest first", responses=documented(422, 503))
def get_alerts(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    stream: str | None = None,
    before: UUID | None = None,
) -> AlertList:
    """Return alerts with their deliveries, at most `limit` and at most some 15 MB of reports; `before` is the `next`
    of the page before."""
    with database_state(request).engine.connect() as connection:
        rows = alerts.newest(connection, limit, stream, before)
        has_more = bool(rows) and bool(alerts.newest(connection, 1, stream, rows[-1].id))
        sent = deliveries.of_alerts(connection, [row.id for row in rows])
    url, now = database_state(request).settings.public_url, dt.datetime.now(dt.UTC)
    listed = [Alert.with_deliveries(row, sent, url, now) for row in rows]
    return AlertList(alerts=listed, next=rows[-1].id if has_more else None)


@router.get("/alerts/{alert_id}", summary="One alert", responses=documented(404, 422, 503))
def get_alert(alert_id: UUID, request: Request) -> Alert:
    """Return one alert with its deliveries."""
    with database_state(request).engine.connect() as connection:
        return alert_answer(request, connection, alert_id)


@router.post(
    "/alerts/{alert_id}/deliver", status_code=202, summary="Deliver again", responses=documented(404, 422, 503)
)
def deliver_again(alert_id: UUID, request: Request) -> Deferred:
    """Send the alert's last event to every receiver once more, under its first id."""
    state = database_state(request)
    with state.engine.begin() as connection:
        existing_alert(connection, alert_id)
        return Deferred(deliveries=outbox.deliver_again(connection, state.queue, alert_id))
