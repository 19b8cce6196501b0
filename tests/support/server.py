"""The server behind a test client."""

from typing import Any, cast

from fastapi.testclient import TestClient

from tests.support.wait import until
from tidemark.api.state import ServerState


def state_of(client: TestClient) -> ServerState:
    """Return what the server of a test client runs with."""
    app: Any = client.app
    return cast("ServerState", app.state.server)


def stored_prediction(client: TestClient, prediction_id: str) -> dict[str, Any]:
    """Wait until a prediction is in Postgres; return it as the server describes it."""
    path = f"/predictions/{prediction_id}"
    until(lambda: client.get(path).status_code == 200, f"prediction {prediction_id} in Postgres")
    return dict(client.get(path).json())
