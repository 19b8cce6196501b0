"""What cannot work ends start-up with exit code 2 and one line that says what to do."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.support.assets import Assets
from tests.support.command import PASSWORD, TOKEN, refused, tidemark
from tests.support.postgres import SeparatePostgres
from tests.support.processes import free_port
from tidemark.store import engine as engines
from tidemark.store import schema


@pytest.fixture(scope="module")
def url(postgres: SeparatePostgres) -> str:
    """A database with the current schema."""
    url = postgres.database("configured")
    engine = engines.connect(url)
    schema.migrate(engine)
    engine.dispose()
    return url


@pytest.fixture
def guarded(postgres: SeparatePostgres, url: str) -> Iterator[str]:
    """The same database for a user whose password is asked for."""
    postgres.run(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
    rules = postgres.folder / "pg_hba.conf"
    trusting = rules.read_text()
    rules.write_text("local all guarded scram-sha-256\n" + trusting)
    postgres.run("SELECT pg_reload_conf()")
    yield make_url(url).set(username="guarded", password=PASSWORD).render_as_string(hide_password=False)
    rules.write_text(trusting)
    postgres.run("SELECT pg_reload_conf()")
    postgres.run("DROP ROLE guarded")


@pytest.fixture
def occupied_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


def test_an_unreachable_database() -> None:
    address = f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/tidemark"
    refused(tidemark("migrate", DATABASE_URL=address), "127.0.0.1:1", "refused", "TIDEMARK_DATABASE_URL")


def test_a_wrong_password(guarded: str) -> None:
    create_engine(guarded, poolclass=NullPool).connect().close()
    wrong = make_url(guarded).set(password=TOKEN).render_as_string(hide_password=False)
    with pytest.raises(OperationalError):
        create_engine(wrong, poolclass=NullPool).connect()
    refused(tidemark("monitor", DATABASE_URL=wrong), "password authentication failed", "guarded")


def test_a_database_that_is_not_there(url: str) -> None:
    wrong = make_url(url).set(database="nowhere").render_as_string(hide_password=False)
    refused(tidemark("migrate", DATABASE_URL=wrong), 'database "nowhere" does not exist')


@pytest.mark.parametrize("command", ["monitor", pytest.param("serve", marks=pytest.mark.slow)])
def test_an_outdated_schema_names_the_command(postgres: SeparatePostgres, assets: Assets, command: str) -> None:
    empty = postgres.database(f"empty_{command}")
    words = [] if command == "monitor" else ["--bundle", assets.bundles[0], "--port", free_port()]
    refused(tidemark(command, *words, DATABASE_URL=empty), "schema is empty", "run `tidemark migrate`")


def test_an_unwritable_data_folder(url: str, assets: Assets, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    words = ["--bundle", assets.bundles[0], "--port", free_port()]
    refused(tidemark("serve", *words, DATABASE_URL=url, DATA_DIR=file / "data"), "TIDEMARK_DATA_DIR", str(file))
    refused(tidemark("migrate", DATA_DIR=file / "data"), "TIDEMARK_DATA_DIR", str(file))


def test_a_port_in_use(url: str, assets: Assets, tmp_path: Path, occupied_port: int) -> None:
    words = ["--bundle", assets.bundles[0], "--port", occupied_port]
    result = tidemark("serve", *words, DATABASE_URL=url, DATA_DIR=tmp_path)
    refused(result, f"127.0.0.1:{occupied_port}", "in use", "try another --port")


def test_a_bundle_that_is_missing(url: str, tmp_path: Path) -> None:
    result = tidemark("up", "--bundle", tmp_path / "none", DATABASE_URL=url, DATA_DIR=tmp_path)
    refused(result, str(tmp_path / "none"), "tidemark model init")


def test_a_setting_that_cannot_be_used() -> None:
    """Further ones are in `tests/unit/test_settings.py`."""
    refused(tidemark("migrate", WEBHOOK_URLS=f"ftp://h/{TOKEN}"), "WEBHOOK_URLS", "entry 1")


@pytest.mark.parametrize(
    ("address", "part"),
    [
        (f"mysql://x:{PASSWORD}@h/d", "Postgres is needed"),
        pytest.param(f"x:{PASSWORD}", "expected postgresql://", marks=pytest.mark.slow),
    ],
)
def test_a_database_that_is_not_postgres(address: str, part: str) -> None:
    refused(tidemark("migrate", DATABASE_URL=address), "DATABASE_URL", part)
