"""A server with the pages alone, on a database with one drifting stream."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.seed import Seeded, seed
from tidemark.pages import routes
from tidemark.serving.counters import ServerMetrics
from tidemark.serving.refusals import RecentRefusals
from tidemark.settings import Settings


@pytest.fixture
def seeded(engine: Engine) -> Seeded:
    """A database with a stream, windows, images and alerts."""
    return seed(engine)


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    """A client of the pages."""
    app = FastAPI()
    app.include_router(routes.router)
    app.state.engine, app.state.settings = engine, settings
    app.state.refusals = RecentRefusals(ServerMetrics())
    with TestClient(app, headers={"Accept": "text/html"}) as client:
        yield client
