"""What is asked at every step, scrape and page stays on indexes, over many days and many slices."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, event, text

from tidemark.store import models, predictions, references, streams, traffic, windows
from tidemark.store.predictions import Cursor

DAYS, ROWS, SLICES = 8, 24_000, 6
LOGGED = """
    INSERT INTO predictions (id, at, model_id, label, confidence, probabilities, embedding)
    SELECT gen_random_uuid(), now() - :day * interval '1 day', CASE WHEN n % 5 = 0 THEN :other ELSE :model END,
        0, .9, '\\x003c', '\\x003c003c'
    FROM generate_series(1, :rows) n
"""
SLICED = """
    INSERT INTO slice_predictions (stream_id, xid, seq, at, id)
    SELECT s.id, p.xid, p.number, p.at, p.id
    FROM predictions p JOIN streams s ON s.slice = 'camera=' || (p.number % :slices)
"""
FED = """
    INSERT INTO feedback (prediction_id, model_id, label, predicted, probabilities)
    SELECT id, model_id, 0, 0, probabilities FROM predictions WHERE number % 5 = 0
"""
REPORTED = """
    INSERT INTO windows (stream_id, start, "end", first, size, p_value, drifted, kind, seconds, report)
    SELECT s.id, now(), now(), n, 500, .5, false, 'none', .1, '{}' FROM streams s, generate_series(1, 1000) n
"""


@pytest.fixture
def filled(engine: Engine) -> Iterator[Connection]:
    """A connection to two models' predictions of eight days, six slices, labels and windows."""
    today = dt.datetime.now(dt.UTC).date()
    with engine.begin() as connection:
        model, other = (models.register(connection, name, "1", "a" * 64, ["x"]) for name in ("m", "other"))
        raw = connection.connection.driver_connection
        predictions.ensure_partitions(raw, [today - dt.timedelta(days=n) for n in range(DAYS)])
        for day in reversed(range(DAYS)):
            values = {"day": day, "model": model, "other": other, "rows": ROWS // DAYS}
            connection.execute(text(LOGGED), values)
        for number in range(SLICES):
            streams_row = {"model": model, "slice": f"camera={number}"}
            connection.execute(text("INSERT INTO streams (model_id, slice) VALUES (:model, :slice)"), streams_row)
        connection.execute(text(SLICED), {"slices": SLICES})
        connection.execute(text(FED))
        connection.execute(text(REPORTED))
        references.save(connection, model, {"embeddings": np.zeros((1, 2))})
        references.save(connection, other, {"embeddings": np.zeros((1, 2))})
        connection.execute(
            text(
                "UPDATE streams SET (cursor_xid, cursor_seq) = (SELECT xid, number FROM predictions "
                "WHERE number = :seq)"
            ),
            {"seq": ROWS - 600},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    with engine.connect() as connection:
        yield connection


def plans(connection: Connection, ask: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the nodes of the plans of all statements that `ask` executes."""
    said: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    ask()
    event.remove(connection, "before_cursor_execute", note)
    raw = connection.connection.driver_connection
    nodes = []
    for statement, parameters in said:
        ((answer,),) = raw.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters).fetchall()
        waiting = [answer[0]["Plan"]]
        while waiting:
            nodes.append(node := waiting.pop())
            waiting += node.get("Plans", [])
    assert said
    return nodes


ASKED: dict[str, Callable[[Connection, Any, Cursor], Any]] = {
    "waiting": lambda c, _s, _a: streams.waiting(c, 100, 3600.0),
    "read": lambda c, s, a: traffic.read(c, s, a, 500),
    "last": lambda c, s, a: traffic.last(c, s, a, 500),
    "labels": lambda c, s, a: traffic.labels(c, s, a, 500),
    "last window of each": lambda c, _s, _a: windows.last_of_each(c),
    "windows": lambda c, s, _a: windows.newest(c, s.stream),
}


@pytest.mark.parametrize("stream", ["m:1", "m:1/camera=3"])
def test_nothing_is_scanned_or_sorted(filled: Connection, stream: str) -> None:
    row = streams.find(filled, stream)
    assert row is not None
    for name, ask in ASKED.items():
        for after in (Cursor(), Cursor(row.cursor_xid, row.cursor_seq)):
            for node in plans(filled, lambda ask=ask, after=after: ask(filled, row, after)):
                large = node.get("Relation Name", "").startswith(("predictions", "slice_pred", "feedback", "windows"))
                assert not (large and node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan")), (name, node)
                assert not (node["Node Type"] == "Sort" and node["Plan Rows"] > 100), (name, node)


def test_what_is_asked_gives_what_is_there(filled: Connection) -> None:
    ids = {row.stream: row.id for row in streams.every(filled)}
    assert len(ids) == 2 + SLICES
    assert streams.waiting(filled, 100, 3600.0) == sorted(ids.values())
    lags = streams.lags(filled)
    assert (lags[ids["m:1"]], lags[ids["other:1"]], lags[ids["m:1/camera=3"]]) == (480, 120, 100)
    assert {row.first for row in windows.last_of_each(filled).values()} == {1000}
    assert windows.last_of_each(filled).keys() == set(ids.values())
    row = streams.find(filled, "m:1/camera=3")
    batch = traffic.last(filled, row, Cursor(row.cursor_xid, row.cursor_seq), 50)
    assert batch is not None
    assert [cursor.seq for cursor in batch.cursors] == list(range(ROWS - 600 - 50 * 6 + 3, ROWS - 600 - 2, 6))
