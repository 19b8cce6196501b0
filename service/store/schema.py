"""The schema's life: from empty to current, and the check that it is current."""

import re
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from service.errors import DatabaseError

MIGRATIONS = "tidemark_migrations"
MIGRATION_LOCK = 0x71DE  # advisory lock: two replicas that start together migrate once
FOREIGN = re.compile(r"^(procrastinate_.*|(slice_)?predictions_\d{8})$")  # procrastinate's own tables, and partitions


def migrate(engine: Engine) -> str:
    """Bring the schema up to date and return its revision."""
    with as_file(files(MIGRATIONS)) as folder, engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config = _config(str(folder))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return _current(connection) or ""


def check(engine: Engine) -> None:
    """Raise DatabaseError, naming the command to run, unless the schema is current."""
    with engine.connect() as connection:
        current = _current(connection)
    if current != head():
        found = f"revision {current}" if current else "empty"
        raise DatabaseError(f"the database schema is {found}, this version needs {head()}: run `tidemark migrate`")


def head() -> str:
    """Return the newest revision that this version carries."""
    with as_file(files(MIGRATIONS)) as folder:
        return ScriptDirectory.from_config(_config(str(folder))).get_current_head() or ""


def compared(name: str | None, type_: str, _: object) -> bool:
    """Tell Alembic which names are Tidemark's own."""
    return not (type_ == "table" and name is not None and FOREIGN.match(name))


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(folder: str) -> Config:
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
