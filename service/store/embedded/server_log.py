"""The log file of the embedded server: bounded in size, and read for the reason of a failed start."""

import os
import shutil
from pathlib import Path

MAX_BYTES = 10_000_000  # bytes from which the log is set aside
LAST_LINES = 50  # lines at the end of the log in which the reason of a failed start is searched


def is_large(log: Path) -> bool:
    """Return whether the log is to be set aside."""
    return log.exists() and log.stat().st_size > MAX_BYTES


def bound(log: Path) -> None:
    """Set a large log aside, in place of the one that was set aside before, and empty it; the server appends to it.

    A disk without room for the copy gets room.
    """
    if not is_large(log):
        return
    earlier = log.with_suffix(".old")
    try:
        shutil.copyfile(log, earlier)
    except OSError:
        earlier.unlink(missing_ok=True)
    os.truncate(log, 0)


def last_error(log: Path) -> str:
    """Return the newest line that names an error, or else the newest line."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    except OSError as error:
        return f"no log ({error.strerror})"
    errors = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error" in line.lower()]
    return (errors or lines or ["no reason given"])[-1].strip()
