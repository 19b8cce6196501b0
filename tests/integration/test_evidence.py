"""The points of a stream's evidence, for its chart, are bounded in number."""

import datetime as dt

from sqlalchemy import Connection, Engine

from tests.support.monitoring import Installation
from tidemark.store import evidence, tables
from tidemark.store.evidence import PointValues

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def points(stream_id: int, count: int) -> list[PointValues]:
    return [
        {
            "stream_id": stream_id,
            "position": number,
            "at": START + dt.timedelta(seconds=number),
            "evidence": 1.0,
            "threshold": 2.0,
        }
        for number in range(count)
    ]


def positions(connection: Connection, stream_id: int) -> list[int]:
    return [position for _, position, _ in evidence.newest(connection, [stream_id], 10_000)[stream_id]]


def test_the_newest_two_thousand_points_of_a_stream_are_kept(engine: Engine, url: str) -> None:
    installation = Installation(engine, url)
    with engine.begin() as connection:
        statement = tables.streams.insert().values(model_id=installation.model_id, slice="camera=7")
        slice_id = connection.execute(statement.returning(tables.streams.c.id)).scalar_one()
        for stream_id in (installation.stream_id, slice_id):
            evidence.add(connection, points(stream_id, 2050))
        evidence.trim(connection, installation.stream_id)
        assert positions(connection, installation.stream_id) == list(range(50, 2050))
        assert positions(connection, slice_id) == list(range(2050))


def test_a_monitor_bounds_the_points_of_a_stream_at_each_checkpoint(engine: Engine, url: str) -> None:
    installation = Installation(engine, url)
    with engine.begin() as connection:
        evidence.add(
            connection,
            [{**point, "position": point["position"] - 5000} for point in points(installation.stream_id, 2050)],
        )
    installation.send(100)
    with engine.connect() as connection:
        stored = positions(connection, installation.stream_id)
    assert (len(stored), stored[-1] > 0) == (2000, True)
