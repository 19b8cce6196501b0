"""The ring gives back what is pending, to its own process and to any other, whatever happens to the file."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.predictions import batch
from tidemark.spool import file, ring
from tidemark.spool.batch_store import BatchStore
from tidemark.spool.encoding import Columns, encode
from tidemark.spool.pending_rows import SpooledBatch
from tidemark.spool.ring import RING_BYTES, SLOT, Ring, path_of, pending_batches
from tidemark.spool.spool import Spool

SPOOL = "0192.sqlite"
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.support.predictions import batch
from tidemark.spool.spool import Spool
spool = Spool.create(Path(sys.argv[1]))
for _ in range(500):
    one = batch(3)
    spool.append(one)
    os.write(1, one.ids)  # what is acknowledged
os.kill(os.getpid(), signal.SIGKILL)
"""


def spooled(seq: int, payload: int = 100, moment: int = 0) -> SpooledBatch:
    """Return a batch of one prediction whose probabilities take `payload` bytes."""
    part = bytes([seq % 256]) * payload
    columns = Columns("m:1", b"i" * 16, b"l" * 4, b"", part, b"e" * 8, None, b"t", None, None)
    return SpooledBatch(seq, 1, seq, moment, moment, columns)


def test_the_ring_holds_what_was_appended_and_not_discarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many turns around a small file, compared with a list after each step."""
    monkeypatch.setattr(ring, "RING_BYTES", 4096)
    path, dice = tmp_path / SPOOL, random.Random(0)
    latest, pending, refused = Ring.create(path), [], 0
    for seq in range(1, 2000):
        one = spooled(seq, dice.choice([0, 30, 100, 400, 2000]))
        if latest.append(one):
            pending.append(one)
        else:
            refused += 1
            assert sum(part.nbytes for part in [*pending, one]) > 4096 // 4
        if dice.random() < 0.3 and pending:
            last = dice.choice(pending).seq
            assert latest.discard(last) == sum(one.seq <= last for one in pending)
            pending = [one for one in pending if one.seq > last]
        assert pending_batches(path) == latest.oldest() == pending
        assert latest.predictions == len(pending)
        assert latest.nbytes == sum(len(ring._record(one)) for one in pending)
    assert 100 < refused < 1900
    assert path_of(path).stat().st_size == 4096


def test_the_file_has_its_size_and_its_space_from_the_start(tmp_path: Path) -> None:
    Ring.create(tmp_path / SPOOL)
    status = path_of(tmp_path / SPOOL).stat()
    assert status.st_size == RING_BYTES <= status.st_blocks * 512


def test_a_batch_that_no_ring_can_hold_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "RING_BYTES", 4096)
    latest = Ring.create(tmp_path / SPOOL)
    assert not latest.append(spooled(1, 4096))
    assert not Ring.without_room(tmp_path / SPOOL).append(spooled(1))
    assert pending_batches(tmp_path / SPOOL) == []


@pytest.mark.parametrize("place", [SLOT, SLOT + 3, SLOT + 10, SLOT + 150])
def test_a_record_that_is_not_whole_is_left_out(tmp_path: Path, place: int) -> None:
    """As when the machine lost power while the kernel wrote the file to the disk."""
    path = tmp_path / SPOOL
    latest = Ring.create(path)
    batches = [spooled(seq) for seq in range(1, 4)]
    assert all(map(latest.append, batches))
    data = bytearray(path_of(path).read_bytes())
    data[place] ^= 0x40
    path_of(path).write_bytes(data)
    assert pending_batches(path) == batches[1:]


def test_content_that_looks_like_a_record_is_none(tmp_path: Path) -> None:
    path = tmp_path / SPOOL
    latest = Ring.create(path)
    forged = spooled(1)._replace(columns=spooled(1).columns._replace(embeddings=ring.MARK * 200))
    assert latest.append(forged)
    assert pending_batches(path) == [forged]


def test_a_record_inside_of_an_embedding_is_none(tmp_path: Path) -> None:
    """A client who sends embeddings cannot forge predictions of others, whatever happens to the process."""
    path = tmp_path / SPOOL
    latest = Ring.create(path)
    forged = b"".join(b" " * shift + ring._record(spooled(2)) for shift in range(SLOT))
    outer = spooled(1)._replace(columns=spooled(1).columns._replace(embeddings=forged))
    assert latest.append(outer)
    assert pending_batches(path) == [outer]


def test_batches_are_selected_by_the_moments_that_they_span(tmp_path: Path) -> None:
    path = tmp_path / SPOOL
    latest = Ring.create(path)
    batches = [spooled(seq, moment=10 * seq)._replace(at_to=10 * seq + 5) for seq in range(1, 6)]
    assert all(map(latest.append, batches))
    assert pending_batches(path, [1, 20, 35, 36, 60]) == [batches[1], batches[2]]
    assert pending_batches(path, [0, 99]) == []


def test_a_file_that_another_process_has_just_made_or_removed_holds_nothing(tmp_path: Path) -> None:
    assert pending_batches(tmp_path / SPOOL) == []
    path_of(tmp_path / SPOOL).touch()
    assert pending_batches(tmp_path / SPOOL) == []


def test_what_a_killed_process_has_acknowledged_is_adopted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, stdout=subprocess.PIPE)
    assert killed.returncode == -signal.SIGKILL
    (path,) = tmp_path.glob(f"*{file.SUFFIX}")
    lock = file.lock(path)
    assert lock is not None
    orphan = Spool(path, lock, adopted=True)
    rows = orphan.peek(10_000)
    assert b"".join(one.predictions.ids for one in rows.batches) == killed.stdout
    assert rows.count == orphan.pending == 1500
    assert not path_of(path).exists()


def test_a_batch_in_both_files_counts_once(tmp_path: Path) -> None:
    """As when the process ends after it has moved batches to the SQLite file and before it drops them from the ring."""
    spool = Spool.create(tmp_path)
    for _ in range(3):
        spool.append(batch(2))
    file.insert(spool._writer, spool._batches._ring.oldest(2))
    spool._lock_file.close()
    lock = file.lock(spool.path)
    assert lock is not None
    orphan = Spool(spool.path, lock, adopted=True)
    assert orphan.pending == orphan.peek(100).count == 6


def test_a_disk_with_little_space_gets_no_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "is_disk_full", lambda folder: True)
    connection = file.open_file(tmp_path / SPOOL, "normal")
    file.prepare(connection)
    store = BatchStore.of_new_spool(connection, tmp_path / SPOOL, "normal")
    assert not path_of(tmp_path / SPOOL).exists()
    assert store.latest() == []


def test_a_spool_that_is_closed_leaves_what_is_pending_in_its_sqlite_file(tmp_path: Path) -> None:
    """A version without rings finds it there."""
    spool = Spool.create(tmp_path)
    one = batch(2)
    spool.append(one)
    spool.close()
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix != ".lock"] == [file.SUFFIX]
    connection = file.open_to_read(spool.path)
    assert connection.execute("SELECT count, ids FROM batches").fetchall() == [(2, encode(one).ids)]
