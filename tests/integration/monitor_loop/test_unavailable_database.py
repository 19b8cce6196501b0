"""Windows and baselines that a monitor had requested when it, or the database, failed are not lost."""

import threading
from typing import Any

import pytest
from sqlalchemy import create_engine

from tests.support.fleet import Fleet
from tests.support.wait import RecordedWaits, until
from tidemark.monitor import baseline_cache, baseline_preparation
from tidemark.monitor.checkpoint_schedule import CheckpointSchedule
from tidemark.store import log_rows, monitor_progress, windows
from tidemark.store.log_batch import PredictionBatch


@pytest.mark.parametrize(("is_unavailable", "longest"), [(True, 10.0), (False, 60.0)])
def test_the_wait_after_a_failed_turn_doubles_up_to_a_bound(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, is_unavailable: bool, longest: float
) -> None:
    monitor, stopping = fleet.monitor(), RecordedWaits(12)

    def fail(_: threading.Event) -> bool:
        if is_unavailable:
            create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nowhere").connect()
        raise RuntimeError("a turn that fails")

    monkeypatch.setattr(monitor, "turn", fail)
    monitor.run(stopping)
    assert stopping.seconds == [min(fleet.settings.monitor_poll * 2**turn, longest) for turn in range(12)]


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
        monitor_progress.release(connection, [model.whole.id for model in dead.models], dead.id)
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
