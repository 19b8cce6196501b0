"""Unit tests need no database: what asks for one belongs into `tests/integration`."""

import pytest


@pytest.fixture(scope="session")
def server_url() -> str:
    """Refuse a database to a unit test."""
    pytest.fail("a unit test asks for Postgres: move it to tests/integration")
