"""The log of labels: positions of their own, behind the predictions that they are of."""

from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine, text

from tests.support.log_rows import D, K, predictions
from tests.support.predictions import write
from tidemark.monitor import label_reading
from tidemark.store import (
    feedback,
    label_log,
    log_sweep,
)
from tidemark.store.feedback import FeedbackRow


def label(key: UUID, model_id: int, value: int) -> FeedbackRow:
    probabilities = np.array([0.25, 0.75], "<f2").tobytes()
    return FeedbackRow(key, model_id, value, 1, probabilities)


def test_labels_have_separate_positions_and_a_correction_names_the_label_that_it_replaces(
    engine: Engine, model_id: int
) -> None:
    rows = predictions(2, {"camera": "7"})
    with engine.begin() as connection:
        write(connection, rows)
    with engine.begin() as connection:
        feedback.save(connection, [label(key, model_id, 1) for key in rows.uuids])
    with engine.connect() as connection:
        first = label_log.read(connection, model_id, 0, 10, D, K)
    with engine.begin() as connection:
        feedback.save(connection, [label(rows.uuids[0], model_id, 0), label(rows.uuids[1], model_id, 1)])
    with engine.connect() as connection:
        second = label_log.read(connection, model_id, 2, 10, D, K)
        assert label_log.written_position(connection, model_id) == 3
    assert first is not None
    assert (first.positions.tolist(), first.ids, first.labels.tolist()) == ([1, 2], rows.uuids, [1, 1])
    assert (first.predicted.tolist(), first.replaced.tolist()) == ([1, 1], [-1, -1])
    assert first.probabilities.tolist() == [[0.25, 0.75]] * 2
    assert list(first.tags) == [{"camera": "7"}] * 2
    assert second is not None
    assert (second.positions.tolist(), second.ids) == ([3], rows.uuids[:1])
    assert (second.labels.tolist(), second.replaced.tolist()) == ([0], [1])


def test_a_step_reads_a_bounded_number_of_labels(
    engine: Engine, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_reading, "MAX_LABELS", 3)
    rows = predictions(8)
    with engine.begin() as connection:
        write(connection, rows)
    with engine.begin() as connection:
        feedback.save(connection, [label(key, model_id, 1) for key in rows.uuids])
    after, read = 0, []
    with engine.connect() as connection:
        while (batch := label_reading.read_labels(connection, model_id, after, 8, 8, False, (D, K))) is not None:
            read.append(batch.positions.tolist())
            after = read[-1][-1]
    assert read == [[1, 2, 3], [4, 5, 6], [7, 8]]


def test_a_label_waits_for_its_prediction_and_then_belongs_to_its_slice(engine: Engine, model_id: int) -> None:
    rows = predictions(1, {"camera": "7"})
    with engine.begin() as connection:
        feedback.save(connection, [label(rows.uuids[0], model_id, 1)])
    with engine.begin() as connection:
        assert label_log.read(connection, model_id, 0, 10, D, K) is None
        write(connection, rows)
    with engine.begin() as connection:
        log_sweep.sweep(connection)
    with engine.connect() as connection:
        batch = label_log.read(connection, model_id, 0, 10, D, K)
    assert batch is not None
    assert (batch.ids, list(batch.tags)) == (rows.uuids, [{"camera": "7"}])


def test_a_label_whose_prediction_does_not_come_waits_five_minutes(engine: Engine, model_id: int) -> None:
    (key,) = predictions(1).uuids
    with engine.begin() as connection:
        feedback.save(connection, [label(key, model_id, 1)])
        connection.execute(text("UPDATE feedback SET created_at = created_at - interval '301 seconds'"))
    with engine.begin() as connection:
        assert log_sweep.sweep(connection) == 1
    with engine.connect() as connection:
        batch = label_log.read(connection, model_id, 0, 10, D, K)
    assert batch is not None
    assert (batch.ids, list(batch.tags)) == ([key], [{}])


def test_a_label_that_a_server_of_an_earlier_version_corrects_is_read_as_a_correction(
    engine: Engine, model_id: int
) -> None:
    rows = predictions(1)
    with engine.begin() as connection:
        write(connection, rows)
    with engine.begin() as connection:
        feedback.save(connection, [label(rows.uuids[0], model_id, 1)])
    with engine.begin() as connection:
        connection.execute(text("UPDATE feedback SET label = 0, created_at = now()"))
    with engine.begin() as connection:
        assert log_sweep.sweep(connection) == 1
    with engine.connect() as connection:
        batch = label_log.read(connection, model_id, 1, 10, D, K)
    assert batch is not None
    assert (batch.labels.tolist(), batch.replaced.tolist()) == ([0], [1])
