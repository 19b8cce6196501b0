"""The forwarder: moves spooled predictions to Postgres and forgets them once they are committed there."""

import datetime as dt
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from psycopg import Connection as RawConnection
from psycopg import Error as DriverError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..store import log_sweep, log_writer, models
from ..store.predictions import ensure_partitions
from .spool import PendingRows, Spool

ROWS = 5000  # of one COPY, about
INTERVAL = 0.25  # seconds between looks at the spool
MAX_BACKOFF = 10.0  # seconds between attempts while the database is away
ADOPTION = 30.0  # seconds between looks for spools of dead workers
SWEEP = 2.0  # seconds between sweeps for rows and labels without a position
DAYS_AHEAD = 3  # partitions made before they are needed

AWAY = (DBAPIError, PoolTimeout, DriverError)

logger = logging.getLogger(__name__)


class Forwarder(threading.Thread):
    """Copies a spool's rows to Postgres in order; a database that is away only makes the spool grow.

    Parameters
    ----------
    spool : the worker's own.
    engine : where the rows go.
    count : called with ("rows", n) after a commit and ("failures", 1) after a failed attempt.
    """

    def __init__(
        self, spool: Spool, engine: Engine, count: Callable[[str, int], None] = lambda _name, _n: None
    ) -> None:
        super().__init__(name="forwarder", daemon=True)
        self._spool = spool
        self._engine = engine
        self._count = count
        self._stopping = threading.Event()
        self._model_ids: dict[str, int] = {}
        self._partitions: set[dt.date] = set()

    def run(self) -> None:
        backoff, idle, swept = INTERVAL, ADOPTION, SWEEP
        while not self._stopping.wait(backoff):
            try:
                self.drain(self._spool)
                idle += backoff
                if idle >= ADOPTION:
                    idle = 0.0
                    self._adopt(self._spool.path.parent)
                swept += backoff
                if swept >= SWEEP:
                    swept = 0.0
                    with self._engine.begin() as connection:
                        log_sweep.sweep(connection)
                if backoff != INTERVAL:
                    logger.info("forwarding again")
                backoff = INTERVAL
            except AWAY as error:
                if backoff == INTERVAL:
                    logger.warning("database away, predictions wait in the spool: %s", _reason(error))
                self._failed()
                backoff = min(2 * backoff, MAX_BACKOFF)
            except Exception:
                logger.exception("forwarding failed, predictions wait in the spool")
                self._failed()
                backoff = MAX_BACKOFF

    def stop(self) -> None:
        """End the thread and forward what is left, as far as the database takes it."""
        self._stopping.set()
        self.join()
        try:
            self.drain(self._spool)
        except AWAY as error:
            logger.warning("%d predictions stay in the spool: %s", self._spool.pending, _reason(error))

    def drain(self, spool: Spool) -> None:
        """Forward all that is pending now; what comes in meanwhile waits for the next time, to make one large COPY."""
        more = True
        while more:
            rows = spool.peek(ROWS)
            if rows.count:
                self._write(spool, rows)
                spool.discard(rows.last)
                self._count("rows", rows.count)
            more = rows.count >= ROWS

    def _write(self, spool: Spool, rows: PendingRows) -> None:
        batches = [batch.predictions for batch in rows.batches]
        today = dt.datetime.now(dt.UTC).date()
        days = {today + dt.timedelta(days=n) for n in range(DAYS_AHEAD + 1)}.union(*(batch.days for batch in batches))
        with self._engine.begin() as connection:
            raw = cast("RawConnection[Any]", connection.connection.driver_connection)
            if not days <= self._partitions:
                ensure_partitions(raw, days)
            if not {batch.model for batch in batches} <= self._model_ids.keys():
                self._model_ids = models.ids(connection)
            log_writer.write(raw, spool.identity, rows.batches, self._model_ids, spool.pending - rows.count)
        self._partitions = {day for day in self._partitions | days if day >= today}  # retention may drop the others

    def _failed(self) -> None:
        """Count it, and take nothing for granted of the database that is found next."""
        self._count("failures", 1)
        self._partitions.clear()
        self._model_ids.clear()

    def _adopt(self, folder: Path) -> None:
        for orphan in Spool.adopt(folder):
            if orphan.pending:
                logger.info("adopted %d predictions of a worker that is gone", orphan.pending)
            try:
                self.drain(orphan)
            finally:
                orphan.close()


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().partition("\n")[0]
