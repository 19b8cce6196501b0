"""The forwarder: moves spooled predictions to Postgres and deletes them once they are committed there."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Engine

from ..store import log_sweep
from ..store.errors import is_unavailable, reason
from . import adoption
from .destination import Destination
from .pending_rows import PendingRows
from .rejections import DAMAGED, OTHER_INSTALLATION, UNREADABLE, rejection_reason
from .spool import Spool

ROWS = 10_000  # approximate rows of one COPY
INTERVAL = 0.25  # seconds between polls of the spool
BUSY_RATE = 1000  # predictions a second from which the spool is polled less often: a COPY costs 4 ms in any case
BUSY_INTERVAL = 1.0  # seconds between polls of the spool of a busy server
MAX_BACKOFF = 10.0  # seconds between attempts while the database is unavailable
ADOPTION = 30.0  # seconds between searches for spools of dead workers
SWEEP = 2.0  # seconds between sweeps for rows and labels without a position
STOP = 8.0  # seconds that `stop` may take: orchestrators kill a process after ten or thirty

logger = logging.getLogger(__name__)


class Forwarder(threading.Thread):
    """Copies a spool's rows to Postgres in order; a database that is unavailable only makes the spool grow.

    A batch that Postgres refuses is set aside in a file next to the spool, and counted; it holds nothing back. Neither
    does the spool of a dead worker that cannot be forwarded.

    Parameters
    ----------
    spool : Spool
        The worker's own.
    engine : Engine
        Where the rows go.
    count : Callable[[str, int], None]
        Called with ("rows", n) after a commit and ("failures", 1) after a failed attempt.
    count_rejected : Callable[[str, int], None]
        Called with a reason and a number of predictions that are not forwarded for it.
    retention_days : int or None
        Older predictions are set aside instead of making their day again; None forwards any.
    """

    def __init__(
        self,
        spool: Spool,
        engine: Engine,
        count: Callable[[str, int], None] = lambda _name, _n: None,
        count_rejected: Callable[[str, int], None] = lambda _reason, _n: None,
        retention_days: int | None = None,
    ) -> None:
        super().__init__(name="forwarder", daemon=True)
        self._spool = spool
        self._destination = Destination(engine, retention_days)
        self._count = count
        self._count_rejected = count_rejected
        self._stopping = threading.Event()
        self._skipped: set[Path] = set()  # spools of other installations, each counted once

    def run(self) -> None:
        pause, idle, swept = INTERVAL, ADOPTION, SWEEP
        failing = False
        while not self._stopping.wait(pause):
            try:
                rows = self.drain(self._spool)
                idle, swept = idle + pause, swept + pause
                if swept >= SWEEP:
                    swept = 0.0
                    with self._destination.engine.begin() as connection:
                        log_sweep.sweep(connection)
                if idle >= ADOPTION:
                    idle = 0.0
                    self.adopt(self._spool.path.parent)
                if failing:
                    logger.info("forwarding again")
                pause, failing = pause_after(rows, pause), False
            except Exception as error:  # the thread must outlive whatever happens: predictions wait in the spool
                if not is_unavailable(error):
                    logger.exception("forwarding failed, predictions wait in the spool")
                elif not failing:
                    logger.warning("database unavailable, predictions wait in the spool: %s", reason(error))
                self._failed()
                pause, failing = min(2 * pause, MAX_BACKOFF), True

    def stop(self) -> None:
        """End the thread and forward what is left, as far as the database takes it within `STOP` seconds; the next
        process to start adopts the rest."""
        deadline = time.monotonic() + STOP
        self._stopping.set()
        if self.ident is not None:
            self.join(STOP)
        if self.is_alive():
            logger.warning("a COPY still runs; the next process forwards %d predictions", self._spool.pending)
            return
        try:
            for _ in self._chunks(self._spool):
                if time.monotonic() > deadline:
                    break
        except Exception as error:  # a shutdown goes on whatever happens: the rows are on the disk
            logger.warning("not all could be forwarded: %s", reason(error))
        if self._spool.pending:
            logger.warning("%d predictions stay in the spool for the next process", self._spool.pending)

    def drain(self, spool: Spool) -> int:
        """Forward all that is pending now; what comes in meanwhile waits for the next time, to make one large COPY.

        Returns
        -------
        int
            How many predictions there were.
        """
        return sum(self._chunks(spool))

    def adopt(self, folder: Path) -> None:
        """Forward the spools of workers that are gone; one that fails holds no other back."""
        for orphan in adoption.adopt(folder):
            try:
                if self._belongs(orphan):
                    if orphan.pending:
                        logger.info("adopted %d predictions of a worker that is gone", orphan.pending)
                    for _ in self._chunks(orphan):
                        self.drain(self._spool)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    logger.warning("spool %s cannot be forwarded now: %s", orphan.path, error)
                else:
                    logger.error("spool %s is damaged and set aside: %s", orphan.path, error)
                    self._count_rejected(DAMAGED, orphan.pending)
                    orphan.set_damaged()
            except Exception as error:
                if is_unavailable(error):
                    raise
                logger.exception("spool %s cannot be forwarded, others are", orphan.path)
            finally:
                orphan.close()

    def _chunks(self, spool: Spool) -> Iterator[int]:
        """Forward what is pending, one COPY a turn; yield its number of predictions."""
        more = True
        while more:
            rows = spool.peek(ROWS)
            for seq in rows.unreadable:
                self._set_aside(spool, seq, UNREADABLE, "its columns do not fit together")
            if rows.batches:
                self._forward(spool, rows)
                yield rows.count
            more = rows.more

    def _forward(self, spool: Spool, rows: PendingRows) -> None:
        """Write rows; where they are refused, write one batch at a time and set aside each that is refused alone."""
        try:
            self._write(spool, rows)
            return
        except Exception as error:
            if rejection_reason(error) is None:
                raise
        while (one := spool.peek(1)).last and one.last <= rows.last:
            try:
                self._write(spool, one)
            except Exception as error:
                if (cause := rejection_reason(error)) is None:
                    raise
                self._set_aside(spool, one.last, cause, reason(error))

    def _belongs(self, orphan: Spool) -> bool:
        """Check whether an orphan's rows belong into this database."""
        if orphan.installation in (None, self._destination.identity()):
            return True
        if orphan.path not in self._skipped:
            self._skipped.add(orphan.path)
            self._count_rejected(OTHER_INSTALLATION, orphan.pending)
            logger.error(
                "spool %s has %d predictions of another database and stays as it is: start a server on that database, "
                "or delete the file",
                orphan.path,
                orphan.pending,
            )
        return False

    def _write(self, spool: Spool, rows: PendingRows) -> None:
        self._destination.write(spool, rows)
        self._count("rows", rows.count)

    def _set_aside(self, spool: Spool, seq: int, cause: str, detail: str) -> None:
        count = spool.set_aside(seq, cause)
        self._count_rejected(cause, count)
        logger.error("%d predictions are not forwarded, they are set aside next to the spool: %s", count, detail)

    def _failed(self) -> None:
        """Count a failure; after it the database may be another one."""
        self._count("failures", 1)
        self._destination.forget()


def pause_after(rows: int, pause: float) -> float:
    """Return the seconds until the next poll, after one that found predictions which had come in `pause` seconds."""
    return BUSY_INTERVAL if rows >= BUSY_RATE * pause else INTERVAL
