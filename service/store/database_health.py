"""What `tidemark doctor` asks the database: version and clock, whether monitors live, whether the log is in order."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, text

SERVER = text("SELECT current_setting('server_version'), now(), current_setting('transaction_read_only') = 'on'")
HEARTBEAT = text("SELECT extract(epoch FROM now() - max(heartbeat_at)) FROM monitors")
GAPS = text(
    """
    SELECT m.name || ':' || m.version FROM models m CROSS JOIN LATERAL (
        SELECT 1 FROM (
            SELECT first_position, lag(last_position) OVER (ORDER BY last_position) AS before FROM (
                SELECT first_position, last_position FROM segments WHERE model_id = m.id
                ORDER BY last_position DESC LIMIT :segments
            ) newest
        ) pairs WHERE first_position <> before + 1 LIMIT 1
    ) gap ORDER BY 1
    """
)
ENDS = text(
    """
    SELECT m.name || ':' || m.version FROM models m JOIN log_ends e ON e.model_id = m.id AND e.log = 'predictions'
    WHERE EXISTS (SELECT FROM streams s WHERE s.model_id = m.id AND s.position > e.position)
    ORDER BY 1
    """
)
UNPLACED = text(
    """
    SELECT count(*) FROM (
        SELECT FROM predictions WHERE writer_id IS NULL AND model_id IS NOT NULL
            AND at BETWEEN now() - interval '2 days' AND now() - make_interval(secs => :seconds)
        LIMIT 1000
    ) waiting
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


def models_with_gaps(connection: Connection, segments: int) -> list[str]:
    """Return the models in the newest segments of whose log positions are missing or taken twice."""
    return list(connection.execute(GAPS, {"segments": segments}).scalars())


def models_beyond_log(connection: Connection) -> list[str]:
    """Return the models that have streams at positions after the end of their log."""
    return list(connection.execute(ENDS).scalars())


def unplaced(connection: Connection, seconds: float) -> int:
    """Return the number of predictions that have no position though they are older than some seconds, up to 1,000."""
    return int(connection.execute(UNPLACED, {"seconds": seconds}).scalar_one())
