"""The spool as seen from another process: read without a lock, so that the server goes on."""

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .spool import DAMAGED, MIN_FREE_BYTES

PROGRESS_SECONDS = 3.0  # in which a server that reaches its database forwards the oldest prediction that waits
PAUSE = 0.25  # seconds between two readings of the oldest prediction
BUSY_TIMEOUT = 5.0  # seconds that a reading waits for the server


@dataclass(frozen=True)
class SpoolState:
    """What waits in a spool folder.

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
    files = sorted(folder.glob("*.sqlite"))
    try:
        pending = sum(_pending(path) for path in files)
    except sqlite3.Error as error:
        return SpoolState(len(files), 0, f"a file in {folder} cannot be read: {error}", "see the server's log")
    disk = os.statvfs(folder)
    if not os.access(folder, os.W_OK):
        return SpoolState(len(files), pending, f"{folder} cannot be written", "give the server's user the right to")
    if disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
        advice = "free some space: /predict answers 503 until then"
        return SpoolState(len(files), pending, f"the disk of {folder} is full", advice)
    if damaged := sorted(folder.glob(f"*{DAMAGED}")):
        names = ", ".join(path.name for path in damaged)
        advice = "its predictions cannot be read; move the file elsewhere once you have what you need of it"
        return SpoolState(len(files), pending, f"damaged: {names}", advice)
    if pending and not _moves_on(files):
        advice = "start the server (`tidemark serve`), or see in its log why it does not reach the database"
        problem = f"{pending} predictions wait, and none was forwarded in {PROGRESS_SECONDS:.0f} s"
        return SpoolState(len(files), pending, problem, advice)
    return SpoolState(len(files), pending)


def _missing(folder: Path) -> SpoolState:
    parent = next((path for path in folder.parents if path.is_dir()), folder.anchor)
    if os.access(parent, os.W_OK):
        return SpoolState(0, 0)
    return SpoolState(0, 0, f"{folder} cannot be made", "set TIDEMARK_DATA_DIR to a folder that can be written")


def _moves_on(files: list[Path]) -> bool:
    """Check whether the oldest prediction of every file is forwarded within PROGRESS_SECONDS."""
    waiting = {path: first for path in files if (first := _first(path)) is not None}
    until = time.monotonic() + PROGRESS_SECONDS
    while waiting and time.monotonic() < until:
        time.sleep(PAUSE)
        waiting = {path: first for path, first in waiting.items() if _first(path) == first}
    return not waiting


def _pending(path: Path) -> int:
    return int(_scalar(path, "SELECT coalesce(sum(count), 0) FROM batches") or 0)


def _first(path: Path) -> int | None:
    return _scalar(path, "SELECT min(seq) FROM batches")


def _scalar(path: Path, query: str) -> int | None:
    """Return the one value of a query; a file that has been removed or is still empty has none."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT)) as connection:
            value: int | None = connection.execute(query).fetchone()[0]
            return value
    except sqlite3.OperationalError:
        if path.exists() and path.stat().st_size:
            raise
        return None
