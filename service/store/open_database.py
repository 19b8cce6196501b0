"""A database that is ready for use by a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from ..settings import Settings
from . import engine as engines
from . import schema


@contextmanager
def open_database(settings: Settings) -> Iterator[Engine]:
    """Yield an engine on the database of the settings, reachable and with the current schema.

    Only the embedded database is migrated on the way: a shared one may have servers of an older version.

    Raises
    ------
    ConfigurationError
        The URL or the data folder cannot be used.
    DatabaseError
        The database cannot be reached, or its schema is older than this version.
    """
    with open_database_with_url(settings) as (engine, _):
        yield engine


@contextmanager
def open_database_with_url(settings: Settings) -> Iterator[tuple[Engine, str]]:
    """Yield an engine as `open_database` does, and the URL by which other processes reach the same database."""
    with engines.database(settings) as url:
        engine = engines.connect(url)
        try:
            engines.check(engine)
            if settings.database_url is None:
                schema.migrate(engine)
            else:
                schema.check(engine)
            yield engine, url
        finally:
            engine.dispose()
