"""An own Postgres for the tests that break it, and installations on it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.assets import Assets
from tests.support.installation import Installation
from tests.support.postgres import SeparatePostgres

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Assets:
    return Assets.make(tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeparatePostgres]:
    server = SeparatePostgres(tmp_path_factory.mktemp("postgres") / "data")
    yield server
    server.start()
    server.close()


@pytest.fixture
def install(tmp_path: Path, postgres: SeparatePostgres, assets: Assets) -> Iterator[Callable[..., Installation]]:
    """Makes an installation on a new database; its processes end with the test."""
    installations: list[Installation] = []

    def make(**settings: object) -> Installation:
        url = postgres.database(f"durable_{next(NUMBERS)}")
        installations.append(Installation(tmp_path, url, assets, **settings))
        return installations[-1]

    yield make
    for each in installations:
        each.close()
