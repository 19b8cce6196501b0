"""Reading and writing the log stays on indexes and on the days that it needs, however much is logged."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from tidemark.store import label_log, log, log_writer, models, position_lookup, predictions, segments
from tidemark.store.position_lookup import positions_of
from tidemark.store.prediction_id import id_at

DAYS, SEGMENTS, ROWS = 8, 400, 20  # segments a day, rows of each
D, K = 2, 2
TODAY = dt.datetime.now(dt.UTC).date()
LOGGED = """
INSERT INTO predictions (id, at, model_id, label, confidence, probabilities, embedding, writer_id, number)
SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM moment) * 1000 AS bigint)), 12, '0') || '70008000'
    || lpad(to_hex(number + (:model - 1) * 100000000), 12, '0') AS uuid), moment, :model, 0, .9,
    '\\x00380038', '\\x003c003c', 1, number
FROM (SELECT number, CAST(:day AS timestamptz) + (number - :first) * interval '1 second' AS moment
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) number) made
"""
SEGMENTED = """
INSERT INTO segments (model_id, last_position, first_position, first_number, writer_id, at_from, at_to)
SELECT :model, max(number), min(number), min(number), 1, min(at), max(at)
FROM predictions WHERE model_id = :model GROUP BY (number - 1) / :rows
"""
FED = """
WITH fed AS (
    INSERT INTO feedback (prediction_id, model_id, label, predicted, probabilities, placed)
    SELECT id, model_id, 0, 0, probabilities, 0 FROM predictions WHERE number % 5 = 0 RETURNING prediction_id, model_id
)
INSERT INTO label_log (model_id, position, prediction_id, label)
SELECT model_id, row_number() OVER (PARTITION BY model_id ORDER BY prediction_id), prediction_id, 0 FROM fed
"""
LAST = DAYS * SEGMENTS * ROWS


class Recorder:
    """A connection of psycopg that notes what it is asked."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.statements: list[tuple[str, Any]] = []

    def execute(self, statement: str, values: Any = None, **options: Any) -> Any:
        self.statements.append((statement, values))
        return self._raw.execute(statement, values)

    @contextmanager
    def cursor(self, **options: Any) -> Iterator["Recorder"]:
        with self._raw.cursor(**options) as cursor:
            recorder = Recorder(cursor)
            recorder.statements = self.statements
            yield recorder


@pytest.fixture(scope="module")
def filled_engine(shared_engine: Engine) -> Engine:
    """An engine on a database with eight days of two models' predictions and labels."""
    with shared_engine.begin() as connection:
        raw: Any = connection.connection.driver_connection
        predictions.ensure_partitions(raw, [TODAY - dt.timedelta(days=n) for n in range(DAYS)])
        for name in ("m", "other"):
            model = models.register(connection, name, "1", "a" * 64, ["x", "y"])
            for n in range(DAYS):
                values = {"model": model, "day": TODAY - dt.timedelta(days=DAYS - 1 - n)}
                bounds = {"first": n * SEGMENTS * ROWS + 1, "last": (n + 1) * SEGMENTS * ROWS}
                connection.execute(text(LOGGED), values | bounds)
            connection.execute(text(SEGMENTED), {"model": model, "rows": ROWS})
        connection.execute(text(FED))
    with shared_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return shared_engine


@pytest.fixture
def filled(filled_engine: Engine) -> Iterator[Connection]:
    """A connection to it; what a test changes is rolled back."""
    with filled_engine.connect() as connection:
        yield connection


def plans(connection: Connection, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the nodes of the plans of what `ask` executes."""
    raw: Any = connection.connection.driver_connection
    recorder = Recorder(raw)
    for module in (log, label_log, position_lookup, predictions, segments):
        monkeypatch.setattr(module, "raw", lambda _: recorder)
    assert ask() is not None
    monkeypatch.undo()
    nodes = []
    raw.execute("SET enable_seqscan = off")  # a small table is scanned where a large one is not
    raw.execute("SET enable_bitmapscan = off")
    for statement, values in recorder.statements:
        with raw.cursor() as cursor:
            ((answer,),) = cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", values, prepare=False).fetchall()
        waiting = [answer[0]["Plan"]]
        while waiting:
            nodes.append(node := waiting.pop())
            waiting += node.get("Plans", [])
    assert nodes
    return nodes


SPAN = dt.datetime.combine(TODAY - dt.timedelta(days=3), dt.time(), dt.UTC)
IDS = [id_at(int(SPAN.timestamp() * 1000) + 1000 * n, (4 * SEGMENTS * ROWS + 1 + n).to_bytes(10)) for n in range(200)]
QUERIES: dict[str, Callable[[Connection], Any]] = {
    "read": lambda c: log.read(c, 1, 20_000, 2000, D, K),
    "read the end": lambda c: log.read(c, 1, LAST - 100, 2000, D, K),
    "latest": lambda c: log.latest(c, 1, LAST - 5000, 2000, D, K),
    "between": lambda c: log.between(c, 1, SPAN, SPAN + dt.timedelta(minutes=50), 2000, D, K),
    "ends": log.ends,
    "labels": lambda c: label_log.read(c, 1, 5000, 200, D, K),
    "positions of ids": lambda c: positions_of(c, 1, IDS),
    "rows of ids": lambda c: predictions.by_ids(c, IDS, "p.id"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_nothing_large_is_scanned_or_sorted(filled: Connection, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    large = ("predictions", "segments", "label_log", "feedback")
    nodes = plans(filled, monkeypatch, lambda: QUERIES[name](filled))
    for node in nodes:
        assert not (node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan") and node["Relation Name"].startswith(large))
        assert not (node["Node Type"] == "Sort" and node["Plan Rows"] > 5000)
    days = {node["Relation Name"] for node in nodes if node.get("Relation Name", "").startswith("predictions_")}
    assert len(days) <= 2


def test_a_write_locks_the_day_that_it_writes_and_scans_nothing(filled: Connection) -> None:
    raw: Any = filled.connection.driver_connection
    values = {"spool": uuid4(), "model_ids": [1], "writer_ids": [1], "model_id": 1, "writer_id": 1}
    values |= {"numbers": [LAST + 1], "counts": [5], "at_from": SPAN, "at_to": SPAN}
    for statement in (log_writer.LOCK, log_writer.LAST_NUMBERS, log_writer.TAKE):
        ((answer,),) = raw.execute(f"EXPLAIN (FORMAT JSON) {statement}", values, prepare=False).fetchall()
        assert '"Node Type": "Seq Scan", "Relation Name": "segments"' not in str(answer).replace("'", '"')
        assert "Seq Scan on segments" not in str(answer)
