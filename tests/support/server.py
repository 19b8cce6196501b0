"""The server behind a test client."""

from typing import Any, cast

from fastapi.testclient import TestClient

from tidemark.api.state import ServerState


def state_of(client: TestClient) -> ServerState:
    """Return what the server of a test client runs with."""
    app: Any = client.app
    return cast("ServerState", app.state.server)
