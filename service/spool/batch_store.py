"""Where a spool's pending batches are: the latest in its ring, older ones in its SQLite file."""

import logging
import sqlite3
from contextlib import suppress
from pathlib import Path

from . import file, ring
from .pending_rows import SpooledBatch
from .ring import Ring
from .unmeasured_images import with_properties

MOVED_BATCHES = 64  # batches that move from a full ring to the SQLite file in one transaction

logger = logging.getLogger(__name__)


class BatchStore:
    """Batches in the order of their numbers; all in the ring are later than all in the file.

    It is not safe for threads: the spool's lock guards it.

    Parameters
    ----------
    connection : sqlite3.Connection
        The SQLite file.
    latest : Ring
        The ring, empty.

    Attributes
    ----------
    pending : int
        The number of predictions that are not yet discarded.
    """

    def __init__(self, connection: sqlite3.Connection, latest: Ring) -> None:
        self._connection = connection
        self._ring = latest
        self.pending = file.predictions(connection)

    @classmethod
    def of_new_spool(cls, connection: sqlite3.Connection, spool: Path, sync: str) -> "BatchStore":
        """Return the store of a spool that takes batches; what must survive a power cut goes to the SQLite file."""
        latest = Ring.without_room(spool)
        if sync == "normal":
            try:
                latest = Ring.create(spool)
                if file.is_disk_full(spool.parent):
                    latest.close()
                    latest = Ring.without_room(spool)
            except OSError as error:
                logger.warning("predictions are logged more slowly, in the SQLite file alone: %s", error)
        return cls(connection, latest)

    @classmethod
    def of_adopted_spool(cls, connection: sqlite3.Connection, spool: Path) -> "BatchStore":
        """Return the store of a spool that takes no batches; what its ring holds is moved to the SQLite file."""
        if latest := ring.pending_batches(spool):
            file.insert(connection, with_properties(latest))
        ring.path_of(spool).unlink(missing_ok=True)
        return cls(connection, Ring.without_room(spool))

    @property
    def nbytes(self) -> int:
        """The size of what is pending, in bytes on disk."""
        return file.content_bytes(self._connection) + self._ring.nbytes

    def append(self, batch: SpooledBatch) -> None:
        """Add a batch to the ring, whose oldest ones make room for it; one that is larger goes to the SQLite file.

        Raises
        ------
        sqlite3.Error
            The file takes no batches: all is left as it was.
        """
        self._put(batch)
        self.pending += batch.predictions

    def latest(self) -> list[SpooledBatch] | None:
        """Return all batches, from memory; None if there are some in the SQLite file, all of which are older."""
        return self._ring.oldest() if self._ring.predictions == self.pending else None

    def discard(self, last: int) -> bool:
        """Delete the batches up to and including `last`; return whether the SQLite file has changed."""
        in_file = self.pending - self._ring.predictions
        deleted = file.delete(self._connection, "seq <= ?", last) if in_file else 0
        self.pending -= deleted + self._ring.discard(last)
        return in_file > 0

    def delete(self, seq: int) -> None:
        """Delete one batch of the SQLite file."""
        self.pending -= file.delete(self._connection, "seq = ?", seq)

    def move(self, last: int) -> None:
        """Move the batches up to and including `last` from the ring to the SQLite file."""
        self._move([batch for batch in self._ring.oldest() if batch.seq <= last])

    def close(self) -> None:
        """Move all batches to the SQLite file, and remove the ring; it stays if that is not possible."""
        with suppress(sqlite3.Error):
            self._move(self._ring.oldest())
        self._ring.close()

    def _put(self, batch: SpooledBatch) -> None:
        while not self._ring.append(batch):
            if not self._ring.predictions:
                file.insert(self._connection, with_properties([batch]))
                return
            self._move(self._ring.oldest(MOVED_BATCHES))

    def _move(self, batches: list[SpooledBatch]) -> None:
        if batches:
            file.insert(self._connection, with_properties(batches))
            self._ring.discard(batches[-1].seq)
