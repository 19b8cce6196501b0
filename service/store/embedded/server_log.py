"""The log file of the embedded server: bounded in size, and read for the reason of a failed start."""

from pathlib import Path

MAX_BYTES = 10_000_000  # bytes of the log that are carried over a start
LAST_LINES = 50  # lines at the end of the log in which the reason of a failed start is searched


def bound(log: Path) -> None:
    """Move a log that is too large out of the way; it replaces the one that was moved before."""
    if log.exists() and log.stat().st_size > MAX_BYTES:
        log.replace(log.with_suffix(".old"))


def last_error(log: Path) -> str:
    """Return the newest line that names an error, or else the newest line."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    except OSError as error:
        return f"no log ({error.strerror})"
    errors = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error" in line.lower()]
    return (errors or lines or ["no reason given"])[-1].strip()
