"""The way to Postgres: the one that the settings name, or an embedded one in the data folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from ..errors import ConfigurationError, DatabaseError
from ..settings import Settings

MIN_POSTGRES = 14  # DETACH PARTITION ... CONCURRENTLY; 13 has reached its end
CONNECT_TIMEOUT = 5  # seconds
KEEPALIVE = {  # a connection over a network that swallows what is sent breaks within a minute, not within hours
    "keepalives_idle": "20",  # seconds
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "50000",  # milliseconds
}


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """Yield the URL of a running Postgres; start the embedded one where none is configured.

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
    """Return a Postgres URL with the driver that this service uses (psycopg 3)."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError("TIDEMARK_DATABASE_URL: expected postgresql://user:password@host/database") from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(f"TIDEMARK_DATABASE_URL: Postgres is needed, got {parsed.get_backend_name()}")
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def conninfo(url: str) -> str:
    """Return the same URL as libpq and procrastinate read it."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql", query=KEEPALIVE | parsed.query).render_as_string(hide_password=False)


def connect(url: str, pool_size: int = 5, hang_timeout: int | None = None) -> Engine:
    """Return an engine whose broken connections are replaced before use.

    With `hang_timeout` the server ends a session that holds a transaction open for so many seconds without a word, so
    that a process that hangs loses its locks.
    """
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "application_name": "tidemark"}
    arguments |= {name: value for name, value in KEEPALIVE.items() if name not in make_url(url).query}
    if hang_timeout is not None:
        arguments["options"] = f"-c idle_in_transaction_session_timeout={hang_timeout}s"
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        pool_timeout=CONNECT_TIMEOUT,
        pool_pre_ping=True,
        connect_args=arguments,
    )


def check(engine: Engine) -> None:
    """Raise DatabaseError, in one line, unless the server answers and is new enough."""
    try:
        with engine.connect() as connection:
            version = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
    except DBAPIError as error:
        where = engine.url.render_as_string(hide_password=True)
        reason = str(error.orig).strip().partition("\n")[0]
        raise DatabaseError(
            f"cannot reach the database {where}: {reason}; is it running, and is TIDEMARK_DATABASE_URL right?"
        ) from None
    if version < MIN_POSTGRES:
        raise DatabaseError(f"Postgres {MIN_POSTGRES} or newer is needed, the server is {version}")


def read_only(engine: Engine) -> bool:
    """Tell whether the server takes no writes: a standby, or one that was set so."""
    with engine.connect() as connection:
        return bool(connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on")
