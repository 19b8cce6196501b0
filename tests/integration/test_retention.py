"""Old days go while others read; feedback and reports stay; the next days are there before they are needed."""

import datetime as dt
import json
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine, text

from tests.support.predictions import write
from tidemark.command_line.processes import db_vacuum_report
from tidemark.monitor.jobs import keep_days
from tidemark.spool.destination import DAYS_AHEAD
from tidemark.spool.forwarder import Forwarder
from tidemark.spool.spool import Spool
from tidemark.store import feedback, label_log, models, predictions, retention
from tidemark.store.logged import Logged, logged

TODAY = dt.datetime.now(dt.UTC).date()
LONG_AGO = TODAY - dt.timedelta(days=40)


def prediction(day: dt.date, number: int = 0) -> Logged:
    moment = dt.datetime.combine(day, dt.time(12), dt.UTC)
    identifier = UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | number)
    return logged("m:1", identifier.bytes, np.ones((1, 1)), np.ones((1, 8)))


def days(engine: Engine, parent: str = "predictions") -> list[dt.date]:
    with engine.connect() as connection:
        names = connection.execute(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:parent AS regclass)"),
            {"parent": parent},
        )
        return sorted(day for name in names.scalars() if (day := retention.day_of(name)))


@pytest.fixture
def written(engine: Engine) -> Any:
    with engine.begin() as connection:
        model_id = models.register(connection, "m", "1", "a" * 64, ["x"])

    def written(*batches: Logged) -> int:
        with engine.begin() as connection:
            write(connection, *batches)
        return model_id

    return written


def test_old_days_are_dropped_and_feedback_survives(engine: Engine, written: Any) -> None:
    old, new = prediction(LONG_AGO), prediction(TODAY)
    model_id = written(old, new)
    with engine.begin() as connection:
        predicted = feedback.find(connection, [old.uuids[0]])[old.uuids[0]]
        feedback.save(connection, [predicted.labelled(old.uuids[0], 0)])
    keep_days(engine, retention_days=30)
    ahead = [TODAY + dt.timedelta(days=n) for n in range(DAYS_AHEAD + 1)]
    assert days(engine) == ahead
    with engine.connect() as connection:
        assert predictions.get(connection, old.uuids[0]) is None
        assert predictions.get(connection, new.uuids[0]) is not None
        labels = label_log.read(connection, model_id, 0, 10, 1, 1)
    assert labels is not None
    assert labels.ids == [old.uuids[0]]


def test_a_reader_delays_nobody_and_the_day_is_dropped_at_the_next_check(engine: Engine, written: Any) -> None:
    written(prediction(LONG_AGO), prediction(TODAY))
    before = TODAY - dt.timedelta(days=30)
    name = f"predictions_{LONG_AGO:%Y%m%d}"
    with engine.connect() as reading:
        assert reading.execute(text("SELECT count(*) FROM predictions")).scalar_one() == 2
        outcome: list[Any] = []
        dropping = threading.Thread(target=lambda: outcome.append(retention.drop_days(engine, before, 1.0)))
        dropping.start()
        while dropping.is_alive():
            with engine.begin() as other:  # while the day waits for its reader
                other.execute(text("SET LOCAL statement_timeout = '5s'"))
                other.execute(text("SELECT count(*) FROM predictions"))
        written(prediction(TODAY, 1))
        assert outcome == [([], [name])]
    assert retention.drop_days(engine, before) == ([name], [])
    assert days(engine) == [TODAY]


def test_what_a_process_that_died_left_behind_is_dropped(engine: Engine, written: Any) -> None:
    written(prediction(LONG_AGO), prediction(TODAY))
    name = f"predictions_{LONG_AGO:%Y%m%d}"
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE predictions DETACH PARTITION {name}"))
        bounds = f"FROM ('{LONG_AGO}') TO ('{LONG_AGO + dt.timedelta(days=1)}')"  # as an earlier version made them
        connection.execute(text(f"CREATE TABLE slice_{name} PARTITION OF slice_predictions FOR VALUES {bounds}"))
    dropped, remaining = retention.drop_days(engine, TODAY)
    assert (sorted(dropped), remaining) == ([name, f"slice_{name}"], [])


def test_a_server_alone_makes_the_next_days(engine: Engine, written: Any, tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    forwarder = Forwarder(spool, engine)
    written(prediction(TODAY))
    spool.append(prediction(TODAY, 1))
    forwarder.drain(spool)
    assert days(engine) == [TODAY + dt.timedelta(days=n) for n in range(DAYS_AHEAD + 1)]


def test_predictions_that_come_after_their_day_was_dropped_are_taken(
    engine: Engine, written: Any, tmp_path: Path
) -> None:
    spool = Spool.create(tmp_path)
    forwarder = Forwarder(spool, engine)
    written(prediction(TODAY))
    for number in range(2):
        spool.append(prediction(LONG_AGO, number))
        forwarder.drain(spool)
        assert days(engine)[0] == LONG_AGO
        retention.drop_days(engine, TODAY)


def test_the_vacuum_report_weighs_days(
    engine: Engine, url: str, written: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(*(prediction(TODAY, number) for number in range(200)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE predictions"))
    monkeypatch.setenv("TIDEMARK_DATABASE_URL", url)
    db_vacuum_report(as_json=True)
    report = json.loads(capsys.readouterr().out)
    tables = {table["name"]: table for table in report["tables"]}
    today = tables[f"predictions_{TODAY:%Y%m%d}"]
    assert (report["predictions"], today["rows"], report["days"]) == (200, 200, 1)
    assert today["total"] == today["heap"] + today["indexes"] + today["toast"]
    assert report["bytes_per_prediction"] > 100
    assert tables["streams"]["parent"] is None
    db_vacuum_report()
    assert "200 predictions, 1 of 30 days kept" in capsys.readouterr().out
