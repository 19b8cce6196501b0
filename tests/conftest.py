"""What all tests share: one real Postgres a run (a worker of pytest-xdist has its own), one database a test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import schema

DATABASES = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="slow: run with --slow")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded Postgres that lives as long as the run."""
    folder = tmp_path_factory.mktemp("data")
    with engines.database(Settings(data_dir=folder)) as url:
        yield url


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """The URL of a new database without a schema."""
    name = f"test_{next(DATABASES)}"
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def url(empty_url: str) -> str:
    """The URL of a new database with the current schema."""
    engine = engines.connect(empty_url)
    schema.migrate(engine)
    engine.dispose()
    return empty_url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An engine on a new database with the current schema."""
    engine = engines.connect(url)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose files lie in the test's own folder."""
    return Settings(data_dir=tmp_path / "data")
