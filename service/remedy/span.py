"""A span of logged traffic with the reference that it is compared with: the input of every remedy."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ..drift import Reference
from ..drift.samples import Sample
from ..errors import TidemarkError
from ..store import feedback, predictions, references, streams, traffic

UNKNOWN = -1  # the label of a prediction without feedback
MIN_ROWS = 200
MAX_ROWS = 5_000  # newest predictions of the span that are read
THUMBNAILS = 8


@dataclass(frozen=True, eq=False)
class Span:
    """Predictions of a stream between two times, in commit order; of more than 5,000 the newest."""

    stream: str  # model:version, with the slice where it has one
    since: dt.datetime
    until: dt.datetime
    reference: Reference
    sample: Sample  # embeddings (m, d), probabilities (m, k), properties (m, p) or None
    ids: tuple[UUID, ...]
    labels: NDArray[np.int64]  # (m,) what feedback said, UNKNOWN elsewhere
    sha256: str  # SHA-256 of the model file that predicted
    thumbnails: tuple[bytes, ...] = ()  # encoded images of the newest predictions, where the log has them

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """The mask (m,) of predictions with a fed-back label."""
        return np.asarray(self.labels != UNKNOWN)


def load(connection: Connection, stream: str, since: dt.datetime, until: dt.datetime) -> Span:
    """Read a span from Postgres.

    Raises
    ------
    TidemarkError
        No such stream, no reference, too few predictions, or predictions that do not fit the reference.
    """
    row, reference_id = streams.with_reference(connection, stream)
    reference = Reference.from_arrays(references.load(connection, reference_id))
    width = reference.embeddings.shape[1]
    batch = traffic.between(connection, row, since, until, MAX_ROWS, width)
    count = 0 if batch is None else len(batch)
    if batch is None or count < MIN_ROWS:
        raise TidemarkError(f"{count} predictions of {stream} in that span; at least {MIN_ROWS} are needed")
    try:
        sample = reference.check(batch.embeddings, batch.probabilities, batch.complete_properties)
    except ValueError as error:
        raise TidemarkError(f"the span of {stream} does not fit its reference: {error}") from None
    ids = batch.uuids
    labels_by_id = feedback.labels_of(connection, ids)
    labels = np.array([labels_by_id.get(key, UNKNOWN) for key in ids], dtype=np.int64)
    thumbnails = tuple(predictions.thumbnails(connection, ids[-THUMBNAILS:]))
    return Span(stream, since, until, reference, sample, tuple(ids), labels, row.model_sha256, thumbnails)
