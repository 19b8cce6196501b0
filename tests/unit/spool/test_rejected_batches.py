"""The file of rejected batches is bounded, so that predictions which Postgres refuses cannot fill the disk."""

import sqlite3
from pathlib import Path

import pytest

from tidemark.spool import rejected_batches
from tidemark.spool.rejected_batches import keep

COLUMN_COUNT = 12  # columns of a batch in a spool: its number, its count, and those of its predictions
BATCH_BYTES = 100_000


def batch(number: int) -> list[object]:
    return [number, 10, "m:1", b"\0" * BATCH_BYTES, *[None] * (COLUMN_COUNT - 4)]


def stored(path: Path) -> list[int]:
    with sqlite3.connect(path) as connection:
        return [number for (number,) in connection.execute("SELECT seq FROM rejected ORDER BY seq")]


def test_no_batch_is_stored_in_a_file_that_has_reached_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "0192.spool"
    rejected = spool.with_suffix(rejected_batches.SUFFIX)
    monkeypatch.setattr(rejected_batches, "MAX_BYTES", 10 * BATCH_BYTES)
    for number in range(30):
        keep(spool, batch(number), "refused")
    assert stored(rejected) == list(range(10))
    assert rejected.stat().st_size < 11.5 * BATCH_BYTES
