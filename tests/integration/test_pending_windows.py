"""Window tests that are requested and not answered: no failed step, detector or kill loses one or stores it twice."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from tests.support.monitoring import WORLD, Installation
from tidemark.monitor import model_processor, model_step, step_retries, stream_step
from tidemark.monitor.monitor import Monitor
from tidemark.monitor.stream_transition import StreamInput
from tidemark.store import monitor_progress, windows_on_demand

Fault = Callable[[pytest.MonkeyPatch], list[str]]  # plants a failure that happens once; returns the list that notes it


@pytest.fixture
def installation(engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(step_retries, "FIRST_BACKOFF", 0.0)
    return Installation(engine, url)


def turn(monitor: Monitor) -> None:
    """Let a monitor make one step with what was logged, and no step for what it requests in it."""
    monitor.poll()
    monitor.turn()


def failing_once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, when: Callable[..., bool]) -> list[str]:
    """Let a function raise an error the first time that its arguments meet a condition."""
    function, failures = getattr(module, name), list[str]()

    def fail(*arguments: Any, **values: Any) -> Any:
        if not failures and when(*arguments):
            failures.append(name)
            raise ArithmeticError(name)
        return function(*arguments, **values)

    monkeypatch.setattr(module, name, fail)
    return failures


def step_fails(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The step that brings the answers fails."""
    return failing_once(monkeypatch, model_processor, "advance", lambda _, incoming, *__: bool(incoming.explanations))


def write_fails(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Postgres refuses what the step with the answers writes."""
    function, failures = monitor_progress.advance, list[str]()

    def fail(*arguments: Any) -> bool:
        if not failures and arguments[-1].get("seen", 0) > 450:
            failures.append("monitor_progress.advance")
            raise ProgrammingError("UPDATE", {}, Exception("syntax error"))
        return function(*arguments)

    monkeypatch.setattr(monitor_progress, "advance", fail)
    return failures


def detector_raises(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The detector raises in the step that brings the answers and further predictions."""

    def has_both(_: Any, incoming: StreamInput, *__: Any) -> bool:
        return bool(incoming.explanations) and incoming.rows is not None

    return failing_once(monkeypatch, model_step, "advance_stream", has_both)


@pytest.mark.parametrize("fault", [step_fails, write_fails, detector_raises], ids=lambda fault: fault.__name__)
def test_windows_whose_answers_meet_a_failure_are_stored_once(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monitor = installation.monitor()
    installation.log(WORLD.traffic(450, installation.rng))
    turn(monitor)
    assert installation.stream().seen == 450
    failures = fault(monkeypatch)
    installation.log(WORLD.traffic(10, installation.rng))
    monitor.settle()
    monitor.settle()
    assert len(failures) == 1
    assert [window.first for window in installation.windows()][::-1] == [0, 100, 200]
    assert installation.stream().seen == 460
    assert installation.stream().status["windows_skipped"] == 0


@pytest.mark.parametrize("fault", [step_fails, detector_raises], ids=lambda fault: fault.__name__)
def test_an_alarm_of_labels_whose_window_meets_a_failure_is_alerted(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monitor = installation.monitor()
    labels = WORLD.labels(400, installation.rng)
    installation.label(installation.log(WORLD.see(labels, installation.rng)), (labels + 1) % WORLD.k)
    turn(monitor)
    assert installation.alerts() == []
    failures = fault(monkeypatch)
    installation.log(WORLD.traffic(10, installation.rng))
    monitor.settle()
    monitor.settle()
    assert len(failures) == 1
    assert [alert.kind for alert in installation.alerts()] == ["concept"]


def test_labels_and_a_persons_request_outlast_a_detector_that_raises(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = installation.monitor()
    installation.send(150, monitor)
    failures = failing_once(
        monkeypatch, model_step, "advance_stream", lambda _, incoming, *__: incoming.labels is not None
    )
    labels = WORLD.labels(60, installation.rng)
    installation.label(installation.log(WORLD.see(labels, installation.rng)), labels)
    with installation.engine.begin() as connection:
        assert windows_on_demand.request(connection, installation.stream_id) is not None
    monitor.settle()
    assert failures == ["advance_stream"]
    assert [(window.first, window.size) for window in installation.windows()] == [(10, 200)]
    assert installation.stream().status["feedback"]["n"] > 50


def test_labels_that_a_step_has_taken_before_it_fails_are_not_taken_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = installation.monitor()
    labels = WORLD.labels(60, installation.rng)
    failures = failing_once(monkeypatch, stream_step, "_update_status", lambda *_: True)
    installation.label(installation.log(WORLD.see(labels, installation.rng)), labels)
    monitor.settle()
    (model,) = monitor.models
    assert failures == ["_update_status"]
    assert model.state is not None
    assert model.state.whole.labels is not None
    assert model.state.whole.labels.monitor.count == 60


def test_an_answer_that_always_fails_is_skipped_and_counted(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not keep the stream from its predictions for ever."""
    advance = stream_step.advance_stream

    def fail(state: Any, incoming: StreamInput, *rest: Any) -> Any:
        if incoming.explanations:
            raise ArithmeticError("an answer that nothing can take")
        return advance(state, incoming, *rest)

    monkeypatch.setattr(model_step, "advance_stream", fail)
    monitor = installation.monitor()
    installation.send(450, monitor)
    installation.send(30, monitor)
    assert installation.stream().seen == 480
    assert installation.windows() == []
    assert installation.stream().status["windows_skipped"] == 3
    assert installation.stream().status["errors"]["detector"] > 0


def test_windows_that_a_monitor_has_requested_before_any_checkpoint_outlast_its_death(
    installation: Installation,
) -> None:
    monitor = installation.monitor()
    installation.send(100, monitor)
    installation.log(WORLD.traffic(350, installation.rng))
    turn(monitor)
    assert installation.windows() == []
    with installation.engine.begin() as connection:
        assert windows_on_demand.request(connection, installation.stream_id) is not None
        monitor_progress.release(connection, [model.whole.id for model in monitor.models], monitor.id)
    installation.watch()
    assert sorted((window.first, window.size) for window in installation.windows()) == [
        (0, 200),
        (100, 200),
        (200, 200),
        (250, 200),
    ]
    assert np.isfinite(installation.stream().status["evidence"])
