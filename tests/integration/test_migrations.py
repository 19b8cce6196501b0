"""Every earlier revision with rows in it comes up to date and keeps them, while an old server goes on writing."""

import threading
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, inspect, select, text

from tests.support.migrations import PARTITION, upgrade
from tests.support.wait import until
from tidemark.errors import DatabaseError
from tidemark.store import schema

REVISIONS = schema.revisions()[::-1]  # oldest first
TABLES = (
    "models", "predictions", "feedback", "references", "streams", "calibrations", "windows", "alerts", "deliveries",
    "baselines", "self_tests", "label_rounds", "label_requests",
)  # fmt: skip
VALUES = {
    "integer": "1",
    "bigint": "1",
    "smallint": "1",
    "real": "0.5",
    "double precision": "0.5",
    "boolean": "true",
    "text": "'x'",
    "bytea": "'\\x003c'::bytea",
    "jsonb": "'{}'::jsonb",
    "uuid": "'019ac000-0000-7000-8000-000000000001'::uuid",
    "timestamp with time zone": "'2026-01-10 12:00+00'::timestamptz",
}
CHECKED = {("alerts", "state"): "'firing'", ("streams", "state"): "'calm'", ("deliveries", "outcome"): "'pending'",
    ("baselines", "what"): "'all'"}  # fmt: skip
RENAMED = {("predictions", "seq"): "number"}  # columns of earlier revisions, as they are called now
COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_name = :table AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'
"""
Statements = dict[str, str]


def inserts(connection: Connection) -> Statements:
    """Return a statement for each table that writes what a version of this revision must write, and no more."""
    statements = {}
    for table in TABLES:
        if not inspect(connection).has_table(table):
            continue
        columns = connection.execute(text(COLUMNS), {"table": table}).all()
        values = [CHECKED.get((table, name)) or VALUES[kind] for name, kind in columns]
        names = ", ".join(f'"{name}"' for name, _ in columns)
        statements[table] = f'INSERT INTO "{table}" ({names}) VALUES ({", ".join(values)})'
    return statements


def fill(connection: Connection) -> Statements:
    connection.exec_driver_sql(PARTITION.format(name="predictions_20260110", start="2026-01-10", end="2026-01-11"))
    statements = inserts(connection)
    for statement in statements.values():
        connection.exec_driver_sql(statement)
    return statements


def content(connection: Connection, only: dict[str, list[str]] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every table of ours, as the columns named in `only` show them."""
    tables = {}
    for table in TABLES:
        if inspect(connection).has_table(table):
            reflected = Table(table, MetaData(), autoload_with=connection)
            columns = [c.label(RENAMED.get((table, c.name), c.name)) for c in reflected.c]
            columns = [c for c in columns if only is None or c.name in only.get(table, [])]
            tables[table] = [row._asdict() for row in connection.execute(select(*columns))]
    return tables


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_an_earlier_revision_survive_and_its_version_can_go_on_writing(empty: Engine, revision: str) -> None:
    upgrade(empty, revision)
    with empty.begin() as connection:
        old_statements = fill(connection)
        before = content(connection)
    assert all(len(rows) == 1 for rows in before.values())
    if revision != REVISIONS[-1]:
        with pytest.raises(DatabaseError, match="tidemark migrate"):
            schema.check(empty)
    assert schema.migrate(empty) == REVISIONS[-1]
    schema.check(empty)
    with empty.begin() as connection:
        after = content(connection, {table: list(rows[0]) for table, rows in before.items()})
        assert {table: after[table] for table in before} == before
        connection.exec_driver_sql("CREATE TABLE late (LIKE predictions INCLUDING DEFAULTS INCLUDING STORAGE)")
        connection.exec_driver_sql(
            "ALTER TABLE predictions ATTACH PARTITION late FOR VALUES FROM ('2026-01-11') TO ('2026-01-12')"
        )
        for table in ("predictions", "feedback", "models"):
            statement = old_statements[table].replace("2026-01-10", "2026-01-11").replace("0001'::uuid", "0002'::uuid")
            connection.exec_driver_sql(statement.replace("'x'", "'y'"))


def is_lock_awaited(connection: Connection) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'predictions'::regclass"
    return bool(connection.execute(text(query)).scalar_one())


def test_an_upgrade_waits_its_turn_without_holding_writers_up(
    empty: Engine, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction on the log: others go on writing, and the upgrade is done once the long one ends."""
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", 1)
    upgrade(empty, REVISIONS[0])
    with empty.begin() as connection:
        statement = fill(connection)["predictions"]
    slow = create_engine(empty_url)
    upgrading = threading.Thread(target=schema.migrate, args=(empty,))
    with slow.connect() as reader:
        reader.execute(text("SELECT count(*) FROM predictions"))
        upgrading.start()
        for number in range(2, 8):
            until(lambda: is_lock_awaited(reader), "the upgrade to wait for its lock")
            with empty.begin() as connection:
                connection.execute(text("SET LOCAL statement_timeout = '3s'"))
                connection.exec_driver_sql(statement.replace("0001'::uuid", f"{number:04d}'::uuid"))
        assert upgrading.is_alive()
    upgrading.join(20)
    slow.dispose()
    schema.check(empty)
    with empty.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM predictions")).scalar_one() == 7


def test_tables_that_stay_in_use_are_one_line(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", 1)
    monkeypatch.setattr(schema, "LOCK_ATTEMPTS", 2)
    upgrade(empty, REVISIONS[0])
    with empty.begin() as reader:
        reader.execute(text("LOCK TABLE predictions IN ACCESS SHARE MODE"))
        with pytest.raises(DatabaseError, match="in use"):
            schema.migrate(empty)


def test_a_schema_that_is_newer_than_this_version_serves_it(empty: Engine) -> None:
    schema.migrate(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    schema.check(empty)
