"""What `tidemark doctor` asks the database: how old it is, who works on it, and what holds its transactions."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, text

SERVER = text("SELECT current_setting('server_version'), now(), current_setting('transaction_read_only') = 'on'")
HEARTBEAT = text("SELECT extract(epoch FROM now() - max(last_heartbeat)) FROM procrastinate_workers")
OLDEST_TRANSACTION = text(
    """
    SELECT extract(epoch FROM now() - min(since)) FROM (
        SELECT xact_start AS since FROM pg_stat_activity WHERE backend_xid IS NOT NULL OR backend_xmin IS NOT NULL
        UNION ALL
        SELECT prepared FROM pg_prepared_xacts
    ) open
    """
)


@dataclass(frozen=True)
class Server:
    """A Postgres server: its version, its clock, and whether it takes no writes."""

    version: str
    now: dt.datetime
    read_only: bool


def server(connection: Connection) -> Server:
    """Return what the server says of itself."""
    return Server(*connection.execute(SERVER).one())


def heartbeat_age(connection: Connection) -> float | None:
    """Return the seconds since the last heartbeat of any monitor, or None where none runs."""
    age = connection.execute(HEARTBEAT).scalar_one()
    return None if age is None else float(age)


def oldest_transaction(connection: Connection) -> float:
    """Return the age in seconds of the oldest open transaction that this user may see, prepared ones included."""
    return float(connection.execute(OLDEST_TRANSACTION).scalar_one() or 0.0)
