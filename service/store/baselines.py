"""Traffic that was accepted as normal: who accepted which span of a stream, why, and its arrays."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike, NDArray
from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from .arrays import pack, unpack
from .tables import baselines, streams

AcceptedPart = Literal["mix", "images", "all"]  # the class proportions of a change, its images, or both

MAX_BASELINES = 10  # baselines of a stream that are kept, the newest; each holds some megabytes of traffic
b = baselines.c
SUMMARY = (
    b.id, b.stream_id, b.reference_id, b.what, b.since, b.until, b.rows, b.accepted_by, b.note, b.created_at,
)  # fmt: skip


@dataclass(frozen=True)
class Baseline:
    """An accepted baseline without its arrays."""

    id: int
    stream_id: int
    reference_id: int
    what: AcceptedPart
    since: dt.datetime
    until: dt.datetime
    rows: int
    accepted_by: str
    note: str
    created_at: dt.datetime


@dataclass(frozen=True)
class AcceptedTraffic:
    """The traffic of a baseline in its own order: ids (n, 16), embeddings (n, d), probabilities (n, k), and where known
    properties (n, p) and tags as `encode_tags` gives them; and the calibration of the detector against it, once it is
    stored."""

    what: AcceptedPart
    arrays: dict[str, NDArray[Any]]
    calibration: dict[str, NDArray[Any]] | None


@dataclass(frozen=True)
class BaselineDraft:
    """Traffic that is about to become the baseline of a stream.

    Parameters
    ----------
    what : {"mix", "images", "all"}
        Which part of the change is normal from now on.
    span : pair of datetime
        From the first to the last prediction.
    arrays : mapping
        ids (n, 16), embeddings (n, d), probabilities (n, k), and where known properties (n, p), tags as `encode_tags`
        gives them, and `share`, the share of the predictions of the span that they are.
    accepted_by, note : str
        The person, key or remedy that it comes from, and why.
    """

    what: AcceptedPart
    span: tuple[dt.datetime, dt.datetime]
    arrays: Mapping[str, NDArray[Any]]
    accepted_by: str
    note: str


def save(connection: Connection, stream_id: int, reference_id: int, draft: BaselineDraft) -> Baseline:
    """Store a baseline, which becomes the stream's current one, and drop the oldest beyond MAX_BASELINES."""
    values = {
        "stream_id": stream_id,
        "reference_id": reference_id,
        "what": draft.what,
        "since": draft.span[0],
        "until": draft.span[1],
        "rows": len(draft.arrays["embeddings"]),
        "arrays": pack(draft.arrays),
        "accepted_by": draft.accepted_by,
        "note": draft.note,
    }
    row = connection.execute(insert(baselines).values(values).returning(*SUMMARY)).one()
    newest = select(b.id).where(b.stream_id == stream_id).order_by(b.id.desc()).limit(MAX_BASELINES)
    connection.execute(delete(baselines).where(b.stream_id == stream_id, b.id.not_in(newest)))
    return Baseline(**row._asdict())


def current(connection: Connection, stream_id: int) -> Baseline | None:
    """Return the baseline that a stream is compared with, or None where that is its reference."""
    row = connection.execute(_current().where(b.stream_id == stream_id)).one_or_none()
    return None if row is None else Baseline(**row._asdict())


def current_of_all(connection: Connection) -> dict[int, Baseline]:
    """Return the current baseline of every stream that has one, by the stream's id."""
    return {row.stream_id: Baseline(**row._asdict()) for row in connection.execute(_current())}


def has_note(connection: Connection, stream_id: int, reference_id: int, note: str, withdrawn_by: str) -> bool:
    """Check whether a stream has or had a baseline of its reference with a note, also one that was undone, unless by
    `withdrawn_by`."""
    query = select(b.id).where(b.stream_id == stream_id, b.reference_id == reference_id, b.note == note)
    query = query.where(b.undone_by.is_distinct_from(withdrawn_by))
    return connection.execute(query.limit(1)).first() is not None


def load(connection: Connection, baseline_id: int) -> AcceptedTraffic:
    """Return the accepted traffic of a baseline."""
    query = select(b.what, b.arrays, b.calibration).where(b.id == baseline_id)
    row = connection.execute(query).one()
    return AcceptedTraffic(row.what, unpack(row.arrays), unpack(row.calibration) if row.calibration else None)


def save_calibration(connection: Connection, baseline_id: int, calibration: Mapping[str, ArrayLike]) -> None:
    """Store the detector's calibration against a baseline with it."""
    connection.execute(update(baselines).where(b.id == baseline_id).values(calibration=pack(calibration)))


def undo(connection: Connection, stream_id: int, by: str, at: dt.datetime) -> Baseline | None:
    """Undo the current baseline of a stream and return it; the one before it, else the reference, takes its place."""
    baseline = current(connection, stream_id)
    if baseline is not None:
        connection.execute(update(baselines).where(b.id == baseline.id).values(undone_at=at, undone_by=by))
    return baseline


def _current() -> Select[Any]:
    """Return the query for the newest baseline of each stream that is not undone and is of the stream's reference."""
    return (
        select(*SUMMARY)
        .ext(distinct_on(b.stream_id))
        .join(streams, (streams.c.id == b.stream_id) & (streams.c.reference_id == b.reference_id))
        .where(b.undone_at.is_(None))
        .order_by(b.stream_id, b.id.desc())
    )
