"""Predictions of a model in the order of their positions, as arrays; rows that cannot be watched are counted."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray

from .logged import HALF, SINGLE
from .prediction_id import ID_BYTES, uuids

SUM_TOLERANCE = 0.02  # largest error of probabilities and of their sum: float16 and quantised models round
POSTGRES_EPOCH = 946_684_800_000_000  # microseconds of the Unix epoch: 2000-01-01, from which Postgres counts
NULL_LENGTH = -1  # bytes of the properties of a prediction that has none

EXPIRED = "expired"  # reason: the retention has dropped the row
WIDTH = "width"  # reason: the embedding or the probabilities have another length than the model's
NOT_FINITE = "not_finite"  # reason: a value is infinite, or no number
NOT_PROBABILITIES = "not_probabilities"  # reason: a value lies outside of 0..1, or the sum is not 1


@dataclass(frozen=True, eq=False)
class PredictionBatch:
    """Predictions of a model in the order of their positions.

    `first` and `last` are the positions that were read, those of rejected predictions included: reading continues after
    `last`, also where no prediction of the batch can be used.
    """

    first: int
    last: int
    positions: NDArray[np.int64]  # (m,)
    ids: NDArray[np.uint8]  # (m, 16)
    times: NDArray[np.int64]  # (m,) microseconds of the Unix epoch
    embeddings: NDArray[np.float32]  # (m, d)
    probabilities: NDArray[np.float32]  # (m, k)
    properties: NDArray[np.float32] | None  # (m, p), NaN in rows without; None where no row has any
    tags: Sequence[Mapping[str, str]]  # m of them
    rejected: Mapping[str, int]  # predictions that cannot be watched, by reason

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def uuids(self) -> list[UUID]:
        """The ids as objects."""
        return uuids(self.ids.tobytes())

    def time(self, row: int) -> dt.datetime:
        """Return the moment of a prediction."""
        return dt.datetime.fromtimestamp(int(self.times[row]) / 1e6, tz=dt.UTC)

    @property
    def span(self) -> tuple[dt.datetime, dt.datetime]:
        """The moments of the earliest and of the latest prediction."""
        first, last = (int(moment) / 1e6 for moment in (self.times.min(), self.times.max()))
        return dt.datetime.fromtimestamp(first, tz=dt.UTC), dt.datetime.fromtimestamp(last, tz=dt.UTC)

    @property
    def complete_properties(self) -> NDArray[np.float32] | None:
        """The image properties (m, p) where every prediction has them, else None."""
        return None if self.properties is None or np.isnan(self.properties).any() else self.properties

    def with_rejected(self, more: Mapping[str, int]) -> "PredictionBatch":
        """Return the batch with more predictions counted as rejected."""
        names = sorted({*self.rejected, *more})
        return replace(self, rejected={name: self.rejected.get(name, 0) + more.get(name, 0) for name in names})

    def select(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "PredictionBatch":
        """Return some of the predictions; what was read and rejected stays as it is."""
        index = np.arange(len(self))[rows]
        return PredictionBatch(
            self.first,
            self.last,
            self.positions[index],
            self.ids[index],
            self.times[index],
            self.embeddings[index],
            self.probabilities[index],
            None if self.properties is None else self.properties[index],
            [self.tags[row] for row in index.tolist()],
            self.rejected,
        )


@dataclass(frozen=True)
class Columns:
    """The columns of predictions as Postgres joins them, None where there is no row."""

    total: int  # rows, those of another width included
    count: int  # rows that the columns hold
    positions: bytes | None
    ids: bytes | None
    times: bytes | None
    embeddings: bytes | None
    probabilities: bytes | None
    property_lengths: bytes | None
    properties: bytes | None
    tags: str | None  # a JSON array


def batch_of(columns: Columns, span: tuple[int, int], embedding_size: int, classes: int) -> PredictionBatch:
    """Return columns as a batch that covers a span of positions, without the rows that cannot be watched."""
    m = columns.count
    batch = PredictionBatch(
        *span,
        positions=np.frombuffer(columns.positions or b"", ">i8").astype(np.int64),
        ids=np.frombuffer(columns.ids or b"", np.uint8).reshape(m, ID_BYTES),
        times=np.frombuffer(columns.times or b"", ">i8").astype(np.int64) + POSTGRES_EPOCH,
        embeddings=np.frombuffer(columns.embeddings or b"", HALF).astype(np.float32).reshape(m, embedding_size),
        probabilities=np.frombuffer(columns.probabilities or b"", HALF).astype(np.float32).reshape(m, classes),
        properties=_properties(columns.property_lengths or b"", columns.properties or b""),
        tags=_tags(columns.tags, m),
        rejected={WIDTH: columns.total - m} if columns.total > m else {},
    )
    if np.any(np.diff(batch.positions) < 0):  # Postgres joins values in the order in which it meets the rows
        batch = batch.select(np.argsort(batch.positions, kind="stable"))
    return _reject_invalid(batch)


def skipped_batch(first: int, last: int, reason: str, embedding_size: int, classes: int) -> PredictionBatch:
    """Return a batch that covers a span of positions without a prediction, and counts all of them as rejected."""
    columns = Columns(0, 0, None, None, None, None, None, None, None, None)
    return batch_of(columns, (first, last), embedding_size, classes).with_rejected({reason: last - first + 1})


def join_batches(parts: Sequence[PredictionBatch]) -> PredictionBatch:
    """Return batches that follow each other as one."""
    if len(parts) == 1:
        return parts[0]
    batch = PredictionBatch(
        parts[0].first,
        parts[-1].last,
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        _joined_properties(parts),
        [tags for part in parts for tags in part.tags],
        {},
    )
    for part in parts:
        batch = batch.with_rejected(part.rejected)
    return batch


def _joined_properties(parts: Sequence[PredictionBatch]) -> NDArray[np.float32] | None:
    """Return the properties of all parts: NaN for a part that has none, or fewer than the one with the most."""
    width = max((part.properties.shape[1] for part in parts if part.properties is not None), default=None)
    if width is None:
        return None
    columns = []
    for part in parts:
        if part.properties is not None and part.properties.shape[1] == width:
            columns.append(part.properties)
        else:
            columns.append(np.full((len(part), width), np.nan, np.float32))
    return np.concatenate(columns)


def _reject_invalid(batch: PredictionBatch) -> PredictionBatch:
    """Return a batch without the predictions that cannot be watched, which are counted."""
    finite = np.isfinite(batch.embeddings.sum(axis=1)) & np.isfinite(batch.probabilities.sum(axis=1))
    low, high = batch.probabilities.min(axis=1, initial=0), batch.probabilities.max(axis=1, initial=1)
    valid = (
        (low >= -SUM_TOLERANCE)
        & (high <= 1 + SUM_TOLERANCE)
        & (np.abs(batch.probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE)
    )
    is_valid_row = finite & valid
    if is_valid_row.all():
        return batch
    rejected = {NOT_FINITE: int((~finite).sum()), NOT_PROBABILITIES: int((finite & ~valid).sum())}
    return batch.select(is_valid_row).with_rejected({name: count for name, count in rejected.items() if count})


def _properties(packed_lengths: bytes, data: bytes) -> NDArray[np.float32] | None:
    """Return image properties (m, p) of which each row has as many bytes as the lengths say.

    Rows of another number of properties than the most have none: another version of the model measured others.
    """
    lengths = np.frombuffer(packed_lengths, ">i4").astype(np.int64)
    present = lengths[lengths != NULL_LENGTH]
    if not len(present):
        return None
    sizes, counts = np.unique(present, return_counts=True)
    size = int(sizes[counts.argmax()])
    properties = np.full((len(lengths), size // SINGLE.itemsize), np.nan, np.float32)
    if len(sizes) == 1:
        properties[lengths == size] = np.frombuffer(data, SINGLE).reshape(len(present), -1)
        return properties
    stops = np.cumsum(np.where(lengths == NULL_LENGTH, 0, lengths))
    for row in np.flatnonzero(lengths == size).tolist():
        properties[row] = np.frombuffer(data[stops[row] - size : stops[row]], SINGLE)
    return properties


def _tags(text: str | None, count: int) -> Sequence[Mapping[str, str]]:
    if text is None or len(text) == 3 * count + 1:  # "{}" with a comma each: no row has any
        return [{}] * count
    tags: list[dict[str, str]] = orjson.loads(text)
    return tags
