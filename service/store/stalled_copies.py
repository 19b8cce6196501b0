"""Sessions of ours that have stopped within a COPY: their process hangs, or the network swallows what it sends.

Postgres itself ends a session that is idle in a transaction; one that waits for the next row of a COPY counts as
active for it, however long. Until it ends, it keeps its spool's writer locked, partitions from being dropped, and
Postgres from removing old versions of rows.
"""

import time
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text

STALLED_AFTER = 30.0  # seconds without another byte, after which a COPY counts as stalled; a usual one takes far less
COPIES = text(
    """
    SELECT a.pid, a.xact_start::text AS started, c.bytes_processed
    FROM pg_stat_progress_copy c JOIN pg_stat_activity a ON a.pid = c.pid
    WHERE c.datname = current_database() AND c.command = 'COPY FROM' AND a.wait_event = 'ClientRead'
        AND a.application_name = current_setting('application_name') AND a.usename = current_user
    """
)
TERMINATE = text(
    """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = :pid AND xact_start::text = :started AND usename = current_user
    """
)


class _Copy(NamedTuple):
    pid: int
    started: str


@dataclass(frozen=True)
class _Progress:
    bytes_processed: int
    since: float


class StalledCopies:
    """Observes the COPYs of sessions of this program and role, and ends those that make no progress."""

    def __init__(self) -> None:
        self._progress: dict[_Copy, _Progress] = {}

    def end(self, connection: Connection) -> int:
        """Compare each COPY with the last call, and return how many sessions were ended."""
        now = time.monotonic()
        progress: dict[_Copy, _Progress] = {}
        for pid, started, bytes_processed in connection.execute(COPIES):
            copy = _Copy(pid, started)
            before = self._progress.get(copy)
            if before is None or before.bytes_processed != bytes_processed:
                before = _Progress(bytes_processed, now)
            progress[copy] = before
        self._progress = progress
        stalled = [copy for copy, last in progress.items() if now - last.since >= STALLED_AFTER]
        return sum(len(connection.execute(TERMINATE, copy._asdict()).all()) for copy in stalled)
