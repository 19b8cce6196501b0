"""The monitor's loop over several models: turns, shares, and errors that stay with the model that they are of."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from tests.support.monitoring import NAMES, WORLD, Installation, calibration
from tests.support.predictions import new_ids, write
from tests.support.wait import PATIENCE, until
from tidemark.monitor import baseline_cache, baseline_preparation, model_processor, model_step, step_retries
from tidemark.monitor import monitor as loop
from tidemark.monitor.checkpoint_schedule import CheckpointSchedule
from tidemark.monitor.monitor import Monitor
from tidemark.store import log_rows, models, references, streams, watch, watching, windows
from tidemark.store.log_batch import PredictionBatch
from tidemark.store.logged import logged

OTHERS = ("b", "c")


class Fleet(Installation):
    """Three models, or more, that share a reference's traffic."""

    def __init__(self, engine: Engine, url: str, others: Sequence[str] = OTHERS) -> None:
        super().__init__(engine, url)
        with engine.begin() as connection:
            arrays = references.load(connection, 1)
            for name in others:
                model_id = models.register(connection, name, "1", "a" * 64, NAMES)
                references.save_calibration(connection, references.save(connection, model_id, arrays), calibration())

    def send_to(self, name: str, n: int, **change: Any) -> None:
        arrays = WORLD.traffic(n, self.rng, **change)
        batch = logged(f"{name}:1", new_ids(n), arrays["probabilities"], arrays["embeddings"], arrays["properties"])
        with self.engine.begin() as connection:
            write(connection, batch)

    def positions(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return {row.model_name: row.seen for row in streams.load_all(connection)}

    def watching(self) -> dict[str, str | None]:
        with self.engine.connect() as connection:
            names = {row.model_id: row.model_name for row in streams.load_all(connection)}
            return {names[key]: watch.reason for key, watch in watching.of_models(connection).items()}


@pytest.fixture
def fleet(engine: Engine, url: str) -> Fleet:
    return Fleet(engine, url)


def test_a_busy_model_does_not_starve_the_others(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_retries, "MAX_STEP", 100)
    monitor = fleet.monitor()
    monitor.poll()
    for model in monitor.models:
        model.retries.limit = step_retries.MAX_STEP
    fleet.send_to("m", 1000)
    for name in OTHERS:
        fleet.send_to(name, 50)
    while not fleet.positions()["m"]:
        monitor.turn()
    monitor.turn()
    positions = fleet.positions()
    assert positions["m"] <= 300
    assert (positions["b"], positions["c"]) == (50, 50)


def test_ten_backlogged_models_advance_together(engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one whose backlog is ten times as long gets no more turns than the others."""
    monkeypatch.setattr(step_retries, "MAX_STEP", 50)
    fleet = Fleet(engine, url, others="bcdefghij")
    monitor = fleet.monitor()
    monitor.poll()
    for model in monitor.models:
        model.retries.limit = step_retries.MAX_STEP
    fleet.send_to("m", 1500)
    for name in "bcdefghij":
        fleet.send_to(name, 150)
    while not fleet.positions()["m"]:
        monitor.turn()
    for _ in range(2):
        monitor.turn()
    positions = fleet.positions()
    assert len(positions) == 10
    assert positions["m"] <= 4 * step_retries.MAX_STEP
    assert {count for name, count in positions.items() if name != "m"} == {150}


def test_a_stop_ends_the_loop_between_two_models(fleet: Fleet) -> None:
    monitor = fleet.monitor()
    stopping = threading.Event()
    thread = threading.Thread(target=monitor.run, args=(stopping,))
    thread.start()
    fleet.send_to("m", 300)
    until(lambda: fleet.positions()["m"], "the first predictions to be processed")
    stopping.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with fleet.engine.connect() as connection:
        assert all(row.lease_owner is None for row in streams.load_all(connection))


def test_monitors_share_the_models(fleet: Fleet) -> None:
    monitors = [fleet.monitor() for _ in range(3)]
    for monitor in monitors:
        monitor.settle()
    for _ in range(3):
        for monitor in monitors:
            monitor.settle()
    assert sorted(len(monitor.models) for monitor in monitors) == [1, 1, 1]


def test_an_error_stays_with_its_model_and_a_prediction_that_always_fails_is_skipped(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = 120
    advance = model_step.advance

    def failing(state: Any, incoming: Any, *rest: Any) -> Any:
        if state.model_id == fleet.model_id and incoming.batch is not None and poisoned in incoming.batch.positions:
            raise ArithmeticError("a poisonous row")
        return advance(state, incoming, *rest)

    monkeypatch.setattr(model_processor, "advance", failing)
    monkeypatch.setattr(step_retries, "FIRST_BACKOFF", 0.0)
    monitor: Monitor = fleet.monitor()
    fleet.send_to("m", 200)
    fleet.send_to("b", 200)
    monitor.settle()
    assert fleet.positions()["b"] == 200
    assert fleet.watching()["m"] == "error"
    for _ in range(40):
        monitor.settle()
    assert fleet.positions()["m"] == 199
    assert fleet.stream().rejected == {"failed": 1}
    assert fleet.watching()["m"] is None


def test_a_monitor_of_many_models_processes_a_few_predictions_together(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = fleet.monitor()
    fleet.send_to("m", 20)
    monitor.settle()
    monkeypatch.setattr(loop, "UNDELAYED_MODELS", 0)
    monkeypatch.setattr(loop, "STEP_INTERVAL", 1000.0)
    monkeypatch.setattr(loop, "MAX_STEP_INTERVAL", 1000.0)
    fleet.send_to("m", 20)
    monitor.settle()
    assert fleet.positions()["m"] == 20
    fleet.send_to("m", loop.DELAYED_ROWS)
    monitor.settle()
    assert fleet.positions()["m"] == 40 + loop.DELAYED_ROWS


def test_models_at_rest_leave_the_memory_and_go_on_where_they_stopped(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MAX_BASELINE_BYTES", 0)
    monitor = fleet.monitor()
    for name in ("m", *OTHERS):
        fleet.send_to(name, 250)
    monitor.settle()
    monitor.settle()
    assert all(model.state is None for model in monitor.models)
    fleet.send_to("m", 250)
    monitor.settle()
    assert fleet.positions() == {"m": 500, "b": 250, "c": 250}
    assert fleet.alerts() == []


def test_a_window_that_cannot_be_read_while_the_database_is_unavailable_is_tested_later(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored report without a test would stay so for ever, though the predictions are there after the outage."""
    unreachable = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    original, failures = log_rows.of_ids, iter(range(3))

    def fail_at_first(*arguments: Any) -> PredictionBatch | None:
        if next(failures, None) is not None:
            unreachable.connect()
        return original(*arguments)

    monkeypatch.setattr(log_rows, "of_ids", fail_at_first)
    fleet.send(450)
    reports = fleet.windows()
    assert next(failures, None) is None
    assert len(reports) > 1
    assert {window.report["state"] for window in reports} == {"tested"}


def test_answers_of_window_tests_outlast_a_step_that_the_database_refuses_while_it_is_unavailable(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The windows were requested before the last checkpoint, so that nothing would request them again."""
    unreachable = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    save, failures = windows.save, iter(range(3))

    def fail_at_first(*arguments: Any, **values: Any) -> int:
        if next(failures, None) is not None:
            unreachable.connect()
        return save(*arguments, **values)

    monkeypatch.setattr(windows, "save", fail_at_first)
    monkeypatch.setattr(CheckpointSchedule, "is_due", lambda *_: True)
    monitor = fleet.monitor()
    stopping = threading.Event()
    thread = threading.Thread(target=monitor.run, args=(stopping,))
    thread.start()
    fleet.send_to("m", 450)
    try:
        until(lambda: len(fleet.windows()) > 1, "the windows' reports")
    finally:
        stopping.set()
        thread.join()
    assert next(failures, None) is None


def test_windows_that_a_dead_monitor_has_requested_are_tested_by_the_next_one(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The windows were requested before the last checkpoint, so that nothing would request them again."""
    monkeypatch.setattr(CheckpointSchedule, "is_due", lambda *_: True)
    dead = fleet.monitor()
    monkeypatch.setattr(dead._explanations, "collect", list)
    fleet.send_to("m", 450)
    while fleet.positions()["m"] < 450:
        dead.turn()
    assert fleet.windows() == []
    with fleet.engine.begin() as connection:
        watch.release(connection, [model.whole.id for model in dead.models], dead.id)
    fleet.watch()
    assert [window.first for window in fleet.windows()] == [200, 100, 0]


def test_the_second_baseline_of_an_incident_is_prepared_once_the_database_is_available(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    original, failures = baseline_preparation.rows_since_change, iter(range(2))
    prepared = []

    def fail_at_first(*arguments: Any) -> PredictionBatch:
        if next(failures, None) is not None:
            unreachable.connect()
        prepared.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(baseline_cache, "rows_since_change", fail_at_first)
    monitor = fleet.monitor()
    fleet.send_to("m", 400)
    for _ in range(4):
        fleet.send_to("m", 400, move=0.6)
        monitor.settle()
    assert next(failures, None) is None
    assert len(prepared) == 1
    (model,) = [item for item in monitor.models if item.model_id == fleet.model_id]
    assert model.state is not None
    assert model.state.whole.further is not None
    assert model.state.whole.further.second is not None
