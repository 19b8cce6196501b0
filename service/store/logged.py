"""Predictions on their way to their rows: a batch as columns, and the binary COPY that they become."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .prediction_id import ID_BYTES, LATEST, uuids

HALF = np.dtype("<f2")  # of embeddings and probabilities on disk
SINGLE = np.dtype("<f4")  # of image properties and confidences
LABEL = np.dtype("<i4")
UNTAGGED = b"{}"

COPIED = (
    "id, at, model_id, label, confidence, probabilities, embedding, properties, corrected, writer_id, number, "
    "tags, thumbnail"
)
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # of a binary COPY, https://www.postgresql.org/docs/current/sql-copy.html
TRAILER = b"\xff\xff"
POSTGRES_EPOCH = 946_684_800_000  # milliseconds: 2000-01-01
EPOCH = dt.date(1970, 1, 1).toordinal()
DAY = 86_400_000  # milliseconds
NULL = -1  # length of a field
JSONB_VERSION = b"\x01"


@dataclass(frozen=True, slots=True)
class Logged:
    """Predictions of one model, a row each, as they are logged."""

    model: str  # name:version
    ids: bytes  # of m UUIDs, version 7, one after the other
    labels: NDArray[np.int32]  # (m,), the predicted classes
    confidences: NDArray[np.float32]  # (m,)
    probabilities: NDArray[np.float16]  # (m, k)
    embeddings: NDArray[np.float16]  # (m, d)
    properties: NDArray[np.float32] | None  # (m, p)
    tags: Sequence[bytes] | None = None  # a JSON object each
    corrected: NDArray[np.float16] | None = None  # (m, k), the probabilities at other class proportions
    thumbnails: Sequence[bytes] | None = None  # an encoded image each

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def uuids(self) -> list[UUID]:
        """The ids."""
        return uuids(self.ids)

    @property
    def milliseconds(self) -> NDArray[np.int64]:
        """The times (m,) inside the ids, in milliseconds of the Unix epoch."""
        octets = np.frombuffer(self.ids, np.uint8).reshape(-1, ID_BYTES)[:, :6].astype(np.int64)
        return np.minimum(octets @ (1 << np.arange(40, -1, -8, dtype=np.int64)), LATEST)

    def after(self, count: int) -> "Logged":
        """Return the predictions without the first `count`."""

        def rest(column: Any) -> Any:
            return None if column is None else column[count:]

        return Logged(
            self.model,
            self.ids[count * ID_BYTES :],
            *map(rest, (self.labels, self.confidences, self.probabilities, self.embeddings, self.properties)),
            *map(rest, (self.tags, self.corrected, self.thumbnails)),
        )

    @property
    def days(self) -> set[dt.date]:
        """The days (UTC) that the predictions were made on."""
        return {dt.date.fromordinal(EPOCH + int(day)) for day in np.unique(self.milliseconds // DAY)}

    def copied(self, model_id: int, writer_id: int, first_number: int) -> bytes:
        """Return the rows of a binary COPY of the columns `COPIED`, numbered from `first_number` on."""
        m = len(self)
        columns = [
            np.frombuffer(self.ids, f"V{ID_BYTES}"),
            ((self.milliseconds - POSTGRES_EPOCH) * 1000).astype(">i8"),
            np.full(m, model_id, ">i4"),
            self.labels.astype(">i4"),
            self.confidences.astype(">f4"),
            *map(_bytea, (self.probabilities, self.embeddings, self.properties, self.corrected)),
            np.full(m, writer_id, ">i4"),
            np.arange(first_number, first_number + m).astype(">i8"),
        ]
        kinds: list[tuple[str, Any]] = [("fields", ">i2")]
        for place, column in enumerate(columns):
            kinds += [(f"length{place}", ">i4"), (f"value{place}", "V0" if column is None else column.dtype)]
        heads = np.zeros(m, kinds)
        heads["fields"] = len(columns) + 2  # tags and thumbnail follow
        for place, column in enumerate(columns):
            heads[f"length{place}"] = NULL if column is None else column.itemsize
            if column is not None:
                heads[f"value{place}"] = column
        if self.tags is None and self.thumbnails is None:
            return _with_ending(heads, _field(JSONB_VERSION + UNTAGGED) + _field(None))
        tags = repeat(UNTAGGED, m) if self.tags is None else self.tags
        thumbnails = repeat(None, m) if self.thumbnails is None else self.thumbnails
        data, width = memoryview(heads.tobytes()), heads.itemsize
        parts: list[memoryview | bytes] = []
        for row, (tag, thumbnail) in enumerate(zip(tags, thumbnails, strict=True)):
            parts += data[row * width : (row + 1) * width], _field(JSONB_VERSION + tag), _field(thumbnail)
        return b"".join(parts)


def logged(
    model: str,
    ids: bytes,
    probabilities: NDArray[np.floating],
    embeddings: NDArray[np.floating],
    properties: NDArray[np.floating] | None = None,
    tags: Sequence[bytes] | None = None,
    corrected: NDArray[np.floating] | None = None,
    thumbnails: Sequence[bytes] | None = None,
) -> Logged:
    """Return predictions as they are logged: the likeliest class is the predicted one."""
    m = len(probabilities)
    labels = probabilities.argmax(axis=1)
    return Logged(
        model,
        ids,
        labels.astype(LABEL),
        probabilities[np.arange(m), labels].astype(SINGLE),
        probabilities.astype(HALF),
        halved(embeddings),
        None if properties is None else properties.astype(SINGLE),
        tags,
        None if corrected is None else corrected.astype(HALF),
        thumbnails,
    )


def halved(embeddings: NDArray[np.floating]) -> NDArray[np.float16]:
    """Return embeddings in half precision, what that cannot hold cut to what it can."""
    limit = np.finfo(HALF).max
    halves: NDArray[np.float16] = np.clip(embeddings, -limit, limit).astype(HALF)
    return halves


def _bytea(matrix: NDArray[Any] | None) -> NDArray[np.void] | None:
    """Return the rows of a matrix as their bytes."""
    if matrix is None:
        return None
    rows: NDArray[np.void] = np.ascontiguousarray(matrix).view(f"V{matrix.shape[1] * matrix.itemsize}")[:, 0]
    return rows


def _with_ending(rows: NDArray[np.void], ending: bytes) -> bytes:
    """Return rows (m,) of one length with the same ending each: without a loop over them, which takes the GIL."""
    whole = np.empty((len(rows), rows.itemsize + len(ending)), np.uint8)
    whole[:, : rows.itemsize] = rows.view(np.uint8).reshape(len(rows), -1)
    whole[:, rows.itemsize :] = np.frombuffer(ending, np.uint8)
    return whole.tobytes()


def _field(value: bytes | None) -> bytes:
    """Return a field whose length differs from row to row."""
    return NULL.to_bytes(4, "big", signed=True) if value is None else len(value).to_bytes(4, "big") + value
