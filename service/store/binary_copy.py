"""Writes predictions by a binary COPY that is put together with NumPy, without a Python object for each value.

References
----------
The format: https://www.postgresql.org/docs/current/sql-copy.html
"""

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor as RawCursor

from .logged import Logged
from .prediction_id import ID_BYTES

COPIED = (
    "id, at, model_id, label, confidence, probabilities, embedding, properties, corrected, writer_id, number, "
    "tags, thumbnail"
)
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # start of a binary COPY
TRAILER = b"\xff\xff"  # end of a binary COPY
POSTGRES_EPOCH = 946_684_800_000  # milliseconds from 1970 to 2000, where the times of Postgres begin
UNTAGGED = b"{}"  # tags of a prediction without tags
NULL = -1  # length of a field that is null
JSONB_VERSION = b"\x01"  # first byte of a binary jsonb


def copy_into(table: str, cursor: RawCursor[Any], rows: Iterable[bytes]) -> None:
    """Write rows of `encoded_rows` into a table that has the columns `COPIED`."""
    with cursor.copy(f"COPY {table} ({COPIED}) FROM STDIN (FORMAT BINARY)") as writer:
        writer.write(SIGNATURE)
        for part in rows:
            writer.write(part)
        writer.write(TRAILER)


def encoded_rows(predictions: Logged, model_id: int, writer_id: int, first_number: int) -> bytes:
    """Return predictions as rows of a binary COPY of the columns `COPIED`, numbered from `first_number` on."""
    m = len(predictions)
    columns = [
        np.frombuffer(predictions.ids, f"V{ID_BYTES}"),
        ((predictions.milliseconds - POSTGRES_EPOCH) * 1000).astype(">i8"),
        np.full(m, model_id, ">i4"),
        predictions.labels.astype(">i4"),
        predictions.confidences.astype(">f4"),
        *map(
            _bytea, (predictions.probabilities, predictions.embeddings, predictions.properties, predictions.corrected)
        ),
        np.full(m, writer_id, ">i4"),
        np.arange(first_number, first_number + m).astype(">i8"),
    ]
    kinds: list[tuple[str, Any]] = [("fields", ">i2")]
    for place, column in enumerate(columns):
        kinds += [(f"length{place}", ">i4"), (f"value{place}", "V0" if column is None else column.dtype)]
    is_uniform = predictions.tags is None and predictions.thumbnails is None
    ending = _field(JSONB_VERSION + UNTAGGED) + _field(None) if is_uniform else b""
    heads = np.zeros(m, [*kinds, ("ending", f"V{len(ending)}")])
    heads["fields"] = len(columns) + 2  # tags and thumbnail follow
    for place, column in enumerate(columns):
        heads[f"length{place}"] = NULL if column is None else column.itemsize
        if column is not None:
            heads[f"value{place}"] = column
    if is_uniform:
        heads["ending"] = np.void(ending)
        return heads.tobytes()
    tags = repeat(UNTAGGED, m) if predictions.tags is None else predictions.tags
    thumbnails = repeat(None, m) if predictions.thumbnails is None else predictions.thumbnails
    data, width = memoryview(heads.tobytes()), heads.itemsize
    parts: list[memoryview | bytes] = []
    for row, (tag, thumbnail) in enumerate(zip(tags, thumbnails, strict=True)):
        parts += data[row * width : (row + 1) * width], _field(JSONB_VERSION + tag), _field(thumbnail)
    return b"".join(parts)


def _bytea(matrix: NDArray[Any] | None) -> NDArray[np.void] | None:
    """Return the rows of a matrix as their bytes."""
    if matrix is None:
        return None
    rows: NDArray[np.void] = np.ascontiguousarray(matrix).view(f"V{matrix.shape[1] * matrix.itemsize}")[:, 0]
    return rows


def _field(value: bytes | None) -> bytes:
    """Return a field whose length differs from row to row."""
    return NULL.to_bytes(4, "big", signed=True) if value is None else len(value).to_bytes(4, "big") + value
