"""The latest batches of a spool in memory, so that the forwarder need not read them back from the file.

SQLite gives up Python's lock for each row that it reads. A forwarder that reads thousands of them beside an event loop
would make each request wait once for that lock.
"""

from collections import deque

from .pending_rows import SpooledBatch

MAX_BYTES = 16_000_000  # bytes of predictions in memory; a forwarder that lags behind more reads them from the file


class RecentBatches:
    """Batches in the order in which they were appended; none of them are left once they exceed `MAX_BYTES`.

    It is not safe for threads: the spool's lock guards it.
    """

    def __init__(self) -> None:
        self.clear()

    @property
    def predictions(self) -> int:
        """The number of predictions in memory."""
        return self._predictions

    def append(self, batch: SpooledBatch) -> None:
        """Add the batch that the file has just taken."""
        self._batches.append(batch)
        self._predictions += batch.predictions
        self._bytes += batch.nbytes
        if self._bytes > MAX_BYTES:
            self.clear()

    def discard(self, last: int) -> None:
        """Drop the batches up to and including `last`."""
        while self._batches and self._batches[0].seq <= last:
            batch = self._batches.popleft()
            self._predictions -= batch.predictions
            self._bytes -= batch.nbytes

    def clear(self) -> None:
        """Drop all batches."""
        self._batches: deque[SpooledBatch] = deque()
        self._predictions = self._bytes = 0

    def to_list(self) -> list[SpooledBatch]:
        """Return the batches, the oldest first."""
        return list(self._batches)
