"""Alerts with their deliveries."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from sqlalchemy import Connection, Row

from ...alerts import lifecycle
from ...store import alerts
from ..problems import Problem, documented

router = APIRouter(tags=["alerts"])


class Alerts(BaseModel):
    alerts: list[dict[str, Any]]


@router.get("/alerts", summary="Alerts, newest first", responses=documented(422, 503))
def get_alerts(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 50, stream: str | None = None) -> Alerts:
    """Return alerts, each with its deliveries."""
    with request.app.state.engine.connect() as connection:
        return Alerts(alerts=_with_deliveries(request, connection, list(alerts.newest(connection, limit, stream))))


@router.get("/alerts/{alert_id}", summary="One alert", responses=documented(404, 422, 503))
def get_alert(alert_id: UUID, request: Request) -> dict[str, Any]:
    """Return one alert with its deliveries."""
    with request.app.state.engine.connect() as connection:
        row = alerts.get(connection, alert_id)
        if row is None:
            raise Problem(404, f"no alert {alert_id}")
        return _with_deliveries(request, connection, [row])[0]


@router.post(
    "/alerts/{alert_id}/deliver", status_code=202, summary="Deliver again", responses=documented(404, 422, 503)
)
def deliver_again(alert_id: UUID, request: Request) -> dict[str, Any]:
    """Send the alert's last event to every receiver once more, under its first id."""
    state = request.app.state
    with state.engine.begin() as connection:
        if alerts.get(connection, alert_id) is None:
            raise Problem(404, f"no alert {alert_id}")
        count = lifecycle.deliver_again(connection, state.queue, alert_id)
    return {"deliveries": count}


def _with_deliveries(request: Request, connection: Connection, rows: list[Row[Any]]) -> list[dict[str, Any]]:
    sent = alerts.of_alerts(connection, [row.id for row in rows])
    return [alerts.as_json(row, sent, request.app.state.settings.public_url) for row in rows]
