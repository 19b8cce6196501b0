"""The way from a prediction to its row: spooled before the answer, forwarded after it, never lost, never twice."""

import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from uuid_utils.compat import uuid7

from service.errors import Overloaded
from service.ledger import spool as spools
from service.ledger.forwarder import Forwarder
from service.ledger.spool import Spool
from service.store import models
from service.store.predictions import LoggedPrediction

EARLIER_SCHEMA = """
CREATE TABLE rows (seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB, model TEXT, label INTEGER, confidence REAL,
    probabilities BLOB, embedding BLOB, properties BLOB, tags TEXT)
"""


def row() -> LoggedPrediction:
    common = uuid7(), "m:1", 0, 0.9, b"\x00\x3c", b"\x00\x3c" * 8, b"\x00" * 8, {"a": "b"}
    return LoggedPrediction(*common, corrected=b"\x00\x38", thumbnail=b"\xff\xd8")


def stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM predictions")).scalar_one())


@pytest.fixture
def registered(engine: Engine) -> Engine:
    with engine.begin() as connection:
        models.register(connection, "m", "1", "a" * 64, ["x"])
    return engine


def test_a_spool_gives_back_what_it_was_given(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    rows = [row() for _ in range(5)]
    spool.append(rows)
    assert spool.pending == 5
    got, last = spool.peek(3)
    assert got == rows[:3]
    spool.discard(last)
    assert spool.peek(10)[0] == rows[3:]
    assert spools.find(tmp_path, [rows[4].id, rows[0].id]) == {rows[4].id: rows[4]}
    spool.close()


def test_a_spool_of_an_earlier_version_is_adopted(registered: Engine, tmp_path: Path) -> None:
    early = row()._replace(corrected=None, thumbnail=None)
    path = tmp_path / "early.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(EARLIER_SCHEMA)
        marks = "(?, ?, ?, ?, ?, ?, ?, ?)"
        columns = "(id, model, label, confidence, probabilities, embedding, properties, tags)"
        connection.execute(f"INSERT INTO rows {columns} VALUES {marks}", (early.id.bytes, *early[1:7], '{"a": "b"}'))
    connection.close()
    (spool,) = Spool.adopt(tmp_path)
    assert spool.peek(10)[0] == [early]
    Forwarder(spool, registered).drain(spool)
    spool.append([row()])
    assert (spool.pending, stored(registered)) == (1, 1)
    spool.close()


def test_a_full_spool_refuses_the_whole_batch(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, max_bytes=100_000)
    while not spool.full():
        spool.append([row(), row()])
    with pytest.raises(Overloaded, match="has not taken"):
        spool.append([row()])
    pending = spool.pending
    spool.discard(spool.peek(pending)[1])
    spool.append([row()])
    assert spool.pending == 1


def test_the_forwarder_empties_the_spool_into_postgres(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    forwarder = Forwarder(spool, registered)
    spool.append([row() for _ in range(7)])
    forwarder.drain(spool)
    assert (spool.pending, stored(registered)) == (0, 7)
    with registered.connect() as connection:
        kept = connection.execute(text("SELECT DISTINCT corrected, thumbnail, tags FROM predictions")).one()
    assert tuple(kept) == (b"\x00\x38", b"\xff\xd8", {"a": "b"})


def test_rows_forwarded_but_not_discarded_are_not_doubled(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.append([row() for _ in range(7)])
    forwarder = Forwarder(spool, registered)
    forwarder._write(spool.peek(100)[0])  # as if the process died between commit and discard
    forwarder.drain(spool)
    assert (spool.pending, stored(registered)) == (0, 7)


def test_the_spool_of_a_dead_worker_is_adopted_and_that_of_a_living_one_is_not(
    registered: Engine, tmp_path: Path
) -> None:
    dead, living, mine = (Spool.create(tmp_path) for _ in range(3))
    dead.append([row() for _ in range(4)])
    living.append([row() for _ in range(2)])
    dead._lock_file.close()  # what the kernel does when a process dies
    forwarder = Forwarder(mine, registered)
    forwarder.start()
    deadline = time.monotonic() + 10
    while dead.path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    forwarder.stop()
    assert (stored(registered), living.pending) == (4, 2)
    assert not dead.path.exists()


def test_a_database_that_is_away_only_makes_the_spool_grow(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    failures: list[str] = []
    forwarder = Forwarder(spool, registered, lambda name, _: failures.append(name))
    with registered.begin() as connection:
        connection.execute(text("ALTER TABLE predictions RENAME TO elsewhere"))
    forwarder.start()
    spool.append([row()])
    deadline = time.monotonic() + 10
    while "failures" not in failures and time.monotonic() < deadline:
        time.sleep(0.05)
    assert spool.pending == 1
    with registered.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO predictions"))
    while spool.pending and time.monotonic() < deadline:
        time.sleep(0.05)
    forwarder.stop()
    assert stored(registered) == 1
