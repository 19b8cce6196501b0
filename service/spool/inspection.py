"""The spool as seen from another process: read without a lock, so that the server goes on."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..polling import wait_until
from . import rejected_batches
from .file import DAMAGED, SUFFIX, is_disk_full, open_to_read
from .ring import pending_batches

PROGRESS_SECONDS = 3.0  # time in which a server that reaches its database forwards the oldest prediction
PAUSE = 0.25  # seconds between two readings of the oldest prediction


@dataclass(frozen=True)
class SpoolState:
    """The content of a spool folder.

    Parameters
    ----------
    files, pending : int
        The number of spool files, and of the predictions in them that are not forwarded yet.
    problem, advice : str, optional
        What is wrong and what to do about it.
    """

    files: int
    pending: int
    problem: str | None = None
    advice: str = ""


def inspect(folder: Path) -> SpoolState:
    """Return the state of the spool in a folder; where predictions wait, check for some seconds that they move on."""
    if not folder.is_dir():
        return _missing(folder)
    files = sorted(folder.glob(f"*{SUFFIX}"))
    try:
        pending = sum(map(pending_predictions, files))
    except (OSError, sqlite3.Error) as error:
        return SpoolState(len(files), 0, f"a file in {folder} cannot be read: {error}", "see the server's log")
    if not os.access(folder, os.W_OK):
        return SpoolState(len(files), pending, f"{folder} cannot be written", "give the server's user the right to")
    if is_disk_full(folder):
        advice = "free some space: /predict answers 503 until then"
        return SpoolState(len(files), pending, f"the disk of {folder} is full", advice)
    if damaged := sorted(folder.glob(f"*{DAMAGED}")):
        names = ", ".join(path.name for path in damaged)
        advice = "its predictions cannot be read; move the file elsewhere once you have what you need of it"
        return SpoolState(len(files), pending, f"damaged: {names}", advice)
    if rejected := sorted(folder.glob(f"*{rejected_batches.SUFFIX}")):
        names = ", ".join(path.name for path in rejected)
        advice = "the column `reason` of their table says why; delete the files once that is settled"
        return SpoolState(len(files), pending, f"Postgres refused predictions, set aside in {names}", advice)
    if pending and not _is_forwarding(files):
        advice = "start the server (`tidemark serve`), or see in its log why it does not reach the database"
        problem = f"{pending} predictions wait, and none was forwarded in {PROGRESS_SECONDS:.0f} s"
        return SpoolState(len(files), pending, problem, advice)
    return SpoolState(len(files), pending)


def _missing(folder: Path) -> SpoolState:
    parent = next((path for path in folder.parents if path.is_dir()), folder.anchor)
    if os.access(parent, os.W_OK):
        return SpoolState(0, 0)
    return SpoolState(0, 0, f"{folder} cannot be made", "set TIDEMARK_DATA_DIR to a folder that can be written")


def _is_forwarding(files: list[Path]) -> bool:
    """Check whether the oldest prediction of every file is forwarded within PROGRESS_SECONDS."""
    oldest = {path: first for path in files if (first := _first(path)) is not None}

    def are_forwarded() -> bool:
        for path in [path for path, first in oldest.items() if _first(path) != first]:
            del oldest[path]
        return not oldest

    return wait_until(are_forwarded, PROGRESS_SECONDS, PAUSE)


def pending_predictions(path: Path) -> int:
    """Return how many predictions of a spool file are not forwarded yet."""
    latest = pending_batches(path)  # first, for batches move from the ring to the SQLite file
    last = _scalar(path, "SELECT max(seq) FROM batches") or 0
    older = _scalar(path, "SELECT coalesce(sum(count), 0) FROM batches") or 0
    return older + sum(batch.predictions for batch in latest if batch.seq > last)


def _first(path: Path) -> int | None:
    """Return the number of the oldest batch of a spool, None if it is empty."""
    latest = pending_batches(path)
    oldest = _scalar(path, "SELECT min(seq) FROM batches")
    return latest[0].seq if oldest is None and latest else oldest


def _scalar(path: Path, query: str) -> int | None:
    """Return the one value of a query; a file that has been removed or is still empty has none."""
    try:
        with closing(open_to_read(path)) as connection:
            value: int | None = connection.execute(query).fetchone()[0]
            return value
    except sqlite3.OperationalError:
        if path.exists() and path.stat().st_size:
            raise
        return None
