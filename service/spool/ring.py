"""The latest batches of a spool, in a file of fixed size that is mapped into memory.

Writing a batch copies it: no system call, where SQLite makes seven, writes a page and computes its checksum. The batch
outlives the process, however that ends, because the kernel holds the pages; a power cut it may not outlive.
"""

import mmap
import os
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .encoding import Columns
from .pending_rows import SpooledBatch

SUFFIX = ".ring"  # suffix appended to the name of the SQLite file
RING_BYTES = 16 * 1024 * 1024  # size of the file; batches that find no room there are in the SQLite file
SLOT = 64  # bytes; a record begins at a multiple of it, so that the records of a file can be listed
MARK = b"\xf5TM2"  # first bytes of a record
FIRST = Struct("@Q")  # start of the file: number of the oldest batch, native and aligned to be written in one store
SEED = Struct(
    "<8xI"
)  # after that: a random number that all checksums begin with, so that no content passes for a record
PREFIX = Struct("<4sI")  # start of a record: mark, and CRC-32 of what follows
FIELDS = Struct("<QIQQQ11i")  # then the numbers of a `SpooledBatch`, and the length of each part, -1 where it is None
HEAD = np.dtype(
    [
        *(("mark", "S4"), ("checksum", "<u4"), ("seq", "<u8"), ("predictions", "<u4"), ("first_number", "<u8")),
        *(("at_from", "<u8"), ("at_to", "<u8"), ("lengths", "<i4", 11)),
    ]
)  # the same as an array reads it


class Ring:
    """Batches in the order in which they were appended, each in the file and in this process's memory.

    It is not safe for threads: the spool's lock guards it.

    Attributes
    ----------
    predictions, nbytes : int
        The number of predictions, and the bytes of their records.
    """

    def __init__(self, path: Path, memory: mmap.mmap | bytearray) -> None:
        self.path = path
        self.predictions = self.nbytes = 0
        self._memory = memory
        self._seed = _seed(memory)
        # Each batch, where its record begins, and its size.
        self._places: deque[tuple[SpooledBatch, int, int]] = deque()
        self._end = SLOT  # where the next record begins if there is room

    @classmethod
    def create(cls, spool: Path) -> "Ring":
        """Make the empty ring of a spool file, whose space on the disk is taken now, so that writing cannot fail later.

        Raises
        ------
        OSError
            The disk has no room for it.
        """
        path = path_of(spool)
        with path.open("x+b") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, RING_BYTES)
                os.pwrite(stream.fileno(), os.urandom(SEED.size - FIRST.size), FIRST.size)
                return cls(path, mmap.mmap(stream.fileno(), RING_BYTES))
            except OSError:
                path.unlink()
                raise

    @classmethod
    def without_room(cls, spool: Path) -> "Ring":
        """Return a ring that has no file and takes no batch."""
        return cls(path_of(spool), bytearray())

    def append(self, batch: SpooledBatch) -> bool:
        """Add a batch; return False, and leave all as it is, where there is no room for it."""
        record = _record(batch, self._seed)
        start = self._room(len(record))
        if start is None:
            return False
        if not self._places:
            FIRST.pack_into(self._memory, 0, batch.seq)
        size = len(record)
        end = start + size
        self._memory[start:end] = record
        self._end = end + -end % SLOT
        self._places.append((batch, start, size))
        self.predictions += batch.predictions
        self.nbytes += size
        return True

    def discard(self, last: int) -> int:
        """Drop the batches up to and including `last`; return how many predictions they held."""
        before = self.predictions
        while self._places and self._places[0][0].seq <= last:
            batch, _, size = self._places.popleft()
            self.predictions -= batch.predictions
            self.nbytes -= size
            FIRST.pack_into(self._memory, 0, batch.seq + 1)
        return before - self.predictions

    def oldest(self, count: int | None = None) -> list[SpooledBatch]:
        """Return the oldest batches, all by default."""
        return [batch for batch, _, _ in islice(self._places, count)]

    def close(self) -> None:
        """Release the memory and remove the file if nothing is left in it."""
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()
            if not self._places:
                self.path.unlink(missing_ok=True)

    def _room(self, size: int) -> int | None:
        """Return where a record may begin, or None."""
        if not self._places:
            return SLOT if SLOT + size <= len(self._memory) else None
        start, oldest = self._end, self._places[0][1]
        if start > oldest:  # the free space is after the latest record and before the oldest
            if start + size <= len(self._memory):
                return start
            start = SLOT
        return start if start + size <= oldest else None


def path_of(spool: Path) -> Path:
    """Return the file of a spool's ring."""
    return Path(f"{spool}{SUFFIX}")


def pending_batches(spool: Path, times: Sequence[int] | None = None) -> list[SpooledBatch]:
    """Return what is pending in the ring of a spool file, the oldest first; nothing where it has no ring.

    Any process may read it, also while the spool's own writes: a record that changes meanwhile is left out.

    Parameters
    ----------
    times : sequence of int, optional
        Sorted moments in milliseconds of the Unix epoch; only batches that span one of them are returned.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    try:
        data = path_of(spool).read_bytes()
    except FileNotFoundError:
        return []
    if len(data) < SLOT:
        return []
    starts, heads = _heads(data)
    selected = heads["seq"] >= FIRST.unpack_from(data)[0]
    if times is not None:
        moments = np.array(times)
        first, last = moments.searchsorted(heads["at_from"]), moments.searchsorted(heads["at_to"], "right")
        selected &= first < last
    batches = _whole_batches(data, starts[selected].tolist(), heads[selected].tolist(), _seed(data))
    return sorted(batches, key=lambda batch: batch.seq)


def _seed(data: bytes | bytearray | mmap.mmap) -> int:
    return int(SEED.unpack_from(data)[0]) if len(data) >= SLOT else 0


def _record(batch: SpooledBatch, seed: int = 0) -> bytes:
    model, *columns = batch.columns
    parts = [model.encode(), *columns, batch.images]
    lengths = [-1 if part is None else len(part) for part in parts]
    body = b"".join((FIELDS.pack(*batch[:5], *lengths), *filter(None, parts)))
    return PREFIX.pack(MARK, crc32(body, seed)) + body


def _heads(data: bytes) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return where records may begin, and what the heads there hold."""
    slots = np.frombuffer(data, "S4", len(data) // SLOT * (SLOT // 4))[:: SLOT // 4]
    starts = np.flatnonzero(slots == MARK) * SLOT
    starts = starts[starts <= len(data) - HEAD.itemsize]
    octets = np.frombuffer(data, np.uint8)[starts[:, None] + np.arange(HEAD.itemsize)]
    return starts, octets.view(HEAD)[:, 0]


def _whole_batches(
    data: bytes, starts: Sequence[int], heads: Sequence[tuple[Any, ...]], seed: int
) -> Iterator[SpooledBatch]:
    for start, (_, checksum, seq, predictions, first_number, at_from, at_to, lengths) in zip(
        starts, heads, strict=True
    ):
        ends = np.cumsum([start + HEAD.itemsize, *np.maximum(lengths, 0)]).tolist()
        if crc32(data[start + PREFIX.size : ends[-1]], seed) != checksum:
            continue
        parts: list[Any] = [
            None if length < 0 else data[begin:end]
            for length, begin, end in zip(lengths, ends[:-1], ends[1:], strict=True)
        ]
        columns = Columns(parts[0].decode(), *parts[1:-1])
        yield SpooledBatch(seq, predictions, first_number, at_from, at_to, columns, parts[-1])
