"""Every stored window is the test of the predictions that its row names, against the baseline of the stream, whatever
it was requested for and whichever monitor has tested it."""

from collections import Counter
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from tests.support.monitoring import WORLD, Installation
from tidemark.monitor.baseline_preparation import prepare
from tidemark.monitor.explanations import Explanations
from tidemark.monitor.monitor import Monitor
from tidemark.monitor.prepared_reference import BaselineKey
from tidemark.monitor.window_explanation import explain
from tidemark.store import log, log_rows, monitor_progress, windows_on_demand
from tidemark.store.log_batch import PredictionBatch

PURPOSES = {"routine", "alarm", "incident", "further_shift", "on_demand"}
READ_FAILURE, WRITE_FAILURE = 5, 7  # readings and steps to the next one that finds the database unavailable


@pytest.fixture
def installation(engine: Engine, url: str) -> Installation:
    return Installation(engine, url)


@pytest.fixture
def purposes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the windows that are requested, by their purpose."""
    submit, counts = Explanations.submit, Counter[str]()

    def counted(self: Explanations, model_id: int, request: Any, *rest: Any) -> None:
        counts[request.purpose] += 1
        submit(self, model_id, request, *rest)

    monkeypatch.setattr(Explanations, "submit", counted)
    return counts


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Lets readings of windows and written steps find the database unavailable, and counts how often."""
    calls, counts = Counter[str](), Counter[str]()

    def fail(module: Any, name: str, every: int) -> None:
        function = getattr(module, name)

        def call(*arguments: Any) -> Any:
            calls[name] += 1
            if calls[name] % every:
                return function(*arguments)
            counts[name] += 1
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(module, name, call)

    fail(log_rows, "of_ids", READ_FAILURE)
    fail(monitor_progress, "advance", WRITE_FAILURE)
    return counts


def watch(monitor: Monitor) -> None:
    """Let a monitor process all that was logged, and begin again from its checkpoints after each failure."""
    while True:
        try:
            monitor.settle()
            return
        except psycopg.OperationalError:
            monitor._forget_states()


def logged(installation: Installation) -> PredictionBatch:
    example = WORLD.traffic(1, installation.rng)
    sizes = example["embeddings"].shape[1], example["probabilities"].shape[1]
    with installation.engine.connect() as connection:
        batch = log.read(connection, installation.model_id, 0, 10_000, *sizes)
    assert batch is not None
    return batch


def test_every_window_is_repeated_from_its_rows_after_further_shifts_restarts_and_unavailable_databases(
    installation: Installation, purposes: Counter[str], failures: Counter[str]
) -> None:
    monitor = installation.monitor()
    for step in range(32):
        if step % 6 == 4:
            installation.expire_leases()
            monitor = installation.monitor()
        if step == 27:
            with installation.engine.begin() as connection:
                assert windows_on_demand.request(connection, installation.stream_id) is not None
        move = 0.0 if step < 6 else 0.6 if step < 20 else 1.6
        installation.log(WORLD.traffic(73, installation.rng, move=move))
        watch(monitor)
    assert purposes.keys() == PURPOSES
    assert min(failures.values()) > 5
    (alert,) = installation.alerts()
    assert "further_shift" in [entry.get("reason") for entry in alert.history]
    batch, stream = logged(installation), installation.stream()
    prepared = prepare(installation.engine, BaselineKey(stream.reference_id), installation.settings)
    rows = installation.windows()
    assert len(rows) > 20
    for row in rows:
        window = explain(prepared, batch.select(slice(row.first, row.first + row.size))).window
        assert (row.p_value, row.kind, row.report["state"]) == (window.p_value, window.kind, window.state)
        assert row.report["tests"] == window.to_dict()["tests"]
