"""Predictions in a real Postgres: idempotent, in the order of commits, by day."""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text
from uuid_utils.compat import uuid7

from tests.support.predictions import new_ids, write
from tidemark.errors import DatabaseError, ReferenceMismatch
from tidemark.store import engine as engines
from tidemark.store import feedback, label_log, log, models, predictions, schema
from tidemark.store.logged import Logged, logged
from tidemark.store.prediction_id import time_of

LABELS = ["cat", "dog"]


def prediction() -> Logged:
    return logged("m:1", new_ids(1), np.array([[0.25, 0.75]]), np.arange(4.0)[None], tags=[b'{"camera":"7"}'])


@pytest.fixture
def model_id(engine: Engine) -> int:
    with engine.begin() as connection:
        return models.register(connection, "m", "1", "a" * 64, LABELS)


@pytest.fixture
def written(engine: Engine, model_id: int) -> Callable[[list[Logged]], int]:
    def written(batches: list[Logged]) -> int:
        with engine.begin() as connection:
            return write(connection, *batches)

    return written


def test_a_replay_adds_nothing(written: Callable[[list[Logged]], int]) -> None:
    rows = [prediction() for _ in range(50)]
    assert written(rows) == 50
    assert written(rows) == 0
    assert written([*rows[:10], prediction()]) == 1


def test_rows_come_back_as_they_were_logged(
    engine: Engine, model_id: int, written: Callable[[list[Logged]], int]
) -> None:
    rows = [prediction() for _ in range(3)]
    written(rows)
    with engine.connect() as connection:
        batch = log.read(connection, model_id, 0, 10, 4, 2)
        one = predictions.get(connection, rows[0].uuids[0])
    assert batch is not None
    assert batch.uuids == [row.uuids[0] for row in rows]
    assert [batch.time(row) for row in range(3)] == [time_of(row.uuids[0]) for row in rows]
    assert batch.embeddings.tolist() == [[0, 1, 2, 3]] * 3
    assert batch.probabilities.tolist() == [[0.25, 0.75]] * 3
    assert one is not None
    assert (one.label, one.tags, one.feedback) == (1, {"camera": "7"}, None)


def test_partitions_are_made_once_by_several_at_a_time(engine: Engine) -> None:
    day = dt.date(2026, 1, 10)

    def make() -> None:
        with engine.begin() as connection:
            raw: Any = connection.connection.driver_connection
            predictions.ensure_partitions(raw, [day, day + dt.timedelta(days=1)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        partitions = connection.execute(
            text("SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhrelid AND relkind = 'r'")
        )
        assert sorted(partitions.scalars()) == [f"predictions_202601{day}" for day in (10, 11)]


def test_feedback_overwrites_and_is_read_once(
    engine: Engine, model_id: int, written: Callable[[list[Logged]], int]
) -> None:
    rows = [prediction() for _ in range(2)]
    written(rows)
    with engine.begin() as connection:
        predictions_by_id = feedback.find(connection, [rows[0].uuids[0], uuid7()])
        assert list(predictions_by_id) == [rows[0].uuids[0]]
        predicted = predictions_by_id[rows[0].uuids[0]]
        feedback.save(connection, [predicted.labelled(rows[0].uuids[0], 1)])
    with engine.begin() as connection:
        first = label_log.read(connection, model_id, 0, 10, 1, 2)
        feedback.save(connection, [predicted.labelled(rows[0].uuids[0], 0)])
    with engine.connect() as connection:
        assert first is not None
        second = label_log.read(connection, model_id, first.last, 10, 1, 2)
        assert second is not None
        assert (second.labels.tolist(), second.predicted.tolist()) == ([0], [1])
        assert label_log.read(connection, model_id, second.last, 10, 1, 2) is None


def test_a_model_with_a_reference_is_pinned_to_its_file(engine: Engine, model_id: int) -> None:
    with engine.begin() as connection:
        assert models.register(connection, "m", "1", "b" * 64, LABELS) == model_id
        connection.execute(
            text('INSERT INTO "references" (model_id, rows, arrays) VALUES (:id, 1, :data)'),
            {"id": model_id, "data": b""},
        )
        with pytest.raises(ReferenceMismatch, match="give this model a new version"):
            models.register(connection, "m", "1", "a" * 64, LABELS)


def test_a_pin_of_an_earlier_release_is_renewed(engine: Engine, model_id: int) -> None:
    with engine.begin() as connection:
        connection.execute(
            text('INSERT INTO "references" (model_id, rows, arrays) VALUES (:id, 1, :data)'),
            {"id": model_id, "data": b""},
        )
        models.register(connection, "m", "1", "c" * 64, LABELS, former_sha256="a" * 64)
        model = models.find(connection, "m", "1")
        assert model is not None
        assert model.sha256 == "c" * 64


def test_an_old_schema_names_the_command(empty_url: str) -> None:
    engine = engines.connect(empty_url)
    with pytest.raises(DatabaseError, match="tidemark migrate"):
        schema.check(engine)
    schema.migrate(engine)
    schema.check(engine)
    schema.migrate(engine)
    engine.dispose()


def test_the_migrations_make_what_the_models_say(engine: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from tidemark.store.tables import metadata

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": schema.compared, "compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_an_unreachable_database_is_one_line() -> None:
    engine = engines.connect(engines.normalised("postgresql://nobody:secret@127.0.0.1:1/none"))
    with pytest.raises(DatabaseError) as error:
        engines.check(engine)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
