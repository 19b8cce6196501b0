"""Databases at an earlier revision of the schema."""

from importlib.resources import as_file, files

from alembic import command
from sqlalchemy import Engine

from tidemark.store import schema

PARTITION = "CREATE TABLE {name} PARTITION OF predictions FOR VALUES FROM ('{start}') TO ('{end}')"


def upgrade(engine: Engine, revision: str) -> None:
    with as_file(files(schema.MIGRATIONS)) as folder, engine.begin() as connection:
        config = schema._config(str(folder))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
