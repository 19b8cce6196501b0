"""The spool: every prediction is in a file of this machine before its answer leaves."""

import json
import sqlite3
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple
from uuid import UUID

from ..errors import ConfigurationError, Overloaded
from ..inference.properties import ImageArrays
from ..store.logged import Logged
from ..store.prediction_id import time_span
from . import file, rejected_batches
from .batch_store import BatchStore
from .encoding import encode
from .pending_rows import SELECT, PendingRows, SpooledBatch, pending_rows
from .unmeasured_images import image_bytes, with_properties

LAST = "SELECT coalesce(max(seq), 0) FROM batches"
NUMBERS = "SELECT model, max(first_number + count) FROM batches GROUP BY model"
MAX_PEEK_BYTES = 64_000_000  # bytes of rows read at a time; several copies are made on the way to Postgres
CHECK_SECONDS = 0.1  # time between two checks of how full it is: one costs a fifth of an `append`
RETRY_AFTER = 5  # seconds after which a refused client may try again


class ModelFile(NamedTuple):
    """The registration of a model."""

    sha256: str
    labels: list[str]


class Spool:
    """One worker's spool file, or one that a dead worker left behind.

    A file belongs to the process that holds the lock next to it. The lock dies with the process, so that the next one
    to start can adopt the file (`adoption`): it forwards the rows and appends none. The rows of each model are numbered
    from 1 on; the numbers and the identity in the file tell Postgres which rows it has.

    Attributes
    ----------
    identity : UUID
        The identity of the file, wherever it is moved.
    """

    def __init__(
        self, path: Path, lock: IO[bytes], sync: str = "normal", max_bytes: int = 2_000_000_000, adopted: bool = False
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._sync = sync
        self._lock_file = lock
        self._check_at = 0.0
        self._moved_at = 0  # time in nanoseconds of the last write to the log, all of which the file has by now
        self._turn = threading.Lock()  # SQLite has one writer; waiting here beats polling its busy handler
        self._writer = file.open_file(path, sync)
        try:
            self._reader = file.open_file(path, sync)
            meta = file.prepare(self._writer)
            if adopted:
                self._batches = BatchStore.of_adopted_spool(self._writer, path)
            else:
                self._batches = BatchStore.of_new_spool(self._writer, path, sync)
            self._last_seq: int = self._writer.execute(LAST).fetchone()[0]  # never given again, as `discard` may wait
            self._next_numbers: dict[str, int] = dict(self._writer.execute(NUMBERS))
        except (sqlite3.Error, file.UnknownFormat):
            self._writer.close()
            raise
        self.identity = UUID(meta["spool"])
        self._installation = UUID(meta["installation"]) if "installation" in meta else None
        self._adopted = adopted
        self._failing = False  # whether the last write failed

    @classmethod
    def create(cls, folder: Path, sync: str = "normal", max_bytes: int = 2_000_000_000) -> "Spool":
        """Make a new, empty spool in `folder`.

        Raises
        ------
        ConfigurationError
            The folder cannot be written.
        """
        path = file.new_path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = file.lock(path)
            if lock is None:
                raise RuntimeError(f"a new spool is locked: {path}")
            return cls(path, lock, sync, max_bytes)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"TIDEMARK_DATA_DIR: cannot write the spool in {folder}: {error}") from None

    @property
    def pending(self) -> int:
        """The number of predictions that are not yet discarded."""
        return self._batches.pending

    @property
    def installation(self) -> UUID | None:
        """The installation whose database has taken rows of this spool; None before the first."""
        return self._installation

    @installation.setter
    def installation(self, identity: UUID) -> None:
        with self._turn:
            file.set_meta(self._writer, {"installation": str(identity)})
        self._installation = identity

    def registered_models(self) -> dict[str, ModelFile]:
        """Return the models, by name:version, as they were registered where rows of this spool went."""
        rows = self._reader.execute("SELECT key, value FROM meta WHERE key LIKE 'model:%'")
        return {key.removeprefix("model:"): ModelFile(**json.loads(value)) for key, value in rows}

    def record_models(self, models: Mapping[str, ModelFile]) -> None:
        """Store how models are registered, so that they can be registered again where a database has lost them."""
        values = {f"model:{name}": json.dumps(model._asdict()) for name, model in models.items()}
        with self._turn:
            file.set_meta(self._writer, values)

    def set_damaged(self) -> None:
        """Release an adopted file that SQLite cannot read any further, and rename it, so that nobody opens it again."""
        self._reader.close()
        self._writer.close()
        file.set_damaged(self.path)
        file.remove(self.path)
        self._lock_file.close()

    def append(self, batch: Logged, images: ImageArrays | None = None) -> None:
        """Commit predictions in one transaction.

        Parameters
        ----------
        images : ImageArrays or None
            Small images of the predictions, whose properties are measured later.

        Raises
        ------
        Overloaded
            The spool or its disk is full, or its file fails: none of the predictions is logged.
        """
        if self._adopted:
            raise RuntimeError("an adopted spool may have numbered rows that are gone from it")
        with self._turn:
            try:
                if time.monotonic() >= self._check_at:
                    if (reason := self._fullness()) is not None:
                        raise Overloaded(reason, retry_after=RETRY_AFTER)
                    self._check_at = time.monotonic() + CHECK_SECONDS
                number, seq = self._next_numbers.get(batch.model, 1), self._last_seq + 1
                unmeasured = None if images is None else image_bytes(images)
                span = time_span(batch.ids)
                self._batches.append(SpooledBatch(seq, len(batch), number, *span, encode(batch), unmeasured))
            except (sqlite3.Error, OSError) as error:
                self._failing = True
                raise Overloaded(f"the prediction log cannot be written: {error}", retry_after=RETRY_AFTER) from error
            self._failing = False
            self._last_seq = seq
            self._next_numbers[batch.model] = number + len(batch)

    def peek(self, limit: int) -> PendingRows:
        """Return the oldest predictions, at least `limit` if there are as many and not far more than `MAX_PEEK_BYTES`
        allow, in as few batches as their layouts allow; those of the SQLite file and of the ring not together."""
        with self._turn:
            latest = self._batches.latest()
        rows: list[SpooledBatch] = []
        count = size = 0
        with closing(self._stored() if latest is None else (batch for batch in latest)) as batches:
            while count < limit and size < MAX_PEEK_BYTES and (batch := next(batches, None)) is not None:
                count += batch.predictions
                size += batch.nbytes
                rows.append(batch)
        has_reached_limit = count >= limit or size >= MAX_PEEK_BYTES
        return pending_rows(with_properties(rows), more=has_reached_limit or (latest is None and count > 0))

    def _stored(self) -> Generator[SpooledBatch, None, None]:
        """Yield the batches of the SQLite file, the oldest first."""
        with closing(self._reader.execute(SELECT)) as cursor:
            yield from map(SpooledBatch.from_row, cursor)

    def discard(self, last: int) -> None:
        """Delete the batches up to and including `last`."""
        with self._turn:
            has_changed = self._batches.discard(last)
        if has_changed:
            self._reader.execute("PRAGMA wal_checkpoint(PASSIVE)")  # here, so that `append` finds little to check-point

    def checkpoint(self) -> None:
        """Move what waits in a long write-ahead log into the file; it is called again and again in a thread.

        An `append`, which may run in the event loop, would otherwise wait for the disk when Postgres has not taken rows
        for a while. The next `append` then cuts the log, whose content is in the file, or else the next call.
        """
        log = Path(f"{self.path}-wal").stat()
        if log.st_size < file.CHECKPOINT_BYTES:
            return
        with closing(file.open_file(self.path, self._sync)) as connection:
            if log.st_mtime_ns == self._moved_at:  # nothing was written since, so that this takes no time
                with self._turn:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return
            _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._moved_at = log.st_mtime_ns if pages == moved else 0

    def set_aside(self, seq: int, reason: str) -> int:
        """Move a batch to the spool's file of rejected ones; return its number of predictions."""
        with self._turn:
            self._batches.move(seq)
        row = self._reader.execute(rejected_batches.SELECT, (seq,)).fetchone()
        if row is None:
            return 0
        rejected_batches.keep(self.path, row, reason)
        with self._turn:
            self._batches.delete(seq)
        return int(row[1])

    def bytes(self) -> int:
        """Return the size of what is pending, in bytes on disk."""
        with self._turn:
            return self._batches.nbytes

    def close(self) -> None:
        """Release the file; remove it if nothing is left in it."""
        empty = not self.pending
        self._batches.close()
        self._reader.close()
        self._writer.close()
        if empty:
            file.remove(self.path)
        self._lock_file.close()

    def full(self) -> bool:
        """Check whether a prediction would be refused, by a write where the last one failed."""
        with self._turn:
            self._check_at = 0.0
            try:
                if self._failing:
                    file.set_meta(self._writer, {"checked": str(time.time())})
                    self._failing = self._writer.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok"
                return self._failing or self._fullness() is not None
            except (sqlite3.Error, OSError):
                return True

    def _fullness(self) -> str | None:
        if self._batches.nbytes > self.max_bytes:
            return f"the prediction log holds {self.max_bytes} bytes that the database has not taken"
        return "the disk of the prediction log is full" if file.is_disk_full(self.path.parent) else None
