"""Tidemark behind a pooler that lends a server connection for one transaction."""

import asyncio
import datetime as dt
import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tests.support.pgbouncer import PROGRAM, pgbouncer
from tests.support.wait import until
from tidemark.alerts import delivery
from tidemark.alerts.queue import defer, open_queue
from tidemark.errors import DatabaseError
from tidemark.monitor import jobs
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import predictions, retention, schema
from tidemark.store.raw_connection import raw

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs PgBouncer")


@pytest.fixture
def pooled_url(empty_url: str, tmp_path: Path) -> Iterator[str]:
    with pgbouncer(empty_url, tmp_path) as url:
        yield url


@pytest.fixture
def pooled(pooled_url: str) -> Iterator[Engine]:
    engine = engines.connect(pooled_url)
    schema.migrate(engine)
    yield engine
    engine.dispose()


def show(engine: Engine, name: str) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text(f"SHOW {name}")).scalar_one())


def test_a_pooler_is_recognised(pooled_url: str, empty_url: str) -> None:
    assert engines.is_pooled(pooled_url)
    assert not engines.is_pooled(empty_url)


def test_the_schema_is_migrated_and_checked_through_it(pooled: Engine) -> None:
    engines.check(pooled)
    schema.check(pooled)


def test_limits_hold_for_our_transactions_and_stay_with_nobody_else(pooled: Engine, pooled_url: str) -> None:
    assert show(pooled, "idle_in_transaction_session_timeout") == "1min"
    with psycopg.connect(engines.conninfo(pooled_url), autocommit=True) as other:
        for _ in range(10):
            row = other.execute("SHOW idle_in_transaction_session_timeout", prepare=False).fetchone()
            assert row == ("0",)


def test_an_idle_transaction_is_ended_through_it(pooled_url: str, empty_url: str) -> None:
    engine = engines.connect(pooled_url, hang_timeout=1)
    with engine.connect() as connection, psycopg.connect(engines.conninfo(empty_url), autocommit=True) as other:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        until(lambda: other.execute(query, (pid,)).fetchone() is None, "the end of the session")
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT 1"))
        connection.invalidate()
    engine.dispose()


def test_statements_that_repeat_are_not_prepared(pooled: Engine) -> None:
    """Six executions would prepare a statement on one server connection, and the seventh may run on another one."""
    for _ in range(4):
        connections = [pooled.connect() for _ in range(3)]
        for connection in connections:
            for _ in range(7):
                connection.execute(text("SELECT :number"), {"number": 1})
                connection.commit()
        for connection in connections:
            connection.close()
    with pooled.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one() == 0


def test_the_monitor_works_and_takes_jobs_without_notifications(
    pooled: Engine, pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def waiting() -> int:
        with pooled.connect() as connection:
            query = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = :task"
            return int(connection.execute(text(query), {"task": delivery.DELIVER}).scalar_one())

    async def worked_for_a_while() -> None:
        task = asyncio.create_task(jobs.run(Settings(monitor_poll=0.1), pooled, pooled_url))
        try:
            for _ in range(5):
                queue = open_queue(engines.conninfo(pooled_url))
                with pooled.begin() as connection:
                    defer(queue, connection, delivery.DELIVER, delivery.QUEUE, {"delivery_id": str(uuid4())})
                await asyncio.to_thread(until, lambda: not waiting(), "the job to be taken")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with caplog.at_level(logging.WARNING):
        asyncio.run(worked_for_a_while())
    assert "interrupted" not in caplog.text
    assert "prepared statement" not in caplog.text


def test_old_days_are_dropped_without_a_setting_that_stays(pooled: Engine, pooled_url: str) -> None:
    today = dt.datetime.now(dt.UTC).date()
    with pooled.begin() as connection:
        predictions.ensure_partitions(raw(connection), [today - dt.timedelta(days=9), today])
    dropped, remaining = retention.drop_days(pooled, today - dt.timedelta(days=5))
    assert predictions.partition("predictions", today - dt.timedelta(days=9)) in dropped
    assert remaining == []
    with psycopg.connect(engines.conninfo(pooled_url), autocommit=True) as other:
        assert other.execute("SHOW lock_timeout", prepare=False).fetchone() == ("0",)


def test_several_hosts_are_tried_in_turn(server_url: str) -> None:
    place = make_url(server_url).query["host"]
    engine = engines.connect(f"postgresql://postgres@/postgres?host=/nowhere,{place}&port=5432,5432")
    engines.check(engine)
    engine.dispose()


def test_options_that_a_pooler_refuses_are_one_line(pooled_url: str) -> None:
    engine = engines.connect(f"{pooled_url}?options=-csearch_path%3Dpublic")
    with pytest.raises(DatabaseError, match="options") as error:
        engines.check(engine)
    assert "\n" not in str(error.value)
