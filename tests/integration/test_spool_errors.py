"""SQLite errors in the spool: the batch is refused as a whole, what was kept stays, and the worker goes on."""

import itertools
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.predictions import batch, stored
from tidemark.errors import Overloaded
from tidemark.spool import file
from tidemark.spool.forwarder import Forwarder
from tidemark.spool.spool import Spool

BATCH = 50  # predictions


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def files_of(spool: Spool) -> list[Path]:
    return list(spool.path.parent.glob(f"{spool.path.name}*"))


def fill(spool: Spool) -> int:
    """Append until it is refused; return how many were kept."""
    for count in itertools.count(step=BATCH):
        try:
            spool.append(batch(BATCH))
        except Overloaded:
            return count
    raise AssertionError


def test_a_write_that_fails_rolls_back_and_the_next_succeeds(registered: Engine, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    with largest_file(200_000):
        count = fill(spool)
        assert count > 0
        with pytest.raises(Overloaded):
            spool.append(batch(20 * BATCH))
    assert spool.pending == count == spool.peek(1_000_000).count
    spool.append(batch())
    Forwarder(spool, registered).drain(spool)
    assert (spool.pending, stored(registered)) == (0, count + 1)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_inside_a_transaction_rolls_back_and_drains(
    registered: Engine, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "MIN_FREE_BYTES", 0)  # another program may take what is left at any time
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    spool = Spool.create(small_disk)
    count = fill(spool)
    assert spool.pending == count == spool.peek(1_000_000).count
    ballast.unlink()
    Forwarder(spool, registered).drain(spool)
    assert (spool.pending, stored(registered)) == (0, count)
    spool.append(batch())
    assert spool.pending == 1
    spool.close()


def test_a_damaged_spool_is_put_aside_and_holds_no_other_back(registered: Engine, tmp_path: Path) -> None:
    dead = [Spool.create(tmp_path) for _ in range(2)]
    for spool in dead:
        spool.append(batch(3))
        spool._lock_file.close()  # what the kernel does when a process dies
        spool._reader.close()
        spool._writer.close()
    damaged = dead[0].path
    damaged.write_bytes(b"x" * 4096)
    Path(f"{damaged}-wal").unlink(missing_ok=True)
    mine = Spool.create(tmp_path)
    forwarder = Forwarder(mine, registered)
    forwarder.adopt(tmp_path)
    assert stored(registered) == 3
    assert damaged.with_suffix(".damaged").read_bytes() == b"x" * 4096
    forwarder.adopt(tmp_path)  # what was in the ring of the damaged file
    assert stored(registered) == 6
    assert {path.suffix for path in tmp_path.iterdir()} == {".damaged", *(path.suffix for path in files_of(mine))}
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(damaged.with_suffix(".damaged")).execute("SELECT * FROM rows")


def test_a_long_write_ahead_log_is_moved_into_the_file_apart_from_appends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool.create(tmp_path, sync="full")  # all batches go to the SQLite file
    spool.append(batch(50))
    before = spool.path.stat().st_size
    spool.checkpoint()  # the log is short
    assert spool.path.stat().st_size == before
    monkeypatch.setattr("tidemark.spool.file.CHECKPOINT_BYTES", 1)
    spool.checkpoint()
    assert spool.path.stat().st_size > before
    assert spool.peek(100).count == 50
    spool.close()


def test_a_write_ahead_log_that_has_grown_is_cut_by_the_next_append_or_once_none_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.spool.file.CHECKPOINT_BYTES", 100_000)
    monkeypatch.setattr("tidemark.spool.file.WAL_BYTES", 50_000)
    spool = Spool.create(tmp_path, sync="full")  # all batches go to the SQLite file
    log = Path(f"{spool.path}-wal")

    def grow() -> None:
        while log.stat().st_size < 200_000:
            spool.append(batch(50))

    grow()
    spool.checkpoint()
    spool.append(batch())
    assert log.stat().st_size <= 50_000
    grow()
    spool.checkpoint()
    spool.checkpoint()
    assert log.stat().st_size == 0
    assert spool.peek(100_000).count == spool.pending
    spool.close()
