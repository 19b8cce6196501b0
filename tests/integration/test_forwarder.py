"""What cannot be forwarded is set aside, counted, and holds nothing back."""

import sqlite3
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import Engine, text
from uuid_utils import uuid7

from tests.support.predictions import batch, new_ids, stored
from tests.support.wait import RecordedWaits
from tidemark.errors import Overloaded
from tidemark.spool import file, forwarder
from tidemark.spool.forwarder import BUSY_INTERVAL, INTERVAL, Forwarder, pause_after
from tidemark.spool.spool import Spool
from tidemark.store import log, models
from tidemark.store.logged import Logged, logged
from tidemark.store.prediction_id import id_at

DAY = 86_400_000  # milliseconds


def refused() -> Logged:
    """Return a prediction that Postgres does not take: its tags hold a character that jsonb cannot."""
    return logged("m:1", new_ids(1), np.full((1, 2), 0.5), np.ones((1, 8)), tags=[b'{"a":"\\u0000"}'])


def abandon(spool: Spool) -> Path:
    """Release a spool as the kernel does when its process dies."""
    spool._reader.close()
    spool._writer.close()
    spool._lock_file.close()
    return spool.path


@pytest.fixture
def rejected() -> Counter[str]:
    return Counter()


def forwarding(spool: Spool, engine: Engine, rejected: Counter[str], retention_days: int | None = None) -> Forwarder:
    def count(reason: str, number: int) -> None:
        rejected[reason] += number

    return Forwarder(spool, engine, count_rejected=count, retention_days=retention_days)


def test_a_batch_that_postgres_refuses_is_set_aside_and_the_others_arrive(
    registered: Engine, tmp_path: Path, rejected: Counter[str]
) -> None:
    spool = Spool.create(tmp_path)
    for one in (batch(3), refused(), batch(2)):
        spool.append(one)
    forwarding(spool, registered, rejected).drain(spool)
    assert (spool.pending, stored(registered), rejected) == (0, 5, {"refused": 1})
    with registered.connect() as connection:
        assert log.written_position(connection, 1) == 5
    spool.close()
    aside = spool.path.with_suffix(".rejected")
    assert [path.suffix for path in tmp_path.iterdir()] == [".rejected"]
    assert sqlite3.connect(aside).execute("SELECT count, reason FROM rejected").fetchall() == [(1, "refused")]


def test_an_orphan_of_an_unknown_model_holds_no_other_back(
    registered: Engine, tmp_path: Path, rejected: Counter[str]
) -> None:
    first, second, mine = (Spool.create(tmp_path) for _ in range(3))
    first.append(logged("nobody:1", new_ids(2), np.full((2, 2), 0.5), np.ones((2, 8))))
    second.append(batch(3))
    abandon(first)
    abandon(second)
    forwarding(mine, registered, rejected).adopt(tmp_path)
    assert (stored(registered), rejected) == (3, {"unknown_model": 2})
    assert first.path.with_suffix(".rejected").exists()


def test_a_model_that_a_restored_database_has_lost_is_registered_again(
    registered: Engine, tmp_path: Path, rejected: Counter[str]
) -> None:
    spool = Spool.create(tmp_path)
    forwarder = forwarding(spool, registered, rejected)
    spool.append(batch(2))
    forwarder.drain(spool)
    with registered.begin() as connection:
        connection.execute(text("TRUNCATE models CASCADE"))
        connection.execute(text("TRUNCATE predictions, segments"))
    spool.append(batch(3))
    forwarder._failed()  # as the lost connection makes it
    forwarder.drain(spool)
    with registered.connect() as connection:
        (model,) = models.load_registered(connection)
        assert (model.name, model.sha256, model.labels) == ("m:1", "a" * 64, ["x"])
        assert log.written_position(connection, model.id) == 3
    assert (stored(registered), rejected) == (3, {})


def test_an_orphan_of_another_installation_stays_as_it_is(
    registered: Engine, tmp_path: Path, rejected: Counter[str]
) -> None:
    foreign, mine = Spool.create(tmp_path), Spool.create(tmp_path)
    foreign.append(batch(4))
    foreign.installation = uuid4()
    path = abandon(foreign)
    forwarder = forwarding(mine, registered, rejected)
    forwarder.adopt(tmp_path)
    forwarder.adopt(tmp_path)
    assert (stored(registered), rejected) == (0, {"other_installation": 4})
    assert path.exists()


def test_rows_older_than_the_retention_are_set_aside(
    registered: Engine, tmp_path: Path, rejected: Counter[str]
) -> None:
    spool = Spool.create(tmp_path)
    old = id_at(int(time.time() * 1000) - 9 * DAY, bytes(10)).bytes
    spool.append(logged("m:1", old, np.full((1, 2), 0.5), np.ones((1, 8))))
    spool.append(batch(1))
    forwarding(spool, registered, rejected, retention_days=7).drain(spool)
    assert (stored(registered), rejected) == (1, {"expired": 1})


def test_a_row_whose_columns_do_not_fit_together_is_set_aside(
    registered: Engine, tmp_path: Path, rejected: Counter[str]
) -> None:
    spool = Spool.create(tmp_path)
    spool.append(batch(3))
    spool._batches.move(1)  # as in a long backlog, which is in the SQLite file
    spool._writer.execute("UPDATE batches SET embeddings = x'00'")
    spool.append(batch(2))
    forwarding(spool, registered, rejected).drain(spool)
    assert (spool.pending, stored(registered), rejected) == (0, 2, {"unreadable": 3})


def test_a_spool_of_an_unknown_format_is_never_deleted(registered: Engine, tmp_path: Path) -> None:
    later, stranger = (tmp_path / f"{uuid7()}.sqlite" for _ in range(2))
    spool = Spool.create(tmp_path)
    spool.append(batch(1))
    file.set_meta(spool._writer, {"format": "99"})
    abandon(spool).rename(later)
    with sqlite3.connect(stranger) as connection:
        connection.execute("CREATE TABLE rows (id TEXT)")
    mine = Spool.create(tmp_path)
    forwarding(mine, registered, Counter()).adopt(tmp_path)
    assert later.exists()
    assert stranger.exists()
    assert stored(registered) == 0


def test_a_spool_of_the_version_before_is_forwarded(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    for one in (batch(2), batch(3)):
        spool.append(one)
    spool._batches.close()  # that version has no ring
    spool._writer.execute("DROP TABLE meta")
    for column in ("first_number", "at_from", "at_to"):
        spool._writer.execute(f"ALTER TABLE batches DROP COLUMN {column}")
    abandon(spool)
    mine = Spool.create(tmp_path)
    forwarding(mine, registered, Counter()).adopt(tmp_path)
    with registered.connect() as connection:
        assert (stored(registered), log.written_position(connection, 1)) == (5, 5)


def test_a_kill_between_commit_and_discard_repeats_nothing(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.append(batch(4))
    spool.discard = lambda last: None  # type: ignore[method-assign]
    Forwarder(spool, registered).drain(spool)
    assert stored(registered) == 4
    abandon(spool)
    mine = Spool.create(tmp_path)
    Forwarder(mine, registered).adopt(tmp_path)
    with registered.connect() as connection:
        assert (stored(registered), log.written_position(connection, 1)) == (4, 4)
    assert not spool.path.exists()


def test_a_folder_with_any_name_can_be_searched(tmp_path: Path) -> None:
    from tidemark.spool import search

    spool = Spool.create(tmp_path / "50% # ?")
    one = batch(3)
    spool.append(one)
    assert search.find(spool.path.parent, one.uuids).keys() == set(one.uuids)


def test_an_error_of_the_file_is_an_overload_and_not_ready_until_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool.create(tmp_path)

    def fail(*_: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as broken:
        broken.setattr(spool._batches, "append", fail)
        with pytest.raises(Overloaded, match="malformed"):
            spool.append(batch())
    with monkeypatch.context() as broken:
        broken.setattr(file, "set_meta", fail)
        assert spool.full()
    assert not spool.full()
    spool.append(batch())
    assert spool.pending == 1


def test_a_copy_is_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.spool.spool.MAX_PEEK_BYTES", 15_000)
    spool = Spool.create(tmp_path)
    for _ in range(4):
        spool.append(logged("m:1", new_ids(1), np.full((1, 2), 0.5), np.ones((1, 5000))))
    rows = spool.peek(100)
    assert (rows.count, rows.more) == (2, True)
    spool.discard(rows.last)
    assert spool.peek(100).count == 2


def test_stopping_takes_no_longer_than_its_time(
    registered: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder, "STOP", 0.0)
    monkeypatch.setattr(forwarder, "ROWS", 1)
    spool = Spool.create(tmp_path)
    for _ in range(20):
        spool.append(batch())
    Forwarder(spool, registered).stop()
    assert spool.pending == 19
    assert stored(registered) == 1


def test_the_wait_after_a_failure_doubles_up_to_a_bound(
    registered: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Spool) -> int:
        raise RuntimeError("a failure")

    failing, waits = Forwarder(Spool.create(tmp_path), registered), RecordedWaits(9)
    monkeypatch.setattr(failing, "_stopping", waits)
    monkeypatch.setattr(failing, "drain", fail)
    failing.run()
    assert waits.seconds == [min(INTERVAL * 2**turn, 10.0) for turn in range(9)]


def test_a_busy_server_is_polled_less_often_than_an_idle_one() -> None:
    assert pause_after(249, pause=0.25) == pause_after(999, pause=1.0) == INTERVAL
    assert pause_after(250, pause=0.25) == pause_after(1000, pause=1.0) == BUSY_INTERVAL > INTERVAL
