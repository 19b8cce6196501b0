"""The server behind a test client."""

from typing import Any, cast

from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.wait import until
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.api.endpoints.feedback import LoggedAnswer
from tidemark.api.server_state import DatabaseState, ServerState
from tidemark.serving.counters import ServerMetrics
from tidemark.serving.refusals import RecentRefusals
from tidemark.settings import Settings
from tidemark.store.engine import conninfo


def state_of(client: TestClient) -> ServerState:
    """Return what the server of a test client runs with."""
    app: Any = client.app
    return cast("ServerState", app.state.server)


def database_state(engine: Engine, settings: Settings) -> DatabaseState:
    """Return the state of a server with the pages alone."""
    queue = open_queue(conninfo(engine.url.render_as_string(hide_password=False)))
    alerts = Alerts(queue, settings.webhook_urls, settings.public_url)
    return DatabaseState(settings, engine, alerts, queue, RecentRefusals(ServerMetrics()))


def stored_prediction(client: TestClient, prediction_id: str) -> LoggedAnswer:
    """Wait until a prediction is in Postgres; return it as the server describes it."""
    path = f"/predictions/{prediction_id}"
    until(lambda: client.get(path).status_code == 200, f"prediction {prediction_id} in Postgres")
    return LoggedAnswer.model_validate_json(client.get(path).content)
