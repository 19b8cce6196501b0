"""What is asked at every step, scrape and page stays on indexes, over many days and many slices."""

import datetime as dt
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, event, text

from tidemark.store import evidence, models, monitor_progress, predictions, references, streams, watch_status, windows

DAYS, ROWS, SLICES = 8, 24_000, 6
LOGGED = """
    INSERT INTO predictions (id, at, model_id, label, confidence, probabilities, embedding)
    SELECT gen_random_uuid(), now() - :day * interval '1 day', CASE WHEN n % 5 = 0 THEN :other ELSE :model END,
        0, .9, '\\x003c', '\\x003c003c'
    FROM generate_series(1, :rows) n
"""
FED = """
    INSERT INTO feedback (prediction_id, model_id, label, predicted, probabilities)
    SELECT id, model_id, 0, 0, probabilities FROM predictions WHERE number % 5 = 0
"""
REPORTED = """
    INSERT INTO windows (stream_id, start, "end", first, size, p_value, drifted, kind, seconds, report)
    SELECT s.id, now(), now(), n, 500, .5, false, 'none', .1, '{}' FROM streams s, generate_series(1, 1000) n
"""

SEGMENTS = """
    INSERT INTO segments (model_id, last_position, first_position, first_number, writer_id, at_from, at_to)
    SELECT :model, 10 * n, 10 * n - 9, 10 * n - 9, 1, now(), now() FROM generate_series(1, 5000) n
"""
POINTS = """
    INSERT INTO evidence_points (stream_id, position, at, evidence)
    SELECT s.id, n, now(), 1 FROM streams s, generate_series(1, 2000) n
"""


@pytest.fixture(scope="module")
def filled_engine(shared_engine: Engine) -> Engine:
    """An engine on a database with two models' predictions of eight days, six slices, labels and windows."""
    today = dt.datetime.now(dt.UTC).date()
    with shared_engine.begin() as connection:
        model, other = (models.register(connection, name, "1", "a" * 64, ["x"]) for name in ("m", "other"))
        raw: Any = connection.connection.driver_connection
        predictions.ensure_partitions(raw, [today - dt.timedelta(days=n) for n in range(DAYS)])
        for day in reversed(range(DAYS)):
            values = {"day": day, "model": model, "other": other, "rows": ROWS // DAYS}
            connection.execute(text(LOGGED), values)
        for number in range(SLICES):
            streams_row = {"model": model, "slice": f"camera={number}"}
            connection.execute(text("INSERT INTO streams (model_id, slice) VALUES (:model, :slice)"), streams_row)
        connection.execute(text(FED))
        connection.execute(text(REPORTED))
        references.save(connection, model, {"embeddings": np.zeros((1, 2))})
        references.save(connection, other, {"embeddings": np.zeros((1, 2))})
        connection.execute(text(SEGMENTS), {"model": model})
        connection.execute(text(POINTS))
    with shared_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return shared_engine


@pytest.fixture
def filled(filled_engine: Engine) -> Iterator[Connection]:
    """A connection to it; what a test changes is rolled back."""
    with filled_engine.connect() as connection:
        yield connection


def plans(connection: Connection, query: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the nodes of the plans of all statements that `ask` executes."""
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    query()
    event.remove(connection, "before_cursor_execute", note)
    raw: Any = connection.connection.driver_connection
    nodes = []
    for statement, parameters in statements:
        ((answer,),) = raw.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters).fetchall()
        waiting = [answer[0]["Plan"]]
        while waiting:
            nodes.append(node := waiting.pop())
            waiting += node.get("Plans", [])
    assert statements
    return nodes


QUERIES: dict[str, Callable[[Connection, Any], Any]] = {
    "targets of the monitor": lambda c, _s: monitor_progress.targets(c),
    "how far models are watched": lambda c, _s: watch_status.of_models(c),
    "evidence of a stream": lambda c, s: evidence.up_to(c, s.id, 1000, 100),
    "evidence of each": lambda c, s: evidence.newest(c, [s.id], 100),
    "last window of each": lambda c, _s: windows.last_of_each(c),
    "windows": lambda c, s: windows.newest(c, s.stream),
}
LARGE = ("predictions", "feedback", "windows", "evidence_points", "segments")


@pytest.mark.parametrize("stream", ["m:1", "m:1/camera=3"])
def test_nothing_is_scanned_or_sorted(filled: Connection, stream: str) -> None:
    row = streams.find(filled, stream)
    assert row is not None
    for name, query in QUERIES.items():
        for node in plans(filled, partial(query, filled, row)):
            large = node.get("Relation Name", "").startswith(LARGE)
            assert not (large and node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan")), (name, node)
            assert not (node["Node Type"] == "Sort" and node["Plan Rows"] > 100), (name, node)


def test_what_is_asked_gives_what_is_there(filled: Connection) -> None:
    ids = {row.stream: row.id for row in streams.load_all(filled)}
    assert len(ids) == 2 + SLICES
    assert [target.id for target in monitor_progress.targets(filled)] == sorted(ids.values())
    assert {row.first for row in windows.last_of_each(filled).values()} == {1000}
    assert windows.last_of_each(filled).keys() == set(ids.values())
    points = evidence.newest(filled, list(ids.values()), 100)
    assert points.keys() == set(ids.values())
    assert [point[1] for point in points[ids["m:1"]]] == list(range(1901, 2001))
