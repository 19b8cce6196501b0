"""A spool's SQLite file: its lock, its format, its identity, and what can be wrong with it."""

import fcntl
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO
from uuid import UUID

from uuid_utils import uuid7

from .encoding import COLUMNS
from .pending_rows import SpooledBatch

SUFFIX = ".sqlite"
DAMAGED = ".damaged"  # suffix of a spool that SQLite cannot read
LOGS = ("-wal", "-shm")  # suffixes of what SQLite keeps beside a file
FORMAT = "1"  # format of the file; a file of an earlier version names none
CHECKPOINT_BYTES = 16_000_000  # bytes of the write-ahead log from which `Spool.checkpoint` has something to do
APPEND_CHECKPOINT_PAGES = 40_000  # pages of 4 kB in that log from which an `append` makes the checkpoint itself
MIN_FREE_BYTES = 64_000_000  # bytes of the disk that stay free
MIN_FREE_SHARE = 0.1  # share of a small disk that stays free instead
BUSY_TIMEOUT = 5  # seconds that a statement waits for another connection of the same file
WAL_BYTES = CHECKPOINT_BYTES // 2  # bytes to which the write-ahead log is cut once its content is in the file
CONTENT_BYTES = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
SCHEMA = f"""
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY, -- given by `Spool.append`: AUTOINCREMENT would write a second page for each row
    count INTEGER, first_number INTEGER, at_from INTEGER, at_to INTEGER, {COLUMNS}
);
"""
INSERT = f"""
INSERT OR IGNORE INTO batches (seq, count, first_number, at_from, at_to, {COLUMNS})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
UPGRADE = """
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
ALTER TABLE batches ADD COLUMN first_number INTEGER;
ALTER TABLE batches ADD COLUMN at_from INTEGER;
ALTER TABLE batches ADD COLUMN at_to INTEGER;
UPDATE batches SET first_number = numbered.first_number FROM (
    SELECT seq, 1 - count + sum(count) OVER (PARTITION BY model ORDER BY seq) AS first_number FROM batches
) numbered WHERE numbered.seq = batches.seq;
"""


class UnknownFormat(Exception):
    """A file that another version of Tidemark wrote, and that this one must leave alone."""


def open_file(path: Path, sync: str) -> sqlite3.Connection:
    """Return a connection to a spool file that several threads take turns with; the file is made if it is missing."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {sync.upper()}")
    connection.execute("PRAGMA secure_delete = OFF")  # Debian's SQLite would write pages full of zeros
    connection.execute(f"PRAGMA wal_autocheckpoint = {APPEND_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write; the name of the file may hold any character."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)


def prepare(connection: sqlite3.Connection) -> dict[str, str]:
    """Bring the file's tables to this version's format and return what `meta` holds.

    Raises
    ------
    UnknownFormat
        Another version wrote the file: it is left as it is.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        _create(connection, SCHEMA)
    elif tables - {"sqlite_sequence"} == {"batches"}:
        _create(connection, UPGRADE)
    elif "meta" not in tables:
        raise UnknownFormat(f"it holds the tables {', '.join(sorted(tables))}")
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    if meta.get("format") != FORMAT:
        raise UnknownFormat(f"it has format {meta.get('format')}, this version knows {FORMAT}")
    return meta


def set_meta(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    """Store values under their keys."""
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def insert(connection: sqlite3.Connection, batches: Sequence[SpooledBatch]) -> None:
    """Write batches in one transaction, except those that the file has."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [(*batch[:5], *batch.columns) for batch in batches])


def delete(connection: sqlite3.Connection, condition: str, seq: int) -> int:
    """Delete the batches that meet an SQL condition on `seq`; return how many predictions they held.

    `RETURNING` would give Python's lock away for each of the rows.
    """
    total = f"SELECT coalesce(sum(count), 0) FROM batches WHERE {condition}"
    predictions = int(connection.execute(total, (seq,)).fetchone()[0])
    connection.execute(f"DELETE FROM batches WHERE {condition}", (seq,))
    return predictions


def predictions(connection: sqlite3.Connection) -> int:
    """Return how many predictions the file holds."""
    return int(connection.execute("SELECT coalesce(sum(count), 0) FROM batches").fetchone()[0])


def content_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of what the file holds, without its free pages."""
    return int(connection.execute(CONTENT_BYTES).fetchone()[0])


def lock(path: Path) -> IO[bytes] | None:
    """Return the lock of a spool file, which its process holds as long as it lives, or None where another holds it."""
    file = Path(f"{path}.lock").open("ab")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file


def remove(path: Path) -> None:
    """Remove a spool file and what belongs to it."""
    for suffix in ("", *LOGS, ".lock"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def set_damaged(path: Path) -> None:
    """Rename a spool file that SQLite cannot read, so that nobody opens it again."""
    damaged = path.with_suffix(DAMAGED)
    path.rename(damaged)
    for suffix in LOGS:
        if (log := Path(f"{path}{suffix}")).exists():
            log.rename(f"{damaged}{suffix}")


def is_disk_full(folder: Path) -> bool:
    """Return whether the folder's disk has less free space than must stay: SQLite needs some to empty a spool."""
    disk = os.statvfs(folder)
    must_stay_free = min(MIN_FREE_BYTES, int(disk.f_blocks * disk.f_frsize * MIN_FREE_SHARE))
    return disk.f_bavail * disk.f_frsize < must_stay_free


def new_path(folder: Path) -> Path:
    """Return the name of a new spool file; names sort by age."""
    return folder / f"{uuid7()}{SUFFIX}"


def _create(connection: sqlite3.Connection, statements: str) -> None:
    """Execute statements that begin a transaction, and end it with the file's format and identity in `meta`."""
    try:
        connection.executescript(statements)
        set_meta(connection, {"format": FORMAT, "spool": str(UUID(str(uuid7())))})
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
