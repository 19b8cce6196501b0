"""The database that spooled predictions go to: what a forwarder remembers of it, and the write."""

import datetime as dt
import logging
from uuid import UUID

from sqlalchemy import Engine

from ..model_key import ModelKey
from ..store import installation_id, log_writer, models
from ..store.predictions import ensure_partitions
from ..store.raw_connection import raw
from .pending_rows import PendingRows
from .rejections import EXPIRED, UNKNOWN_MODEL, UnforwardableError
from .spool import ModelFile, Spool

DAYS_AHEAD = 3  # days whose partitions are made before they are needed

logger = logging.getLogger(__name__)


class Destination:
    """A database with the log, its models' ids and its partitions remembered from one write to the next.

    Parameters
    ----------
    engine : Engine
        The database.
    retention_days : int or None
        Older predictions are refused instead of making their day again; None accepts any.
    """

    def __init__(self, engine: Engine, retention_days: int | None) -> None:
        self.engine = engine
        self._retention = None if retention_days is None else dt.timedelta(days=retention_days)
        self._installation: UUID | None = None
        self._model_ids: dict[str, int] = {}
        self._partitions: set[dt.date] = set()

    def write(self, spool: Spool, rows: PendingRows) -> None:
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
            with self.engine.begin() as connection:
                ensure_partitions(raw(connection), days)
        with self.engine.begin() as connection:
            log_writer.write(raw(connection), spool.identity, rows.batches, self._model_ids, spool.pending - rows.count)
        self._partitions = {day for day in self._partitions | days if day >= today}  # retention may drop the others
        spool.discard(rows.last)

    def _missing_models(self, spool: Spool, names: set[str]) -> dict[str, int]:
        """Return the ids of models; one that the database has lost is registered again as the spool knows it."""
        if not names:
            return {}
        with self.engine.begin() as connection:
            registered = {row.name: row for row in models.load_registered(connection) if row.name in names}
            spool.record_models({name: ModelFile(row.sha256, row.labels) for name, row in registered.items()})
            ids = {name: row.id for name, row in registered.items()}
            lost = spool.registered_models() if names - ids.keys() else {}
            for full_name in names - ids.keys():
                if full_name not in lost:
                    raise UnforwardableError(UNKNOWN_MODEL)
                ids[full_name] = models.register(connection, *ModelKey.parse(full_name), *lost[full_name])
                logger.warning("model %s was unknown to the database and is registered again", full_name)
        return ids

    def _pin(self, spool: Spool) -> None:
        """Let the spool belong to the installation that takes its rows."""
        identity = self.identity()
        if spool.installation != identity:
            if spool.installation is not None:
                logger.warning("the database belongs to another installation now: predictions are written there")
            spool.installation = identity

    def identity(self) -> UUID:
        """Return which installation the database belongs to."""
        if self._installation is None:
            with self.engine.connect() as connection:
                self._installation = installation_id.identity(connection)
        return self._installation

    def forget(self) -> None:
        """Forget what was read of the database: after a failure it may be another one."""
        self._partitions.clear()
        self._model_ids.clear()
        self._installation = None
