"""Transactions that change the same streams wait for each other, and never both for the other."""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from tests.support.drifting import arrays
from tests.support.wait import until
from tidemark.alerts import acceptance
from tidemark.alerts.lifecycle import Alerts
from tidemark.alerts.queue import open_queue
from tidemark.alerts.retirement import retire
from tidemark.errors import NotAcceptable
from tidemark.store import monitor_progress, references, streams, tables
from tidemark.store.streams import StreamRow

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
Change = Callable[[Connection, StreamRow], Any]


def retire_all(connection: Connection, whole: StreamRow) -> None:
    retire(connection, Alerts(open_queue(""), (), ""), whole, NOW)


def undo_baseline(connection: Connection, whole: StreamRow) -> None:
    with pytest.raises(NotAcceptable):
        acceptance.undo(connection, whole, "a test", NOW)


def waits_for_a_lock(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.execute(WAITING).scalar_one())


CHANGES: dict[str, Change] = {
    "a new reference": lambda connection, whole: references.save(connection, whole.model_id, arrays(50)),
    "the end of a model": retire_all,
    "the end of a baseline": undo_baseline,
}


@pytest.fixture
def whole(registered: Engine) -> StreamRow:
    """The whole stream of a model with two slices; its row is the last one that a scan of the table meets."""
    with registered.begin() as connection:
        stream = streams.require(connection, "m:1")
        references.save(connection, stream.model_id, arrays(50))
        for name in ("camera=1", "camera=2"):
            connection.execute(tables.streams.insert().values(model_id=stream.model_id, slice=name))
    with registered.begin() as connection:
        monitor_progress.save(connection, stream.id, {"seen": 1})
        return streams.require(connection, "m:1")


@pytest.mark.parametrize("name", CHANGES)
def test_a_step_that_retires_a_slice_and_another_change_of_the_streams_both_commit(
    registered: Engine, whole: StreamRow, name: str
) -> None:
    errors: list[Exception] = []

    def change() -> None:
        try:
            with registered.begin() as connection:
                CHANGES[name](connection, whole)
        except Exception as error:
            errors.append(error)

    with registered.begin() as step:
        monitor_progress.save(step, whole.id, {"position": 1})  # as a step of the monitor begins
        other = threading.Thread(target=change)
        other.start()
        until(lambda: waits_for_a_lock(registered), "the other session")
        for name_of_slice in ("camera=2", "camera=1"):
            monitor_progress.retire(step, streams.require(step, f"m:1/{name_of_slice}").id, NOW)
    other.join(60)
    assert not other.is_alive()
    assert errors == []
