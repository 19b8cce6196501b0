"""Rows and writers that must not hold up the log: odd rows, rows that are gone, a writer that hangs."""

from typing import Any
from uuid import uuid4

import numpy as np
from sqlalchemy import Engine, create_engine, text

from tests.support.log_rows import D, K, positions, predictions
from tests.support.predictions import new_ids, write
from tidemark.store import (
    log,
    log_writer,
)
from tidemark.store.log_batch import EXPIRED, NOT_FINITE, NOT_PROBABILITIES, WIDTH
from tidemark.store.log_writer import NumberedBatch
from tidemark.store.logged import logged


def test_rows_that_cannot_be_watched_are_counted_and_hold_nothing_back(engine: Engine, model_id: int) -> None:
    good = predictions(2)
    odd = [
        logged("m:1", new_ids(1), np.array([[0.25, 0.75]]), np.ones((1, D + 1))),
        logged("m:1", new_ids(1), np.array([[0.25, 0.5]]), np.ones((1, D))),
        logged("m:1", new_ids(1), np.array([[np.nan, 0.5]]), np.ones((1, D))),
        logged("m:1", new_ids(1), np.array([[1.5, -0.5]]), np.ones((1, D))),
    ]
    with engine.begin() as connection:
        write(connection, *odd, good)
    with engine.connect() as connection:
        batch = log.read(connection, model_id, 0, 10, D, K)
        only_odd = log.read(connection, model_id, 0, 2, D, K)
    assert batch is not None
    assert batch.uuids == good.uuids
    assert batch.positions.tolist() == [5, 6]
    assert (batch.first, batch.last) == (1, 6)
    assert batch.rejected == {WIDTH: 1, NOT_PROBABILITIES: 2, NOT_FINITE: 1}
    assert only_odd is not None
    assert (len(only_odd), only_odd.last) == (0, 2)


def test_rows_that_the_retention_has_dropped_are_counted(engine: Engine, model_id: int) -> None:
    with engine.begin() as connection:
        write(connection, predictions(4))
        connection.execute(text("DELETE FROM predictions WHERE number <= 3"))
    with engine.connect() as connection:
        batch = log.read(connection, model_id, 0, 10, D, K)
    assert batch is not None
    assert (batch.positions.tolist(), batch.last, batch.rejected) == ([4], 4, {EXPIRED: 3})


def test_a_writer_that_hangs_in_the_middle_of_its_copy_hides_and_holds_up_nothing(
    url: str, engine: Engine, model_id: int
) -> None:
    early, late, slow = predictions(3), predictions(2), create_engine(url)
    with engine.begin() as connection:
        write(connection, predictions(1))
    with slow.connect() as hung:
        raw: Any = hung.connection.driver_connection
        with raw.cursor() as cursor:
            batches = [NumberedBatch(1, early)]
            writers = log_writer.lock_writers(cursor, uuid4(), [model_id])
            runs = log_writer._copy(cursor, batches, {"m:1": model_id}, writers)
            with engine.begin() as connection:
                write(connection, late)
            with engine.connect() as connection:
                assert positions(connection, model_id)[0] == [1, 2, 3]
            log_writer._commit(raw, cursor, batches, {"m:1": model_id}, writers, runs)
    slow.dispose()
    with engine.connect() as connection:
        read_positions, ids = positions(connection, model_id)
    assert read_positions == [1, 2, 3, 4, 5, 6]
    assert ids[1:] == late.uuids + early.uuids
