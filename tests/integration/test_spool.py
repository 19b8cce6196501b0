"""The way from a prediction to its row: spooled before the answer, forwarded after it, never lost, never twice."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, text
from uuid_utils.compat import uuid7

from tests.support.predictions import batch, new_ids, stored
from tests.support.wait import until
from tidemark.errors import Overloaded
from tidemark.spool import inspection, ring, search
from tidemark.spool.forwarder import Forwarder
from tidemark.spool.spool import Spool
from tidemark.store.logged import Logged, logged

STORED = "SELECT count(*) FROM batches"  # batches in the SQLite file


def same(one: Logged, other: Logged) -> bool:
    return type(other) is Logged and all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(Logged)
    )


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_a_spool_gives_back_what_it_was_given(tmp_path: Path, sync: str) -> None:
    spool = Spool.create(tmp_path, sync)
    first = batch(2)
    bare = logged("n:2", new_ids(3), np.eye(3), np.arange(12.0).reshape(3, 4))
    thirds = batch(1)
    for one in (first, bare, thirds):
        spool.append(one)
    assert spool.pending == 6
    rows = spool.peek(3)
    assert len(rows.batches) == 2
    assert same(rows.batches[0].predictions, first)
    assert same(rows.batches[1].predictions, bare)
    predictions = search.find(tmp_path, [bare.uuids[1], uuid7(), first.uuids[0]])
    assert predictions == {
        bare.uuids[1]: ("n:2", 1, np.array([0, 1, 0], "<f2").tobytes()),
        first.uuids[0]: ("m:1", 0, np.array([0.5, 0.5], "<f2").tobytes()),
    }
    spool.discard(rows.last)
    (remaining,) = spool.peek(10).batches
    assert same(remaining.predictions, thirds)
    assert remaining.first_number == 3
    assert spool.pending == 1
    assert search.find(tmp_path, first.uuids) == {}
    spool.close()


def test_batches_that_fit_into_the_ring_are_not_written_to_the_sqlite_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spool that has outgrown its ring gives the older batches from the SQLite file first, and each of them once."""
    monkeypatch.setattr(ring, "RING_BYTES", 4096)
    spool = Spool.create(tmp_path)
    many: list[Logged] = []
    while not spool._writer.execute(STORED).fetchone()[0]:
        many.append(batch(3))
        spool.append(many[-1])
    for _ in range(40):
        many.append(batch(3))
        spool.append(many[-1])
    assert inspection.pending_predictions(spool.path) == spool.pending == 3 * len(many)
    assert search.find(tmp_path, [one.uuids[1] for one in many]).keys() == {one.uuids[1] for one in many}
    taken: list[Logged] = []
    while spool._writer.execute(STORED).fetchone()[0]:
        rows = spool.peek(3)
        taken += [numbered.predictions for numbered in rows.batches]
        spool.discard(rows.last)
        assert inspection.pending_predictions(spool.path) == spool.pending
    assert spool.pending > 0
    rows = spool.peek(1000)
    taken += [numbered.predictions for numbered in rows.batches]
    assert b"".join(one.ids for one in taken) == b"".join(one.ids for one in many)
    assert rows.count == spool.pending
    spool.append(batch(1))
    assert not spool._writer.execute(STORED).fetchone()[0]


def test_a_full_spool_refuses_the_whole_batch(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, max_bytes=100_000)
    while not spool.full():
        spool.append(batch(2))
    with pytest.raises(Overloaded, match="has not taken"):
        spool.append(batch())
    pending = spool.pending
    spool.discard(spool.peek(pending).last)
    spool.append(batch())
    assert spool.pending == 1


def test_a_prediction_that_arrives_between_setting_a_batch_aside_and_discarding_it_stays(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.append(batch(3))
    last = spool.peek(10).last
    spool.set_aside(last, "refused")
    spool.append(batch(2))
    spool.discard(last)
    assert spool.pending == spool.peek(10).count == 2
    spool.close()


def test_the_forwarder_empties_the_spool_into_postgres(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    forwarder = Forwarder(spool, registered)
    spool.append(batch(7))
    forwarder.drain(spool)
    assert (spool.pending, stored(registered)) == (0, 7)
    with registered.connect() as connection:
        row = connection.execute(text("SELECT DISTINCT corrected, thumbnail, tags FROM predictions")).one()
    assert tuple(row) == (b"\x00\x3c", b"\xff\xd8", {"a": "b"})


def test_rows_forwarded_but_not_discarded_are_not_doubled(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.append(batch(7))
    forwarder = Forwarder(spool, registered)
    forwarder._write(spool, spool.peek(100))  # as if the process died between commit and discard
    forwarder.drain(spool)
    assert (spool.pending, stored(registered)) == (0, 7)


def test_the_spool_of_a_dead_worker_is_adopted_and_that_of_a_living_one_is_not(
    registered: Engine, tmp_path: Path
) -> None:
    dead, living, mine = (Spool.create(tmp_path) for _ in range(3))
    dead.append(batch(4))
    living.append(batch(2))
    dead._lock_file.close()  # what the kernel does when a process dies
    forwarder = Forwarder(mine, registered)
    forwarder.start()
    until(lambda: not dead.path.exists(), "the spool to be adopted")
    forwarder.stop()
    assert (stored(registered), living.pending) == (4, 2)
    assert not dead.path.exists()


def test_an_unavailable_database_only_makes_the_spool_grow(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    failures: list[str] = []
    forwarder = Forwarder(spool, registered, lambda name, _: failures.append(name))
    with registered.begin() as connection:
        connection.execute(text("ALTER TABLE predictions RENAME TO elsewhere"))
    forwarder.start()
    spool.append(batch())
    until(lambda: "failures" in failures, "a failure to be counted")
    assert spool.pending == 1
    with registered.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO predictions"))
    until(lambda: not spool.pending, "the spool to drain")
    forwarder.stop()
    assert stored(registered) == 1
