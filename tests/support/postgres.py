"""An embedded Postgres of a test's own, which may be killed, stopped, starved and made read-only."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.support.wait import PATIENCE, until
from tidemark.store.embedded import postmaster
from tidemark.store.embedded.server import PORT, EmbeddedServer
from tidemark.store.engine import normalised

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{}'::regclass"


class SeparatePostgres:
    """A server with a folder of its own.

    Parameters
    ----------
    folder : Path
        Folder of the data.
    address : str
        Address of this machine, at which other machines reach it without a password; none by default.
    """

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder = folder
        self._address = address
        self._server = EmbeddedServer(folder, address)
        self._server.enter()
        self.url = normalised(self._server.url())
        self._admin = create_engine(
            self.url,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            connect_args={"options": "-c default_transaction_read_only=off", "application_name": "admin"},
        )
        if address:
            with (folder / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")
            self.run("SELECT pg_reload_conf()")

    @property
    def pid(self) -> int:
        running = postmaster.find(self.folder)
        assert running is not None
        return int(running.process.pid)

    def database(self, name: str) -> str:
        """Make a new database; return its URL."""
        self.run(f"CREATE DATABASE {name}")
        url = make_url(self.url).set(database=name)
        if self._address:
            url = url.set(host=self._address, port=PORT, query={})
        return url.render_as_string(hide_password=False)

    def run(self, statement: str) -> list[Any]:
        """Run a statement as superuser; return its rows."""
        with self._admin.connect() as connection:
            result = connection.execute(text(statement))
            return list(result.all()) if result.returns_rows else []

    def await_up(self) -> None:
        """Wait until it takes sessions: after a crash it recovers first."""
        until(lambda: self.run("SELECT 1"), "Postgres to recover", not_yet=OperationalError)

    def set(self, name: str, value: str | None) -> None:
        """Change a setting of the server for all sessions, or back with None."""
        self.run(f"ALTER SYSTEM RESET {name}" if value is None else f"ALTER SYSTEM SET {name} = {value}")
        self.run("SELECT pg_reload_conf()")

    def signal(self, number: signal.Signals) -> None:
        """Signal the postmaster and, where that ends it, wait until all its processes are gone."""
        processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children()]
        os.kill(self.pid, number)
        if number in (signal.SIGKILL, signal.SIGINT):
            _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
            assert not alive

    def start(self) -> None:
        """Start it again in the same place."""
        self._server.restart()

    def close(self) -> None:
        self._server.leave()


@contextmanager
def holding(engine: Engine, statement: str) -> Iterator[None]:
    """Keep a transaction open that has run a statement: a lock, rows that nobody sees yet."""
    with engine.connect() as connection:
        transaction = connection.begin()
        connection.execute(text(statement))
        yield
        transaction.rollback()
