"""Batches that cannot be forwarded: they are kept in a file next to their spool, with the reason."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from .encoding import COLUMNS

SUFFIX = ".rejected"  # suffix appended to the name of the SQLite file
SCHEMA = f"CREATE TABLE IF NOT EXISTS rejected (seq INTEGER PRIMARY KEY, count INTEGER, {COLUMNS}, reason TEXT)"
INSERT = "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT = f"SELECT seq, count, {COLUMNS} FROM batches WHERE seq = ?"
MAX_BYTES = 100_000_000  # size of a file from which batches are only counted, so that it cannot fill the disk


def keep(spool: Path, row: Sequence[object], reason: str) -> None:
    """Store a batch, a row of `SELECT`, in the file of rejected batches of a spool, as long as that has room."""
    path = spool.with_suffix(SUFFIX)
    if path.exists() and path.stat().st_size >= MAX_BYTES:
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(SCHEMA)
        connection.execute(INSERT, (*row, reason))
