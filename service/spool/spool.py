"""The spool: every prediction is committed to a local SQLite file before its answer leaves."""

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from uuid_utils import uuid7

from ..errors import ConfigurationError, Overloaded
from ..store.logged import HALF, LABEL, SINGLE, Logged
from ..store.prediction_id import uuids

COLUMNS = "model, ids, labels, confidences, probabilities, embeddings, properties, tags, corrected, thumbnails"
SCHEMA = f"CREATE TABLE IF NOT EXISTS batches (seq INTEGER PRIMARY KEY AUTOINCREMENT, count INTEGER, {COLUMNS})"
INSERT = f"INSERT INTO batches (count, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SIZE = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
LENGTH = np.dtype("<u4")  # of a byte string among several
CHECKPOINT_PAGES = 4000  # of 4 kB in the write-ahead log: beyond it `append` makes the checkpoint itself
DAMAGED = ".damaged"  # suffix of a spool that SQLite cannot read
CHECK_SECONDS = 0.1  # between two looks at how full it is: asking costs a fifth of an `append`
MIN_FREE_BYTES = 64_000_000  # of the disk: below it the spool refuses before SQLite must

logger = logging.getLogger(__name__)


class Spool:
    """One worker's spool file, or one that a dead worker left behind.

    A file belongs to the process that holds the lock beside it; the lock dies with the process, so that the
    next one to start adopts what is left.
    """

    def __init__(self, path: Path, lock: IO[bytes], sync: str = "normal", max_bytes: int = 2_000_000_000) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._lock_file = lock
        self._check_at = 0.0
        self._turn = threading.Lock()  # SQLite has one writer; waiting here beats polling its busy handler
        self._writer = _open(path, sync)
        self._reader = _open(path, sync)
        self._writer.execute(SCHEMA)
        self.pending: int = self._writer.execute("SELECT coalesce(sum(count), 0) FROM batches").fetchone()[0]

    @classmethod
    def create(cls, folder: Path, sync: str = "normal", max_bytes: int = 2_000_000_000) -> "Spool":
        """Make a new, empty spool in `folder`.

        Raises
        ------
        ConfigurationError
            The folder cannot be written.
        """
        path = folder / f"{uuid7()}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(path)
            if lock is None:
                raise RuntimeError(f"a new spool is locked: {path}")
            return cls(path, lock, sync, max_bytes)
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigurationError(f"TIDEMARK_DATA_DIR: cannot write the spool in {folder}: {error}") from None

    @classmethod
    def adopt(cls, folder: Path) -> Iterable["Spool"]:
        """Yield the spools in `folder` whose process is gone; one that cannot be read holds no other back."""
        for path in sorted(folder.glob("*.sqlite")):
            lock = _lock(path)
            if lock is None:
                continue
            try:
                orphan = cls(path, lock)
            except sqlite3.OperationalError as error:
                logger.warning("spool %s cannot be adopted now: %s", path, error)
                lock.close()
            except sqlite3.DatabaseError as error:
                logger.error("spool %s is damaged (%s) and put aside as %s", path, error, DAMAGED)
                path.rename(path.with_suffix(DAMAGED))
                lock.close()
            else:
                yield orphan

    def append(self, batch: Logged) -> None:
        """Commit predictions in one transaction.

        Raises
        ------
        Overloaded
            The spool or its disk is full: none of them is kept.
        """
        with self._turn:
            if time.monotonic() >= self._check_at:
                if (reason := self._fullness()) is not None:
                    raise Overloaded(reason, retry_after=5)
                self._check_at = time.monotonic() + CHECK_SECONDS
            try:
                self._insert(batch)  # a statement by itself is a transaction
            except sqlite3.OperationalError as error:
                raise Overloaded(f"the prediction log cannot be written: {error}", retry_after=5) from error
            self.pending += len(batch)

    def peek(self, limit: int) -> tuple[list[Logged], int]:
        """Return the oldest predictions, at least `limit` if there are as many, in as few batches as their kinds allow,
        and the number to give to `discard` once they are safe elsewhere."""
        rows: list[tuple[Any, ...]] = []
        last = count = 0
        with closing(self._reader.execute(f"SELECT seq, count, {COLUMNS} FROM batches ORDER BY seq")) as found:
            while count < limit and (row := found.fetchone()) is not None:
                last = row[0]
                count += row[1]
                rows.append(row[1:])
        return [_decode(list(alike)) for _, alike in groupby(rows, _kind)], last

    def discard(self, last: int) -> None:
        """Forget the batches up to and including `last`."""
        with self._turn:
            gone = self._writer.execute("DELETE FROM batches WHERE seq <= ? RETURNING count", (last,)).fetchall()
            self.pending -= sum(count for (count,) in gone)
        self._reader.execute("PRAGMA wal_checkpoint(PASSIVE)")  # here, so that `append` finds little to check-point

    def bytes(self) -> int:
        """Return the size of what is pending, in bytes on disk."""
        with self._turn:
            return self._bytes()

    def close(self) -> None:
        """Release the file; remove it if nothing is left in it."""
        empty = not self.pending
        self._reader.close()
        self._writer.close()
        if empty:
            for suffix in ("", "-wal", "-shm", ".lock"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._lock_file.close()

    def full(self) -> bool:
        """Tell whether a prediction would be refused."""
        with self._turn:
            self._check_at = 0.0
            return self._fullness() is not None

    def _bytes(self) -> int:
        return int(self._writer.execute(SIZE).fetchone()[0])

    def _insert(self, batch: Logged) -> None:
        self._writer.execute(INSERT, _encode(batch))

    def _fullness(self) -> str | None:
        if self._bytes() > self.max_bytes:
            return f"the prediction log holds {self.max_bytes} bytes that the database has not taken"
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
            return "the disk of the prediction log is full"
        return None


class Found(NamedTuple):
    """A prediction in a spool."""

    model: str  # name:version
    label: int
    probabilities: bytes  # float16 (k,)


def find(folder: Path, ids: Sequence[UUID]) -> dict[UUID, Found]:
    """Return those of `ids` that are still in a spool of this folder, whichever worker holds it."""
    wanted = set(ids)
    found: dict[UUID, Found] = {}
    for path in folder.glob("*.sqlite"):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            query = "SELECT count, model, ids, labels, probabilities FROM batches"
            for count, model, keys, labels, probabilities in connection.execute(query):
                width = len(probabilities) // count
                for place, key in enumerate(uuids(keys)):
                    if key in wanted:
                        label = int(np.frombuffer(labels, LABEL)[place])
                        found[key] = Found(model, label, probabilities[place * width : (place + 1) * width])
        except sqlite3.OperationalError:  # its worker has just closed and removed it
            continue
        finally:
            connection.close()
    return found


def _open(path: Path, sync: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {sync.upper()}")
    connection.execute("PRAGMA secure_delete = OFF")  # Debian's SQLite would write pages full of zeros
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    return connection


def _lock(path: Path) -> IO[bytes] | None:
    file = Path(f"{path}.lock").open("ab")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _encode(batch: Logged) -> tuple[object, ...]:
    return (
        len(batch),
        batch.model,
        batch.ids,
        batch.labels.tobytes(),
        batch.confidences.tobytes(),
        batch.probabilities.tobytes(),
        batch.embeddings.tobytes(),
        None if batch.properties is None else batch.properties.tobytes(),
        _packed(batch.tags),
        None if batch.corrected is None else batch.corrected.tobytes(),
        _packed(batch.thumbnails),
    )


def _kind(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return what batches have in common that can be one: the model, which parts there are, and their widths."""
    count, model, _, _, _, probabilities, embeddings, properties, tags, corrected, thumbnails = row
    parts = (probabilities, embeddings, properties, corrected)
    widths = [None if part is None else len(part) // count for part in parts]
    return (model, *widths, tags is None, thumbnails is None)


def _decode(rows: Sequence[Sequence[Any]]) -> Logged:
    """Return batches of one kind as one."""
    counts, models, *parts = zip(*rows, strict=True)
    ids, labels, confidences, probabilities, embeddings, properties, tags, corrected, thumbnails = parts
    m = sum(counts)

    def matrix(blobs: Sequence[bytes], kind: np.dtype[Any]) -> NDArray[Any]:
        return np.frombuffer(b"".join(blobs), kind).reshape(m, -1)

    def strings(blobs: Sequence[bytes]) -> list[bytes]:
        return [value for blob, count in zip(blobs, counts, strict=True) for value in _unpacked(blob, count)]

    return Logged(
        models[0],
        b"".join(ids),
        np.frombuffer(b"".join(labels), LABEL),
        np.frombuffer(b"".join(confidences), SINGLE),
        matrix(probabilities, HALF),
        matrix(embeddings, HALF),
        None if properties[0] is None else matrix(properties, SINGLE),
        None if tags[0] is None else strings(tags),
        None if corrected[0] is None else matrix(corrected, HALF),
        None if thumbnails[0] is None else strings(thumbnails),
    )


def _packed(values: Sequence[bytes] | None) -> bytes | None:
    """Return byte strings as their lengths and then all of them."""
    if values is None:
        return None
    return np.fromiter(map(len, values), LENGTH, len(values)).tobytes() + b"".join(values)


def _unpacked(data: bytes, count: int) -> list[bytes]:
    first = count * LENGTH.itemsize
    ends = (first + np.frombuffer(data, LENGTH, count).cumsum()).tolist()
    return [data[start:end] for start, end in zip([first, *ends], ends, strict=False)]
