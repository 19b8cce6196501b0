"""The evidence of each stream over time, bounded in number, for charts."""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from .tables import evidence_points

MAX_POINTS = 2000  # of a stream
SPARE_POINTS = 200  # beyond MAX_POINTS before the oldest are deleted, so that not every point costs a deletion


class EvidencePoint(NamedTuple):
    """The evidence of a stream after a prediction."""

    at: dt.datetime
    position: int
    evidence: float  # nats
    threshold: float | None  # nats


def add(connection: Connection, stream_id: int, points: Sequence[EvidencePoint]) -> None:
    """Store points of a stream; a point at a position that has one is left out."""
    if points:
        rows = [{"stream_id": stream_id} | point._asdict() for point in points]
        connection.execute(insert(evidence_points).values(rows).on_conflict_do_nothing())


def recent(connection: Connection, stream_id: int, limit: int = MAX_POINTS) -> list[EvidencePoint]:
    """Return the newest points of a stream, oldest first."""
    c = evidence_points.c
    query = select(c.at, c.position, c.evidence, c.threshold).where(c.stream_id == stream_id)
    rows = connection.execute(query.order_by(c.position.desc()).limit(limit)).all()
    return [EvidencePoint(*row) for row in reversed(rows)]


def trim(connection: Connection, stream_id: int) -> int:
    """Delete the oldest points beyond MAX_POINTS once there are SPARE_POINTS of them; return how many."""
    c = evidence_points.c
    own = c.stream_id == stream_id
    count = connection.execute(select(func.count()).select_from(evidence_points).where(own)).scalar_one()
    if count <= MAX_POINTS + SPARE_POINTS:
        return 0
    bound = select(c.position).where(own).order_by(c.position.desc()).offset(MAX_POINTS - 1).limit(1)
    return int(connection.execute(delete(evidence_points).where(own, c.position < bound.scalar_subquery())).rowcount)
