"""The log in a real Postgres: gapless positions in the order of commits, each row once, read as arrays."""

import datetime as dt
import random
import threading
import time
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import Engine, create_engine, text

from tests.support.log_rows import D, K, positions, predictions
from tests.support.predictions import new_ids, write
from tidemark.store import log, log_rows, log_sweep, models, streams
from tidemark.store.log_batch import PredictionBatch
from tidemark.store.logged import logged
from tidemark.store.prediction_id import time_of
from tidemark.store.slice_filter import SliceFilter


def test_rows_come_back_as_they_were_logged(engine: Engine, model_id: int) -> None:
    rows = predictions(3, {"camera": "7"})
    with engine.begin() as connection:
        write(connection, rows)
    with engine.connect() as connection:
        batch = log.read(connection, model_id, 0, 10, D, K)
        assert log.written_position(connection, model_id) == 3
        assert log.read(connection, model_id, 3, 10, D, K) is None
    assert batch is not None
    assert (batch.first, batch.last, batch.positions.tolist()) == (1, 3, [1, 2, 3])
    assert batch.uuids == rows.uuids
    assert [batch.time(row) for row in range(3)] == [time_of(key) for key in rows.uuids]
    assert batch.embeddings.tolist() == rows.embeddings.tolist()
    assert batch.probabilities.tolist() == [[0.25, 0.75]] * 3
    assert batch.properties is None
    assert list(batch.tags) == [{"camera": "7"}] * 3
    assert batch.rejected == {}


def test_positions_have_no_gaps_and_follow_the_order_of_commits_of_several_writers(
    url: str, engine: Engine, model_id: int
) -> None:
    with engine.begin() as connection:
        other = models.register(connection, "other", "1", "b" * 64, ["cat", "dog"])
    ids_by_model: dict[str, list[UUID]] = {"m:1": [], "other:1": []}

    def forward(seed: int) -> None:
        choose = random.Random(seed)
        spool, number = uuid4(), {"m:1": 1, "other:1": 1}
        for _ in range(12):
            batches = [
                predictions(choose.randint(1, 5), model=model) for model in choose.sample(sorted(ids_by_model), 2)
            ]
            with engine.begin() as connection:
                for batch in batches:
                    write(connection, batch, spool=spool, first_number=number[batch.model])
                    number[batch.model] += len(batch)
                    ids_by_model[batch.model] += batch.uuids
                    time.sleep(choose.random() / 500)

    threads = [threading.Thread(target=forward, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        for name, key in (("m:1", model_id), ("other:1", other)):
            read_positions, ids = positions(connection, key)
            assert read_positions == list(range(1, len(ids_by_model[name]) + 1))
            assert sorted(ids) == sorted(ids_by_model[name])


def test_an_open_transaction_in_another_database_hides_nothing(server_url: str, engine: Engine, model_id: int) -> None:
    admin = create_engine(server_url)
    with admin.connect() as lock_holder:
        lock_holder.execute(text("SELECT pg_current_xact_id()"))
        with engine.begin() as connection:
            write(connection, predictions(5))
        with engine.connect() as connection:
            assert positions(connection, model_id)[0] == [1, 2, 3, 4, 5]
    admin.dispose()


def test_a_replay_adds_nothing_and_new_rows_after_it_are_written(engine: Engine, model_id: int) -> None:
    spool, rows, more = uuid4(), predictions(50), predictions(3)
    with engine.begin() as connection:
        assert write(connection, rows, spool=spool) == 50
    with engine.begin() as connection:
        assert write(connection, rows, spool=spool) == 0
    with engine.begin() as connection:
        assert write(connection, rows, more, spool=spool) == 3
    with engine.connect() as connection:
        assert positions(connection, model_id) == (list(range(1, 54)), rows.uuids + more.uuids)


def test_two_deliveries_of_one_prediction_take_one_position(engine: Engine, model_id: int) -> None:
    rows = predictions(5)
    with engine.begin() as connection:
        assert write(connection, rows.after(2)) == 3
    with engine.begin() as connection:
        assert write(connection, rows) == 2
    with engine.connect() as connection:
        read_positions, ids = positions(connection, model_id)
    assert read_positions == [1, 2, 3, 4, 5]
    assert ids == rows.uuids[2:] + rows.uuids[:2]


def test_rows_of_a_server_of_an_earlier_version_get_their_positions(engine: Engine, model_id: int) -> None:
    with engine.begin() as connection:
        write(connection, predictions(2))
    late = predictions(3)
    with engine.begin() as connection:
        for key in late.uuids:
            connection.execute(
                text(
                    "INSERT INTO predictions (id, at, model_id, label, confidence, probabilities, embedding) "
                    "VALUES (:id, :at, :model, 1, .75, :probabilities, :embedding)"
                ),
                {
                    "id": key,
                    "at": time_of(key),
                    "model": model_id,
                    "probabilities": late.probabilities[0].tobytes(),
                    "embedding": late.embeddings[0].tobytes(),
                },
            )
    with engine.connect() as connection:
        assert positions(connection, model_id)[0] == [1, 2]
    with engine.begin() as connection:
        assert log_sweep.sweep(connection) == 3
    with engine.begin() as connection:
        assert log_sweep.sweep(connection) == 0
        write(connection, predictions(1))
    with engine.connect() as connection:
        read_positions, ids = positions(connection, model_id)
    assert read_positions == [1, 2, 3, 4, 5, 6]
    assert ids[2:5] == late.uuids


def test_the_newest_are_found_by_position_by_time_and_by_slice(engine: Engine, model_id: int) -> None:
    cameras = ["a", "b", "c", "a", "b"]
    rows = [predictions(1, {"camera": camera}) for camera in cameras] + [predictions(1)]
    for row in rows:
        with engine.begin() as connection:
            write(connection, row)
    keys = [row.uuids[0] for row in rows]
    begin, end = time_of(keys[0]), time_of(keys[-1]) + dt.timedelta(milliseconds=1)
    with engine.connect() as connection:

        def latest(count: int, upto: int = 6, only: SliceFilter | None = None) -> list[int]:
            batch = log.latest(connection, model_id, upto, count, D, K, only)
            return [] if batch is None else batch.positions.tolist()

        def between(limit: int, only: SliceFilter | None = None) -> list[int]:
            batch = log.between(connection, model_id, begin, end, limit, D, K, only)
            return [] if batch is None else batch.positions.tolist()

        assert latest(3) == [4, 5, 6]
        assert latest(3, upto=4) == [2, 3, 4]
        assert latest(10, only=SliceFilter("camera", "a")) == [1, 4]
        assert latest(1, only=SliceFilter("camera", "a")) == [4]
        assert latest(10, only=SliceFilter("camera", "other", excluded=("a",))) == [2, 3, 5]
        assert latest(10, only=SliceFilter("site", "x")) == []
        assert between(10) == [1, 2, 3, 4, 5, 6]
        assert between(2) == [5, 6]
        assert between(10, SliceFilter("camera", "b")) == [2, 5]
        assert log.between(connection, model_id, end, end + dt.timedelta(days=1), 10, D, K) is None
        some = log_rows.of_ids(connection, model_id, [keys[3], uuid4()], D, K)
    assert some is not None
    assert some.uuids == [keys[3]]


def test_reading_is_bounded_by_bytes_also_where_a_slice_is_searched(
    engine: Engine, model_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No query fetches more than three rows of this width, although all rows are of the slice."""
    monkeypatch.setattr(log, "MAX_BYTES", 3 * 2 * (D + K))
    rows = predictions(8, {"camera": "7"})
    with engine.begin() as connection:
        write(connection, rows)
    begin, end = time_of(rows.uuids[0]), time_of(rows.uuids[-1]) + dt.timedelta(milliseconds=1)
    fetched: list[int] = []
    of_segments = log_rows.of_segments

    def counted(*arguments: Any) -> PredictionBatch:
        batch = of_segments(*arguments)
        fetched.append(len(batch))
        return batch

    monkeypatch.setattr(log_rows, "of_segments", counted)
    with engine.connect() as connection:
        read = log.read(connection, model_id, 0, 10, D, K)
        assert read is not None
        assert read.positions.tolist() == [1, 2, 3]
        for only in (None, SliceFilter("camera", "7")):
            latest = log.latest(connection, model_id, 8, 10, D, K, only)
            between = log.between(connection, model_id, begin, end, 10, D, K, only)
            assert latest is not None
            assert between is not None
            assert latest.positions.tolist() == between.positions.tolist() == [6, 7, 8]
    assert fetched == [3] * 5


def test_the_search_for_a_rare_slice_ends(engine: Engine, model_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SCAN", 2)
    monkeypatch.setattr(log, "MAX_SCANNED", 6)
    rows = [predictions(1, {"camera": camera}) for camera in "aabbbabb"]
    with engine.begin() as connection:
        write(connection, *rows)
    begin, end = time_of(rows[0].uuids[0]), time_of(rows[-1].uuids[0]) + dt.timedelta(milliseconds=1)
    rare = SliceFilter("camera", "a")
    with engine.connect() as connection:
        latest = log.latest(connection, model_id, 8, 2, D, K, rare)
        between = log.between(connection, model_id, begin, end, 2, D, K, rare)
    assert latest is not None
    assert between is not None
    assert latest.positions.tolist() == between.positions.tolist() == [6]


def test_properties_of_some_rows_leave_the_others_without(engine: Engine, model_id: int) -> None:
    measured = logged("m:1", new_ids(2), np.tile([0.25, 0.75], (2, 1)), np.ones((2, D)), np.array([[1, 2], [3, 4]]))
    more = logged("m:1", new_ids(1), np.array([[0.25, 0.75]]), np.ones((1, D)), np.array([[1, 2, 3]]))
    with engine.begin() as connection:
        write(connection, measured, predictions(1), more)
    with engine.connect() as connection:
        batch = log.read(connection, model_id, 0, 10, D, K)
    assert batch is not None
    assert batch.properties is not None
    assert batch.properties[:2].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(batch.properties[2:]).all()


def test_a_stream_knows_how_far_its_model_is_written(engine: Engine, model_id: int) -> None:
    with engine.begin() as connection:
        write(connection, predictions(5))
    with engine.begin() as connection:
        (row,) = streams.load_all(connection)
        streams.save(connection, row.id, position=2)
        row = streams.find(connection, "m:1") or row
    assert (row.stream, row.labels, row.written, row.labels_written, row.position, row.lag) == (
        "m:1", ["cat", "dog"], 5, 0, 2, 3
    )  # fmt: skip
