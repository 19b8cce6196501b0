"""Months of a stream on a real Postgres: what is normal at each hour, run time in days, fast and slow traffic."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from tests.support.monitoring import WORLD, Installation
from tests.support.predictions import write
from tidemark.commands.accept import accept_span
from tidemark.commands.calibrate import calibrate
from tidemark.store.logged import logged
from tidemark.store.prediction_id import id_at

DAY = dt.timedelta(days=1)
PER_DAY = 2400
AMPLITUDE = 0.35


class Calendar:
    """Sends traffic with the times of past days, whose images follow the hour."""

    def __init__(self, installation: Installation, start: dt.datetime) -> None:
        self.installation, self.now = installation, start

    def send(self, days: float, **change: float) -> None:
        self.log(days, **change)
        self.installation.watch()

    def log(self, days: float, per_day: float = PER_DAY, amplitude: float = AMPLITUDE, move: float = 0.0) -> None:
        count = round(days * per_day)
        times = [self.now + DAY * (number / per_day) for number in range(count)]
        self.now += DAY * days
        for first in range(0, count, 200):
            part = times[first : first + 200]
            hour = np.array([time.hour + time.minute / 60 for time in part])
            cycle = amplitude * np.sin(2 * np.pi * hour / 24)[:, None]
            images: Any = cycle + move
            arrays = WORLD.traffic(len(part), self.installation.rng, move=images)
            ids = b"".join(id_at(int(time.timestamp() * 1000), self.installation.rng.bytes(10)).bytes for time in part)
            batch = logged("m:1", ids, arrays["probabilities"], arrays["embeddings"], arrays["properties"])
            with self.installation.engine.begin() as connection:
                write(connection, batch)

    def fired(self) -> int:
        return len(self.installation.alerts())


@pytest.fixture
def midnight() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def test_a_declared_daily_cycle_raises_nothing_and_a_shift_within_it_is_found(
    engine: Engine, url: str, midnight: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation(engine, url, window_interval=1e6)
    calendar = Calendar(installation, midnight - 7 * DAY)
    calendar.log(2.5)
    for name, value in (("DATABASE_URL", url), ("WINDOW_SIZE", "200"), ("EXPECTED_RUN_TIME", "20000")):
        monkeypatch.setenv(f"TIDEMARK_{name}", value)
    facts = calibrate("m:1", midnight - 7 * DAY, calendar.now)
    assert facts["context"] == "the hour of the day"
    assert facts["predictions"] == 2.5 * PER_DAY
    calendar.send(2)
    assert calendar.fired() == 0
    assert installation.stream().status.get("note") is None
    calendar.send(0.2, move=0.4)
    assert calendar.fired() == 1


@pytest.mark.slow
def test_a_change_that_is_accepted_after_some_hours_still_follows_the_declared_cycle(
    engine: Engine, url: str, midnight: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation(engine, url, window_interval=1e6)
    calendar = Calendar(installation, midnight - 7 * DAY)
    calendar.log(2.5)
    for name, value in (("DATABASE_URL", url), ("WINDOW_SIZE", "200"), ("EXPECTED_RUN_TIME", "20000")):
        monkeypatch.setenv(f"TIDEMARK_{name}", value)
    calibrate("m:1", midnight - 7 * DAY, calendar.now)
    changed_at = calendar.now
    calendar.send(0.3, move=0.5)
    assert calendar.fired() == 1
    accepted = accept_span("m:1", changed_at, calendar.now, "mix", "a new camera")
    assert accepted["note"].startswith("a new camera; the mix was requested, but")
    assert accepted["what"] == "all"  # The level of the traffic at each hour was accepted with the calm traffic.
    calendar.send(1.2, move=0.5)
    assert calendar.fired() == 1
    calendar.send(0.1, move=1.0)
    assert calendar.fired() == 2


def test_a_cycle_that_was_not_declared_is_named_with_the_command_that_declares_it(
    engine: Engine, url: str, midnight: dt.datetime
) -> None:
    installation = Installation(engine, url, window_interval=1e6)
    Calendar(installation, midnight - 7 * DAY).send(2.2)
    note = installation.stream().status["note"]
    assert "follows the hour of the day" in note
    assert "`tidemark calibrate`" in note


def test_a_month_is_turned_into_predictions_by_the_rate_of_the_model(
    engine: Engine, url: str, midnight: dt.datetime
) -> None:
    installation = Installation(engine, url, expected_run_time=dt.timedelta(days=30))
    calendar = Calendar(installation, midnight - 12 * DAY)
    calendar.send(0.5, per_day=10, amplitude=0)
    status = installation.stream().status
    assert status["budget"]["is_assumed"]
    at_first = status["threshold"]
    calendar.send(9, per_day=10, amplitude=0)
    status = installation.stream().status
    assert not status["budget"]["is_assumed"]
    assert status["budget"]["predictions"] == pytest.approx(300, rel=0.15)
    assert status["budget"]["seconds"] == 30 * 86_400
    assert status["threshold"] < at_first - 5
    assert calendar.fired() == 0
