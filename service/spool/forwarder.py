"""The forwarder: moves spooled predictions to Postgres and deletes them once they are committed there."""

import datetime as dt
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine

from ..store import installation, log_sweep, log_writer, models
from ..store.errors import is_refused, is_unavailable, original_error, reason, sqlstate
from ..store.predictions import ensure_partitions
from ..store.raw_connection import raw
from .pending_rows import PendingRows
from .spool import ModelFile, Spool

ROWS = 5000  # approximate rows of one COPY
INTERVAL = 0.25  # seconds between polls of the spool
MAX_BACKOFF = 10.0  # seconds between attempts while the database is unavailable
ADOPTION = 30.0  # seconds between searches for spools of dead workers
SWEEP = 2.0  # seconds between sweeps for rows and labels without a position
STOP = 8.0  # seconds that `stop` may take: orchestrators kill a process after ten or thirty
DAYS_AHEAD = 3  # partitions made before they are needed

NOT_OF_A_ROW = (  # SQLSTATE of refusals that the next attempt resolves
    "23503",  # foreign key: the model was deleted
    "23505",  # unique: another process took the same positions, where Postgres was told to isolate transactions more
    "23514",  # check: the day has no partition yet
)
UNKNOWN_MODEL = "unknown_model"  # reason: the database does not know the model, nor does the spool
OTHER_INSTALLATION = "other_installation"  # reason: the spool belongs to another database; it stays as it is
EXPIRED = "expired"  # reason: older than the retention
UNREADABLE = "unreadable"  # reason: the columns of a batch do not fit together
DAMAGED = "damaged"  # reason: SQLite cannot read the file
REFUSED = "refused"  # reason: Postgres takes every other batch, but not this one

REJECTION_REASONS = (UNKNOWN_MODEL, OTHER_INSTALLATION, EXPIRED, UNREADABLE, DAMAGED, REFUSED)

logger = logging.getLogger(__name__)


class UnforwardableError(Exception):
    """Rows that no attempt can forward."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Forwarder(threading.Thread):
    """Copies a spool's rows to Postgres in order; a database that is unavailable only makes the spool grow.

    A batch that Postgres refuses is set aside in a file next to the spool, and counted; it holds nothing back. Neither
    does the spool of a dead worker that cannot be forwarded.

    Parameters
    ----------
    spool : the worker's own.
    engine : where the rows go.
    count : called with ("rows", n) after a commit and ("failures", 1) after a failed attempt.
    count_rejected : called with a reason and a number of predictions that are not forwarded for it.
    retention_days : older predictions are set aside instead of making their day again; None forwards any.
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
        self._engine = engine
        self._count = count
        self._count_rejected = count_rejected
        self._retention = None if retention_days is None else dt.timedelta(days=retention_days)
        self._stopping = threading.Event()
        self._installation: UUID | None = None
        self._model_ids: dict[str, int] = {}
        self._partitions: set[dt.date] = set()
        self._skipped: set[Path] = set()  # spools of other installations, each counted once

    def run(self) -> None:
        backoff, idle, swept = INTERVAL, ADOPTION, SWEEP
        while not self._stopping.wait(backoff):
            try:
                self.drain(self._spool)
                idle, swept = idle + backoff, swept + backoff
                if swept >= SWEEP:
                    swept = 0.0
                    with self._engine.begin() as connection:
                        log_sweep.sweep(connection)
                if idle >= ADOPTION:
                    idle = 0.0
                    self.adopt(self._spool.path.parent)
                if backoff != INTERVAL:
                    logger.info("forwarding again")
                backoff = INTERVAL
            except Exception as error:  # the thread must outlive whatever happens: predictions wait in the spool
                if not is_unavailable(error):
                    logger.exception("forwarding failed, predictions wait in the spool")
                elif backoff == INTERVAL:
                    logger.warning("database unavailable, predictions wait in the spool: %s", reason(error))
                self._failed()
                backoff = min(2 * backoff, MAX_BACKOFF)

    def stop(self) -> None:
        """End the thread and forward what is left, as far as the database takes it within `STOP` seconds; the next
        process to start adopts the rest."""
        deadline = time.monotonic() + STOP
        self._stopping.set()
        if self.ident is not None:
            self.join(STOP)
        if self.is_alive():
            logger.warning("a COPY goes on; the next process sees to %d predictions", self._spool.pending)
            return
        try:
            for _ in self._chunks(self._spool):
                if time.monotonic() > deadline:
                    break
        except Exception as error:  # a shutdown goes on whatever happens: the rows are on the disk
            logger.warning("not all could be forwarded: %s", reason(error))
        if self._spool.pending:
            logger.warning("%d predictions stay in the spool for the next process", self._spool.pending)

    def drain(self, spool: Spool) -> None:
        """Forward all that is pending now; what comes in meanwhile waits for the next time, to make one large COPY."""
        for _ in self._chunks(spool):
            pass

    def adopt(self, folder: Path) -> None:
        """Forward the spools of workers that are gone; one that fails holds no other back."""
        for orphan in Spool.adopt(folder):
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

    def _chunks(self, spool: Spool) -> Iterator[None]:
        """Forward what is pending, one COPY a turn."""
        more = True
        while more:
            rows = spool.peek(ROWS)
            for seq in rows.unreadable:
                self._set_aside(spool, seq, UNREADABLE, "its columns do not fit together")
            if rows.last:
                self._forward(spool, rows)
                yield
            more = rows.more

    def _forward(self, spool: Spool, rows: PendingRows) -> None:
        """Write rows; where they are refused, write one batch at a time and set aside those that are to blame."""
        try:
            self._write(spool, rows)
            return
        except Exception as error:
            if _blame(error) is None:
                raise
        while (one := spool.peek(1)).last and one.last <= rows.last:
            try:
                self._write(spool, one)
            except Exception as error:
                if (blame := _blame(error)) is None:
                    raise
                self._set_aside(spool, one.last, blame, reason(error))

    def _write(self, spool: Spool, rows: PendingRows) -> None:
        """Write rows in one transaction and delete them from the spool.

        Raises
        ------
        UnforwardableError
            The rows will never fit: their model is unknown, or they are older than the retention.
        """
        batches = [batch.predictions for batch in rows.batches]
        today = dt.datetime.now(dt.UTC).date()
        days: set[dt.date] = set().union(*(batch.days for batch in batches))
        if self._retention is not None and any(max(batch.days) < today - self._retention for batch in batches):
            raise UnforwardableError(EXPIRED)
        days |= {today + dt.timedelta(days=n) for n in range(DAYS_AHEAD + 1)}
        self._pin(spool)
        self._model_ids |= self._missing_models(spool, {batch.model for batch in batches} - self._model_ids.keys())
        if not days <= self._partitions:
            with self._engine.begin() as connection:
                ensure_partitions(raw(connection), days)
        with self._engine.begin() as connection:
            log_writer.write(raw(connection), spool.identity, rows.batches, self._model_ids, spool.pending - rows.count)
        self._partitions = {day for day in self._partitions | days if day >= today}  # retention may drop the others
        spool.discard(rows.last)
        self._count("rows", rows.count)

    def _missing_models(self, spool: Spool, names: set[str]) -> dict[str, int]:
        """Return the ids of models; one that the database has lost is registered again as the spool knows it."""
        if not names:
            return {}
        with self._engine.begin() as connection:
            registered = {row.name: row for row in models.registered(connection) if row.name in names}
            spool.record_models({name: ModelFile(row.sha256, row.labels) for name, row in registered.items()})
            ids = {name: row.id for name, row in registered.items()}
            lost = spool.registered_models() if names - ids.keys() else {}
            for full_name in names - ids.keys():
                if full_name not in lost:
                    raise UnforwardableError(UNKNOWN_MODEL)
                name, _, version = full_name.rpartition(":")
                ids[full_name] = models.register(connection, name, version, *lost[full_name])
                logger.warning("model %s was unknown to the database and is registered again", full_name)
        return ids

    def _pin(self, spool: Spool) -> None:
        """Let the spool belong to the installation that takes its rows."""
        identity = self._identity()
        if spool.installation != identity:
            if spool.installation is not None:
                logger.warning("the database was replaced by one of another installation: predictions go on there")
            spool.installation = identity

    def _belongs(self, orphan: Spool) -> bool:
        """Check whether an orphan's rows belong into this database."""
        if orphan.installation in (None, self._identity()):
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

    def _identity(self) -> UUID:
        if self._installation is None:
            with self._engine.connect() as connection:
                self._installation = installation.identity(connection)
        return self._installation

    def _set_aside(self, spool: Spool, seq: int, blame: str, detail: str) -> None:
        count = spool.set_aside(seq, blame)
        self._count_rejected(blame, count)
        logger.error("%d predictions are not forwarded, they are set aside next to the spool: %s", count, detail)

    def _failed(self) -> None:
        """Count a failure, and forget what was read of the database: it may be another one next time."""
        self._count("failures", 1)
        self._partitions.clear()
        self._model_ids.clear()
        self._installation = None


def _blame(error: Exception) -> str | None:
    """Return why rows themselves are to blame for an error, or None where they are not."""
    if isinstance(error, UnforwardableError):
        return error.reason
    if sqlstate(original_error(error)) in NOT_OF_A_ROW:
        return None
    return REFUSED if is_refused(error) or isinstance(error, ValueError) else None
