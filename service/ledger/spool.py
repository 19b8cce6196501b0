"""The spool: every prediction is committed to a local SQLite file before its answer leaves."""

import fcntl
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from uuid_utils import uuid7

from service.errors import ConfigurationError, Overloaded
from service.store.predictions import LoggedPrediction

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB, model TEXT, label INTEGER, confidence REAL,
    probabilities BLOB, embedding BLOB, properties BLOB, tags TEXT, corrected BLOB, thumbnail BLOB
)
"""
LATER_COLUMNS = ("corrected", "thumbnail")  # that a spool left by an earlier version lacks
COLUMNS = "id, model, label, confidence, probabilities, embedding, properties, tags, corrected, thumbnail"
ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ROWS = 1000  # of one INSERT; SQLite takes 32,766 values
SIZE = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
DAMAGED = ".damaged"  # suffix of a spool that SQLite cannot read
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
        self._turn = threading.Lock()  # SQLite has one writer; waiting here beats polling its busy handler
        self._writer = _open(path, sync)
        self._reader = _open(path, sync)
        self._writer.execute(SCHEMA)
        present = {row[1] for row in self._writer.execute("PRAGMA table_info(rows)")}
        for column in LATER_COLUMNS:
            if column not in present:
                self._writer.execute(f"ALTER TABLE rows ADD COLUMN {column} BLOB")
        self.pending: int = self._writer.execute("SELECT count(*) FROM rows").fetchone()[0]

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

    def append(self, predictions: Sequence[LoggedPrediction]) -> None:
        """Commit predictions in one transaction.

        Raises
        ------
        Overloaded
            The spool or its disk is full: none of them is kept.
        """
        rows = [_encode(row) for row in predictions]
        if (reason := self._fullness()) is not None:
            raise Overloaded(reason, retry_after=5)
        with self._turn:
            try:
                with self._writer:
                    self._writer.execute("BEGIN IMMEDIATE")
                    for first in range(0, len(rows), ROWS):  # a statement a row would take the GIL as often
                        part = rows[first : first + ROWS]
                        values = ", ".join([ROW] * len(part))
                        self._writer.execute(
                            f"INSERT INTO rows ({COLUMNS}) VALUES {values}", [value for row in part for value in row]
                        )
            except sqlite3.OperationalError as error:
                raise Overloaded(f"the prediction log cannot be written: {error}", retry_after=5) from error
            self.pending += len(rows)

    def peek(self, limit: int) -> tuple[list[LoggedPrediction], int]:
        """Return the oldest predictions and the number to give to `discard` once they are safe elsewhere."""
        rows = self._reader.execute(f"SELECT seq, {COLUMNS} FROM rows ORDER BY seq LIMIT ?", (limit,)).fetchall()
        return [_decode(row[1:]) for row in rows], rows[-1][0] if rows else 0

    def discard(self, last: int) -> None:
        """Forget the predictions up to and including `last`."""
        with self._turn, self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self.pending -= self._writer.execute("DELETE FROM rows WHERE seq <= ?", (last,)).rowcount

    def bytes(self) -> int:
        """Return the size of what is pending, in bytes on disk."""
        return int(self._reader.execute(SIZE).fetchone()[0])

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
        return self._fullness() is not None

    def _fullness(self) -> str | None:
        if self.bytes() > self.max_bytes:
            return f"the prediction log holds {self.max_bytes} bytes that the database has not taken"
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
            return "the disk of the prediction log is full"
        return None


def find(folder: Path, ids: Sequence[UUID]) -> dict[UUID, LoggedPrediction]:
    """Return those of `ids` that are still in a spool of this folder, whichever worker holds it."""
    found: dict[UUID, LoggedPrediction] = {}
    marks = ", ".join("?" * len(ids))
    for path in folder.glob("*.sqlite"):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            query = f"SELECT {COLUMNS} FROM rows WHERE id IN ({marks})"
            rows = connection.execute(query, [key.bytes for key in ids]).fetchall()
        except sqlite3.OperationalError:  # its worker has just closed and removed it
            continue
        finally:
            connection.close()
        found.update((row.id, row) for row in map(_decode, rows))
    return found


def _open(path: Path, sync: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {sync.upper()}")
    return connection


def _lock(path: Path) -> IO[bytes] | None:
    file = Path(f"{path}.lock").open("ab")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _encode(row: LoggedPrediction) -> tuple[object, ...]:
    return (row.id.bytes, *row[1:7], json.dumps(row.tags) if row.tags else "{}", *row[8:])


def _decode(row: Sequence[Any]) -> LoggedPrediction:
    identifier, *rest, tags, corrected, thumbnail = row
    return LoggedPrediction._make(
        (UUID(bytes=identifier), *rest, {} if tags == "{}" else json.loads(tags), corrected, thumbnail)
    )
