"""The schema's life: from empty to current, and the check that it is current."""

import re
import time
from functools import cache
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from ..errors import DatabaseError
from . import rights

MIGRATIONS = "tidemark.migrations"
LOCK_TIMEOUT = 3  # seconds that a change waits for a table
LOCK_PAUSE = 0.5  # seconds in which others may have it
LOCK_ATTEMPTS = 40
MIGRATION_LOCK = 0x71DE  # advisory lock: two replicas that start together migrate once
FOREIGN = re.compile(r"^(procrastinate_.*|(slice_)?predictions_\d{8})$")  # procrastinate's own tables, and partitions


def migrate(engine: Engine) -> str:
    """Bring the schema up to date and return its revision; a server may log predictions meanwhile.

    A lock that others hold is waited for briefly and often, so that their next statements are not held up behind it.

    Raises
    ------
    DatabaseError
        A table was in use all the time, or our role may not change the schema.
    """
    for _ in range(LOCK_ATTEMPTS):
        try:
            return _upgrade(engine)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise rights.explain(error, engine) from error
        except DBAPIError as error:
            raise rights.explain(error, engine) from error
        time.sleep(LOCK_PAUSE)
    raise DatabaseError("the schema cannot be changed, its tables are in use: stop what runs on them, or try again")


def check(engine: Engine) -> None:
    """Raise DatabaseError, naming the command to run, where the schema is older than this version.

    A revision that this version does not know is a newer one: it only adds, so that servers may be replaced in turn.
    """
    with engine.connect() as connection:
        current = _current(connection)
    head, *earlier = revisions()
    if current is None or current in earlier:
        revision = f"revision {current}" if current else "empty"
        raise DatabaseError(f"the database schema is {revision}, this version needs {head}: run `tidemark migrate`")


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions that this version carries, newest first."""
    with as_file(files(MIGRATIONS)) as folder:
        scripts = ScriptDirectory.from_config(_config(str(folder))).walk_revisions()
        return tuple(script.revision for script in scripts)


def _upgrade(engine: Engine) -> str:
    with as_file(files(MIGRATIONS)) as folder, engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config = _config(str(folder))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return _current(connection) or ""


def compared(name: str | None, type_: str, _: object) -> bool:
    """Select the names that Alembic compares: Tidemark's."""
    return not (type_ == "table" and name is not None and FOREIGN.match(name))


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(folder: str) -> Config:
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
