"""The rate with which a backtest begins: of the week before it, of its first week, or as the monitor measured it."""

import datetime as dt

import numpy as np
import pytest
from sqlalchemy import Engine

from tests.support.monitoring import WORLD, Installation
from tests.support.predictions import write
from tidemark.commands.backtest.initial_rate import initial_rate
from tidemark.store import monitor_progress, streams
from tidemark.store.logged import logged
from tidemark.store.prediction_id import id_at
from tidemark.store.stream_status import AlarmBudget, StreamStatus

SINCE = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SECONDS = DAY.total_seconds()


def log_days(installation: Installation, begin: dt.datetime, days: float, a_day: int) -> None:
    """Log predictions in equal steps of time."""
    rng, count = np.random.default_rng(0), round(days * a_day)
    times = [begin + number * DAY / a_day for number in range(count)]
    ids = b"".join(id_at(int(at.timestamp() * 1000), rng.bytes(10)).bytes for at in times)
    arrays = WORLD.traffic(count, rng)
    batch = logged("m:1", ids, arrays["probabilities"], arrays["embeddings"], arrays["properties"])
    with installation.engine.begin() as connection:
        write(connection, batch)


def rate_of(installation: Installation, days: float = 14) -> float | None:
    """Return the rate with which a backtest of the stream of a slice begins."""
    with installation.engine.connect() as connection:
        stream = streams.require(connection, "m:1")._replace(stream="m:1/camera=7", slice="camera=7")
        return initial_rate(connection, stream, SINCE, SINCE + days * DAY)


def report_rate(installation: Installation, is_assumed: bool) -> None:
    """Store what a monitor reports that has measured half a prediction a second, or has assumed so."""
    budget = AlarmBudget(seconds=30 * SECONDS, predictions=15 * SECONDS, rate=0.5, is_assumed=is_assumed)
    with installation.engine.begin() as connection:
        monitor_progress.save(connection, installation.stream_id, {"status": StreamStatus(budget=budget).to_json()})


@pytest.fixture
def installation(engine: Engine, url: str) -> Installation:
    return Installation(engine, url)


def test_the_week_before_the_span_gives_the_rate(installation: Installation) -> None:
    log_days(installation, SINCE - 20 * DAY, 5, a_day=24)
    log_days(installation, SINCE - 3 * DAY, 3, a_day=48)
    log_days(installation, SINCE, 3, a_day=96)
    assert rate_of(installation) == pytest.approx(48 / SECONDS, rel=0.02)


def test_the_first_week_of_the_span_gives_the_rate_of_a_model_that_was_new_then(installation: Installation) -> None:
    log_days(installation, SINCE, 3, a_day=48)
    log_days(installation, SINCE + 8 * DAY, 3, a_day=96)
    report_rate(installation, is_assumed=False)
    assert rate_of(installation) == pytest.approx(48 / SECONDS, rel=0.02)


def test_the_monitor_gives_the_rate_where_the_span_holds_no_day(installation: Installation) -> None:
    log_days(installation, SINCE, 0.8, a_day=48)
    assert rate_of(installation) is None
    report_rate(installation, is_assumed=True)
    assert rate_of(installation) is None
    report_rate(installation, is_assumed=False)
    assert rate_of(installation) == 0.5
