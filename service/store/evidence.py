"""The evidence of streams over time, for charts: a bounded number of points each."""

import datetime as dt
from collections.abc import Sequence
from typing import TypedDict

from sqlalchemy import Connection, text

from .label_evidence_json import Point
from .tables import evidence_points

MAX_POINTS = 2000  # points of a stream's evidence that are kept
NEWEST = text(
    """
    SELECT s.id, p.at, p.position, p.evidence
    FROM unnest(CAST(:ids AS int[])) AS s (id)
    CROSS JOIN LATERAL (
        SELECT at, position, evidence FROM evidence_points
        WHERE stream_id = s.id ORDER BY position DESC LIMIT :limit
    ) p
    ORDER BY s.id, p.position
    """
)


class PointValues(TypedDict):
    """A point of a stream's evidence that is written."""

    stream_id: int
    position: int
    at: dt.datetime
    evidence: float
    threshold: float


def newest(connection: Connection, stream_ids: Sequence[int], limit: int) -> dict[int, list[Point]]:
    """Return the newest points of streams, oldest first, by the stream's id."""
    points: dict[int, list[Point]] = {}
    for row in connection.execute(NEWEST, {"ids": list(stream_ids), "limit": limit}):
        points.setdefault(row.id, []).append((row.at.isoformat(), row.position, row.evidence))
    return points


def up_to(connection: Connection, stream_id: int, position: int, limit: int) -> list[Point]:
    """Return the newest points of a stream up to a number of its predictions, oldest first."""
    e = evidence_points.c
    query = evidence_points.select().with_only_columns(e.at, e.position, e.evidence)
    query = query.where(e.stream_id == stream_id, e.position <= position).order_by(e.position.desc()).limit(limit)
    return [(row.at.isoformat(), row.position, row.evidence) for row in connection.execute(query)][::-1]


def add(connection: Connection, points: Sequence[PointValues]) -> None:
    """Append points of evidence, or replace those of the same positions."""
    if not points:
        return
    statement = text(
        """
        INSERT INTO evidence_points (stream_id, position, at, evidence, threshold)
        VALUES (:stream_id, :position, :at, :evidence, :threshold)
        ON CONFLICT (stream_id, position) DO UPDATE SET at = excluded.at, evidence = excluded.evidence,
            threshold = excluded.threshold
        """
    )
    connection.execute(statement, list(points))


def trim(connection: Connection, stream_id: int) -> None:
    """Drop the oldest points of a stream beyond MAX_POINTS."""
    e = evidence_points.c
    newest = evidence_points.select().with_only_columns(e.position).where(e.stream_id == stream_id)
    first_dropped = newest.order_by(e.position.desc()).offset(MAX_POINTS).limit(1).scalar_subquery()
    connection.execute(evidence_points.delete().where(e.stream_id == stream_id, e.position <= first_dropped))
