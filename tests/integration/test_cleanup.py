"""Each table has a bound, and what is beyond it is deleted, in the order in which rows point to each other."""

import datetime as dt
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, inspect, text

from tests.support.predictions import new_ids, write
from tidemark.store import cleanup, feedback, models, references
from tidemark.store.cleanup import BOUNDS
from tidemark.store.feedback import FeedbackRow
from tidemark.store.logged import logged
from tidemark.store.schema import FOREIGN

NOW = dt.datetime.now(dt.UTC)
COUNTED = (
    "segments", "writers", "feedback", "label_log", "windows", "alerts", "deliveries", "streams", "references",
)  # fmt: skip
AGED = """
UPDATE segments SET at_from = :then, at_to = :then; UPDATE writers SET written_at = :then;
UPDATE feedback SET created_at = :then; UPDATE label_log SET at = :then;
UPDATE windows SET created_at = :then; UPDATE alerts SET fired_at = :then, resolved_at = :then;
UPDATE deliveries SET created_at = :then; UPDATE "references" SET created_at = :then;
UPDATE streams SET retired_at = :then WHERE slice <> '';
"""
REPORTED = """
INSERT INTO windows (stream_id, start, "end", first, size, p_value, drifted, kind, seconds, report)
SELECT id, now(), now(), 0, 500, .5, false, 'none', .1, '{}' FROM streams;
INSERT INTO alerts (id, stream_id, kind, state, since, fired_at, resolved_at, position, window_id, p_value, summary,
    report)
SELECT gen_random_uuid(), stream_id, 'covariate', a.state, now(), now(), now(), 1, w.id, .1, '', '{}'
FROM windows w JOIN streams s ON s.id = w.stream_id, (VALUES ('resolved'), ('firing')) AS a (state)
WHERE s.slice = '';
INSERT INTO deliveries (id, alert_id, event, url, format, body, give_up_at)
SELECT gen_random_uuid(), id, 'drift.firing', '', 'standard', '', now() FROM alerts;
"""


def counts(connection: Connection) -> dict[str, int]:
    return {table: connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar_one() for table in COUNTED}


def label(key: UUID, model_id: int) -> FeedbackRow:
    probabilities = np.full(2, 0.5, "<f2").tobytes()
    return FeedbackRow(key, model_id, 1, 0, probabilities)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """A model with two references, a retired slice, predictions, labels, windows and alerts."""
    rows = logged("m:1", new_ids(2), np.full((2, 2), 0.5), np.ones((2, 4)))
    with engine.begin() as connection:
        model_id = models.register(connection, "m", "1", "a" * 64, ["x", "y"])
        write(connection, rows)
    with engine.begin() as connection:
        feedback.save(connection, [label(key, model_id) for key in rows.uuids])
        connection.execute(text("INSERT INTO streams (model_id, slice) VALUES (:id, 'camera=7')"), {"id": model_id})
        for _ in range(2):
            references.save(connection, model_id, {"embeddings": np.zeros((1, 4))})
        connection.execute(text(REPORTED))
    return engine


def test_every_table_has_a_bound(engine: Engine) -> None:
    tables = {name for name in inspect(engine).get_table_names() if not FOREIGN.match(name)}
    assert BOUNDS.keys() == tables


def test_what_is_young_stays(filled: Engine) -> None:
    with filled.connect() as connection:
        before = counts(connection)
    assert cleanup.delete_old(filled, NOW, retention_days=30, report_retention_days=400) == {}
    with filled.connect() as connection:
        assert counts(connection) == before


def test_what_is_old_is_deleted_but_not_what_is_in_use(filled: Engine) -> None:
    with filled.begin() as connection:
        then = NOW - dt.timedelta(days=500)
        for statement in AGED.split(";")[:-1]:
            connection.execute(text(statement), {"then": then})
        (model_id,) = models.ids(connection).values()
        later = logged("m:1", new_ids(1), np.full((1, 2), 0.5), np.ones((1, 4)))
        write(connection, later)
    with filled.begin() as connection:
        feedback.save(connection, [label(later.uuids[0], model_id)])
    deleted = cleanup.delete_old(filled, NOW, retention_days=30, report_retention_days=400)
    assert deleted == {
        "segments": 1, "writers": 1, "feedback": 2, "label_log": 2, "windows": 1, "alerts": 1, "deliveries": 1,
        "streams": 1, "references": 1,
    }  # fmt: skip
    with filled.connect() as connection:
        assert connection.execute(text("SELECT state FROM alerts")).scalars().all() == ["firing"]
        assert connection.execute(text("SELECT slice FROM streams")).scalars().all() == [""]
        assert cleanup.delete_old(filled, NOW, 30, 400) == {}


def test_a_retired_slice_without_alerts_is_deleted_with_its_predictions(filled: Engine) -> None:
    with filled.begin() as connection:
        connection.execute(text("UPDATE streams SET retired_at = now() - interval '32 days' WHERE slice <> ''"))
    assert cleanup.delete_old(filled, NOW, 30, 400) == {"windows": 1, "streams": 1}


def test_a_call_ends_before_all_is_deleted_and_the_next_one_continues(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "DELETE_BATCH_ROWS", 1)
    monkeypatch.setattr(cleanup, "MAX_ROUNDS", 2)
    with filled.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO deliveries (id, event, url, format, body, give_up_at, created_at)"
                " SELECT gen_random_uuid(), 'test', '', 'standard', '', now(), now() - interval '500 days'"
                " FROM generate_series(1, 5)"
            )
        )
    assert [cleanup.delete_old(filled, NOW, 30, 400) for _ in range(4)] == [
        {"deliveries": 2}, {"deliveries": 2}, {"deliveries": 1}, {}
    ]  # fmt: skip
