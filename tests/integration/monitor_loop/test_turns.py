"""The monitor's loop over several models: turns, shares, and errors that stay with the model that they are of."""

import threading
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.fleet import OTHERS, Fleet
from tests.support.wait import PATIENCE, until
from tidemark.monitor import model_processor, model_step, step_retries
from tidemark.monitor import monitor as loop
from tidemark.monitor.baseline_cache import BaselineCache
from tidemark.monitor.monitor import Monitor
from tidemark.store import streams


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


def test_a_model_whose_baseline_is_being_prepared_does_not_keep_the_loop_turning(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop without a pause would take the processor from the preparation that it waits for."""
    monitor = fleet.monitor()
    fleet.send_to("m", 100)
    monitor.settle()
    monkeypatch.setattr(step_retries, "MAX_STEP", 50)
    for model in monitor.models:
        model.retries.limit = step_retries.MAX_STEP
    fleet.send_to("m", 100)
    monitor.poll()
    with monkeypatch.context() as patch:
        patch.setattr(BaselineCache, "get", lambda *_: None)
        assert not monitor.turn()
        assert any(model.has_more for model in monitor.models)
    assert monitor.turn()
    monitor.settle()
    assert fleet.positions()["m"] == 200


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
