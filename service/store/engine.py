"""Connections to Postgres: the server that the settings name, or the embedded one in the data folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from ..errors import DatabaseError
from ..settings import Settings
from .database_url import DRIVER, VARIABLE, DatabaseUrl
from .errors import reason
from .session_settings import SessionSettings

MIN_POSTGRES = 14  # DETACH PARTITION ... CONCURRENTLY; 13 is no longer supported
CONNECT_TIMEOUT = 5  # seconds for a connection, or for one of the pool to become free
HANG_TIMEOUT = 60  # seconds that a session may be idle in a transaction before the server ends it
DEFAULTS = {  # libpq's parameters of every connection, unless the URL has others
    "connect_timeout": str(CONNECT_TIMEOUT),
    "application_name": "tidemark",
    # A connection over a network that swallows what is sent breaks within a minute, not within hours.
    "keepalives_idle": "20",  # seconds
    "keepalives_interval": "10",  # seconds
    "keepalives_count": "3",  # lost probes
    "tcp_user_timeout": "50000",  # milliseconds
}


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """Yield the URL of a running Postgres; without one in the settings, the embedded server runs meanwhile.

    Raises
    ------
    ConfigurationError
        The URL is not one of Postgres, or the data folder cannot be written.
    DatabaseError
        The embedded server does not start.
    """
    if settings.database_url is not None:
        yield normalised(settings.database_url.get_secret_value())
        return
    from .embedded import embedded  # needs modules that only Unix has

    with embedded(settings.data_dir / "postgres") as url:
        yield normalised(url)


def normalised(url: str) -> str:
    """Return a URL in the one form that every reader of URLs understands alike."""
    return DatabaseUrl.parse(url).render()


def conninfo(url: str, for_server: bool = False) -> str:
    """Return the parameters of a connection as libpq, and so the job queue, reads them.

    Parameters
    ----------
    for_server : bool, default False
        Also let the server end the session when its client is gone. A pooler may refuse this, see `is_pooled`.
    """
    parameters = _parameters(url)
    if for_server:
        options = parameters.get("options", "")
        limits = SessionSettings(HANG_TIMEOUT, None, options).values(0)
        parameters["options"] = " ".join([options, *(f"-c {name}={value}" for name, value in limits.items())]).strip()
    return make_conninfo("", **parameters)


def connect(
    url: str,
    pool_size: int = 5,
    hang_timeout: int = HANG_TIMEOUT,
    transaction_timeout: int | None = None,
    statement_timeout: int | None = None,
) -> Engine:
    """Return an engine whose broken connections are replaced before use.

    Parameters
    ----------
    hang_timeout : int, default 60
        Seconds after which the server ends a session that holds a transaction open without a word, so that a process
        that hangs loses its locks.
    transaction_timeout : int, optional
        Seconds after which the server ends any transaction, from Postgres 17 on.
    statement_timeout : int, optional
        Seconds after which the server cancels a statement.
    """
    parameters = _parameters(url)
    engine = create_engine(
        _place(parameters),  # without the password: an engine's URL may be printed
        pool_size=pool_size,
        max_overflow=5,
        pool_timeout=CONNECT_TIMEOUT,
        pool_pre_ping=True,
        connect_args=parameters,
        json_serializer=partial(json.dumps, allow_nan=False),  # Postgres refuses NaN and Infinity in JSON
    )
    limits = SessionSettings(hang_timeout, transaction_timeout, parameters.get("options", ""), statement_timeout)
    limits.install(engine)
    return engine


def is_pooled(url: str) -> bool:
    """Return whether a pooler is between us and the server: LISTEN and session settings do not work through one."""
    parameters = _parameters(url)
    with psycopg.connect(make_conninfo("", **parameters)) as connection:
        return SessionSettings(HANG_TIMEOUT, None, parameters.get("options", "")).apply(connection)


def check(engine: Engine) -> None:
    """Raise DatabaseError, in one line, unless the server answers and is new enough."""
    try:
        with engine.connect() as connection:
            version = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
    except DBAPIError as error:
        raise DatabaseError(
            f"cannot reach the database {engine.url}: {reason(error)}; is it running, and is {VARIABLE} right?"
        ) from None
    if version < MIN_POSTGRES:
        raise DatabaseError(f"Postgres {MIN_POSTGRES} or newer is needed, the server is {version}")


def read_only(engine: Engine) -> bool:
    """Return whether the server takes no writes: it is a standby, or was set so."""
    with engine.connect() as connection:
        return bool(connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on")


def _place(parameters: dict[str, str]) -> URL:
    """Return where a database is, without password and options."""
    port = parameters.get("port", "")
    return URL.create(
        DRIVER,
        username=parameters.get("user"),
        host=parameters.get("host"),
        port=int(port) if port.isdecimal() else None,
        database=parameters.get("dbname"),
    )


def _parameters(url: str) -> dict[str, str]:
    return DEFAULTS | DatabaseUrl.parse(url).parameters
