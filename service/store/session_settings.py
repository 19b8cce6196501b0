"""Session settings of Postgres, by which it ends the sessions whose client is gone.

A direct connection receives them once. Behind a pooler that lends a server connection for one transaction (PgBouncer,
RDS Proxy, Neon), settings sent once would stay with the next client, so that each transaction sends them again;
prepared statements, which belong to one server connection, are off there.
"""

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

KEEPALIVE = {  # the server notices within a minute that the client's machine or network is gone
    "tcp_keepalives_idle": "20",  # seconds of silence before the first probe
    "tcp_keepalives_interval": "10",  # seconds between probes
    "tcp_keepalives_count": "3",  # lost probes
    "tcp_user_timeout": "50000",  # milliseconds that sent data may stay unacknowledged
}
TRANSACTION_TIMEOUT_SINCE = 17_00_00  # server version
POOLED = "tidemark_pooled"  # key in SQLAlchemy's `Connection.info`


@dataclass(frozen=True)
class SessionSettings:
    """Server-side limits of a session.

    Parameters
    ----------
    hang_timeout : int
        Seconds that a session may be idle in a transaction before the server ends it.
    transaction_timeout : int or None
        Seconds that a transaction may last in all, on servers that know this limit (Postgres 17). None: no limit.
    options : str
        `options` of the database's URL; what is set there is left alone.
    statement_timeout : int or None, default None
        Seconds that a statement may take. None: no limit.
    """

    hang_timeout: int
    transaction_timeout: int | None
    options: str
    statement_timeout: int | None = None

    def values(self, server_version: int) -> dict[str, str]:
        """Return the settings to make on a server, by name."""
        settings = KEEPALIVE | {"idle_in_transaction_session_timeout": f"{self.hang_timeout}s"}
        if self.transaction_timeout is not None and server_version >= TRANSACTION_TIMEOUT_SINCE:
            settings["transaction_timeout"] = f"{self.transaction_timeout}s"
        if self.statement_timeout is not None:
            settings["statement_timeout"] = f"{self.statement_timeout}s"
        return {name: value for name, value in settings.items() if name not in self.options}

    def install(self, engine: Engine) -> None:
        """Apply the settings to every connection of an engine."""

        def connected(connection: psycopg.Connection[Any], record: Any) -> None:
            record.info[POOLED] = self.apply(connection)

        def begun(connection: Connection) -> None:
            if not connection.info.get(POOLED):
                return
            raw: Any = connection.connection.driver_connection
            try:
                self.apply_to_transaction(raw)
            except psycopg.OperationalError as error:
                raise OperationalError("SET LOCAL", None, error) from error

        event.listen(engine, "connect", connected)
        event.listen(engine, "begin", begun)

    def apply(self, connection: psycopg.Connection[Any]) -> bool:
        """Apply the settings to a new connection, and return whether a pooler is in between.

        A pooler gives its client a process id that is not the server's. `set_config` with a true last argument has no
        effect beyond its own statement.
        """
        values = self.values(connection.info.server_version)
        autocommit, connection.autocommit = connection.autocommit, True
        try:
            row = connection.execute(
                f"SELECT pg_backend_pid() <> %(pid)s, {_calls(values, 'pg_backend_pid() <> %(pid)s')}",
                values | {"pid": connection.info.backend_pid},
                prepare=False,
            ).fetchone()
        finally:
            connection.autocommit = autocommit
        pooled = row is not None and bool(row[0])
        if pooled:
            connection.prepare_threshold = None
        return pooled

    def apply_to_transaction(self, connection: psycopg.Connection[Any]) -> None:
        """Apply the settings to the transaction that begins now."""
        values = self.values(connection.info.server_version)
        connection.execute(f"SELECT {_calls(values, 'true')}", values, prepare=False)


def _calls(values: dict[str, str], is_local: str) -> LiteralString:
    """Return calls that make the settings; their values are the statement's parameters of the same names."""
    return ", ".join(f"set_config('{name}', %({name})s, {is_local})" for name in values)
