"""Predictions on their way to their rows: a batch as columns."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .prediction_id import ID_BYTES, LATEST, uuids

HALF = np.dtype("<f2")  # type of stored embeddings and probabilities
HALF_LIMIT = np.finfo(HALF).max  # largest value that half precision holds
SINGLE = np.dtype("<f4")  # type of stored image properties and confidences
LABEL = np.dtype("<i4")  # type of stored classes
EPOCH = dt.date(1970, 1, 1).toordinal()
DAY = 86_400_000  # milliseconds of a day


@dataclass(frozen=True, slots=True)
class Logged:
    """Predictions of one model, a row each, as they are logged."""

    model: str  # name:version
    ids: bytes  # the bytes of m UUIDs, version 7, one after the other
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
        first_halves = np.frombuffer(self.ids, ">u8")[::2]
        return np.minimum((first_halves >> 16).astype(np.int64), LATEST)

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
    return Logged(
        model,
        ids,
        probabilities.argmax(axis=1).astype(LABEL),
        probabilities.max(axis=1).astype(SINGLE, copy=False),
        probabilities.astype(HALF),
        halved(embeddings),
        None if properties is None else properties.astype(SINGLE, copy=False),
        tags,
        None if corrected is None else corrected.astype(HALF),
        thumbnails,
    )


def halved(embeddings: NDArray[np.floating]) -> NDArray[np.float16]:
    """Return embeddings in half precision, what that cannot hold cut to what it can."""
    halves: NDArray[np.float16] = np.minimum(np.maximum(embeddings, -HALF_LIMIT), HALF_LIMIT).astype(HALF)
    return halves
