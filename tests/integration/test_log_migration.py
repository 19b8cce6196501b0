"""What was logged before the log had positions gets them: nothing is watched twice, nothing is skipped."""

import datetime as dt
import random
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from tests.support.migrations import PARTITION, upgrade
from tests.support.predictions import write
from tidemark.store import label_log, log, schema
from tidemark.store.logged import logged
from tidemark.store.prediction_id import id_at

DAY = dt.datetime(2026, 1, 10, 12, tzinfo=dt.UTC)
D, K, ROWS, LABELS = 4, 2, 120, 40
Place = tuple[int, int]  # xid, seq: the order of commits before this revision
PREDICTION = text(
    """
    INSERT INTO predictions (id, at, model_id, label, confidence, probabilities, embedding, tags, xid, seq)
    VALUES (:id, :at, :model_id, 1, .75, :probabilities, :embedding, CAST(:tags AS jsonb), CAST(:xid AS xid8), :seq)
    """
)
LABEL = text(
    """
    INSERT INTO feedback (prediction_id, model_id, label, predicted, probabilities, xid, seq)
    VALUES (:id, 1, 0, 1, :probabilities, CAST(:xid AS xid8), :seq)
    """
)
STREAM = text(
    """
    INSERT INTO streams (model_id, slice, reference_id, cursor_xid, cursor_seq, window_xid, window_seq, feedback_xid,
        feedback_seq)
    VALUES (:model_id, :slice, :reference_id, CAST(:xid AS xid8), :seq, CAST(:window_xid AS xid8), :window_seq,
        CAST(:feedback_xid AS xid8), :feedback_seq)
    """
)


def identifier(number: int) -> UUID:
    return id_at(int(DAY.timestamp() * 1000) + number, number.to_bytes(10))


def fill(connection: Connection) -> tuple[dict[int, dict[Place, UUID]], dict[Place, UUID]]:
    """Write predictions of two models whose transactions overlap, and labels; return them by their places."""
    choose = random.Random(0)
    connection.exec_driver_sql(PARTITION.format(name="predictions_20260110", start="2026-01-10", end="2026-01-11"))
    for name in ("m", "unreferenced"):
        connection.execute(
            text("INSERT INTO models (name, version, sha256, labels) VALUES (:name, '1', 'a', '[\"x\",\"y\"]')"),
            {"name": name},
        )
    connection.execute(text('INSERT INTO "references" (model_id, rows, arrays) VALUES (1, 1, :data)'), {"data": b""})
    probabilities, embedding = np.array([0.25, 0.75], "<f2").tobytes(), np.ones(D, "<f2").tobytes()
    predictions: dict[int, dict[Place, UUID]] = {1: {}, 2: {}}
    labels: dict[Place, UUID] = {}
    for seq in range(1, ROWS + 1):
        model_id, xid, key = choose.choice([1, 1, 2]), 100 + seq // 20 + choose.choice([0, 3]), identifier(seq)
        predictions[model_id][xid, seq] = key
        values = {"id": key, "at": DAY + dt.timedelta(milliseconds=seq), "model_id": model_id, "xid": str(xid)}
        values |= {"seq": seq, "probabilities": probabilities, "embedding": embedding}
        connection.execute(PREDICTION, values | {"tags": f'{{"camera":"{seq % 2}"}}'})
    for seq, key in enumerate(list(predictions[1].values())[:LABELS], start=ROWS + 1):
        xid = 200 + seq // 10 + choose.choice([0, 2])
        labels[xid, seq] = key
        connection.execute(LABEL, {"id": key, "xid": str(xid), "seq": seq, "probabilities": probabilities})
    connection.execute(text("SELECT setval('prediction_seq', :last)"), {"last": ROWS + LABELS})
    return predictions, labels


@pytest.mark.parametrize("revision", ["0004", "0005"])
def test_each_stream_continues_after_the_last_processed_prediction(empty: Engine, revision: str) -> None:
    upgrade(empty, revision)
    with empty.begin() as connection:
        predictions, labels = fill(connection)
        order, label_order = sorted(predictions[1]), sorted(labels)
        places = {"": (order[50], order[40], label_order[20]), "camera=1": (order[45], order[30], label_order[25])}
        for name, (cursor, window, feedback) in places.items():
            values = {"model_id": 1, "slice": name, "reference_id": 1, "xid": str(cursor[0]), "seq": cursor[1]}
            values |= {"window_xid": str(window[0]), "window_seq": window[1]}
            values |= {"feedback_xid": str(feedback[0]), "feedback_seq": feedback[1]}
            connection.execute(STREAM, values)
        nowhere = dict.fromkeys(("xid", "window_xid", "feedback_xid"), "0") | dict.fromkeys(
            ("seq", "window_seq", "feedback_seq"), 0
        )
        connection.execute(STREAM, nowhere | {"model_id": 2, "slice": "", "reference_id": None})
    schema.migrate(empty)
    with empty.connect() as connection:
        streams = connection.execute(
            text("SELECT model_id, slice, position, window_position, label_position FROM streams ORDER BY id")
        ).all()
        for row in streams[:2]:
            cursor, window, feedback = places[row.slice]
            for position, place in ((row.position, cursor), (row.window_position, window)):
                batch = log.read(connection, 1, position, 1000, D, K)
                assert batch is not None
                assert batch.uuids == [predictions[1][later] for later in order if later > place]
                assert batch.rejected == {}
            fed = label_log.read(connection, 1, row.label_position, 1000, D, K)
            assert fed is not None
            assert fed.ids == [labels[later] for later in label_order if later > feedback]
            assert all(tags == {"camera": str(key.int >> 80 & 1)} for key, tags in zip(fed.ids, fed.tags, strict=True))
        unreferenced = streams[2]
        assert log.read(connection, 2, unreferenced.position, 10, D, K) is None
        history = log.between(connection, 2, DAY, DAY + dt.timedelta(hours=1), 1000, D, K)
        assert history is not None
        assert sorted(history.uuids) == sorted(predictions[2].values())
        everything = log.between(connection, 1, DAY, DAY + dt.timedelta(hours=1), 1000, D, K)
        assert everything is not None
        assert sorted(everything.uuids) == sorted(predictions[1].values())
        end = log.written_position(connection, 1)
    late = logged("m:1", identifier(ROWS + 1).bytes, np.array([[0.25, 0.75]]), np.ones((1, D)))
    with empty.begin() as connection:
        write(connection, late)
    with empty.connect() as connection:
        batch = log.read(connection, 1, end, 10, D, K)
    assert batch is not None
    assert (batch.positions.tolist(), batch.uuids) == ([end + 1], late.uuids)
