"""A server with the pages alone, on a database with one drifting stream."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.seed import Seeded, seed
from tests.support.server import database_state
from tidemark.pages import routes
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
    app.state.server = database_state(engine, settings)
    with TestClient(app, headers={"Accept": "text/html"}) as client:
        yield client
